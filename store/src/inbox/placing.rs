//! Giving events their place when they did not come in their order.
//!
//! The homeserver may forget to tell of an event, and tell of later ones. While that is possible, what comes is put in as
//! [`State::Held`]; then the rooms are read, and here what stands in them is compared with what came. No one works on
//! held rows, so they can be moved; what is found, what is moved and what is let go is one commit.

use std::collections::HashMap;

use super::{NewEvent, PUT, SEEN, State, put, seen};
use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Set, Value, args},
    db::Row,
    opaque::opaque,
};

/// An event as its room shows it.
pub enum Told {
    /// It is to be handled, if it has not come before.
    Event(NewEvent),
    /// Nothing is left of it. If it has not come before, it never will.
    Gone(String),
    /// It says where others stand.
    Other(String),
}

/// What was said in a room.
pub struct Timeline {
    /// Room id.
    pub room_id: String,
    /// Oldest first.
    pub events: Vec<Told>,
}

opaque!(Told, Timeline, Raw);

impl Told {
    fn id(&self) -> &str {
        match self {
            Self::Event(event) => &event.event_id,
            Self::Gone(id) | Self::Other(id) => id,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Placed {
    /// Rooms that have something to handle now.
    pub rooms: Vec<String>,
    /// How many events had not come.
    pub found: usize,
}

static LET_GO: Set = Set {
    table: "inbox",
    keys: &["seq"],
    values: 0,
    set: "state = 'new'",
    when: "state = 'held'",
};
static TAKE: Delete = Delete {
    table: "inbox",
    keys: &["seq"],
};

/// A held event that keeps its place or gets another one, or one that was found.
enum Item {
    Held(i64),
    Found(NewEvent),
}

/// A row as it stands in the database.
struct Raw {
    seq: i64,
    event_id: String,
    sender: String,
    kind: String,
    /// Sealed. That depends on the event, not on its place.
    body: Vec<u8>,
}

/// Puts in what the rooms say and did not come, lets go all that is held, each room in its order, and writes `batch`: durably,
/// all or nothing. A held event that its room does not show came after the room was read. `arrival` gives rising times.
///
/// Call it for one reading at a time, and not while a transaction is accepted.
pub async fn place(
    store: &Store,
    mut batch: Batch,
    rooms: Vec<Timeline>,
    mut arrival: impl FnMut() -> Millis,
) -> Result<Placed, Error> {
    let ids = rooms.iter().flat_map(|room| &room.events).map(Told::id);
    let seen = seen(store, ids).await?;
    let mut all_held: HashMap<String, Vec<(i64, String)>> = HashMap::new();
    for (seq, event_id, room_id) in held(store).await? {
        all_held.entry(room_id).or_default().push((seq, event_id));
    }
    let mut placed = Placed::default();
    for Timeline { room_id, events } in rooms {
        let mut held: HashMap<String, i64> = all_held
            .remove(&room_id)
            .unwrap_or_default()
            .into_iter()
            .map(|(seq, event_id)| (event_id, seq))
            .collect();
        let mut order = Vec::new();
        for told in events {
            if let Some(seq) = held.remove(told.id()) {
                order.push(Item::Held(seq));
            } else if !seen.contains(told.id()) {
                match told {
                    Told::Event(event) => {
                        placed.found += 1;
                        order.push(Item::Found(event));
                    }
                    Told::Gone(id) => {
                        batch.insert(&SEEN, args![id, arrival()]);
                    }
                    Told::Other(_) => {}
                }
            }
        }
        let mut later: Vec<i64> = held.into_values().collect();
        later.sort_unstable();
        order.extend(later.into_iter().map(Item::Held));
        if !order.is_empty() {
            line_up(store, &mut batch, &room_id, order, &mut arrival).await?;
            placed.rooms.push(room_id);
        }
    }
    for (room_id, held) in all_held {
        for (seq, _) in held {
            batch.set(&LET_GO, args![seq]);
        }
        placed.rooms.push(room_id);
    }
    store.commit(batch).await?;
    Ok(placed)
}

/// Has a room's events stand in this order.
async fn line_up(
    store: &Store,
    batch: &mut Batch,
    room_id: &str,
    order: Vec<Item>,
    arrival: &mut impl FnMut() -> Millis,
) -> Result<(), Error> {
    // Those at the beginning that stand right keep their place; all after them gets a new one.
    let mut last = 0;
    let mut moving = Vec::new();
    for item in order {
        match item {
            Item::Held(seq) if moving.is_empty() && seq > last => {
                last = seq;
                batch.set(&LET_GO, args![seq]);
            }
            item => moving.push(item),
        }
    }
    let first = moving.iter().filter_map(|item| match item {
        Item::Held(seq) => Some(*seq),
        Item::Found(_) => None,
    });
    let mut rows: HashMap<i64, Raw> = HashMap::new();
    if let Some(first) = first.min() {
        let found = held_from(store, room_id, first).await?;
        rows.extend(found.into_iter().map(|row| (row.seq, row)));
    }
    for item in &moving {
        if let Item::Held(seq) = item {
            batch.delete(&TAKE, args![*seq]).expect(1);
        }
    }
    for item in moving {
        let (seq, ts) = match item {
            Item::Found(event) => {
                put(batch, event, arrival(), State::New);
                continue;
            }
            Item::Held(seq) => (seq, arrival()),
        };
        let Some(row) = rows.remove(&seq) else {
            return Err(Error::Conflict("a held event is gone".to_owned()));
        };
        let body = Value::Bytes(Some(row.body));
        let row = args![
            row.event_id,
            room_id,
            row.sender,
            row.kind,
            body,
            ts,
            State::New
        ];
        batch.insert(&PUT, row);
    }
    Ok(())
}

/// Position, event and room of all that is held, in order.
async fn held(store: &Store) -> Result<Vec<(i64, String, String)>, Error> {
    let sql = "SELECT seq, event_id, room_id FROM inbox WHERE state = 'held' ORDER BY seq";
    store
        .all(sql, vec![], |row| {
            Ok((row.int(0)?, row.text(1)?, row.text(2)?))
        })
        .await
}

/// The held events of a room from a position on.
async fn held_from(store: &Store, room_id: &str, first: i64) -> Result<Vec<Raw>, Error> {
    let sql = "SELECT seq, event_id, sender, type, body FROM inbox \
               WHERE room_id = $1 AND seq >= $2 AND state = 'held' ORDER BY seq";
    let row = |row: &Row<'_>| {
        Ok(Raw {
            seq: row.int(0)?,
            event_id: row.text(1)?,
            sender: row.text(2)?,
            kind: row.text(3)?,
            body: row.bytes(4)?,
        })
    };
    store.all(sql, args![room_id, first], row).await
}
