//! What the database knows about itself, and small settings that must survive.

use crate::{
    Batch, Error, Store,
    batch::{Delete, Insert, OnConflict, args},
};

/// Random id of this database, in hexadecimal digits.
pub const DATABASE_ID: &str = "database_id";
/// Name of the homeserver this database was made for.
pub const SERVER_NAME: &str = "server_name";
pub(crate) const LOG_SALT: &str = "log_salt";
pub(crate) const SEAL_CHECK: &str = "seal_check";

static PUT: Insert = Insert {
    table: "meta",
    columns: &["key", "value"],
    key: 1,
    conflict: OnConflict::Replace,
};
static REMOVE: Delete = Delete {
    table: "meta",
    keys: &["key"],
};

/// The value of `key`.
pub async fn get(store: &Store, key: &str) -> Result<Option<String>, Error> {
    store
        .one("SELECT value FROM meta WHERE key = $1", args![key], |row| {
            row.text(0)
        })
        .await
}

/// Sets `key`.
pub fn put(batch: &mut Batch, key: &str, value: &str) {
    batch.insert(&PUT, args![key, value]);
}

/// Removes `key`.
pub fn remove(batch: &mut Batch, key: &str) {
    batch.delete(&REMOVE, args![key]);
}
