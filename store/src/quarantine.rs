//! What could not be handled and was set aside, so that nothing waits behind it: listed for an operator, and brought back.
//!
//! Events from Matrix stay in the inbox, events for Matrix in the table of sends, stanzas in the outbox; each is marked there.
//! Messages from WhatsApp, which are in no queue of ours before they are handled, are kept here: as they came, so encrypted.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Insert, OnConflict, Update, args},
    db::Row,
    inbox,
    opaque::opaque,
    outbox, sends,
};

/// Entries that are listed at most, of each kind.
const LISTED: u32 = 1000;

/// Where something was on its way when it was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// An event from Matrix that did not become a message.
    FromMatrix,
    /// A stanza that does not leave for WhatsApp.
    ToWhatsApp,
    /// A message from WhatsApp that did not become an event.
    FromWhatsApp,
    /// An event that the homeserver does not take.
    ToMatrix,
}

/// Something that was set aside.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it was on its way.
    pub way: Way,
    /// What it is brought back by: an event id, a stanza id or a transaction id.
    pub id: String,
    /// Its room, where it has one of its own.
    pub room_id: Option<String>,
    /// Matrix id of the login, where it is known.
    pub login: Option<String>,
    /// JID of the contact, where it is known.
    pub peer: Option<String>,
    /// When it came or, on its way out, when it was set aside.
    pub since_ts: Millis,
    /// Why it was set aside. No content.
    pub reason: Option<String>,
    /// Position in its queue; 0 for a message from WhatsApp.
    seq: i64,
}

/// A message from WhatsApp that was set aside.
#[derive(Clone, PartialEq, Eq)]
pub struct Stanza {
    /// Matrix id of the login.
    pub login: String,
    /// The sender's JID.
    pub peer: String,
    /// Stanza id.
    pub stanza_id: String,
    /// The stanza as it came, encoded.
    pub stanza: Vec<u8>,
    /// Why. No content.
    pub reason: String,
    /// When it was set aside.
    pub received_ts: Millis,
}

opaque!(Entry, Stanza);

static PUT: Insert = Insert {
    table: "quarantine",
    columns: &[
        "login",
        "peer",
        "stanza_id",
        "stanza",
        "reason",
        "received_ts",
        "due",
    ],
    key: 3,
    conflict: OnConflict::Replace,
};
static DONE: Delete = Delete {
    table: "quarantine",
    keys: &["login", "peer", "stanza_id"],
};
static DUE: Update = Update {
    table: "quarantine",
    key: 3,
    sql: "UPDATE quarantine SET due = 1 WHERE login = $1 AND peer = $2 AND stanza_id = $3",
};

/// Keeps a message from WhatsApp for an operator. One that was brought back before and failed again waits anew.
pub fn put(batch: &mut Batch, stanza: &Stanza) {
    let Stanza {
        login,
        peer,
        stanza_id,
        stanza,
        reason,
        received_ts,
    } = stanza;
    let stanza = stanza.clone();
    let row = args![login, peer, stanza_id, stanza, reason, *received_ts, 0_i64];
    batch.insert(&PUT, row);
}

/// A message from WhatsApp was handled after all.
pub fn done(batch: &mut Batch, login: &str, peer: &str, stanza_id: &str) {
    batch.delete(&DONE, args![login, peer, stanza_id]);
}

/// Brings something back: it is handled when its turn comes.
pub fn replay(batch: &mut Batch, entry: &Entry) {
    match entry.way {
        Way::FromMatrix => inbox::replay(batch, entry.seq),
        Way::ToMatrix => sends::replay(batch, entry.seq),
        Way::ToWhatsApp => outbox::replay(batch, entry.seq),
        Way::FromWhatsApp => {
            batch.update(&DUE, args![&entry.login, &entry.peer, &entry.id]);
        }
    }
}

/// What is set aside, oldest of each kind first.
pub async fn list(store: &Store) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let inbox = "SELECT event_id, room_id, sender, NULL, received_ts, reason, seq FROM inbox \
                 WHERE state = 'quarantined' ORDER BY seq LIMIT $1";
    let outbox = "SELECT stanza_id, NULL, login, peer, quarantined_ts, reason, seq FROM outbox \
                  WHERE quarantined_ts IS NOT NULL ORDER BY seq LIMIT $1";
    let stanzas = "SELECT stanza_id, NULL, login, peer, received_ts, reason, CAST(0 AS BIGINT) FROM quarantine \
                   WHERE due = 0 ORDER BY received_ts, stanza_id LIMIT $1";
    let sends = "SELECT txn_id, room_id, login, peer, quarantined_ts, reason, seq FROM sends \
                 WHERE quarantined_ts IS NOT NULL ORDER BY seq LIMIT $1";
    for (way, sql) in [
        (Way::FromMatrix, inbox),
        (Way::ToWhatsApp, outbox),
        (Way::FromWhatsApp, stanzas),
        (Way::ToMatrix, sends),
    ] {
        let found = store.all(sql, args![LISTED], |row| entry(way, row)).await?;
        entries.extend(found);
    }
    Ok(entries)
}

/// How much is set aside.
pub async fn count(store: &Store) -> Result<i64, Error> {
    let mut count = inbox::count(store, inbox::State::Quarantined).await?;
    for sql in [
        "SELECT COUNT(*) FROM outbox WHERE quarantined_ts IS NOT NULL",
        "SELECT COUNT(*) FROM quarantine",
        "SELECT COUNT(*) FROM sends WHERE quarantined_ts IS NOT NULL",
    ] {
        let found = store.one(sql, vec![], |row| row.int(0)).await?;
        count += found.unwrap_or(0);
    }
    Ok(count)
}

/// Contacts of a login whose messages are to be tried again.
pub async fn due_peers(store: &Store, login: &str) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT peer FROM quarantine WHERE login = $1 AND due = 1";
    store.all(sql, args![login], |row| row.text(0)).await
}

/// A contact's messages that are to be tried again, in the order in which they were set aside.
pub async fn due(store: &Store, login: &str, peer: &str) -> Result<Vec<Stanza>, Error> {
    let sql = "SELECT login, peer, stanza_id, stanza, reason, received_ts FROM quarantine \
               WHERE login = $1 AND peer = $2 AND due = 1 ORDER BY received_ts, stanza_id";
    store
        .all(sql, args![login, peer], |row| {
            Ok(Stanza {
                login: row.text(0)?,
                peer: row.text(1)?,
                stanza_id: row.text(2)?,
                stanza: row.bytes(3)?,
                reason: row.text(4)?,
                received_ts: row.int(5)?,
            })
        })
        .await
}

/// Whether this message is set aside.
pub async fn holds(store: &Store, login: &str, peer: &str, stanza_id: &str) -> Result<bool, Error> {
    let sql =
        "SELECT received_ts FROM quarantine WHERE login = $1 AND peer = $2 AND stanza_id = $3";
    let found = store
        .one(sql, args![login, peer, stanza_id], |row| row.int(0))
        .await?;
    Ok(found.is_some())
}

fn entry(way: Way, row: &Row<'_>) -> Result<Entry, Error> {
    Ok(Entry {
        way,
        id: row.text(0)?,
        room_id: row.opt_text(1)?,
        login: row.opt_text(2)?,
        peer: row.opt_text(3)?,
        since_ts: row.int(4)?,
        reason: row.opt_text(5)?,
        seq: row.int(6)?,
    })
}
