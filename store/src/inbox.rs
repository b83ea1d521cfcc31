//! Events from the homeserver that are not handled yet, one queue per room.

pub mod device_changes;
mod placing;
pub mod to_device;

use std::collections::HashSet;

pub use self::placing::{Placed, Timeline, Told, place};
use crate::{
    Batch, Error, Millis, Secret, Store,
    batch::{Delete, Insert, OnConflict, Update, Value, args, key},
    db::Row,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// Where an event stands.
    State in "inbox" {
        /// To be handled when its turn comes.
        New = "new",
        /// Its room key has not come yet.
        WaitingKey = "waiting_key",
        /// Something may stand before it that has not come: nobody handles it before [`place`] has given it its place.
        Held = "held",
        /// Given up; an operator may replay it. It no longer holds up its room.
        Quarantined = "quarantined",
    }
}

/// An event as it came, to be put in.
#[derive(Clone)]
pub struct NewEvent {
    /// Event id; a second event with the same id is ignored.
    pub event_id: String,
    /// Room id.
    pub room_id: String,
    /// Matrix id of the sender.
    pub sender: String,
    /// Event type.
    pub kind: String,
    /// The event's JSON as received. Sealed in the database: rooms without encryption have open text here.
    pub body: String,
}

/// An event in the inbox.
#[derive(Clone)]
pub struct Event {
    /// Position; later events have higher ones.
    pub seq: i64,
    /// Event id.
    pub event_id: String,
    /// Room id.
    pub room_id: String,
    /// Matrix id of the sender.
    pub sender: String,
    /// Event type.
    pub kind: String,
    /// The event's JSON as received.
    pub body: String,
    /// When it came. Later events of a room have later times.
    pub received_ts: Millis,
    /// Tries that failed so far.
    pub attempts: u32,
    /// Not before.
    pub next_try_ts: Millis,
    /// Where it stands.
    pub state: State,
    /// Why it waits or was given up. Must not hold content.
    pub reason: Option<String>,
}

/// One homeserver transaction, written whole before it is answered.
#[derive(Clone, Default)]
pub struct Transaction {
    /// Name of the homeserver.
    pub hs: String,
    /// Transaction id.
    pub txn_id: String,
    /// Now. Each event has a millisecond of its own from here on.
    pub received_ts: Millis,
    /// Events, in order.
    pub events: Vec<NewEvent>,
    /// Whether they are to be [`State::Held`].
    pub held: bool,
    /// To-device messages, in order.
    pub to_device: Vec<to_device::NewMessage>,
    /// Device lists and key counts as JSON, if there are any.
    pub device_changes: Option<String>,
}

/// What is known of an event without opening it.
#[derive(Clone)]
pub struct Head {
    /// Position.
    pub seq: i64,
    /// Event id.
    pub event_id: String,
    /// Room id.
    pub room_id: String,
    /// Matrix id of the sender.
    pub sender: String,
    /// Event type.
    pub kind: String,
    /// Tries that failed so far.
    pub attempts: u32,
}

impl Event {
    /// What is known of it without opening it.
    pub fn head(&self) -> Head {
        Head {
            seq: self.seq,
            event_id: self.event_id.clone(),
            room_id: self.room_id.clone(),
            sender: self.sender.clone(),
            kind: self.kind.clone(),
            attempts: self.attempts,
        }
    }
}

opaque!(NewEvent, Event, Head, Transaction);

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the inbox.
    New,
    /// It had been accepted before.
    Duplicate,
}

static TXN: Insert = Insert {
    table: "inbox_txns",
    columns: &["hs", "txn_id", "received_ts"],
    key: 2,
    conflict: OnConflict::Ignore,
};
static PUT: Insert = Insert {
    table: "inbox",
    columns: &[
        "event_id",
        "room_id",
        "sender",
        "type",
        "body",
        "received_ts",
        "state",
    ],
    key: 1,
    conflict: OnConflict::Ignore,
};
static SEEN: Insert = Insert {
    table: "inbox_events",
    columns: &["event_id", "received_ts"],
    key: 1,
    conflict: OnConflict::Ignore,
};
static DONE: Delete = Delete {
    table: "inbox",
    keys: &["seq"],
};
static STATE: Update = Update {
    table: "inbox",
    key: 1,
    sql: "UPDATE inbox SET state = $2, attempts = $3, next_try_ts = $4, reason = $5 WHERE seq = $1",
};
static BODY: Update = Update {
    table: "inbox",
    key: 1,
    sql: "UPDATE inbox SET body = $2 WHERE event_id = $1",
};
static REPLAY: Update = Update {
    table: "inbox",
    key: 1,
    sql: "UPDATE inbox SET state = 'new', attempts = 0, next_try_ts = 0, reason = NULL WHERE seq = $1",
};

/// Writes a transaction durably. The same transaction again changes nothing, and neither does an event that came before in
/// another one. Call it for one transaction at a time.
pub async fn accept(store: &Store, transaction: Transaction) -> Result<Accepted, Error> {
    let Transaction {
        hs,
        txn_id,
        received_ts,
        events,
        held,
        to_device,
        device_changes,
    } = transaction;
    if is_known(store, &hs, &txn_id).await? {
        return Ok(Accepted::Duplicate);
    }
    let mut batch = Batch::new();
    batch
        .insert(&TXN, args![&hs, &txn_id, received_ts])
        .expect(1);
    let seen = seen(store, events.iter().map(|event| event.event_id.as_str())).await?;
    let state = if held { State::Held } else { State::New };
    for (event, ts) in events.into_iter().zip(received_ts..) {
        if !seen.contains(&event.event_id) {
            put(&mut batch, event, ts, state);
        }
    }
    for message in to_device {
        to_device::put(&mut batch, message);
    }
    if let Some(body) = device_changes {
        device_changes::put(&mut batch, &body);
    }
    match store.commit(batch).await {
        Ok(()) => Ok(Accepted::New),
        // The homeserver asked twice at the same time, or the answer to the first commit was lost.
        Err(Error::Conflict(_)) if is_known(store, &hs, &txn_id).await? => Ok(Accepted::Duplicate),
        Err(error) => Err(error),
    }
}

fn put(batch: &mut Batch, event: NewEvent, ts: Millis, state: State) {
    let NewEvent {
        event_id,
        room_id,
        sender,
        kind,
        body,
    } = event;
    batch.insert(&SEEN, args![&event_id, ts]);
    let body = Value::secret("body", Secret::new(body));
    let row = args![event_id, room_id, sender, kind, body, ts, state];
    batch.insert(&PUT, row);
}

/// Which of these events came before.
async fn seen<'a>(
    store: &Store,
    events: impl Iterator<Item = &'a str>,
) -> Result<HashSet<String>, Error> {
    let sql = "SELECT event_id FROM inbox_events WHERE event_id IN \
               ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let events: Vec<&str> = events.collect();
    let mut seen = HashSet::new();
    for events in events.chunks(16) {
        // One statement for all counts: what is left over asks for the first once more.
        let ids = events.iter().chain(events.iter().take(1).cycle()).take(16);
        let ids = ids.map(|event| Value::from(*event)).collect();
        seen.extend(store.all(sql, ids, |row| row.text(0)).await?);
    }
    Ok(seen)
}

/// The id of the last transaction that a homeserver sent.
pub async fn last_transaction(store: &Store, hs: &str) -> Result<Option<String>, Error> {
    let sql = "SELECT txn_id FROM inbox_txns WHERE hs = $1 ORDER BY received_ts DESC LIMIT 1";
    store.one(sql, args![hs], |row| row.text(0)).await
}

async fn is_known(store: &Store, hs: &str, txn_id: &str) -> Result<bool, Error> {
    let sql = "SELECT received_ts FROM inbox_txns WHERE hs = $1 AND txn_id = $2";
    Ok(store
        .one(sql, args![hs, txn_id], |row| row.int(0))
        .await?
        .is_some())
}

/// Takes a handled event out. Fails the batch if it is gone already.
pub fn done(batch: &mut Batch, seq: i64) {
    batch.delete(&DONE, args![seq]).expect(1);
}

/// Puts an event off, until `next_try_ts` or (for [`State::WaitingKey`]) until its key comes. It keeps its place, and its room waits
/// behind it. Fails the batch if the event is gone.
pub fn put_off(
    batch: &mut Batch,
    seq: i64,
    state: State,
    attempts: u32,
    next_try_ts: Millis,
    reason: &str,
) {
    batch
        .update(&STATE, args![seq, state, attempts, next_try_ts, reason])
        .expect(1);
}

/// Gives an event up: it stays for an operator and no longer holds up its room. Fails the batch if it is gone.
pub fn quarantine(batch: &mut Batch, seq: i64, attempts: u32, reason: &str) {
    put_off(batch, seq, State::Quarantined, attempts, 0, reason);
}

/// Gives an event whose body is damaged another one: what the homeserver has. Fails the batch if the event is gone.
pub fn set_body(batch: &mut Batch, event_id: &str, body: String) {
    let body = Value::secret("body", Secret::new(body));
    batch.update(&BODY, args![event_id, body]).expect(1);
}

/// Makes an event new again, with its old place in the room. Fails the batch if it is gone.
pub fn replay(batch: &mut Batch, seq: i64) {
    batch.update(&REPLAY, args![seq]).expect(1);
}

/// Rooms that have events to handle (held and quarantined ones do not count), oldest event first.
pub async fn rooms(store: &Store) -> Result<Vec<String>, Error> {
    let sql = "SELECT room_id FROM inbox WHERE state NOT IN ('held', 'quarantined') \
               GROUP BY room_id ORDER BY MIN(seq)";
    store.all(sql, vec![], |row| row.text(0)).await
}

/// Rooms that have events whose keys have not come.
pub async fn rooms_without_keys(store: &Store) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT room_id FROM inbox WHERE state = $1";
    store
        .all(sql, args![State::WaitingKey], |row| row.text(0))
        .await
}

/// Rooms of a login's portals, present and former, and those that are to become one of its, that have events waiting.
pub async fn rooms_of(store: &Store, login: &str) -> Result<Vec<String>, Error> {
    store
        .all(
            "SELECT DISTINCT room_id FROM inbox WHERE state NOT IN ('held', 'quarantined') AND (sender = $1 OR \
             room_id IN (SELECT room_id FROM portals WHERE login = $1) OR \
             room_id IN (SELECT former_rooms.room_id FROM former_rooms \
             JOIN portals ON portals.id = former_rooms.portal WHERE portals.login = $1))",
            args![login],
            |row| row.text(0),
        )
        .await
}

/// The next events of a room after position `after` (0 for the start), in order, without held and quarantined ones.
pub async fn next(
    store: &Store,
    room_id: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Event>, Error> {
    let sql = "SELECT seq, event_id, room_id, sender, type, body, received_ts, attempts, next_try_ts, state, reason \
               FROM inbox WHERE room_id = $1 AND seq > $2 AND state NOT IN ('held', 'quarantined') ORDER BY seq LIMIT $3";
    store.all(sql, args![room_id, after, limit], event).await
}

/// The events of a room after position `after`, in order, as far as they can be known without being opened; without
/// held and quarantined ones.
pub async fn heads(
    store: &Store,
    room_id: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Head>, Error> {
    let sql = "SELECT seq, event_id, room_id, sender, type, attempts FROM inbox \
               WHERE room_id = $1 AND seq > $2 AND state NOT IN ('held', 'quarantined') ORDER BY seq LIMIT $3";
    store
        .all(sql, args![room_id, after, limit], |row| {
            Ok(Head {
                seq: row.int(0)?,
                event_id: row.text(1)?,
                room_id: row.text(2)?,
                sender: row.text(3)?,
                kind: row.text(4)?,
                attempts: row.u32(5)?,
            })
        })
        .await
}

/// Whether an event is in the inbox, whatever its state.
pub async fn holds(store: &Store, event_id: &str) -> Result<bool, Error> {
    let sql = "SELECT seq FROM inbox WHERE event_id = $1";
    let found = store.one(sql, args![event_id], |row| row.int(0)).await?;
    Ok(found.is_some())
}

/// One event by its id.
pub async fn get(store: &Store, event_id: &str) -> Result<Option<Event>, Error> {
    let sql = "SELECT seq, event_id, room_id, sender, type, body, received_ts, attempts, next_try_ts, state, reason \
               FROM inbox WHERE event_id = $1";
    store.one(sql, args![event_id], event).await
}

/// How many events are in the given state.
pub async fn count(store: &Store, state: State) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM inbox WHERE state = $1";
    Ok(store
        .one(sql, args![state], |row| row.int(0))
        .await?
        .unwrap_or(0))
}

fn event(row: &Row<'_>) -> Result<Event, Error> {
    let event_id = row.text(1)?;
    Ok(Event {
        seq: row.int(0)?,
        room_id: row.text(2)?,
        sender: row.text(3)?,
        kind: row.text(4)?,
        body: row
            .secret(5, "inbox", "body", &key![&event_id])?
            .into_text("inbox")?,
        received_ts: row.int(6)?,
        attempts: row.u32(7)?,
        next_try_ts: row.int(8)?,
        state: State::parse(&row.text(9)?)?,
        reason: row.opt_text(10)?,
        event_id,
    })
}
