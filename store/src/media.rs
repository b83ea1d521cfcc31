//! Files: those that the bridge hosts for the gatekeeper's proxy, and those from WhatsApp that could not be fetched.
//! The files themselves are elsewhere; what opens them is sealed.

use crate::{
    Batch, Error, Millis, Secret, Store,
    batch::{Delete, Insert, OnConflict, Update, Value, args, key},
    db::Row,
    opaque::opaque,
};

/// A hosted file.
#[derive(Clone)]
pub struct Hosted {
    /// Its name towards the gatekeeper; whoever knows it may fetch the ciphertext.
    pub reference: String,
    /// Matrix id of the login that sends it.
    pub login: String,
    /// The receiver's JID.
    pub peer: String,
    /// The Matrix event it comes from: each has one file.
    pub event_id: String,
    /// Media key and SHA-256 of the plaintext, 32 bytes each.
    pub keys: Secret,
    /// SHA-256 of the ciphertext, 32 bytes.
    pub enc_sha256: Vec<u8>,
    /// Bytes of the plaintext.
    pub length: i64,
    /// What it was encrypted as.
    pub kind: String,
    /// A small picture of it (JPEG), sealed.
    pub thumbnail: Option<Secret>,
    /// When it was stored.
    pub created_ts: Millis,
    /// From when on it is gone.
    pub expires_ts: Millis,
}

/// A file from WhatsApp that could not be fetched.
#[derive(Clone)]
pub struct Missing {
    /// Matrix id of the login it was sent to.
    pub login: String,
    /// The sender's JID.
    pub peer: String,
    /// Stanza id of its message.
    pub stanza_id: String,
    /// The message protobuf; sealed in the database.
    pub content: Secret,
    /// When it failed first.
    pub created_ts: Millis,
}

opaque!(Hosted, Missing);

const TABLE: &str = "media";
const MISSING: &str = "media_missing";

static PUT: Insert = Insert {
    table: TABLE,
    columns: &[
        "reference",
        "login",
        "peer",
        "event_id",
        "keys",
        "enc_sha256",
        "length",
        "kind",
        "thumbnail",
        "created_ts",
        "expires_ts",
    ],
    key: 1,
    conflict: OnConflict::Fail,
};
static END: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE media SET expires_ts = $2 WHERE event_id = $1 AND expires_ts > $2",
};
static REMOVED: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE media SET stored = 0 WHERE reference = $1",
};
static FORGET: Delete = Delete {
    table: TABLE,
    keys: &["reference"],
};
static PRUNE: Update = Update {
    table: TABLE,
    key: 0,
    sql: "DELETE FROM media WHERE expires_ts < $1 AND stored = 0",
};
static PUT_MISSING: Insert = Insert {
    table: MISSING,
    columns: &["login", "peer", "stanza_id", "content", "created_ts"],
    key: 3,
    conflict: OnConflict::Replace,
};
static FOUND: Delete = Delete {
    table: MISSING,
    keys: &["login", "peer", "stanza_id"],
};
static PRUNE_MISSING: Update = Update {
    table: MISSING,
    key: 0,
    sql: "DELETE FROM media_missing WHERE created_ts < $1",
};

/// Records a file that is stored. Fails the batch if its event has one already.
pub fn put(batch: &mut Batch, file: Hosted) {
    let Hosted {
        reference,
        login,
        peer,
        event_id,
        keys,
        enc_sha256,
        length,
        kind,
        thumbnail,
        created_ts,
        expires_ts,
    } = file;
    let keys = Value::secret("keys", keys);
    let thumbnail = Value::secret("thumbnail", thumbnail);
    batch
        .insert(
            &PUT,
            args![
                reference, login, peer, event_id, keys, enc_sha256, length, kind, thumbnail,
                created_ts, expires_ts
            ],
        )
        .expect(1);
}

/// The file of an event is not needed any more: from `now` on it is gone. One that is gone already is no error.
pub fn end(batch: &mut Batch, event_id: &str, now: Millis) {
    batch.update(&END, args![event_id, now]);
}

/// The file behind a reference was deleted; the row stays, to say so.
pub fn removed(batch: &mut Batch, reference: &str) {
    batch.update(&REMOVED, args![reference]);
}

/// Forgets a file altogether, so that its event can have another.
pub fn forget(batch: &mut Batch, reference: &str) {
    batch.delete(&FORGET, args![reference]);
}

/// Forgets deleted files that ended before `before`, and missing ones of that age.
pub fn prune(batch: &mut Batch, before: Millis) {
    batch.update(&PRUNE, args![before]);
    batch.update(&PRUNE_MISSING, args![before]);
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT reference, login, peer, event_id, keys, enc_sha256, length, kind, thumbnail, created_ts, \
             expires_ts FROM media ",
            $where
        )
    };
}

/// The file behind a reference.
pub async fn by_reference(store: &Store, reference: &str) -> Result<Option<Hosted>, Error> {
    let sql = select!("WHERE reference = $1");
    store.one(sql, args![reference], hosted).await
}

/// The file of an event.
pub async fn by_event(store: &Store, event_id: &str) -> Result<Option<Hosted>, Error> {
    let sql = select!("WHERE event_id = $1");
    store.one(sql, args![event_id], hosted).await
}

/// References whose files are to be deleted, because they ended at or before `now`.
pub async fn ended(store: &Store, now: Millis, limit: u32) -> Result<Vec<String>, Error> {
    let sql = "SELECT reference FROM media WHERE expires_ts <= $1 AND stored = 1 ORDER BY expires_ts LIMIT $2";
    store.all(sql, args![now, limit], |row| row.text(0)).await
}

/// References of files of a login that are stored.
pub async fn of_login(store: &Store, login: &str, limit: u32) -> Result<Vec<String>, Error> {
    let sql =
        "SELECT reference FROM media WHERE login = $1 AND stored = 1 ORDER BY reference LIMIT $2";
    store.all(sql, args![login, limit], |row| row.text(0)).await
}

/// Bytes that a login's stored files take up.
pub async fn bytes_of(store: &Store, login: &str) -> Result<i64, Error> {
    let sql = "SELECT CAST(COALESCE(SUM(length), 0) AS BIGINT) FROM media WHERE login = $1 AND stored = 1";
    let bytes = store.one(sql, args![login], |row| row.int(0)).await?;
    Ok(bytes.unwrap_or(0))
}

/// How many files are hosted.
pub async fn count(store: &Store) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM media WHERE stored = 1";
    Ok(store.one(sql, vec![], |row| row.int(0)).await?.unwrap_or(0))
}

/// Keeps what it takes to fetch a file later.
pub fn put_missing(batch: &mut Batch, missing: Missing) {
    let Missing {
        login,
        peer,
        stanza_id,
        content,
        created_ts,
    } = missing;
    let content = Value::secret("content", content);
    batch.insert(
        &PUT_MISSING,
        args![login, peer, stanza_id, content, created_ts],
    );
}

/// A missing file is there, or given up. Fails the batch if it was not missing any more.
pub fn found(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str) {
    batch
        .delete(&FOUND, args![login, peer, stanza_id])
        .expect(1);
}

/// A missing file.
pub async fn missing(
    store: &Store,
    login: &str,
    peer: &str,
    stanza_id: &str,
) -> Result<Option<Missing>, Error> {
    let sql = "SELECT content, created_ts FROM media_missing \
               WHERE login = $1 AND peer = $2 AND stanza_id = $3";
    store
        .one(sql, args![login, peer, stanza_id], |row| {
            Ok(Missing {
                login: login.to_owned(),
                peer: peer.to_owned(),
                stanza_id: stanza_id.to_owned(),
                content: row.secret(0, MISSING, "content", &key![login, peer, stanza_id])?,
                created_ts: row.int(1)?,
            })
        })
        .await
}

fn hosted(row: &Row<'_>) -> Result<Hosted, Error> {
    let reference = row.text(0)?;
    let place = key![&reference];
    Ok(Hosted {
        login: row.text(1)?,
        peer: row.text(2)?,
        event_id: row.text(3)?,
        keys: row.secret(4, TABLE, "keys", &place)?,
        enc_sha256: row.bytes(5)?,
        length: row.int(6)?,
        kind: row.text(7)?,
        thumbnail: row.opt_secret(8, TABLE, "thumbnail", &place)?,
        created_ts: row.int(9)?,
        expires_ts: row.int(10)?,
        reference,
    })
}
