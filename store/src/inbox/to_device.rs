//! To-device messages that no device has taken yet.

use aws_lc_rs::digest::{SHA256, digest};

use crate::{
    Batch, Error, Secret, Store,
    batch::{Delete, Insert, OnConflict, Value, args, key},
    opaque::opaque,
};

/// A message as it came.
#[derive(Clone)]
pub struct NewMessage {
    /// Matrix id of the ghost it is for.
    pub user_id: String,
    /// Device it is for.
    pub device_id: String,
    /// The message's JSON as received; sealed in the database.
    pub body: String,
}

/// A message in the inbox.
#[derive(Clone)]
pub struct Message {
    /// Position; later messages have higher ones.
    pub seq: i64,
    /// Matrix id of the ghost it is for.
    pub user_id: String,
    /// Device it is for.
    pub device_id: String,
    /// The message's JSON as received; nothing if the row is damaged.
    pub body: Option<String>,
}

opaque!(NewMessage, Message);

static PUT: Insert = Insert {
    table: "inbox_todevice",
    columns: &["hash", "user_id", "device_id", "body"],
    key: 1,
    conflict: OnConflict::Ignore,
};
static DONE: Delete = Delete {
    table: "inbox_todevice",
    keys: &["seq"],
};

/// Puts a message in; one that waits already is ignored.
pub(super) fn put(batch: &mut Batch, message: NewMessage) {
    let NewMessage {
        user_id,
        device_id,
        body,
    } = message;
    let hash = hex::encode(digest(
        &SHA256,
        format!("{user_id}|{device_id}|{body}").as_bytes(),
    ));
    batch.insert(
        &PUT,
        args![
            hash,
            user_id,
            device_id,
            Value::secret("body", Secret::new(body))
        ],
    );
}

/// Takes a handled message out. To-device handling is idempotent, so one that is gone already is no error.
pub fn done(batch: &mut Batch, seq: i64) {
    batch.delete(&DONE, args![seq]);
}

/// The next messages of all users after position `after`, in order.
pub async fn next(store: &Store, after: i64, limit: u32) -> Result<Vec<Message>, Error> {
    let sql = "SELECT seq, user_id, device_id, body, hash FROM inbox_todevice \
               WHERE seq > $1 ORDER BY seq LIMIT $2";
    store.all(sql, args![after, limit], message).await
}

fn message(row: &crate::db::Row<'_>) -> Result<Message, Error> {
    let table = "inbox_todevice";
    let body = row
        .secret(3, table, "body", &key![row.text(4)?])
        .and_then(|body| body.into_text(table));
    let body = match body {
        Err(Error::Corrupt { .. }) => None,
        body => Some(body?),
    };
    Ok(Message {
        seq: row.int(0)?,
        user_id: row.text(1)?,
        device_id: row.text(2)?,
        body,
    })
}
