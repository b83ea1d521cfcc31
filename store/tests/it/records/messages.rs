//! Messages, and what is about them.

use store::{
    fading::{self, Fading},
    inbox::{self, NewEvent, Transaction},
    messages::{self, Direction, Kind, Message, Status},
    prune,
};
use tests::database::Database;

use super::{LOGIN, PEER, commit};

crate::on_both! {
    a_status_only_moves_on,
    read_markers_find_their_messages,
    the_latest_moment_is_known,
    what_is_about_a_message,
    messages_fade,
}

async fn a_status_only_moves_on(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        messages::put(batch, &message("1", Direction::Out, 1))
    })
    .await;
    for (to, now) in [
        (Status::Failed, Status::Failed),
        (Status::Delivered, Status::Delivered),
        (Status::Sent, Status::Delivered),
        (Status::Read, Status::Read),
        (Status::Delivered, Status::Read),
        (Status::Played, Status::Played),
    ] {
        commit(&store, |batch| {
            messages::advance(batch, LOGIN, PEER, "1", to)
        })
        .await;
        assert_eq!(
            messages::get(&store, LOGIN, PEER, "1")
                .await
                .unwrap()
                .unwrap()
                .status,
            now
        );
    }
    commit(&store, |batch| {
        messages::put(batch, &message("2", Direction::Out, 1));
        prune::messages(batch, 2);
    })
    .await;
    assert!(
        messages::get(&store, LOGIN, PEER, "1")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        messages::get(&store, LOGIN, PEER, "2")
            .await
            .unwrap()
            .is_some(),
        "not delivered yet"
    );
    commit(&store, |batch| {
        messages::set_gone(batch, LOGIN, PEER, "2");
        prune::messages(batch, 2);
    })
    .await;
    assert_eq!(
        messages::count(&store).await.unwrap(),
        0,
        "deleted before it went"
    );
    store.close().await;
}

async fn the_latest_moment_is_known(database: Database) {
    let store = database.open().await;
    assert_eq!(messages::latest(&store).await.unwrap(), None);
    let event = |id: &str| NewEvent {
        event_id: id.into(),
        room_id: "!room".into(),
        sender: LOGIN.into(),
        kind: "m.room.encrypted".into(),
        body: "{}".into(),
    };
    let transaction = Transaction {
        hs: "example.org".into(),
        txn_id: "1".into(),
        received_ts: 7,
        events: ["$a", "$b"].map(event).into(),
        ..Transaction::default()
    };
    inbox::accept(&store, transaction).await.unwrap();
    assert_eq!(messages::latest(&store).await.unwrap(), Some(8));
    commit(&store, |batch| {
        messages::put(batch, &message("1", Direction::Out, 9));
        messages::put(batch, &message("2", Direction::In, 3));
    })
    .await;
    assert_eq!(messages::latest(&store).await.unwrap(), Some(9));
    store.close().await;
}

async fn read_markers_find_their_messages(database: Database) {
    let store = database.open().await;
    commit(&store, |batch| {
        for (id, direction, ts) in [
            ("a", Direction::In, 10),
            ("b", Direction::In, 20),
            ("c", Direction::Out, 30),
            ("d", Direction::In, 40),
        ] {
            messages::put(batch, &message(id, direction, ts));
        }
    })
    .await;
    let room = "!room:example.org";
    let last = messages::last_until(&store, room, Direction::In, 35)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last.stanza_id, "b");
    let unread = |messages: Vec<Message>| {
        messages
            .into_iter()
            .map(|m| m.stanza_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        unread(messages::unread_until(&store, room, 40, 10).await.unwrap()),
        ["d", "b", "a"]
    );
    commit(&store, |batch| {
        messages::advance(batch, LOGIN, PEER, "b", Status::Read)
    })
    .await;
    assert_eq!(
        unread(messages::unread_until(&store, room, 30, 10).await.unwrap()),
        ["a"]
    );
    assert!(
        messages::last_until(&store, room, Direction::In, 9)
            .await
            .unwrap()
            .is_none()
    );
    store.close().await;
}

async fn what_is_about_a_message(database: Database) {
    let store = database.open().await;
    let about = |id: &str, kind, ts| Message {
        kind,
        target: Some("1".to_owned()),
        ..message(id, Direction::In, ts)
    };
    commit(&store, |batch| {
        messages::put(batch, &message("1", Direction::In, 1));
        messages::put(batch, &about("3", Kind::Edit, 3));
        messages::put(batch, &about("2", Kind::Reaction, 2));
        messages::put(batch, &message("4", Direction::In, 4));
    })
    .await;
    commit(&store, |batch| messages::set_gone(batch, LOGIN, PEER, "2")).await;
    let found = messages::about(&store, LOGIN, PEER, "1").await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|row| (row.stanza_id.as_str(), row.kind, row.gone))
        .collect();
    assert_eq!(
        found,
        [("2", Kind::Reaction, true), ("3", Kind::Edit, false)]
    );
    let unread = messages::unread_until(&store, "!room:example.org", 9, 9)
        .await
        .unwrap();
    let unread: Vec<_> = unread.iter().map(|row| row.stanza_id.as_str()).collect();
    assert_eq!(unread, ["4", "1"], "a reaction is not read");
    store.close().await;
}

async fn messages_fade(database: Database) {
    let store = database.open().await;
    let fade = |id: &str, due_ts, when_read| Fading {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: id.to_owned(),
        room_id: "!room:example.org".to_owned(),
        due_ts,
        when_read,
    };
    commit(&store, |batch| {
        messages::put(batch, &message("1", Direction::In, 1));
        messages::put(batch, &message("2", Direction::In, 2));
        fading::put(batch, &fade("1", 100, true));
        fading::put(batch, &fade("2", 50, false));
        fading::put(batch, &fade("2", 10, false));
    })
    .await;
    assert_eq!(fading::next(&store).await.unwrap(), Some(50));
    assert!(fading::due(&store, 49, 9).await.unwrap().is_empty());
    let room = "!room:example.org";
    assert!(fading::unread(&store, room, 0, 9).await.unwrap().is_empty());
    let read = fading::unread(&store, room, 9, 9).await.unwrap();
    assert_eq!(read.len(), 1);
    commit(&store, |batch| fading::set_due(batch, &read[0], 20)).await;
    let due = fading::due(&store, 50, 9).await.unwrap();
    let ids: Vec<_> = due.iter().map(|row| row.stanza_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    commit(&store, |batch| {
        due.iter().for_each(|row| fading::done(batch, row))
    })
    .await;
    assert_eq!(fading::next(&store).await.unwrap(), None);
    store.close().await;
}

fn message(stanza_id: &str, direction: Direction, ts: i64) -> Message {
    Message {
        login: LOGIN.to_owned(),
        peer: PEER.to_owned(),
        stanza_id: stanza_id.to_owned(),
        event_id: Some(format!("${stanza_id}")),
        room_id: "!room:example.org".to_owned(),
        direction,
        status: Status::Pending,
        ts,
        kind: Kind::Message,
        target: None,
        gone: false,
    }
}
