//! Messages from WhatsApp that could not be decrypted, and how often they were asked for again.

use std::collections::HashMap;

use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Update, args},
    db::Row,
};

/// What stands in the column of the placeholder where there must be none.
const NONE: &str = "";

/// The count for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecryptable {
    /// Retry receipts sent for it.
    pub retries: u32,
    /// When it failed first.
    pub first_ts: Millis,
    /// When it failed last.
    pub last_ts: Millis,
    /// The event that stands for it in the room, if there is one.
    pub placeholder: Option<String>,
    /// Whether nothing shall stand for it.
    pub hidden: bool,
}

static COUNT: Update = Update {
    table: "undecryptable",
    key: 3,
    sql: "INSERT INTO undecryptable (login, peer, stanza_id, retries, first_ts, last_ts) \
          VALUES ($1, $2, $3, 1, $4, $4) ON CONFLICT (login, peer, stanza_id) \
          DO UPDATE SET retries = undecryptable.retries + 1, last_ts = excluded.last_ts",
};
static PLACEHOLDER: Update = Update {
    table: "undecryptable",
    key: 3,
    sql: "UPDATE undecryptable SET placeholder = $4 WHERE login = $1 AND peer = $2 AND stanza_id = $3",
};
static DONE: Delete = Delete {
    table: "undecryptable",
    keys: &["login", "peer", "stanza_id"],
};

/// Counts one more failure.
pub fn count(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str, now: Millis) {
    batch.update(&COUNT, args![login, peer, stanza_id, now]);
}

/// Notes which event stands for the message.
pub fn set_placeholder(
    batch: &mut Batch,
    login: &str,
    peer: &str,
    stanza_id: &str,
    event_id: &str,
) {
    batch.update(&PLACEHOLDER, args![login, peer, stanza_id, event_id]);
}

/// Notes that nothing shall stand for the message: it would have changed another one, and shows nothing of its own.
pub fn hide(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str) {
    set_placeholder(batch, login, peer, stanza_id, NONE);
}

/// Forgets the count: the message was read.
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
    let sql = "SELECT retries, first_ts, last_ts, placeholder FROM undecryptable \
               WHERE login = $1 AND peer = $2 AND stanza_id = $3";
    store
        .one(sql, args![login, peer, stanza_id], |row| read(row, 0))
        .await
}

/// The counts of one chat, by stanza id.
pub async fn of_chat(
    store: &Store,
    login: &str,
    peer: &str,
) -> Result<HashMap<String, Undecryptable>, Error> {
    let sql = "SELECT stanza_id, retries, first_ts, last_ts, placeholder FROM undecryptable \
               WHERE login = $1 AND peer = $2";
    let rows = store
        .all(sql, args![login, peer], |row| {
            Ok((row.text(0)?, read(row, 1)?))
        })
        .await?;
    Ok(rows.into_iter().collect())
}

/// Chats, as login and peer, with a message that failed first before `before` and has no placeholder.
pub async fn unannounced(store: &Store, before: Millis) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT DISTINCT login, peer FROM undecryptable WHERE placeholder IS NULL AND first_ts < $1";
    store
        .all(sql, args![before], |row| Ok((row.text(0)?, row.text(1)?)))
        .await
}

fn read(row: &Row<'_>, from: usize) -> Result<Undecryptable, Error> {
    let placeholder = row.opt_text(from + 3)?;
    Ok(Undecryptable {
        hidden: placeholder.as_deref() == Some(NONE),
        placeholder: placeholder.filter(|event| event != NONE),
        retries: row.u32(from)?,
        first_ts: row.int(from + 1)?,
        last_ts: row.int(from + 2)?,
    })
}
