//! Which Matrix event is which stanza, and how far it has come. No content.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Insert, OnConflict, Set, Update, Value, args},
    db::Row,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// Which way a message goes.
    Direction in "messages" {
        /// Matrix to WhatsApp.
        Out = "out",
        /// WhatsApp to Matrix.
        In = "in",
    }
}

text_enum! {
    /// What a message is.
    Kind in "messages" {
        /// It stands for itself.
        Message = "message",
        /// An emoji on its target; an empty one took it back.
        Reaction = "reaction",
        /// Other content for its target.
        Edit = "edit",
        /// Its target was deleted.
        Revoke = "revoke",
    }
}

/// How far a message has come. It only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Stored here.
    Pending,
    /// The other side refused it; a later success overrides this.
    Failed,
    /// The server (gatekeeper or homeserver) has it.
    Sent,
    /// It reached a device.
    Delivered,
    /// It was read.
    Read,
    /// It was played (voice and video).
    Played,
}

impl Status {
    fn rank(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Failed => 10,
            Self::Sent => 20,
            Self::Delivered => 30,
            Self::Read => 40,
            Self::Played => 50,
        }
    }

    fn from_rank(rank: i64) -> Result<Self, Error> {
        Ok(match rank {
            0 => Self::Pending,
            10 => Self::Failed,
            20 => Self::Sent,
            30 => Self::Delivered,
            40 => Self::Read,
            50 => Self::Played,
            _ => {
                return Err(Error::corrupt(
                    "messages",
                    format_args!("unknown status {rank}"),
                ));
            }
        })
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Matrix id of the login.
    pub login: String,
    /// The contact's JID.
    pub peer: String,
    /// Stanza id.
    pub stanza_id: String,
    /// Matrix event, once there is one.
    pub event_id: Option<String>,
    /// Room id.
    pub room_id: String,
    /// Which way it goes.
    pub direction: Direction,
    /// How far it has come.
    pub status: Status,
    /// When the bridge had it. Messages from WhatsApp have ascending values, so that it says what came before what.
    pub ts: Millis,
    /// What it is.
    pub kind: Kind,
    /// Stanza id of the message that it is about.
    pub target: Option<String>,
    /// Whether it was deleted, or replaced by another reaction.
    pub gone: bool,
}

opaque!(Message);

static PUT: Insert = Insert {
    table: "messages",
    columns: &[
        "login",
        "peer",
        "stanza_id",
        "event_id",
        "room_id",
        "direction",
        "status",
        "ts",
        "kind",
        "target",
        "gone",
    ],
    key: 3,
    conflict: OnConflict::Ignore,
};
static EVENT: Update = Update {
    table: "messages",
    key: 3,
    sql: "UPDATE messages SET event_id = $4 WHERE login = $1 AND peer = $2 AND stanza_id = $3",
};
static GONE: Set = Set {
    table: "messages",
    keys: &["login", "peer", "stanza_id"],
    values: 1,
    set: "gone = $1",
    when: "gone < $1",
};
static ADVANCE: Set = Set {
    table: "messages",
    keys: &["login", "peer", "stanza_id"],
    values: 1,
    set: "status = $1",
    when: "status < $1",
};

static TOLD: Set = Set {
    table: "messages",
    keys: &["login", "peer", "stanza_id"],
    values: 1,
    set: "told = $1",
    when: "told < $1",
};

/// Records a message. Fails the batch if it is recorded already: somebody handled it before.
pub fn put(batch: &mut Batch, message: &Message) {
    let Message {
        login,
        peer,
        stanza_id,
        event_id,
        room_id,
        direction,
        status,
        ts,
        kind,
        target,
        gone,
    } = message;
    let status = Value::from(status.rank());
    batch
        .insert(
            &PUT,
            args![
                login, peer, stanza_id, event_id, room_id, *direction, status, *ts, *kind, target,
                *gone
            ],
        )
        .expect(1);
}

/// Sets the Matrix event of a message.
pub fn set_event(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str, event_id: &str) {
    batch.update(&EVENT, args![login, peer, stanza_id, event_id]);
}

/// Notes that a message was deleted, or replaced by another reaction; does nothing if it is unknown.
pub fn set_gone(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str) {
    batch.set(&GONE, args![1_i64, login, peer, stanza_id]);
}

/// Moves a message's status on; does nothing if it is that far or further, or unknown.
pub fn advance(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str, status: Status) {
    batch.set(&ADVANCE, args![status.rank(), login, peer, stanza_id]);
}

/// Notes that the sender was told this status; of what comes after the delivery nobody is told.
pub fn told(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str, status: Status) {
    let told = status.min(Status::Delivered).rank();
    batch.set(&TOLD, args![told, login, peer, stanza_id]);
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT login, peer, stanza_id, event_id, room_id, direction, status, ts, kind, target, gone FROM messages ",
            $where
        )
    };
}

/// A message by its stanza.
pub async fn get(
    store: &Store,
    login: &str,
    peer: &str,
    stanza_id: &str,
) -> Result<Option<Message>, Error> {
    let sql = select!("WHERE login = $1 AND peer = $2 AND stanza_id = $3");
    store.one(sql, args![login, peer, stanza_id], message).await
}

/// A message by its Matrix event.
pub async fn by_event(store: &Store, event_id: &str) -> Result<Option<Message>, Error> {
    store
        .one(
            select!("WHERE event_id = $1 ORDER BY stanza_id LIMIT 1"),
            args![event_id],
            message,
        )
        .await
}

/// All messages that a Matrix event became, in the order of their stanza ids.
pub async fn all_by_event(store: &Store, event_id: &str) -> Result<Vec<Message>, Error> {
    let sql = select!("WHERE event_id = $1 ORDER BY stanza_id");
    store.all(sql, args![event_id], message).await
}

/// What there is about a message: reactions to it, its edits, its deletion. Oldest first.
pub async fn about(
    store: &Store,
    login: &str,
    peer: &str,
    target: &str,
) -> Result<Vec<Message>, Error> {
    let sql = select!("WHERE login = $1 AND peer = $2 AND target = $3 ORDER BY ts, stanza_id");
    store.all(sql, args![login, peer, target], message).await
}

/// The last message of a direction in a room, at or before `ts`: what a read marker on any event there means.
pub async fn last_until(
    store: &Store,
    room_id: &str,
    direction: Direction,
    ts: Millis,
) -> Result<Option<Message>, Error> {
    let sql =
        select!("WHERE room_id = $1 AND ts <= $3 AND direction = $2 ORDER BY ts DESC LIMIT 1");
    store.one(sql, args![room_id, direction, ts], message).await
}

/// The messages from WhatsApp that a room shows at or before `ts` and that are not marked as read yet, newest first.
pub async fn unread_until(
    store: &Store,
    room_id: &str,
    ts: Millis,
    limit: u32,
) -> Result<Vec<Message>, Error> {
    let sql = select!(
        "WHERE room_id = $1 AND ts <= $2 AND direction = 'in' AND kind = 'message' AND status < 40 \
         AND event_id IS NOT NULL ORDER BY ts DESC LIMIT $3"
    );
    store.all(sql, args![room_id, ts, limit], message).await
}

/// The messages from Matrix in a chat whose senders do not know yet that they were sent or delivered, oldest first.
pub async fn untold(
    store: &Store,
    login: &str,
    peer: &str,
    limit: u32,
) -> Result<Vec<Message>, Error> {
    // The condition is the index's own.
    let sql = select!(
        "WHERE login = $1 AND peer = $2 AND direction = 'out' AND status >= 20 AND told < 30 AND status > told \
         ORDER BY ts LIMIT $3"
    );
    store.all(sql, args![login, peer, limit], message).await
}

/// Chats, as login and peer, with [`untold`] messages.
pub async fn untold_chats(store: &Store) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT DISTINCT login, peer FROM messages \
               WHERE direction = 'out' AND status >= 20 AND told < 30 AND status > told";
    store
        .all(sql, vec![], |row| Ok((row.text(0)?, row.text(1)?)))
        .await
}

/// The last message from Matrix in a room that its receiver has read.
pub async fn last_read(store: &Store, room_id: &str) -> Result<Option<Message>, Error> {
    let sql = select!(
        "WHERE room_id = $1 AND direction = 'out' AND status >= 40 AND event_id IS NOT NULL ORDER BY ts DESC LIMIT 1"
    );
    store.one(sql, args![room_id], message).await
}

/// Chats, as login and peer, in which a message from Matrix since `ts` has been read.
pub async fn read_chats(store: &Store, ts: Millis) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT DISTINCT login, peer FROM messages \
               WHERE direction = 'out' AND status >= 40 AND event_id IS NOT NULL AND ts >= $1";
    store
        .all(sql, args![ts], |row| Ok((row.text(0)?, row.text(1)?)))
        .await
}

/// The latest time that a message or an event in the inbox has.
pub async fn latest(store: &Store) -> Result<Option<Millis>, Error> {
    let sql = "SELECT MAX(ts) FROM (SELECT MAX(ts) AS ts FROM messages \
               UNION ALL SELECT MAX(received_ts) FROM inbox) AS latest";
    let found = store.one(sql, vec![], |row| row.opt_int(0)).await?;
    Ok(found.flatten())
}

/// How many messages are recorded.
pub async fn count(store: &Store) -> Result<i64, Error> {
    Ok(store
        .one("SELECT COUNT(*) FROM messages", vec![], |row| row.int(0))
        .await?
        .unwrap_or(0))
}

fn message(row: &Row<'_>) -> Result<Message, Error> {
    Ok(Message {
        login: row.text(0)?,
        peer: row.text(1)?,
        stanza_id: row.text(2)?,
        event_id: row.opt_text(3)?,
        room_id: row.text(4)?,
        direction: Direction::parse(&row.text(5)?)?,
        status: Status::from_rank(row.int(6)?)?,
        ts: row.int(7)?,
        kind: Kind::parse(&row.text(8)?)?,
        target: row.opt_text(9)?,
        gone: row.bool(10)?,
    })
}
