//! Deleting what is no longer needed, so that tables stay flat.

use crate::{
    Batch, Millis,
    batch::{Update, args},
};

static TXNS: Update = Update {
    table: "inbox_txns",
    key: 0,
    sql: "DELETE FROM inbox_txns WHERE received_ts < $1",
};
static EVENTS: Update = Update {
    table: "inbox_events",
    key: 0,
    sql: "DELETE FROM inbox_events WHERE received_ts < $1",
};
static MESSAGES: Update = Update {
    table: "messages",
    key: 0,
    sql: "DELETE FROM messages WHERE ts < $1 AND status >= 20",
};
static UNDECRYPTABLE: Update = Update {
    table: "undecryptable",
    key: 0,
    sql: "DELETE FROM undecryptable WHERE last_ts < $1",
};

static REPORTS: Update = Update {
    table: "reports",
    key: 0,
    sql: "DELETE FROM reports WHERE created_ts < $1",
};

/// Forgets ids of transactions and events received before `before`. A homeserver repeats a transaction until it is answered, so a day is plenty.
pub fn transactions(batch: &mut Batch, before: Millis) {
    batch.update(&TXNS, args![before]);
    batch.update(&EVENTS, args![before]);
}

/// Forgets messages older than `before` that reached the other side: receipts, edits and replies to them no longer find
/// their counterpart.
pub fn messages(batch: &mut Batch, before: Millis) {
    batch.update(&MESSAGES, args![before]);
}

/// Forgets failures last seen before `before`.
pub fn undecryptable(batch: &mut Batch, before: Millis) {
    batch.update(&UNDECRYPTABLE, args![before]);
}

/// Forgets what was reported before `before`: its notices stay as they are.
pub fn reports(batch: &mut Batch, before: Millis) {
    batch.update(&REPORTS, args![before]);
}
