use store::{
    Batch, Store, inbox,
    messages::{self, Direction, Message, Status},
    outbox, portals,
    preferences::{self, Preferences},
    prune,
    reports::{self, Kind, NewReport},
    undecryptable,
};
use tests::database::Database;

crate::on_both! {
    a_report_is_told_in_versions,
    the_sender_is_told_each_status_once,
    what_waits_is_found,
    placeholders_are_remembered,
    preferences_have_defaults,
}

const LOGIN: &str = "@alice:example.org";
const PEER: &str = "123@s.whatsapp.net";
const ROOM: &str = "!room:example.org";

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).await.unwrap();
}

fn report(about: &str, kind: Kind, body: &str, loud: bool) -> NewReport {
    NewReport {
        about: about.to_owned(),
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        kind,
        reason: "network".to_owned(),
        body: body.to_owned(),
        loud,
        created_ts: 5,
    }
}

async fn a_report_is_told_in_versions(database: Database) {
    let store = database.open().await;
    let waiting = report("$a", Kind::Waiting, "wait", false);
    commit(&store, |batch| reports::put(batch, &waiting)).await;
    commit(&store, |batch| reports::put(batch, &waiting)).await;
    let found = reports::get(&store, "$a").await.unwrap().unwrap();
    assert!((found.version, found.told) == (1, 0) && found.report == waiting);

    commit(&store, |batch| {
        reports::told(batch, "$a", 1, Some(ROOM), Some("$notice"));
        reports::tried(batch, "$a");
        reports::put(batch, &report("$a", Kind::Failed, "failed", true));
    })
    .await;
    let chat = reports::of_chat(&store, LOGIN, PEER).await.unwrap();
    let found = chat.first().unwrap();
    assert_eq!((found.version, found.told, found.attempts), (2, 1, 1));
    assert_eq!(found.notice_event.as_deref(), Some("$notice"));
    assert!(found.report.loud && found.report.kind == Kind::Failed);
    let chats = [(LOGIN.to_owned(), PEER.to_owned())];
    assert_eq!(reports::chats(&store).await.unwrap(), chats);

    // An older telling does not undo a newer one, and what has changed is not forgotten.
    commit(&store, |batch| {
        reports::told(batch, "$a", 2, Some(ROOM), Some("$notice"));
        reports::told(batch, "$a", 1, None, None);
        reports::over(batch, "$a", 1);
    })
    .await;
    let found = reports::get(&store, "$a").await.unwrap().unwrap();
    assert_eq!((found.version, found.told), (2, 2));
    assert!(reports::chats(&store).await.unwrap().is_empty());
    commit(&store, |batch| reports::over(batch, "$a", 2)).await;
    assert!(reports::get(&store, "$a").await.unwrap().is_none());

    commit(&store, |batch| reports::put(batch, &waiting)).await;
    commit(&store, |batch| prune::reports(batch, 5)).await;
    assert!(reports::get(&store, "$a").await.unwrap().is_some());
    commit(&store, |batch| reports::done(batch, "$a")).await;
    assert!(reports::get(&store, "$a").await.unwrap().is_none());
    store.close().await;
}

fn message(id: &str, direction: Direction, ts: i64) -> Message {
    Message {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: id.to_owned(),
        event_id: Some(format!("${id}")),
        room_id: ROOM.to_owned(),
        direction,
        status: Status::Pending,
        ts,
        kind: messages::Kind::Message,
        target: None,
        gone: false,
    }
}

async fn the_sender_is_told_each_status_once(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        messages::put(batch, &message("a", Direction::Out, 1));
        messages::put(batch, &message("b", Direction::Out, 2));
        messages::put(batch, &message("c", Direction::In, 3));
    })
    .await;
    let ids = |found: Vec<Message>| -> Vec<String> {
        found.into_iter().map(|message| message.stanza_id).collect()
    };
    let untold = async || ids(messages::untold(&store, LOGIN, PEER, 10).await.unwrap());
    assert!(untold().await.is_empty());
    commit(&store, |batch| {
        messages::advance(batch, LOGIN, PEER, "a", Status::Sent);
        messages::advance(batch, LOGIN, PEER, "b", Status::Failed);
        messages::advance(batch, LOGIN, PEER, "c", Status::Read);
    })
    .await;
    assert_eq!(untold().await, ["a"]);
    let chats = [(LOGIN.to_owned(), PEER.to_owned())];
    assert_eq!(messages::untold_chats(&store).await.unwrap(), chats);
    commit(&store, |batch| {
        messages::told(batch, LOGIN, PEER, "a", Status::Sent);
    })
    .await;
    assert!(untold().await.is_empty());
    assert!(messages::last_read(&store, ROOM).await.unwrap().is_none());
    commit(&store, |batch| {
        messages::advance(batch, LOGIN, PEER, "a", Status::Read);
        messages::advance(batch, LOGIN, PEER, "b", Status::Delivered);
    })
    .await;
    assert_eq!(untold().await, ["a", "b"]);
    commit(&store, |batch| {
        messages::told(batch, LOGIN, PEER, "a", Status::Read);
        messages::told(batch, LOGIN, PEER, "b", Status::Delivered);
        messages::advance(batch, LOGIN, PEER, "a", Status::Played);
    })
    .await;
    assert!(untold().await.is_empty());
    let read = messages::last_read(&store, ROOM).await.unwrap().unwrap();
    assert_eq!(read.stanza_id, "a");
    store.close().await;
}

async fn what_waits_is_found(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        portals::put(
            batch,
            &portals::NewPortal {
                login: LOGIN.to_owned(),
                peer: PEER.to_owned(),
                ghost: "@whatsapp_123:example.org".to_owned(),
                room_id: Some(ROOM.to_owned()),
                encrypted: true,
                bot_joined: true,
                state: portals::State::Active,
            },
        );
        messages::put(batch, &message("out", Direction::Out, 1));
        outbox::put(
            batch,
            outbox::NewStanza {
                login: LOGIN.to_owned(),
                peer: PEER.to_owned(),
                stanza_id: "out".to_owned(),
                kind: outbox::Kind::Message,
                stanza: b"stanza".to_vec(),
                event_id: Some("$out".to_owned()),
            },
        );
    })
    .await;
    let event = |event_id: &str, sender: &str, kind: &str| inbox::NewEvent {
        event_id: event_id.to_owned(),
        room_id: ROOM.to_owned(),
        sender: sender.to_owned(),
        kind: kind.to_owned(),
        body: "{}".to_owned(),
    };
    let transaction = inbox::Transaction {
        hs: "example.org".to_owned(),
        txn_id: "1".to_owned(),
        received_ts: 10,
        events: vec![
            event("$in", LOGIN, "m.room.encrypted"),
            event("$other", "@bob:example.org", "m.room.encrypted"),
            event("$member", LOGIN, "m.room.member"),
        ],
        ..inbox::Transaction::default()
    };
    inbox::accept(&store, transaction).await.unwrap();

    let ids = |found: Vec<reports::Overdue>| -> Vec<String> {
        found.into_iter().map(|overdue| overdue.event_id).collect()
    };
    let unread = async |before, loud| {
        let found = reports::unread_since(&store, before, loud, 10).await;
        ids(found.unwrap())
    };
    let unsent = async |before, loud| {
        let found = reports::unsent_since(&store, before, loud, 10).await;
        ids(found.unwrap())
    };
    assert!(unread(10, false).await.is_empty() && unsent(1, false).await.is_empty());
    assert_eq!(unread(11, false).await, ["$in"]);
    assert_eq!(unsent(2, false).await, ["$out"]);
    commit(&store, |batch| {
        reports::put(batch, &report("$in", Kind::Waiting, "wait", false));
        reports::put(batch, &report("$out", Kind::Waiting, "wait", true));
    })
    .await;
    assert!(unread(11, false).await.is_empty() && unsent(2, false).await.is_empty());
    assert_eq!(unread(11, true).await, ["$in"], "a notice is still due");
    assert!(unsent(2, true).await.is_empty());
    commit(&store, |batch| {
        reports::done(batch, "$out");
        messages::advance(batch, LOGIN, PEER, "out", Status::Sent);
    })
    .await;
    assert!(unsent(2, false).await.is_empty());
    store.close().await;
}

async fn placeholders_are_remembered(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        undecryptable::count(batch, LOGIN, PEER, "x", 7);
    })
    .await;
    let chats = [(LOGIN.to_owned(), PEER.to_owned())];
    assert!(
        undecryptable::unannounced(&store, 7)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(undecryptable::unannounced(&store, 8).await.unwrap(), chats);
    commit(&store, |batch| {
        undecryptable::set_placeholder(batch, LOGIN, PEER, "x", "$stands");
        undecryptable::count(batch, LOGIN, PEER, "x", 9);
    })
    .await;
    assert!(
        undecryptable::unannounced(&store, 8)
            .await
            .unwrap()
            .is_empty()
    );
    let rows = undecryptable::of_chat(&store, LOGIN, PEER).await.unwrap();
    let row = rows.get("x").unwrap();
    assert_eq!(
        (row.retries, row.placeholder.as_deref()),
        (2, Some("$stands"))
    );
    commit(&store, |batch| {
        undecryptable::count(batch, LOGIN, PEER, "reaction", 1);
        undecryptable::hide(batch, LOGIN, PEER, "reaction");
    })
    .await;
    assert!(
        undecryptable::unannounced(&store, 8)
            .await
            .unwrap()
            .is_empty()
    );
    let rows = undecryptable::of_chat(&store, LOGIN, PEER).await.unwrap();
    let row = rows.get("reaction").unwrap();
    assert!(row.placeholder.is_none() && row.hidden);
    store.close().await;
}

async fn preferences_have_defaults(database: Database) {
    let store = database.open().await;
    let shown = async || preferences::get(&store, LOGIN).await.unwrap().read_receipts;
    assert!(shown().await);
    for read_receipts in [false, true] {
        commit(&store, |batch| {
            preferences::put(batch, LOGIN, Preferences { read_receipts });
        })
        .await;
        assert_eq!(shown().await, read_receipts);
    }
    store.close().await;
}
