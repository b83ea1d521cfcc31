//! Device lists, one-time key counts and fallback key types of transactions, as JSON. They hold no content.

use crate::{
    Batch, Error, Store,
    batch::{Delete, Insert, OnConflict, args},
};

/// The device data of one transaction.
#[derive(Clone, Debug)]
pub struct DeviceChanges {
    /// Position; later ones are higher.
    pub seq: i64,
    /// JSON.
    pub body: String,
}

static PUT: Insert = Insert {
    table: "inbox_crypto",
    columns: &["body"],
    key: 0,
    conflict: OnConflict::Fail,
};
static DONE: Delete = Delete {
    table: "inbox_crypto",
    keys: &["seq"],
};

pub(super) fn put(batch: &mut Batch, body: &str) {
    batch.insert(&PUT, args![body]);
}

/// Takes handled ones out; handling twice does no harm.
pub fn done(batch: &mut Batch, seq: i64) {
    batch.delete(&DONE, args![seq]);
}

/// The next ones after position `after` (0 for the start), in order.
pub async fn next(store: &Store, after: i64, limit: u32) -> Result<Vec<DeviceChanges>, Error> {
    let sql = "SELECT seq, body FROM inbox_crypto WHERE seq > $1 ORDER BY seq LIMIT $2";
    store
        .all(sql, args![after, limit], |row| {
            Ok(DeviceChanges {
                seq: row.int(0)?,
                body: row.text(1)?,
            })
        })
        .await
}
