//! Stanzas that the gatekeeper has not accepted yet, one queue per login. Bodies are Signal ciphertext.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Insert, OnConflict, Update, args},
    db::Row,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// What a stanza is, for matching its acknowledgement.
    Kind in "outbox" {
        /// A message.
        Message = "message",
        /// A receipt.
        Receipt = "receipt",
        /// A message encrypted anew, because its receiver asked.
        Retry = "retry",
    }
}

/// A stanza to be sent.
#[derive(Clone)]
pub struct NewStanza {
    /// Matrix id of the login that sends it.
    pub login: String,
    /// The receiver's JID.
    pub peer: String,
    /// Stanza id.
    pub stanza_id: String,
    /// What it is.
    pub kind: Kind,
    /// The encoded stanza: sent as it is, as often as needed.
    pub stanza: Vec<u8>,
    /// The Matrix event it comes from.
    pub event_id: Option<String>,
}

/// A stanza in the outbox.
#[derive(Clone)]
pub struct Stanza {
    /// Position; later stanzas have higher ones.
    pub seq: i64,
    /// Matrix id of the login that sends it.
    pub login: String,
    /// The receiver's JID.
    pub peer: String,
    /// Stanza id.
    pub stanza_id: String,
    /// What it is.
    pub kind: Kind,
    /// The encoded stanza.
    pub stanza: Vec<u8>,
    /// The Matrix event it comes from.
    pub event_id: Option<String>,
    /// Times it was sent without an acknowledgement.
    pub attempts: u32,
}

opaque!(NewStanza, Stanza);

const COLUMNS: &[&str] = &["login", "stanza_id", "kind", "peer", "stanza", "event_id"];
static PUT: Insert = Insert {
    table: "outbox",
    columns: COLUMNS,
    key: 4,
    conflict: OnConflict::Ignore,
};
static TAKE: Delete = Delete {
    table: "outbox",
    keys: &["login", "stanza_id", "kind", "peer"],
};
static DONE: Delete = Delete {
    table: "outbox",
    keys: &["seq"],
};
static QUARANTINE: Update = Update {
    table: "outbox",
    key: 1,
    sql: "UPDATE outbox SET quarantined_ts = $2, reason = $3 WHERE seq = $1",
};
static REPLAY: Update = Update {
    table: "outbox",
    key: 1,
    sql: "UPDATE outbox SET quarantined_ts = NULL, reason = NULL WHERE seq = $1",
};
static TRIED: Update = Update {
    table: "outbox",
    key: 1,
    sql: "UPDATE outbox SET attempts = attempts + 1 WHERE seq = $1",
};

fn row(stanza: NewStanza) -> Vec<crate::batch::Value> {
    let NewStanza {
        login,
        peer,
        stanza_id,
        kind,
        stanza,
        event_id,
    } = stanza;
    args![login, stanza_id, kind, peer, stanza, &event_id]
}

/// Queues a stanza. Fails the batch if the same one is queued already.
pub fn put(batch: &mut Batch, stanza: NewStanza) {
    batch.insert(&PUT, row(stanza)).expect(1);
}

/// Queues a stanza instead of the one with the same login, id, kind and receiver, if there is one. It gets a position of its own: what
/// was sent under the old one may still be acknowledged, and says nothing of this one.
pub fn replace(batch: &mut Batch, stanza: NewStanza) {
    take(
        batch,
        &stanza.login,
        &stanza.stanza_id,
        stanza.kind,
        &stanza.peer,
    );
    put(batch, stanza);
}

/// Takes a stanza out by its name. One that is gone is no error.
pub fn take(batch: &mut Batch, login: &str, stanza_id: &str, kind: Kind, peer: &str) {
    batch.delete(&TAKE, args![login, stanza_id, kind, peer]);
}

/// Takes a stanza out by position: the gatekeeper has it. One that is gone is no error.
pub fn done(batch: &mut Batch, seq: i64) {
    batch.delete(&DONE, args![seq]);
}

/// Sets a stanza aside that can never be sent: it stays for an operator and is not sent any more.
pub fn quarantine(batch: &mut Batch, seq: i64, now: Millis, reason: &str) {
    batch.update(&QUARANTINE, args![seq, now, reason]);
}

/// Has a stanza that was set aside sent again.
pub fn replay(batch: &mut Batch, seq: i64) {
    batch.update(&REPLAY, args![seq]);
}

/// Counts a try.
pub fn tried(batch: &mut Batch, seq: i64) {
    batch.update(&TRIED, args![seq]);
}

/// A login's next stanzas after position `after` (0 for the start), in order.
pub async fn next(
    store: &Store,
    login: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Stanza>, Error> {
    let sql = "SELECT seq, login, peer, stanza_id, kind, stanza, event_id, attempts FROM outbox \
               WHERE login = $1 AND seq > $2 AND quarantined_ts IS NULL ORDER BY seq LIMIT $3";
    store.all(sql, args![login, after, limit], stanza).await
}

/// The queued stanzas of a login with this id.
pub async fn by_stanza(store: &Store, login: &str, stanza_id: &str) -> Result<Vec<Stanza>, Error> {
    let sql = "SELECT seq, login, peer, stanza_id, kind, stanza, event_id, attempts FROM outbox \
               WHERE login = $1 AND stanza_id = $2 ORDER BY seq";
    store.all(sql, args![login, stanza_id], stanza).await
}

/// Position of a login's last stanza; 0 if there is none.
pub async fn last(store: &Store, login: &str) -> Result<i64, Error> {
    let sql = "SELECT seq FROM outbox WHERE login = $1 ORDER BY seq DESC LIMIT 1";
    Ok(store
        .one(sql, args![login], |row| row.int(0))
        .await?
        .unwrap_or(0))
}

/// Logins that have stanzas waiting, oldest first.
pub async fn logins(store: &Store) -> Result<Vec<String>, Error> {
    let sql =
        "SELECT login FROM outbox WHERE quarantined_ts IS NULL GROUP BY login ORDER BY MIN(seq)";
    store.all(sql, vec![], |row| row.text(0)).await
}

/// How many of a login's stanzas wait for one receiver.
pub async fn count_for(store: &Store, login: &str, peer: &str) -> Result<i64, Error> {
    let sql =
        "SELECT COUNT(*) FROM outbox WHERE login = $1 AND peer = $2 AND quarantined_ts IS NULL";
    Ok(store
        .one(sql, args![login, peer], |row| row.int(0))
        .await?
        .unwrap_or(0))
}

/// How many stanzas wait.
pub async fn count(store: &Store) -> Result<i64, Error> {
    Ok(store
        .one(
            "SELECT COUNT(*) FROM outbox WHERE quarantined_ts IS NULL",
            vec![],
            |row| row.int(0),
        )
        .await?
        .unwrap_or(0))
}

fn stanza(row: &Row<'_>) -> Result<Stanza, Error> {
    Ok(Stanza {
        seq: row.int(0)?,
        login: row.text(1)?,
        peer: row.text(2)?,
        stanza_id: row.text(3)?,
        kind: Kind::parse(&row.text(4)?)?,
        stanza: row.bytes(5)?,
        event_id: row.opt_text(6)?,
        attempts: row.u32(7)?,
    })
}
