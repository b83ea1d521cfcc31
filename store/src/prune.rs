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
    sql: "DELETE FROM messages WHERE ts < $1 AND (status > 0 OR gone = 1)",
};
static UNDECRYPTABLE: Update = Update {
    table: "undecryptable",
    key: 0,
    sql: "DELETE FROM undecryptable WHERE last_ts < $1",
};

static INBOX: Update = Update {
    table: "inbox",
    key: 0,
    sql: "DELETE FROM inbox WHERE received_ts < $1 AND state <> 'new'",
};
static OUTBOX: Update = Update {
    table: "outbox",
    key: 0,
    sql: "DELETE FROM outbox WHERE quarantined_ts < $1",
};
static SENDS: Update = Update {
    table: "sends",
    key: 0,
    sql: "DELETE FROM sends WHERE quarantined_ts < $1",
};
static MEGOLM: Update = Update {
    table: "megolm_indexes",
    key: 0,
    sql: "DELETE FROM megolm_indexes WHERE seen_ts < $1",
};
static QUARANTINE: Update = Update {
    table: "quarantine",
    key: 0,
    sql: "DELETE FROM quarantine WHERE received_ts < $1",
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

/// Forgets messages older than `before` that reached the other side, were refused or deleted: receipts, edits and replies to
/// them no longer find their counterpart. One that still waits stays.
pub fn messages(batch: &mut Batch, before: Millis) {
    batch.update(&MESSAGES, args![before]);
}

/// Forgets what was set aside before `before`, and events that came before it and whose keys never came.
pub fn quarantine(batch: &mut Batch, before: Millis) {
    batch.update(&INBOX, args![before]);
    batch.update(&OUTBOX, args![before]);
    batch.update(&SENDS, args![before]);
    batch.update(&QUARANTINE, args![before]);
}

/// Forgets which keys events before `before` were encrypted with.
pub fn megolm_indexes(batch: &mut Batch, before: Millis) {
    batch.update(&MEGOLM, args![before]);
}

/// Forgets failures last seen before `before`.
pub fn undecryptable(batch: &mut Batch, before: Millis) {
    batch.update(&UNDECRYPTABLE, args![before]);
}

/// Forgets what was reported before `before`: its notices stay as they are.
pub fn reports(batch: &mut Batch, before: Millis) {
    batch.update(&REPORTS, args![before]);
}
