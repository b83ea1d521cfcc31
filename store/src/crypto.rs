//! The Matrix devices' keys: one sealed object per row, keyed by account (`user|device`), kind and up to two names.
//!
//! `puppeting`'s `CryptoStore` decides what the kinds are. `tag` groups objects of a kind for look-ups, `flag` is a number.

use crate::{
    Batch, Error, Millis, Secret, Store,
    batch::{Delete, Insert, OnConflict, Update, Value, args, key},
    db::Row,
};

/// An object.
#[derive(Clone, Debug)]
pub struct Object {
    /// First name.
    pub k1: String,
    /// Second name, or empty. Compared as bytes when listed in order.
    pub k2: String,
    /// The object's bytes.
    pub value: Secret,
    /// Group, or empty.
    pub tag: String,
    /// A number whose meaning depends on the kind.
    pub flag: i64,
}

/// A change, as a `CryptoStore` collects it.
#[derive(Clone, Debug)]
pub enum Change {
    /// Writes an object over what was there.
    Put {
        /// Kind.
        kind: &'static str,
        /// The object.
        object: Object,
    },
    /// Deletes one object.
    Delete {
        /// Kind.
        kind: &'static str,
        /// First name.
        k1: String,
        /// Second name.
        k2: String,
    },
}

const TABLE: &str = "crypto_kv";
static PUT: Insert = Insert {
    table: TABLE,
    columns: &["acct", "kind", "k1", "k2", "v", "tag", "flag"],
    key: 4,
    conflict: OnConflict::Replace,
};
static DELETE: Delete = Delete {
    table: TABLE,
    keys: &["acct", "kind", "k1", "k2"],
};
static PRUNE: Update = Update {
    table: TABLE,
    key: 0,
    sql: "DELETE FROM crypto_kv WHERE kind = $1 AND flag > 0 AND flag < $2",
};
static DATE: Update = Update {
    table: TABLE,
    key: 0,
    sql: "UPDATE crypto_kv SET dated_ts = $2 WHERE kind = $1 AND dated_ts IS NULL",
};
static PRUNE_DATED: Update = Update {
    table: TABLE,
    key: 0,
    sql: "DELETE FROM crypto_kv WHERE kind = $1 AND dated_ts < $2",
};
static FORGET: Update = Update {
    table: TABLE,
    key: 1,
    sql: "DELETE FROM crypto_kv WHERE acct = $1",
};

/// Adds a change of an account's objects.
pub fn apply(batch: &mut Batch, acct: &str, change: Change) {
    match change {
        Change::Put {
            kind,
            object:
                Object {
                    k1,
                    k2,
                    value,
                    tag,
                    flag,
                },
        } => {
            batch.insert(
                &PUT,
                args![acct, kind, k1, k2, Value::secret("v", value), tag, flag],
            );
        }
        Change::Delete { kind, k1, k2 } => {
            batch.delete(&DELETE, args![acct, kind, k1, k2]);
        }
    }
}

/// Deletes all objects of a kind, of every account, that have a flag which is not 0 and below `flag`.
pub fn prune(batch: &mut Batch, kind: &'static str, flag: i64) {
    batch.update(&PRUNE, args![kind, flag]);
}

/// Dates all objects of a kind, of every account, that have no date yet.
pub fn date(batch: &mut Batch, kind: &'static str, now: Millis) {
    batch.update(&DATE, args![kind, now]);
}

/// Deletes all objects of a kind, of every account, that were dated before `before`.
pub fn prune_dated(batch: &mut Batch, kind: &'static str, before: Millis) {
    batch.update(&PRUNE_DATED, args![kind, before]);
}

/// Deletes everything of an account.
pub fn forget(batch: &mut Batch, acct: &str) {
    batch.update(&FORGET, args![acct]);
}

/// One object.
pub async fn get(
    store: &Store,
    acct: &str,
    kind: &str,
    k1: &str,
    k2: &str,
) -> Result<Option<Object>, Error> {
    let sql = "SELECT k1, k2, v, tag, flag FROM crypto_kv \
               WHERE acct = $1 AND kind = $2 AND k1 = $3 AND k2 = $4";
    store
        .one(sql, args![acct, kind, k1, k2], |row| {
            object(row, acct, kind)
        })
        .await
}

/// All objects of a kind, in order of their names.
pub async fn all(store: &Store, acct: &str, kind: &str) -> Result<Vec<Object>, Error> {
    let sql = "SELECT k1, k2, v, tag, flag FROM crypto_kv \
               WHERE acct = $1 AND kind = $2 ORDER BY k1, k2";
    store
        .all(sql, args![acct, kind], |row| object(row, acct, kind))
        .await
}

/// All objects of a kind with this first name, in order of the second.
pub async fn under(store: &Store, acct: &str, kind: &str, k1: &str) -> Result<Vec<Object>, Error> {
    let sql = "SELECT k1, k2, v, tag, flag FROM crypto_kv \
               WHERE acct = $1 AND kind = $2 AND k1 = $3 ORDER BY k2";
    store
        .all(sql, args![acct, kind, k1], |row| object(row, acct, kind))
        .await
}

/// Objects of a kind with this tag whose second name comes after `after`, in order of the second name.
pub async fn tagged(
    store: &Store,
    acct: &str,
    kind: &str,
    tag: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Object>, Error> {
    let sql = "SELECT k1, k2, v, tag, flag FROM crypto_kv \
               WHERE acct = $1 AND kind = $2 AND tag = $3 AND tag <> '' AND k2 > $4 \
               ORDER BY k2, k1 LIMIT $5";
    store
        .all(sql, args![acct, kind, tag, after, limit], |row| {
            object(row, acct, kind)
        })
        .await
}

/// Whether an object exists; cheaper than reading it.
pub async fn contains(
    store: &Store,
    acct: &str,
    kind: &str,
    k1: &str,
    k2: &str,
) -> Result<bool, Error> {
    let sql = "SELECT flag FROM crypto_kv WHERE acct = $1 AND kind = $2 AND k1 = $3 AND k2 = $4";
    Ok(store
        .one(sql, args![acct, kind, k1, k2], |row| row.int(0))
        .await?
        .is_some())
}

fn object(row: &Row<'_>, acct: &str, kind: &str) -> Result<Object, Error> {
    let (k1, k2) = (row.text(0)?, row.text(1)?);
    let value = row.secret(2, TABLE, "v", &key![acct, kind, &k1, &k2])?;
    Ok(Object {
        k1,
        k2,
        value,
        tag: row.text(3)?,
        flag: row.int(4)?,
    })
}
