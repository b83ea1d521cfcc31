//! Events that the homeserver has not accepted yet, one queue per room. Contents of messages are Megolm ciphertext.

use crate::{
    Batch, Error, Millis, Secret, Store,
    batch::{Delete, Insert, OnConflict, Update, Value, args, key},
    db::Row,
    messages,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// Which request sends it.
    Method in "sends" {
        /// `PUT /rooms/{room}/send/{type}/{txn}`
        Send = "send",
        /// `PUT /rooms/{room}/redact/{target}/{txn}`
        Redact = "redact",
        /// `PUT /rooms/{room}/state/{type}/{target}`
        State = "state",
    }
}

/// An event to be sent.
#[derive(Clone)]
pub struct NewSend {
    /// Transaction id; the same one again is the same event.
    pub txn_id: String,
    /// Room id.
    pub room_id: String,
    /// The ghost or bot that sends it.
    pub sender: String,
    /// The sender's device.
    pub device_id: String,
    /// Which request sends it.
    pub method: Method,
    /// Event type.
    pub event_type: String,
    /// The event to redact, or the state key.
    pub target: Option<String>,
    /// The content's JSON; sealed in the database.
    pub content: String,
    /// The event's time on Matrix.
    pub ts: Millis,
    /// Matrix id of the login whose message this is.
    pub login: Option<String>,
    /// JID of the message's contact.
    pub peer: Option<String>,
    /// Stanza id of the message.
    pub stanza_id: Option<String>,
}

/// An event in the queue.
#[derive(Clone)]
pub struct Send {
    /// Position; later events have higher ones.
    pub seq: i64,
    /// The event.
    pub event: NewSend,
    /// Tries that failed so far.
    pub attempts: u32,
    /// Not before.
    pub next_try_ts: Millis,
}

/// What is known of an event without opening it.
#[derive(Clone)]
pub struct Head {
    /// Position.
    pub seq: i64,
    /// Transaction id.
    pub txn_id: String,
    /// Matrix id of the login whose message this is.
    pub login: Option<String>,
    /// JID of the message's contact.
    pub peer: Option<String>,
}

opaque!(NewSend, Send, Head);

const TABLE: &str = "sends";
static PUT: Insert = Insert {
    table: TABLE,
    columns: &[
        "txn_id",
        "room_id",
        "sender",
        "device_id",
        "method",
        "event_type",
        "target",
        "content",
        "ts",
        "login",
        "peer",
        "stanza_id",
    ],
    key: 1,
    conflict: OnConflict::Ignore,
};
static DONE: Delete = Delete {
    table: TABLE,
    keys: &["seq"],
};
static RETRY: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE sends SET attempts = $2, next_try_ts = $3 WHERE seq = $1",
};

static QUARANTINE: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE sends SET quarantined_ts = $2, reason = $3 WHERE seq = $1",
};
static REPLAY: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE sends SET quarantined_ts = NULL, reason = NULL, attempts = 0, next_try_ts = 0 WHERE seq = $1",
};

/// Queues an event. Fails the batch if its transaction id is queued already.
pub fn put(batch: &mut Batch, send: NewSend) {
    let content = Value::secret("content", Secret::new(send.content));
    batch
        .insert(
            &PUT,
            args![
                send.txn_id,
                send.room_id,
                send.sender,
                send.device_id,
                send.method,
                send.event_type,
                &send.target,
                content,
                send.ts,
                &send.login,
                &send.peer,
                &send.stanza_id,
            ],
        )
        .expect(1);
}

/// The homeserver made it `event_id`: takes it out and sets the event of its message. Fails the batch if it is gone.
pub fn accepted(batch: &mut Batch, send: &Send, event_id: &str) {
    done(batch, send.seq);
    let NewSend {
        login,
        peer,
        stanza_id,
        ..
    } = &send.event;
    if let (Some(login), Some(peer), Some(stanza_id)) = (login, peer, stanza_id) {
        messages::set_event(batch, login, peer, stanza_id, event_id);
        messages::advance(batch, login, peer, stanza_id, messages::Status::Sent);
    }
}

/// Takes it out. Fails the batch if it is gone.
pub fn done(batch: &mut Batch, seq: i64) {
    batch.delete(&DONE, args![seq]).expect(1);
}

/// Puts it off until `next_try_ts`; its room waits behind it. Fails the batch if it is gone.
pub fn retry(batch: &mut Batch, seq: i64, attempts: u32, next_try_ts: Millis) {
    batch
        .update(&RETRY, args![seq, attempts, next_try_ts])
        .expect(1);
}

/// Sets an event aside that cannot be sent: it stays for an operator and no longer holds up its room. Fails the batch if it
/// is gone.
pub fn quarantine(batch: &mut Batch, seq: i64, now: Millis, reason: &str) {
    batch.update(&QUARANTINE, args![seq, now, reason]).expect(1);
}

/// Has an event that was set aside sent again. Fails the batch if it is gone.
pub fn replay(batch: &mut Batch, seq: i64) {
    batch.update(&REPLAY, args![seq]).expect(1);
}

/// Rooms that have events waiting, oldest first.
pub async fn rooms(store: &Store) -> Result<Vec<String>, Error> {
    let sql =
        "SELECT room_id FROM sends WHERE quarantined_ts IS NULL GROUP BY room_id ORDER BY MIN(seq)";
    store.all(sql, vec![], |row| row.text(0)).await
}

/// The next events of a room after position `after` (0 for the start), in order.
pub async fn next(
    store: &Store,
    room_id: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Send>, Error> {
    let sql = "SELECT seq, txn_id, room_id, sender, device_id, method, event_type, target, content, ts, \
               login, peer, stanza_id, attempts, next_try_ts \
               FROM sends WHERE room_id = $1 AND seq > $2 AND quarantined_ts IS NULL ORDER BY seq LIMIT $3";
    store.all(sql, args![room_id, after, limit], send).await
}

/// The same, as far as they can be known without being opened.
pub async fn heads(
    store: &Store,
    room_id: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Head>, Error> {
    let sql = "SELECT seq, txn_id, login, peer FROM sends \
               WHERE room_id = $1 AND seq > $2 AND quarantined_ts IS NULL ORDER BY seq LIMIT $3";
    store
        .all(sql, args![room_id, after, limit], |row| {
            Ok(Head {
                seq: row.int(0)?,
                txn_id: row.text(1)?,
                login: row.opt_text(2)?,
                peer: row.opt_text(3)?,
            })
        })
        .await
}

/// Whether the event of this message still waits in its room's queue.
pub async fn holds(
    store: &Store,
    room_id: &str,
    peer: &str,
    stanza_id: &str,
) -> Result<bool, Error> {
    let sql = "SELECT seq FROM sends WHERE room_id = $1 AND peer = $2 AND stanza_id = $3 AND quarantined_ts IS NULL LIMIT 1";
    Ok(store
        .one(sql, args![room_id, peer, stanza_id], |row| row.int(0))
        .await?
        .is_some())
}

/// How many events wait.
pub async fn count(store: &Store) -> Result<i64, Error> {
    Ok(store
        .one(
            "SELECT COUNT(*) FROM sends WHERE quarantined_ts IS NULL",
            vec![],
            |row| row.int(0),
        )
        .await?
        .unwrap_or(0))
}

fn send(row: &Row<'_>) -> Result<Send, Error> {
    let txn_id = row.text(1)?;
    let content = row
        .secret(8, TABLE, "content", &key![&txn_id])?
        .into_text(TABLE)?;
    Ok(Send {
        seq: row.int(0)?,
        event: NewSend {
            txn_id,
            room_id: row.text(2)?,
            sender: row.text(3)?,
            device_id: row.text(4)?,
            method: Method::parse(&row.text(5)?)?,
            event_type: row.text(6)?,
            target: row.opt_text(7)?,
            content,
            ts: row.int(9)?,
            login: row.opt_text(10)?,
            peer: row.opt_text(11)?,
            stanza_id: row.opt_text(12)?,
        },
        attempts: row.u32(13)?,
        next_try_ts: row.int(14)?,
    })
}
