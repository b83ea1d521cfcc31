//! What users have chosen for themselves.

use crate::{
    Batch, Error, Store,
    batch::{Insert, OnConflict, args},
};

/// A user's choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// Whether contacts learn what the user has read, and the user what they have read.
    pub read_receipts: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            read_receipts: true,
        }
    }
}

static PUT: Insert = Insert {
    table: "preferences",
    columns: &["mxid", "read_receipts"],
    key: 1,
    conflict: OnConflict::Replace,
};

/// Writes all choices of a user.
pub fn put(batch: &mut Batch, mxid: &str, preferences: Preferences) {
    batch.insert(&PUT, args![mxid, preferences.read_receipts]);
}

/// The choices of a user; the defaults where none were made.
pub async fn get(store: &Store, mxid: &str) -> Result<Preferences, Error> {
    let sql = "SELECT read_receipts FROM preferences WHERE mxid = $1";
    let found = store
        .one(sql, args![mxid], |row| {
            Ok(Preferences {
                read_receipts: row.bool(0)?,
            })
        })
        .await?;
    Ok(found.unwrap_or_default())
}
