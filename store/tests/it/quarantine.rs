use store::{
    Batch, Error, Store,
    inbox::{self, NewEvent, Transaction},
    outbox::{self, Kind, NewStanza},
    quarantine::{self, Entry, Stanza, Way},
    sends::{self, Method, NewSend},
};
use tests::database::Database;

crate::on_both! {
    what_is_set_aside_is_passed_over_and_comes_back,
    a_damaged_event_is_found_and_mended,
    a_message_waits_for_its_event,
}

const ROOM: &str = "!room:example.org";
const LOGIN: &str = "@alice:example.org";
const PEER: &str = "123@s.whatsapp.net";

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).await.unwrap();
}

fn send(txn_id: &str) -> NewSend {
    NewSend {
        txn_id: txn_id.to_owned(),
        room_id: ROOM.to_owned(),
        sender: "@whatsapp_1:example.org".to_owned(),
        device_id: "DEVICE".to_owned(),
        method: Method::Send,
        event_type: "m.room.encrypted".to_owned(),
        target: None,
        content: "{}".to_owned(),
        ts: 1,
        login: Some(LOGIN.to_owned()),
        peer: Some(PEER.to_owned()),
        stanza_id: Some(format!("stanza of {txn_id}")),
    }
}

fn stanza(id: &str) -> NewStanza {
    NewStanza {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: id.to_owned(),
        kind: Kind::Message,
        stanza: vec![1],
        event_id: None,
    }
}

fn message(id: &str) -> Stanza {
    Stanza {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: id.to_owned(),
        stanza: vec![2],
        reason: "no".to_owned(),
        received_ts: 7,
    }
}

async fn listed(store: &Store) -> Vec<(Way, String)> {
    let entries = quarantine::list(store).await.unwrap();
    let pair = |entry: Entry| (entry.way, entry.id);
    entries.into_iter().map(pair).collect()
}

async fn what_is_set_aside_is_passed_over_and_comes_back(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        sends::put(batch, send("s1"));
        sends::put(batch, send("s2"));
        outbox::put(batch, stanza("o1"));
        outbox::put(batch, stanza("o2"));
        quarantine::put(batch, &message("m1"));
    })
    .await;
    let to_matrix = sends::next(&store, ROOM, 0, 1).await.unwrap()[0].seq;
    let to_whatsapp = outbox::next(&store, LOGIN, 0, 1).await.unwrap()[0].seq;
    commit(&store, |batch| {
        sends::quarantine(batch, to_matrix, 5, "refused");
        outbox::quarantine(batch, to_whatsapp, 5, "damaged");
    })
    .await;
    assert_eq!(
        sends::next(&store, ROOM, 0, 9).await.unwrap()[0]
            .event
            .txn_id,
        "s2"
    );
    assert_eq!(
        outbox::next(&store, LOGIN, 0, 9).await.unwrap()[0].stanza_id,
        "o2"
    );
    assert_eq!(sends::count(&store).await.unwrap(), 1);
    assert_eq!(outbox::count(&store).await.unwrap(), 1);
    assert_eq!(quarantine::count(&store).await.unwrap(), 3);
    assert!(
        quarantine::due(&store, LOGIN, PEER)
            .await
            .unwrap()
            .is_empty()
    );
    let expected = [
        (Way::ToWhatsApp, "o1".to_owned()),
        (Way::FromWhatsApp, "m1".to_owned()),
        (Way::ToMatrix, "s1".to_owned()),
    ];
    assert_eq!(listed(&store).await, expected);

    let entries = quarantine::list(&store).await.unwrap();
    commit(&store, |batch| {
        entries
            .iter()
            .for_each(|entry| quarantine::replay(batch, entry));
    })
    .await;
    assert!(listed(&store).await.is_empty());
    assert_eq!(sends::next(&store, ROOM, 0, 9).await.unwrap().len(), 2);
    assert_eq!(outbox::next(&store, LOGIN, 0, 9).await.unwrap().len(), 2);
    assert_eq!(quarantine::due_peers(&store, LOGIN).await.unwrap(), [PEER]);
    let due = quarantine::due(&store, LOGIN, PEER).await.unwrap();
    assert!(due.len() == 1 && due[0] == message("m1"));

    // It failed again; then it was handled.
    commit(&store, |batch| quarantine::put(batch, &message("m1"))).await;
    assert!(
        quarantine::due_peers(&store, LOGIN)
            .await
            .unwrap()
            .is_empty()
    );
    commit(&store, |batch| quarantine::done(batch, LOGIN, PEER, "m1")).await;
    assert_eq!(quarantine::count(&store).await.unwrap(), 0);
    store.close().await;
}

async fn a_damaged_event_is_found_and_mended(database: Database) {
    let store = database.open().await;
    let event = |id: &str| NewEvent {
        event_id: id.to_owned(),
        room_id: ROOM.to_owned(),
        sender: LOGIN.to_owned(),
        kind: "m.room.encrypted".to_owned(),
        body: format!("the body of {id}"),
    };
    let transaction = Transaction {
        hs: "example.org".to_owned(),
        txn_id: "1".to_owned(),
        received_ts: 1,
        events: vec![event("$a"), event("$b")],
        ..Transaction::default()
    };
    inbox::accept(&store, transaction).await.unwrap();
    database
        .execute("UPDATE inbox SET body = CAST('x' AS BYTES) WHERE event_id = '$a'")
        .await;
    let read = inbox::next(&store, ROOM, 0, 9).await;
    assert!(matches!(read, Err(Error::Corrupt { .. })));
    let heads = inbox::heads(&store, ROOM, 0, 9).await.unwrap();
    let ids: Vec<_> = heads.iter().map(|head| head.event_id.as_str()).collect();
    assert_eq!(ids, ["$a", "$b"]);
    let second = inbox::next(&store, ROOM, heads[1].seq - 1, 1)
        .await
        .unwrap();
    assert_eq!(second[0].event_id, "$b");

    commit(&store, |batch| {
        inbox::set_body(batch, "$a", "as it was".to_owned());
    })
    .await;
    let read = inbox::next(&store, ROOM, 0, 9).await.unwrap();
    assert_eq!(read[0].body, "as it was");
    store.close().await;
}

async fn a_message_waits_for_its_event(database: Database) {
    let store = database.open().await;
    let holds = async || {
        sends::holds(&store, ROOM, PEER, "stanza of s1")
            .await
            .unwrap()
    };
    assert!(!holds().await);
    commit(&store, |batch| sends::put(batch, send("s1"))).await;
    assert!(holds().await);
    let seq = sends::next(&store, ROOM, 0, 1).await.unwrap()[0].seq;
    commit(&store, |batch| sends::quarantine(batch, seq, 1, "no")).await;
    assert!(!holds().await, "nobody waits for what was set aside");
    store.close().await;
}
