//! Signal keys and sessions of the logins. Records are opaque bytes of the `gatekeeper` crate, sealed.

use crate::{
    Batch, Error, Millis, Secret, Store,
    batch::{Delete, Insert, OnConflict, Set, Update, Value, args, key},
};

/// A key record.
#[derive(Clone, Debug)]
pub struct Key {
    /// The id peers name it by.
    pub id: u32,
    /// Private and public half.
    pub record: Secret,
}

/// What is kept about one peer of one login.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The ratchet, if a session exists.
    pub record: Option<Secret>,
    /// The peer's identity key as last seen.
    pub identity: Option<Vec<u8>>,
}

static PUT_PREKEY: Insert = Insert {
    table: "signal_prekeys",
    columns: &["login", "id", "record", "uploaded"],
    key: 2,
    conflict: OnConflict::Replace,
};
static DELETE_PREKEY: Delete = Delete {
    table: "signal_prekeys",
    keys: &["login", "id"],
};
static UPLOADED: Set = Set {
    table: "signal_prekeys",
    keys: &["login", "id"],
    values: 1,
    set: "uploaded = $1",
    when: "uploaded <> $1",
};
static NOT_CURRENT: Update = Update {
    table: "signal_signed_prekeys",
    key: 1,
    sql: "UPDATE signal_signed_prekeys SET current = 0 WHERE login = $1 AND current <> 0",
};
static PUT_SIGNED: Insert = Insert {
    table: "signal_signed_prekeys",
    columns: &["login", "id", "record", "created_ts", "current"],
    key: 2,
    conflict: OnConflict::Replace,
};
static PRUNE_SIGNED: Update = Update {
    table: "signal_signed_prekeys",
    key: 1,
    sql: "DELETE FROM signal_signed_prekeys WHERE login = $1 AND current = 0 AND created_ts < $2",
};
static PUT_SESSION: Insert = Insert {
    table: "signal_sessions",
    columns: &["login", "peer", "record", "identity", "updated_ts"],
    key: 2,
    conflict: OnConflict::Replace,
};
static DELETE_SESSION: Delete = Delete {
    table: "signal_sessions",
    keys: &["login", "peer"],
};

/// Keeps a new one-time prekey (ids come from [`logins::take_prekey_ids`](crate::logins::take_prekey_ids)).
pub fn put_prekey(batch: &mut Batch, login: &str, id: u32, record: Secret) {
    batch.insert(
        &PUT_PREKEY,
        args![login, id, Value::secret("record", record), false],
    );
}

/// Notes that the server has this prekey now.
pub fn prekey_uploaded(batch: &mut Batch, login: &str, id: u32) {
    batch.set(&UPLOADED, args![true, login, id]);
}

/// Deletes a prekey that a message used up: belongs into the batch that stores the session.
pub fn delete_prekey(batch: &mut Batch, login: &str, id: u32) {
    batch.delete(&DELETE_PREKEY, args![login, id]);
}

/// A one-time prekey.
pub async fn prekey(store: &Store, login: &str, id: u32) -> Result<Option<Key>, Error> {
    let sql = "SELECT id, record FROM signal_prekeys WHERE login = $1 AND id = $2";
    store
        .one(sql, args![login, id], |row| {
            key(row, "signal_prekeys", login)
        })
        .await
}

/// Prekeys the server does not have yet, lowest id first.
pub async fn prekeys_to_upload(store: &Store, login: &str, limit: u32) -> Result<Vec<Key>, Error> {
    let sql = "SELECT id, record FROM signal_prekeys \
               WHERE login = $1 AND uploaded = 0 ORDER BY id LIMIT $2";
    store
        .all(sql, args![login, limit], |row| {
            key(row, "signal_prekeys", login)
        })
        .await
}

/// Ids of all one-time prekeys that are left, lowest first.
pub async fn prekey_ids(store: &Store, login: &str) -> Result<Vec<u32>, Error> {
    let sql = "SELECT id FROM signal_prekeys WHERE login = $1 ORDER BY id";
    store.all(sql, args![login], |row| row.u32(0)).await
}

/// How many one-time prekeys are left here.
pub async fn count_prekeys(store: &Store, login: &str) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM signal_prekeys WHERE login = $1";
    Ok(store
        .one(sql, args![login], |row| row.int(0))
        .await?
        .unwrap_or(0))
}

/// Makes a signed prekey the current one. Older ones stay for messages under way.
pub fn put_signed_prekey(batch: &mut Batch, login: &str, id: u32, record: Secret, now: Millis) {
    batch.update(&NOT_CURRENT, args![login]);
    batch.insert(
        &PUT_SIGNED,
        args![login, id, Value::secret("record", record), now, true],
    );
}

/// Deletes signed prekeys made before `before`, except the current one.
pub fn prune_signed_prekeys(batch: &mut Batch, login: &str, before: Millis) {
    batch.update(&PRUNE_SIGNED, args![login, before]);
}

/// A signed prekey.
pub async fn signed_prekey(store: &Store, login: &str, id: u32) -> Result<Option<Key>, Error> {
    let sql = "SELECT id, record FROM signal_signed_prekeys WHERE login = $1 AND id = $2";
    store
        .one(sql, args![login, id], |row| {
            key(row, "signal_signed_prekeys", login)
        })
        .await
}

/// The signed prekey in force, and when it was made.
pub async fn current_signed_prekey(
    store: &Store,
    login: &str,
) -> Result<Option<(Key, Millis)>, Error> {
    let sql = "SELECT id, record, created_ts FROM signal_signed_prekeys \
               WHERE login = $1 AND current <> 0";
    store
        .one(sql, args![login], |row| {
            Ok((key(row, "signal_signed_prekeys", login)?, row.int(2)?))
        })
        .await
}

/// Writes what is known about a peer.
pub fn put_session(batch: &mut Batch, login: &str, peer: &str, session: &Session, now: Millis) {
    let record = Value::secret("record", session.record.clone());
    batch.insert(
        &PUT_SESSION,
        args![login, peer, record, session.identity.as_deref(), now],
    );
}

/// Forgets a peer.
pub fn delete_session(batch: &mut Batch, login: &str, peer: &str) {
    batch.delete(&DELETE_SESSION, args![login, peer]);
}

/// What is known about a peer.
pub async fn session(store: &Store, login: &str, peer: &str) -> Result<Option<Session>, Error> {
    let sql = "SELECT record, identity FROM signal_sessions WHERE login = $1 AND peer = $2";
    store
        .one(sql, args![login, peer], |row| {
            Ok(Session {
                record: row.opt_secret(0, "signal_sessions", "record", &key![login, peer])?,
                identity: row.opt_bytes(1)?,
            })
        })
        .await
}

fn key(row: &crate::db::Row<'_>, table: &'static str, login: &str) -> Result<Key, Error> {
    let id = row.u32(0)?;
    Ok(Key {
        id,
        record: row.secret(1, table, "record", &key![login, id])?,
    })
}
