//! Which event was encrypted with which key of a Megolm session.
//!
//! A homeserver can give an old ciphertext out again as a new event. It decrypts as well as the first time, but it was encrypted
//! with a key that another event has used up (Matrix specification, "`m.megolm.v1.aes-sha2`", on replay attacks).

use crate::{
    Batch, Error, Millis, Store,
    batch::{Insert, OnConflict, args},
};

/// An event and the key that it was encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The Megolm session.
    pub session_id: &'a str,
    /// The number of the key in its session.
    pub message_index: u32,
    /// The event.
    pub event_id: &'a str,
    /// When it was handled.
    pub seen_ts: Millis,
}

static PUT: Insert = Insert {
    table: "megolm_indexes",
    columns: &["session_id", "message_index", "event_id", "seen_ts"],
    key: 2,
    conflict: OnConflict::Ignore,
};

/// Remembers an event; what is known of its key already stays.
pub fn put(batch: &mut Batch, seen: &Seen<'_>) {
    let Seen {
        session_id,
        message_index,
        event_id,
        seen_ts,
    } = *seen;
    batch.insert(&PUT, args![session_id, message_index, event_id, seen_ts]);
}

/// The event that a key was used for, if that is remembered.
pub async fn event_of(
    store: &Store,
    session_id: &str,
    message_index: u32,
) -> Result<Option<String>, Error> {
    let sql = "SELECT event_id FROM megolm_indexes WHERE session_id = $1 AND message_index = $2";
    store
        .one(sql, args![session_id, message_index], |row| row.text(0))
        .await
}
