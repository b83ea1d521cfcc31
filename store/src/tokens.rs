//! Keys that sign identity tokens.

use crate::{
    Batch, Error, Millis, Secret, Store,
    batch::{Delete, Insert, OnConflict, Update, Value, args, key},
};

/// A signing key.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// Key id, as in the JWKS.
    pub kid: String,
    /// Private key, PKCS#8 DER.
    pub pkcs8: Secret,
    /// When it was made.
    pub created_ts: Millis,
    /// When it stopped signing; its public half is served a while longer.
    pub retired_ts: Option<Millis>,
}

static PUT: Insert = Insert {
    table: "token_keys",
    columns: &["kid", "pkcs8", "created_ts", "retired_ts"],
    key: 1,
    conflict: OnConflict::Replace,
};
static RETIRE: Update = Update {
    table: "token_keys",
    key: 1,
    sql: "UPDATE token_keys SET retired_ts = $2 WHERE kid = $1 AND retired_ts IS NULL",
};
static DELETE: Delete = Delete {
    table: "token_keys",
    keys: &["kid"],
};

/// Writes a key.
pub fn put(batch: &mut Batch, key: &TokenKey) {
    let pkcs8 = Value::secret("pkcs8", key.pkcs8.clone());
    batch.insert(&PUT, args![&key.kid, pkcs8, key.created_ts, key.retired_ts]);
}

/// Stops a key from signing.
pub fn retire(batch: &mut Batch, kid: &str, now: Millis) {
    batch.update(&RETIRE, args![kid, now]);
}

/// Deletes a key: tokens signed with it can no longer be checked.
pub fn delete(batch: &mut Batch, kid: &str) {
    batch.delete(&DELETE, args![kid]);
}

/// All keys, newest first.
pub async fn list(store: &Store) -> Result<Vec<TokenKey>, Error> {
    let sql = "SELECT kid, pkcs8, created_ts, retired_ts FROM token_keys \
               ORDER BY created_ts DESC, kid";
    store
        .all(sql, vec![], |row| {
            let kid = row.text(0)?;
            Ok(TokenKey {
                pkcs8: row.secret(1, "token_keys", "pkcs8", &key![&kid])?,
                created_ts: row.int(2)?,
                retired_ts: row.opt_int(3)?,
                kid,
            })
        })
        .await
}
