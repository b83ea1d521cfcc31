//! What was said in a room stands in the inbox in its order, by whatever way it came.

use store::{
    Batch, Store,
    inbox::{self, NewEvent, State, Timeline, Told, Transaction},
    meta,
};
use tests::database::Database;

crate::on_both! {
    what_is_held_waits_until_it_has_its_place,
    what_was_found_goes_before_what_was_said_later,
    what_overtook_another_stands_behind_it,
    what_is_worked_on_stays_where_it_is,
    a_deleted_event_does_not_come_after_all,
    places_are_given_all_or_none,
}

const ROOM: &str = "!room:example.org";
const OTHER: &str = "!other:example.org";

fn event(id: &str, room: &str) -> NewEvent {
    NewEvent {
        event_id: id.to_owned(),
        room_id: room.to_owned(),
        sender: "@alice:example.org".to_owned(),
        kind: "m.room.encrypted".to_owned(),
        body: format!("body of {id}"),
    }
}

/// Takes a transaction with these events of rooms.
async fn comes(store: &Store, held: bool, events: &[(&str, &str)]) {
    let transaction = Transaction {
        hs: "example.org".to_owned(),
        txn_id: format!("{events:?}"),
        received_ts: 1000,
        events: events.iter().map(|(id, room)| event(id, room)).collect(),
        held,
        ..Transaction::default()
    };
    inbox::accept(store, transaction).await.unwrap();
}

/// A room that shows these events.
fn shows(room: &str, events: &[&str]) -> Timeline {
    let events = events.iter().map(|id| Told::Event(event(id, room)));
    Timeline {
        room_id: room.to_owned(),
        events: events.collect(),
    }
}

/// Places what rooms show; gives the rooms that go on and how many events were found.
async fn place(store: &Store, rooms: Vec<Timeline>) -> (Vec<String>, usize) {
    let mut time = 5000;
    let arrival = || {
        time += 1;
        time
    };
    let placed = inbox::place(store, Batch::new(), rooms, arrival).await;
    let placed = placed.unwrap();
    (placed.rooms, placed.found)
}

/// The events that can be handled, in order. Each must be whole, and have come later than the one before it.
async fn order(store: &Store, room: &str) -> Vec<String> {
    let events = inbox::next(store, room, 0, 100).await.unwrap();
    assert!(events.is_sorted_by(|a, b| a.seq < b.seq && a.received_ts < b.received_ts));
    events
        .into_iter()
        .map(|event| {
            assert_eq!(event.body, format!("body of {}", event.event_id));
            assert_eq!((event.state, event.attempts), (State::New, 0));
            event.event_id
        })
        .collect()
}

async fn what_is_held_waits_until_it_has_its_place(database: Database) {
    let store = database.open().await;
    comes(&store, true, &[("$a", ROOM), ("$b", OTHER)]).await;
    assert!(order(&store, ROOM).await.is_empty());
    assert!(inbox::rooms(&store).await.unwrap().is_empty());
    let owner = "@alice:example.org";
    assert!(inbox::rooms_of(&store, owner).await.unwrap().is_empty());
    assert!(inbox::heads(&store, ROOM, 0, 9).await.unwrap().is_empty());
    assert_eq!(inbox::count(&store, State::Held).await.unwrap(), 2);
    let seq = inbox::get(&store, "$a").await.unwrap().unwrap().seq;

    // After a crash it is held all the same.
    store.close().await;
    let store = database.open().await;
    assert!(order(&store, ROOM).await.is_empty());
    let (mut rooms, found) = place(&store, vec![shows(ROOM, &["$a"])]).await;
    rooms.sort();
    assert_eq!((rooms, found), (vec![OTHER.to_owned(), ROOM.to_owned()], 0));
    assert_eq!(order(&store, ROOM).await, ["$a"]);
    assert_eq!(order(&store, OTHER).await, ["$b"]);
    let event = inbox::get(&store, "$a").await.unwrap().unwrap();
    assert_eq!(event.seq, seq, "what stands right is not moved");
    assert_eq!(place(&store, vec![shows(ROOM, &["$a"])]).await, (vec![], 0));
    store.close().await;
}

async fn what_was_found_goes_before_what_was_said_later(database: Database) {
    let store = database.open().await;
    comes(&store, true, &[("$2", ROOM), ("$x", OTHER), ("$4", ROOM)]).await;
    // This came after the room was read.
    comes(&store, true, &[("$6", ROOM)]).await;
    let rooms = vec![shows(ROOM, &["$1", "$2", "$3", "$4", "$5"])];
    assert_eq!(place(&store, rooms).await.1, 3);
    let whole = ["$1", "$2", "$3", "$4", "$5", "$6"];
    assert_eq!(order(&store, ROOM).await, whole);
    assert_eq!(order(&store, OTHER).await, ["$x"]);

    // The homeserver sends it after all, and what is new goes on behind all of it.
    comes(&store, false, &[("$3", ROOM), ("$7", ROOM)]).await;
    let events = inbox::next(&store, ROOM, 0, 100).await.unwrap();
    let ids: Vec<_> = events.iter().map(|event| &*event.event_id).collect();
    assert_eq!(ids, [&whole[..], &["$7"]].concat());
    store.close().await;
}

async fn what_overtook_another_stands_behind_it(database: Database) {
    let store = database.open().await;
    let names: Vec<String> = (0..100).map(|n| format!("${n}")).collect();
    let told: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut came: Vec<(&str, &str)> = told.iter().map(|id| (*id, ROOM)).collect();
    // The first ten stand right, the others came the wrong way round.
    came[10..].reverse();
    comes(&store, true, &came).await;
    assert_eq!(place(&store, vec![shows(ROOM, &told)]).await.1, 0);
    assert_eq!(order(&store, ROOM).await, told);
    store.close().await;
}

async fn what_is_worked_on_stays_where_it_is(database: Database) {
    let store = database.open().await;
    comes(&store, false, &[("$1", ROOM), ("$2", ROOM)]).await;
    let worked_on = inbox::next(&store, ROOM, 0, 100).await.unwrap();
    comes(&store, true, &[("$4", ROOM)]).await;
    place(&store, vec![shows(ROOM, &["$1", "$2", "$3", "$4"])]).await;
    assert_eq!(order(&store, ROOM).await, ["$1", "$2", "$3", "$4"]);
    let mut batch = Batch::new();
    for event in worked_on {
        inbox::done(&mut batch, event.seq);
    }
    store.commit(batch).await.unwrap();
    assert_eq!(order(&store, ROOM).await, ["$3", "$4"]);
    store.close().await;
}

async fn a_deleted_event_does_not_come_after_all(database: Database) {
    let store = database.open().await;
    comes(&store, true, &[("$here", ROOM)]).await;
    let gone = |id: &str| Told::Gone(id.to_owned());
    let room = Timeline {
        room_id: ROOM.to_owned(),
        events: vec![
            Told::Other("$of others".to_owned()),
            gone("$gone"),
            gone("$here"),
            Told::Event(event("$deletion", ROOM)),
        ],
    };
    assert_eq!(place(&store, vec![room]).await.1, 1);
    let events = [("$gone", ROOM), ("$of others", ROOM)];
    comes(&store, false, &events).await;
    // What came before it was deleted is handled.
    let ids: Vec<_> = inbox::next(&store, ROOM, 0, 9).await.unwrap();
    let ids: Vec<_> = ids.iter().map(|event| &*event.event_id).collect();
    assert_eq!(ids, ["$here", "$deletion", "$of others"]);
    store.close().await;
}

async fn places_are_given_all_or_none(database: Database) {
    let store = database.open().await;
    comes(&store, true, &[("$2", ROOM)]).await;
    // Something else in the same commit is refused.
    let mut batch = Batch::new();
    meta::put(&mut batch, "read", "here");
    inbox::done(&mut batch, 4711);
    let rooms = vec![shows(ROOM, &["$1", "$2"])];
    let refused = inbox::place(&store, batch, rooms, || 5000).await;
    assert!(refused.unwrap_err().is_conflict());
    assert!(order(&store, ROOM).await.is_empty());
    assert_eq!(meta::get(&store, "read").await.unwrap(), None);
    assert_eq!(place(&store, vec![shows(ROOM, &["$1", "$2"])]).await.1, 1);
    assert_eq!(order(&store, ROOM).await, ["$1", "$2"]);
    store.close().await;
}
