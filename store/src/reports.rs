//! What people are to be told: that a message waits or failed, or what has changed about a contact or a login. No content.
//!
//! A row is a wish with a version; telling it sets `told` to that version, so that what a crash interrupts is told after it,
//! and a change is told by editing what was said before.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Update, args},
    db::Row,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// What a report says.
    Kind in "reports" {
        /// A message has not gone yet and will.
        Waiting = "waiting",
        /// A message did not go, or did not arrive whole.
        Failed = "failed",
        /// Something to know, of no message; said once.
        Note = "note",
    }
}

/// Something to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct NewReport {
    /// The event of the message; for a note an id of its own, always the same for the same news.
    pub about: String,
    /// Matrix id of the login.
    pub login: String,
    /// The contact's JID; empty for what belongs into the user's chat with the bot.
    pub peer: String,
    /// What it says.
    pub kind: Kind,
    /// Why, in one word.
    pub reason: String,
    /// Why, for a person.
    pub body: String,
    /// Whether a notice in the room says it, besides the status.
    pub loud: bool,
    /// Now.
    pub created_ts: Millis,
}

/// A report as it stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    /// What is to be told.
    pub report: NewReport,
    /// How often it was tried.
    pub attempts: u32,
    /// Grows with each change.
    pub version: i64,
    /// The version that was told last; 0 if none was.
    pub told: i64,
    /// Where its notice is.
    pub notice_room: Option<String>,
    /// The event of its notice.
    pub notice_event: Option<String>,
}

/// A message that has not gone for a while.
#[derive(Clone, PartialEq, Eq)]
pub struct Overdue {
    /// Its event.
    pub event_id: String,
    /// Matrix id of the login.
    pub login: String,
    /// The contact's JID.
    pub peer: String,
}

opaque!(NewReport, Report, Overdue);

static PUT: Update = Update {
    table: "reports",
    key: 1,
    sql: "INSERT INTO reports (about, login, peer, kind, reason, body, loud, created_ts) \
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (about) DO UPDATE SET \
          kind = excluded.kind, reason = excluded.reason, body = excluded.body, loud = excluded.loud, \
          version = reports.version + 1 \
          WHERE reports.kind <> excluded.kind OR reports.body <> excluded.body OR reports.loud <> excluded.loud",
};
static TRIED: Update = Update {
    table: "reports",
    key: 1,
    sql: "UPDATE reports SET attempts = attempts + 1 WHERE about = $1",
};
static TOLD: Update = Update {
    table: "reports",
    key: 1,
    sql: "UPDATE reports SET told = $2, notice_room = $3, notice_event = $4 WHERE about = $1 AND told < $2",
};
static DONE: Delete = Delete {
    table: "reports",
    keys: &["about"],
};
static OVER: Delete = Delete {
    table: "reports",
    keys: &["about", "version"],
};

/// Wants something told. What is told already in the same words is not told again; other words take their place.
pub fn put(batch: &mut Batch, report: &NewReport) {
    batch.update(
        &PUT,
        args![
            &report.about,
            &report.login,
            &report.peer,
            report.kind,
            &report.reason,
            &report.body,
            report.loud,
            report.created_ts
        ],
    );
}

/// Counts one more try of a message.
pub fn tried(batch: &mut Batch, about: &str) {
    batch.update(&TRIED, args![about]);
}

/// Notes that `version` was told, and which event says it, if one does.
pub fn told(
    batch: &mut Batch,
    about: &str,
    version: i64,
    notice_room: Option<&str>,
    notice_event: Option<&str>,
) {
    batch.update(&TOLD, args![about, version, notice_room, notice_event]);
}

/// Forgets a report: the message went after all.
pub fn done(batch: &mut Batch, about: &str) {
    batch.delete(&DONE, args![about]);
}

/// Forgets a report that was told in this version and can change no more. One that changed meanwhile stays.
pub fn over(batch: &mut Batch, about: &str, version: i64) {
    batch.delete(&OVER, args![about, version]);
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT about, login, peer, kind, reason, body, loud, created_ts, attempts, version, told, \
             notice_room, notice_event FROM reports ",
            $where
        )
    };
}

/// One report.
pub async fn get(store: &Store, about: &str) -> Result<Option<Report>, Error> {
    store
        .one(select!("WHERE about = $1"), args![about], report)
        .await
}

/// The reports of a chat, oldest first.
pub async fn of_chat(store: &Store, login: &str, peer: &str) -> Result<Vec<Report>, Error> {
    let sql = select!("WHERE login = $1 AND peer = $2 ORDER BY created_ts, about");
    store.all(sql, args![login, peer], report).await
}

/// Chats, as login and peer, with something to tell, or with a wait whose end has to be noticed.
pub async fn chats(store: &Store) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT DISTINCT login, peer FROM reports WHERE told < version OR kind = 'waiting'";
    store
        .all(sql, vec![], |row| Ok((row.text(0)?, row.text(1)?)))
        .await
}

/// Messages of portals' users that came before `before` and are still in the inbox, oldest first, without those of which a
/// report (for `loud`: a loud one) tells already.
pub async fn unread_since(
    store: &Store,
    before: Millis,
    loud: bool,
    limit: u32,
) -> Result<Vec<Overdue>, Error> {
    let sql = "SELECT i.event_id, p.login, p.peer FROM inbox i JOIN portals p ON p.room_id = i.room_id \
               WHERE i.state = 'new' AND i.received_ts < $1 AND i.sender = p.login \
               AND i.type IN ('m.room.encrypted', 'm.room.message', 'm.sticker') \
               AND NOT EXISTS (SELECT 1 FROM reports r WHERE r.about = i.event_id AND r.loud >= $2) \
               ORDER BY i.seq LIMIT $3";
    store.all(sql, args![before, loud, limit], overdue).await
}

/// Messages that came before `before` and wait in the outbox without any answer, oldest first, without those of which a report
/// (for `loud`: a loud one) tells already.
pub async fn unsent_since(
    store: &Store,
    before: Millis,
    loud: bool,
    limit: u32,
) -> Result<Vec<Overdue>, Error> {
    let sql = "SELECT m.event_id, o.login, o.peer FROM outbox o JOIN messages m \
               ON m.login = o.login AND m.peer = o.peer AND m.stanza_id = o.stanza_id \
               WHERE m.ts < $1 AND m.status = 0 AND m.direction = 'out' AND o.quarantined_ts IS NULL AND m.event_id IS NOT NULL \
               AND NOT EXISTS (SELECT 1 FROM reports r WHERE r.about = m.event_id AND r.loud >= $2) \
               ORDER BY o.seq LIMIT $3";
    store.all(sql, args![before, loud, limit], overdue).await
}

fn overdue(row: &Row<'_>) -> Result<Overdue, Error> {
    Ok(Overdue {
        event_id: row.text(0)?,
        login: row.text(1)?,
        peer: row.text(2)?,
    })
}

fn report(row: &Row<'_>) -> Result<Report, Error> {
    Ok(Report {
        report: NewReport {
            about: row.text(0)?,
            login: row.text(1)?,
            peer: row.text(2)?,
            kind: Kind::parse(&row.text(3)?)?,
            reason: row.text(4)?,
            body: row.text(5)?,
            loud: row.bool(6)?,
            created_ts: row.int(7)?,
        },
        attempts: row.u32(8)?,
        version: row.int(9)?,
        told: row.int(10)?,
        notice_room: row.opt_text(11)?,
        notice_event: row.opt_text(12)?,
    })
}
