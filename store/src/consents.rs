//! Who accepted which warning, and when. Rows are kept after a withdrawal: they are the proof.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Insert, OnConflict, Update, args},
    db::Row,
};

/// One acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Matrix id of the user.
    pub mxid: String,
    /// Version of the warning's text.
    pub version: String,
    /// SHA-256 of the text that was shown, in hexadecimal digits.
    pub text_sha256: String,
    /// When it was accepted.
    pub accepted_ts: Millis,
    /// When it was withdrawn, if so.
    pub withdrawn_ts: Option<Millis>,
}

static PUT: Insert = Insert {
    table: "consents",
    columns: &[
        "mxid",
        "version",
        "accepted_ts",
        "text_sha256",
        "withdrawn_ts",
    ],
    key: 3,
    conflict: OnConflict::Ignore,
};
static WITHDRAW: Update = Update {
    table: "consents",
    key: 1,
    sql: "UPDATE consents SET withdrawn_ts = $2 WHERE mxid = $1 AND withdrawn_ts IS NULL",
};

/// Records an acceptance.
pub fn put(batch: &mut Batch, consent: &Consent) {
    let Consent {
        mxid,
        version,
        text_sha256,
        accepted_ts,
        withdrawn_ts,
    } = consent;
    batch.insert(
        &PUT,
        args![mxid, version, *accepted_ts, text_sha256, *withdrawn_ts],
    );
}

/// Withdraws all that the user accepted.
pub fn withdraw(batch: &mut Batch, mxid: &str, now: Millis) {
    batch.update(&WITHDRAW, args![mxid, now]);
}

/// The user's latest acceptance that still stands.
pub async fn current(store: &Store, mxid: &str) -> Result<Option<Consent>, Error> {
    let sql = "SELECT mxid, version, text_sha256, accepted_ts, withdrawn_ts FROM consents \
               WHERE mxid = $1 AND withdrawn_ts IS NULL ORDER BY accepted_ts DESC LIMIT 1";
    store.one(sql, args![mxid], consent).await
}

/// All acceptances of a user, oldest first.
pub async fn history(store: &Store, mxid: &str) -> Result<Vec<Consent>, Error> {
    let sql = "SELECT mxid, version, text_sha256, accepted_ts, withdrawn_ts FROM consents \
               WHERE mxid = $1 ORDER BY accepted_ts";
    store.all(sql, args![mxid], consent).await
}

fn consent(row: &Row<'_>) -> Result<Consent, Error> {
    Ok(Consent {
        mxid: row.text(0)?,
        version: row.text(1)?,
        text_sha256: row.text(2)?,
        accepted_ts: row.int(3)?,
        withdrawn_ts: row.opt_int(4)?,
    })
}
