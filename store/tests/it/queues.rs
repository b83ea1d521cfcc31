use store::{
    Batch, Store,
    inbox::{self, Accepted, NewEvent, State, Transaction, device_changes, to_device},
    messages::{self, Direction, Message, Status},
    outbox::{self, Kind, NewStanza},
    portals::{self, NewPortal},
    prune, quarantine,
    sends::{self, Method, NewSend},
    undecryptable,
};
use tests::database::Database;

crate::on_both! {
    a_transaction_is_accepted_once,
    rooms_keep_their_order,
    waiting_and_quarantine,
    bodies_are_sealed,
    stanzas_leave_when_acknowledged,
    events_leave_when_accepted,
    failures_are_counted,
}

const ROOM: &str = "!room:example.org";
const LOGIN: &str = "@alice:example.org";
const PEER: &str = "123@s.whatsapp.net";

fn event(id: &str, room: &str) -> NewEvent {
    NewEvent {
        event_id: id.to_owned(),
        room_id: room.to_owned(),
        sender: LOGIN.to_owned(),
        kind: "m.room.encrypted".to_owned(),
        body: format!("{{\"event_id\":\"{id}\",\"note\":\"canary\"}}"),
    }
}

fn transaction(id: &str, events: &[(&str, &str)]) -> Transaction {
    Transaction {
        hs: "example.org".to_owned(),
        txn_id: id.to_owned(),
        received_ts: 1000,
        held: false,
        events: events.iter().map(|(id, room)| event(id, room)).collect(),
        to_device: vec![to_device::NewMessage {
            user_id: "@whatsapp_1:example.org".to_owned(),
            device_id: "DEVICE".to_owned(),
            body: format!("{{\"from\":\"{id}\"}}"),
        }],
        device_changes: Some(format!("{{\"txn\":\"{id}\"}}")),
    }
}

async fn ids(store: &Store, room: &str) -> Vec<String> {
    let events = inbox::next(store, room, 0, 100).await.unwrap();
    events.into_iter().map(|event| event.event_id).collect()
}

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).await.unwrap();
}

async fn a_transaction_is_accepted_once(database: Database) {
    let store = database.open().await;
    let first = transaction("1", &[("$a", ROOM), ("$b", ROOM)]);
    assert_eq!(
        inbox::accept(&store, first.clone()).await.unwrap(),
        Accepted::New
    );
    assert_eq!(
        inbox::accept(&store, first.clone()).await.unwrap(),
        Accepted::Duplicate
    );
    assert_eq!(ids(&store, ROOM).await, ["$a", "$b"]);

    // Handled, then sent again: still known.
    let events = inbox::next(&store, ROOM, 0, 1).await.unwrap();
    commit(&store, |batch| inbox::done(batch, events[0].seq)).await;
    assert_eq!(
        inbox::accept(&store, first).await.unwrap(),
        Accepted::Duplicate
    );
    assert_eq!(ids(&store, ROOM).await, ["$b"]);

    // Another transaction with an event and a to-device message that wait already.
    let mut second = transaction("2", &[("$b", ROOM), ("$c", ROOM)]);
    second.to_device[0].body = "{\"from\":\"1\"}".to_owned();
    assert_eq!(inbox::accept(&store, second).await.unwrap(), Accepted::New);
    assert_eq!(ids(&store, ROOM).await, ["$b", "$c"]);
    assert_eq!(to_device::next(&store, 0, 10).await.unwrap().len(), 1);
    let changes = device_changes::next(&store, 0, 10).await.unwrap();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].body, "{\"txn\":\"1\"}");

    // Two at the same time: one wins.
    let third = transaction("3", &[("$d", ROOM)]);
    let (left, right) = tokio::join!(
        inbox::accept(&store, third.clone()),
        inbox::accept(&store, third.clone())
    );
    let outcomes = [left.unwrap(), right.unwrap()];
    assert!(outcomes.contains(&Accepted::New) && outcomes.contains(&Accepted::Duplicate));

    commit(&store, |batch| {
        prune::transactions(batch, 1001);
        device_changes::done(batch, changes[0].seq);
        device_changes::done(batch, changes[1].seq);
    })
    .await;
    assert_eq!(inbox::accept(&store, third).await.unwrap(), Accepted::New);
    assert_eq!(ids(&store, ROOM).await, ["$b", "$c", "$d"]);
    store.close().await;
}

async fn rooms_keep_their_order(database: Database) {
    let store = database.open().await;
    let names: Vec<String> = (0..70).map(|i| format!("${i}")).collect();
    let events: Vec<(&str, &str)> = names
        .iter()
        .enumerate()
        .map(|(i, name)| (name.as_str(), if i % 2 == 0 { "!even:x" } else { "!odd:x" }))
        .collect();
    inbox::accept(&store, transaction("1", &events))
        .await
        .unwrap();
    assert_eq!(inbox::rooms(&store).await.unwrap(), ["!even:x", "!odd:x"]);
    // What a user writes may become a chat of theirs; what others write is theirs once they have the chat.
    assert_eq!(inbox::rooms_of(&store, LOGIN).await.unwrap().len(), 2);
    let owner = "@owner:example.org";
    assert!(inbox::rooms_of(&store, owner).await.unwrap().is_empty());
    let portal = NewPortal {
        login: owner.to_owned(),
        peer: PEER.to_owned(),
        ghost: "@whatsapp_123:example.org".to_owned(),
        room_id: Some("!even:x".to_owned()),
        encrypted: true,
        bot_joined: true,
        state: portals::State::Active,
    };
    commit(&store, |batch| portals::put(batch, &portal)).await;
    assert_eq!(inbox::rooms_of(&store, owner).await.unwrap(), ["!even:x"]);
    let id = portals::by_room(&store, "!even:x")
        .await
        .unwrap()
        .unwrap()
        .id;
    commit(&store, |batch| portals::leave_room(batch, id, "!odd:x")).await;
    assert_eq!(inbox::rooms_of(&store, owner).await.unwrap().len(), 2);
    let even = ids(&store, "!even:x").await;
    assert_eq!(even.len(), 35);
    assert!(
        even.iter()
            .enumerate()
            .all(|(i, id)| *id == format!("${}", 2 * i))
    );
    let page = inbox::next(&store, "!odd:x", 0, 2).await.unwrap();
    let rest = inbox::next(&store, "!odd:x", page[1].seq, 1).await.unwrap();
    assert_eq!(rest[0].event_id, "$5");

    let messages = to_device::next(&store, 0, 10).await.unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].body.as_deref(), Some("{\"from\":\"1\"}"));
    assert_eq!(messages[0].user_id, "@whatsapp_1:example.org");
    // A damaged one keeps nobody from the others.
    database
        .execute("UPDATE inbox_todevice SET body = CAST('damaged' AS BYTES)")
        .await;
    let damaged = to_device::next(&store, 0, 10).await.unwrap();
    assert_eq!((damaged.len(), damaged[0].body.as_deref()), (1, None));
    commit(&store, |batch| to_device::done(batch, messages[0].seq)).await;
    commit(&store, |batch| to_device::done(batch, messages[0].seq)).await;
    assert!(to_device::next(&store, 0, 10).await.unwrap().is_empty());
    store.close().await;
}

async fn waiting_and_quarantine(database: Database) {
    let store = database.open().await;
    inbox::accept(&store, transaction("1", &[("$a", ROOM), ("$b", ROOM)]))
        .await
        .unwrap();
    let first = inbox::get(&store, "$a").await.unwrap().unwrap();
    assert_eq!(
        (first.state, first.attempts, first.reason.as_deref()),
        (State::New, 0, None)
    );
    assert_eq!(first.received_ts, 1000);

    commit(&store, |batch| {
        inbox::put_off(batch, first.seq, State::WaitingKey, 1, 5000, "no key")
    })
    .await;
    let waiting = inbox::next(&store, ROOM, 0, 1).await.unwrap().remove(0);
    assert_eq!(waiting.event_id, "$a", "it keeps its place");
    assert_eq!(
        (waiting.state, waiting.attempts, waiting.next_try_ts),
        (State::WaitingKey, 1, 5000)
    );

    commit(&store, |batch| {
        inbox::quarantine(batch, first.seq, 9, "too often")
    })
    .await;
    assert_eq!(ids(&store, ROOM).await, ["$b"]);
    let quarantined = quarantine::list(&store).await.unwrap();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].reason.as_deref(), Some("too often"));
    assert_eq!(quarantine::count(&store).await.unwrap(), 1);
    assert!(inbox::holds(&store, "$a").await.unwrap());

    commit(&store, |batch| quarantine::replay(batch, &quarantined[0])).await;
    assert_eq!(ids(&store, ROOM).await, ["$a", "$b"]);
    store.close().await;
}

async fn bodies_are_sealed(database: Database) {
    let store = database.open().await;
    inbox::accept(&store, transaction("1", &[("$a", ROOM)]))
        .await
        .unwrap();
    assert!(
        inbox::get(&store, "$a")
            .await
            .unwrap()
            .unwrap()
            .body
            .contains("canary")
    );
    let raw: Vec<u8> = if let Some(path) = database.url().strip_prefix("sqlite:") {
        let pool = sqlx::SqlitePool::connect(path).await.unwrap();
        sqlx::query_scalar("SELECT body FROM inbox")
            .fetch_one(&pool)
            .await
            .unwrap()
    } else {
        let pool = sqlx::PgPool::connect(database.url()).await.unwrap();
        sqlx::query_scalar("SELECT body FROM inbox")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    assert!(!raw.windows(6).any(|window| window == b"canary"));
    if let Some(folder) = database.folder() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"canary"));
        }
    }
    store.close().await;
}

fn stanza(id: &str, kind: Kind) -> NewStanza {
    NewStanza {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: id.to_owned(),
        kind,
        stanza: id.as_bytes().to_vec(),
        event_id: Some(format!("${id}")),
    }
}

async fn stanzas_leave_when_acknowledged(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        for id in ["1", "2", "3"] {
            outbox::put(batch, stanza(id, Kind::Message));
        }
        outbox::put(batch, stanza("1", Kind::Receipt));
    })
    .await;
    let mut again = Batch::new();
    outbox::put(&mut again, stanza("1", Kind::Message));
    assert!(store.commit(again).await.unwrap_err().is_conflict());

    let queued = outbox::next(&store, LOGIN, 0, 10).await.unwrap();
    let shown: Vec<_> = queued
        .iter()
        .map(|s| (s.stanza_id.as_str(), s.kind))
        .collect();
    assert_eq!(
        shown,
        [
            ("1", Kind::Message),
            ("2", Kind::Message),
            ("3", Kind::Message),
            ("1", Kind::Receipt)
        ]
    );
    assert_eq!(queued[0].stanza, b"1");
    assert_eq!(
        outbox::next(&store, LOGIN, queued[1].seq, 1).await.unwrap()[0].stanza_id,
        "3"
    );
    assert_eq!(outbox::logins(&store).await.unwrap(), [LOGIN]);

    commit(&store, |batch| {
        outbox::take(batch, LOGIN, "1", Kind::Message, PEER);
        outbox::take(batch, LOGIN, "1", Kind::Message, PEER);
        outbox::tried(batch, queued[1].seq);
        outbox::replace(
            batch,
            NewStanza {
                stanza: b"anew".to_vec(),
                ..stanza("3", Kind::Message)
            },
        );
    })
    .await;
    let queued = outbox::next(&store, LOGIN, 0, 10).await.unwrap();
    assert_eq!(queued.len(), 3);
    assert_eq!(
        (queued[0].attempts, queued[2].stanza.as_slice()),
        (1, b"anew".as_slice()),
        "what is replaced goes to the end: an acknowledgement of what it was takes nothing"
    );
    assert_eq!(
        outbox::by_stanza(&store, LOGIN, "1").await.unwrap().len(),
        1
    );

    commit(&store, |batch| {
        for stanza in &queued {
            outbox::done(batch, stanza.seq);
        }
        outbox::done(batch, queued[0].seq);
    })
    .await;
    assert_eq!(outbox::count(&store).await.unwrap(), 0);
    assert!(outbox::logins(&store).await.unwrap().is_empty());
    store.close().await;
}

async fn events_leave_when_accepted(database: Database) {
    let store = database.open().await;
    let send = |id: &str| NewSend {
        txn_id: format!("txn{id}"),
        room_id: ROOM.to_owned(),
        sender: "@whatsapp_1:example.org".to_owned(),
        device_id: "DEVICE".to_owned(),
        method: Method::Send,
        event_type: "m.room.encrypted".to_owned(),
        target: None,
        content: format!("{{\"ciphertext\":\"{id}\"}}"),
        ts: 7,
        login: Some(LOGIN.to_owned()),
        peer: Some(PEER.to_owned()),
        stanza_id: Some(id.to_owned()),
    };
    commit(&store, |batch| {
        for id in ["1", "2"] {
            sends::put(batch, send(id));
            messages::put(
                batch,
                &Message {
                    login: LOGIN.to_owned(),
                    peer: PEER.to_owned(),
                    stanza_id: id.to_owned(),
                    event_id: None,
                    room_id: ROOM.to_owned(),
                    direction: Direction::In,
                    status: Status::Pending,
                    ts: 7,
                    kind: messages::Kind::Message,
                    target: None,
                    gone: false,
                },
            );
        }
    })
    .await;
    let mut again = Batch::new();
    sends::put(&mut again, send("1"));
    assert!(store.commit(again).await.unwrap_err().is_conflict());

    assert_eq!(sends::rooms(&store).await.unwrap(), [ROOM]);
    let queued = sends::next(&store, ROOM, 0, 10).await.unwrap();
    assert_eq!(queued[0].event.content, "{\"ciphertext\":\"1\"}");
    commit(&store, |batch| sends::retry(batch, queued[0].seq, 1, 99)).await;
    let first = sends::next(&store, ROOM, 0, 1).await.unwrap().remove(0);
    assert_eq!((first.attempts, first.next_try_ts), (1, 99));

    commit(&store, |batch| sends::accepted(batch, &first, "$made")).await;
    let message = messages::by_event(&store, "$made").await.unwrap().unwrap();
    assert_eq!(
        (message.stanza_id.as_str(), message.status),
        ("1", Status::Sent)
    );
    let mut twice = Batch::new();
    sends::accepted(&mut twice, &first, "$other");
    assert!(store.commit(twice).await.unwrap_err().is_conflict());
    assert!(
        messages::by_event(&store, "$other")
            .await
            .unwrap()
            .is_none()
    );
    commit(&store, |batch| sends::done(batch, queued[1].seq)).await;
    assert_eq!(sends::count(&store).await.unwrap(), 0);
    store.close().await;
}

async fn failures_are_counted(database: Database) {
    let store = database.open().await;
    for now in 1..=3 {
        commit(&store, |batch| {
            undecryptable::count(batch, LOGIN, PEER, "1", now)
        })
        .await;
    }
    let count = undecryptable::get(&store, LOGIN, PEER, "1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((count.retries, count.first_ts, count.last_ts), (3, 1, 3));
    commit(&store, |batch| undecryptable::done(batch, LOGIN, PEER, "1")).await;
    assert!(
        undecryptable::get(&store, LOGIN, PEER, "1")
            .await
            .unwrap()
            .is_none()
    );
    commit(&store, |batch| {
        undecryptable::count(batch, LOGIN, PEER, "2", 1);
        prune::undecryptable(batch, 2);
    })
    .await;
    assert!(
        undecryptable::get(&store, LOGIN, PEER, "2")
            .await
            .unwrap()
            .is_none()
    );
    store.close().await;
}
