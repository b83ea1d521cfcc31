//! Messages from WhatsApp that could not be decrypted, and how often they were asked for again.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Update, args},
};

/// The count for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecryptable {
    /// Retry receipts sent for it.
    pub retries: u32,
    /// When it failed first.
    pub first_ts: Millis,
    /// When it failed last.
    pub last_ts: Millis,
}

static COUNT: Update = Update {
    table: "undecryptable",
    key: 3,
    sql: "INSERT INTO undecryptable (login, peer, stanza_id, retries, first_ts, last_ts) \
          VALUES ($1, $2, $3, 1, $4, $4) ON CONFLICT (login, peer, stanza_id) \
          DO UPDATE SET retries = undecryptable.retries + 1, last_ts = excluded.last_ts",
};
static DONE: Delete = Delete {
    table: "undecryptable",
    keys: &["login", "peer", "stanza_id"],
};

/// Counts one more failure.
pub fn count(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str, now: Millis) {
    batch.update(&COUNT, args![login, peer, stanza_id, now]);
}

/// Forgets the count: the message was read, or given up.
pub fn done(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str) {
    batch.delete(&DONE, args![login, peer, stanza_id]);
}

/// The count for one message.
pub async fn get(
    store: &Store,
    login: &str,
    peer: &str,
    stanza_id: &str,
) -> Result<Option<Undecryptable>, Error> {
    let sql = "SELECT retries, first_ts, last_ts FROM undecryptable \
               WHERE login = $1 AND peer = $2 AND stanza_id = $3";
    store
        .one(sql, args![login, peer, stanza_id], |row| {
            Ok(Undecryptable {
                retries: row.u32(0)?,
                first_ts: row.int(1)?,
                last_ts: row.int(2)?,
            })
        })
        .await
}
