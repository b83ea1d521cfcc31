//! The Matrix users that the bridge plays: one per WhatsApp contact, and the bot.

use crate::{
    Batch, Error, Millis, Store,
    batch::{Delete, Insert, OnConflict, Update, args},
    db::Row,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// How far a ghost has been set up. Each stage is durable before the next begins.
    Stage in "ghosts" {
        /// Only the row exists.
        New = "new",
        /// The user exists on the homeserver.
        Registered = "registered",
        /// Its device exists.
        Device = "device",
        /// Its keys are uploaded.
        Keys = "keys",
        /// Its device is cross-signed: ready.
        Signed = "signed",
    }
}

/// A ghost.
#[derive(Clone, PartialEq, Eq)]
pub struct Ghost {
    /// Matrix id.
    pub mxid: String,
    /// Phone number with `+`; the bot has none.
    pub phone: Option<String>,
    /// The contact's JID, once known.
    pub peer: Option<String>,
    /// Its only device.
    pub device_id: String,
    /// How far it has been set up.
    pub stage: Stage,
    /// The display name as last set on the homeserver.
    pub display_name: Option<String>,
    /// When the row was made.
    pub created_ts: Millis,
}

opaque!(Ghost);

static PUT: Insert = Insert {
    table: "ghosts",
    columns: &[
        "mxid",
        "phone",
        "peer",
        "device_id",
        "stage",
        "display_name",
        "created_ts",
    ],
    key: 1,
    conflict: OnConflict::Ignore,
};
static STAGE: Update = Update {
    table: "ghosts",
    key: 1,
    sql: "UPDATE ghosts SET stage = $2 WHERE mxid = $1",
};
static DEVICE: Update = Update {
    table: "ghosts",
    key: 1,
    sql: "UPDATE ghosts SET device_id = $2, stage = $3 WHERE mxid = $1",
};
static NAME: Update = Update {
    table: "ghosts",
    key: 1,
    sql: "UPDATE ghosts SET display_name = $2 WHERE mxid = $1",
};
static PEER: Update = Update {
    table: "ghosts",
    key: 1,
    sql: "UPDATE ghosts SET peer = $2 WHERE mxid = $1",
};
static DELETE: Delete = Delete {
    table: "ghosts",
    keys: &["mxid"],
};

/// Adds a ghost; one that exists stays as it is.
pub fn put(batch: &mut Batch, ghost: &Ghost) {
    let Ghost {
        mxid,
        phone,
        peer,
        device_id,
        stage,
        display_name,
        created_ts,
    } = ghost;
    batch.insert(
        &PUT,
        args![
            mxid,
            phone,
            peer,
            device_id,
            *stage,
            display_name,
            *created_ts
        ],
    );
}

/// Notes how far it has been set up. Fails the batch if there is no such ghost.
pub fn set_stage(batch: &mut Batch, mxid: &str, stage: Stage) {
    batch.update(&STAGE, args![mxid, stage]).expect(1);
}

/// Gives a ghost another device, because the homeserver has keys for the old one that are lost. Fails the batch if there
/// is no such ghost.
pub fn replace_device(batch: &mut Batch, mxid: &str, device_id: &str, stage: Stage) {
    batch
        .update(&DEVICE, args![mxid, device_id, stage])
        .expect(1);
}

/// Notes the display name that the homeserver has.
pub fn set_display_name(batch: &mut Batch, mxid: &str, name: Option<&str>) {
    batch.update(&NAME, args![mxid, name]);
}

/// Notes the contact's JID.
pub fn set_peer(batch: &mut Batch, mxid: &str, peer: Option<&str>) {
    batch.update(&PEER, args![mxid, peer]);
}

/// Forgets a ghost.
pub fn delete(batch: &mut Batch, mxid: &str) {
    batch.delete(&DELETE, args![mxid]);
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT mxid, phone, peer, device_id, stage, display_name, created_ts FROM ghosts ",
            $where
        )
    };
}

/// A ghost by Matrix id.
pub async fn get(store: &Store, mxid: &str) -> Result<Option<Ghost>, Error> {
    store
        .one(select!("WHERE mxid = $1"), args![mxid], ghost)
        .await
}

/// A ghost by phone number (with `+`).
pub async fn by_phone(store: &Store, phone: &str) -> Result<Option<Ghost>, Error> {
    store
        .one(
            select!("WHERE phone = $1 ORDER BY mxid LIMIT 1"),
            args![phone],
            ghost,
        )
        .await
}

/// Ghosts after Matrix id `after` (empty for the start), in order of id.
pub async fn list(store: &Store, after: &str, limit: u32) -> Result<Vec<Ghost>, Error> {
    store
        .all(
            select!("WHERE mxid > $1 ORDER BY mxid LIMIT $2"),
            args![after, limit],
            ghost,
        )
        .await
}

/// Ghosts at one stage.
pub async fn at_stage(store: &Store, stage: Stage, limit: u32) -> Result<Vec<Ghost>, Error> {
    store
        .all(
            select!("WHERE stage = $1 ORDER BY mxid LIMIT $2"),
            args![stage, limit],
            ghost,
        )
        .await
}

/// How many ghosts there are, the bot included.
pub async fn count(store: &Store) -> Result<i64, Error> {
    Ok(store
        .one("SELECT COUNT(*) FROM ghosts", vec![], |row| row.int(0))
        .await?
        .unwrap_or(0))
}

fn ghost(row: &Row<'_>) -> Result<Ghost, Error> {
    Ok(Ghost {
        mxid: row.text(0)?,
        phone: row.opt_text(1)?,
        peer: row.opt_text(2)?,
        device_id: row.text(3)?,
        stage: Stage::parse(&row.text(4)?)?,
        display_name: row.opt_text(5)?,
        created_ts: row.int(6)?,
    })
}
