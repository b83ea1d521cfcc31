//! Messages from WhatsApp that do not stay in their room: disappearing ones, and those that may be seen once.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Insert, OnConflict, Update, args},
    db::Row,
    opaque::opaque,
};

/// A message that goes away.
#[derive(Clone, PartialEq, Eq)]
pub struct Fading {
    /// Matrix id of the login.
    pub login: String,
    /// The contact's JID.
    pub peer: String,
    /// Stanza id of the message.
    pub stanza_id: String,
    /// Room id.
    pub room_id: String,
    /// When it goes, at the latest.
    pub due_ts: Millis,
    /// Whether it goes as soon as it has been read.
    pub when_read: bool,
}

opaque!(Fading);

static PUT: Insert = Insert {
    table: "fading",
    columns: &[
        "login",
        "peer",
        "stanza_id",
        "room_id",
        "due_ts",
        "when_read",
    ],
    key: 3,
    conflict: OnConflict::Ignore,
};
static DUE: Update = Update {
    table: "fading",
    key: 3,
    sql: "UPDATE fading SET due_ts = $4 WHERE login = $1 AND peer = $2 AND stanza_id = $3",
};
static DONE: Delete = Delete {
    table: "fading",
    keys: &["login", "peer", "stanza_id"],
};

/// Remembers that a message goes away. One that is remembered already keeps its time.
pub fn put(batch: &mut Batch, fading: &Fading) {
    let Fading {
        login,
        peer,
        stanza_id,
        room_id,
        due_ts,
        when_read,
    } = fading;
    batch.insert(
        &PUT,
        args![login, peer, stanza_id, room_id, *due_ts, *when_read],
    );
}

/// Changes when a message goes.
pub fn set_due(batch: &mut Batch, fading: &Fading, due_ts: Millis) {
    let Fading {
        login,
        peer,
        stanza_id,
        ..
    } = fading;
    batch.update(&DUE, args![login, peer, stanza_id, due_ts]);
}

/// Forgets a message that has gone.
pub fn done(batch: &mut Batch, fading: &Fading) {
    let Fading {
        login,
        peer,
        stanza_id,
        ..
    } = fading;
    batch.delete(&DONE, args![login, peer, stanza_id]);
}

/// Messages whose time has come by `now`, oldest first.
pub async fn due(store: &Store, now: Millis, limit: u32) -> Result<Vec<Fading>, Error> {
    let sql = "SELECT login, peer, stanza_id, room_id, due_ts, when_read FROM fading \
               WHERE due_ts <= $1 ORDER BY due_ts, stanza_id LIMIT $2";
    store.all(sql, args![now, limit], fading).await
}

/// When the next message goes.
pub async fn next(store: &Store) -> Result<Option<Millis>, Error> {
    let sql = "SELECT due_ts FROM fading ORDER BY due_ts LIMIT 1";
    store.one(sql, vec![], |row| row.int(0)).await
}

/// Messages that a room shows, sent at or before `until`, that go as soon as they have been read.
pub async fn unread(
    store: &Store,
    room_id: &str,
    until: Millis,
    limit: u32,
) -> Result<Vec<Fading>, Error> {
    let sql = "SELECT fading.login, fading.peer, fading.stanza_id, fading.room_id, fading.due_ts, fading.when_read \
               FROM fading JOIN messages ON messages.login = fading.login AND messages.peer = fading.peer \
               AND messages.stanza_id = fading.stanza_id \
               WHERE fading.room_id = $1 AND fading.when_read = 1 AND messages.ts <= $2 \
               AND messages.event_id IS NOT NULL ORDER BY messages.ts LIMIT $3";
    store.all(sql, args![room_id, until, limit], fading).await
}

fn fading(row: &Row<'_>) -> Result<Fading, Error> {
    Ok(Fading {
        login: row.text(0)?,
        peer: row.text(1)?,
        stanza_id: row.text(2)?,
        room_id: row.text(3)?,
        due_ts: row.int(4)?,
        when_read: row.bool(5)?,
    })
}
