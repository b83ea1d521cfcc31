//! Enlisted identities, one per Matrix user.

use crate::{
    Batch, Error, Millis, Secret, Store,
    batch::{Insert, OnConflict, Update, Value, args},
    db::Row,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// Where a login stands.
    State in "logins" {
        /// The user accepted the warning; nothing was sent yet.
        Consented = "consented",
        /// The enlistment is under way; sending it again is safe.
        Enlisting = "enlisting",
        /// Enlisted.
        Active = "active",
        /// The gatekeeper refused; `last_error` says why.
        Refused = "refused",
        /// The user has left; of the identity nothing is kept.
        Left = "left",
    }
}

/// A login.
#[derive(Clone)]
pub struct Login {
    /// Matrix id of the user.
    pub mxid: String,
    /// Where it stands.
    pub state: State,
    /// The interop JID, once enlisted.
    pub jid: Option<String>,
    /// The account id the gatekeeper knows the user by.
    pub account_id: Option<String>,
    /// Signal registration id.
    pub registration_id: u32,
    /// Signal identity key pair.
    pub identity: Option<Secret>,
    /// Noise static key pair.
    pub noise_key: Option<Secret>,
    /// The id the next one-time prekey gets.
    pub next_prekey_id: u32,
    /// What the server wants to hear back at the next connect.
    pub routing_info: Option<Vec<u8>>,
    /// The room in which the user talks with the bot.
    pub management_room: Option<String>,
    /// Why it was refused or does not connect.
    pub last_error: Option<String>,
    /// When the user consented first.
    pub created_ts: Millis,
    /// Last change.
    pub updated_ts: Millis,
}

opaque!(Login);

const TABLE: &str = "logins";

static PUT: Insert = Insert {
    table: TABLE,
    columns: &[
        "mxid",
        "state",
        "jid",
        "account_id",
        "registration_id",
        "identity",
        "noise_key",
        "next_prekey_id",
        "routing_info",
        "management_room",
        "last_error",
        "created_ts",
        "updated_ts",
    ],
    key: 1,
    conflict: OnConflict::Replace,
};
static STATE: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE logins SET state = $2, last_error = $3, updated_ts = $4 WHERE mxid = $1",
};
static ERROR: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE logins SET last_error = $2 WHERE mxid = $1 AND state = 'active'",
};
static ENLISTED: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE logins SET state = 'active', jid = $2, last_error = NULL, updated_ts = $3 WHERE mxid = $1",
};
static ROUTING: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE logins SET routing_info = $2 WHERE mxid = $1",
};
static MANAGEMENT: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE logins SET management_room = $2 WHERE mxid = $1",
};
static PREKEY_IDS: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE logins SET next_prekey_id = $3 WHERE mxid = $1 AND next_prekey_id = $2",
};
static LEFT: Update = Update {
    table: TABLE,
    key: 1,
    sql: "UPDATE logins SET state = 'left', jid = NULL, account_id = NULL, identity = NULL, noise_key = NULL, \
          routing_info = NULL, last_error = NULL, updated_ts = $2 WHERE mxid = $1",
};
/// What belongs to one identity and is of no use with another.
static FORGET: [Update; 5] = [
    erase(
        "signal_prekeys",
        "DELETE FROM signal_prekeys WHERE login = $1",
    ),
    erase(
        "signal_signed_prekeys",
        "DELETE FROM signal_signed_prekeys WHERE login = $1",
    ),
    erase(
        "signal_sessions",
        "DELETE FROM signal_sessions WHERE login = $1",
    ),
    erase("outbox", "DELETE FROM outbox WHERE login = $1"),
    erase(
        "undecryptable",
        "DELETE FROM undecryptable WHERE login = $1",
    ),
];
/// What hangs on the rooms of a user's portals, present and former.
static ERASE_ROOMS: [Update; 4] = [
    erase(
        "inbox",
        "DELETE FROM inbox WHERE room_id IN (SELECT room_id FROM portals WHERE login = $1) OR room_id IN \
         (SELECT former_rooms.room_id FROM former_rooms JOIN portals ON portals.id = former_rooms.portal \
         WHERE portals.login = $1)",
    ),
    erase(
        "sends",
        "DELETE FROM sends WHERE login = $1 OR room_id IN (SELECT room_id FROM portals WHERE login = $1) OR room_id IN \
         (SELECT former_rooms.room_id FROM former_rooms JOIN portals ON portals.id = former_rooms.portal \
         WHERE portals.login = $1)",
    ),
    // Room keys, and whatever else devices keep of a room.
    erase(
        "crypto_kv",
        "DELETE FROM crypto_kv WHERE k1 IN (SELECT room_id FROM portals WHERE login = $1) OR k1 IN \
         (SELECT former_rooms.room_id FROM former_rooms JOIN portals ON portals.id = former_rooms.portal \
         WHERE portals.login = $1)",
    ),
    erase("fading", "DELETE FROM fading WHERE login = $1"),
];
static ERASE_FORMER: Update = erase(
    "former_rooms",
    "DELETE FROM former_rooms WHERE portal IN (SELECT id FROM portals WHERE login = $1)",
);
static ERASE: [Update; 10] = [
    erase("consents", "DELETE FROM consents WHERE mxid = $1"),
    erase("preferences", "DELETE FROM preferences WHERE mxid = $1"),
    erase("contacts", "DELETE FROM contacts WHERE login = $1"),
    erase("portals", "DELETE FROM portals WHERE login = $1"),
    erase("messages", "DELETE FROM messages WHERE login = $1"),
    // The files should be gone by now; what has no row is swept from the media folder all the same.
    erase("media", "DELETE FROM media WHERE login = $1"),
    erase(
        "media_missing",
        "DELETE FROM media_missing WHERE login = $1",
    ),
    erase("quarantine", "DELETE FROM quarantine WHERE login = $1"),
    erase("reports", "DELETE FROM reports WHERE login = $1"),
    erase(TABLE, "DELETE FROM logins WHERE mxid = $1"),
];

const fn erase(table: &'static str, sql: &'static str) -> Update {
    Update { table, key: 1, sql }
}

/// Writes the whole row.
pub fn put(batch: &mut Batch, login: &Login) {
    batch.insert(
        &PUT,
        args![
            &login.mxid,
            login.state,
            &login.jid,
            &login.account_id,
            login.registration_id,
            Value::secret("identity", login.identity.clone()),
            Value::secret("noise_key", login.noise_key.clone()),
            login.next_prekey_id,
            login.routing_info.as_deref(),
            &login.management_room,
            &login.last_error,
            login.created_ts,
            login.updated_ts,
        ],
    );
}

/// Changes the state. Fails the batch if there is no such login.
pub fn set_state(batch: &mut Batch, mxid: &str, state: State, error: Option<&str>, now: Millis) {
    batch
        .update(&STATE, args![mxid, state, error, now])
        .expect(1);
}

/// Writes beside an active login what is wrong with it; does nothing if there is none.
pub fn set_error(batch: &mut Batch, mxid: &str, error: Option<&str>) {
    batch.update(&ERROR, args![mxid, error]);
}

/// The gatekeeper accepted the enlistment under `jid`. Fails the batch if there is no such login.
pub fn set_enlisted(batch: &mut Batch, mxid: &str, jid: &str, now: Millis) {
    batch.update(&ENLISTED, args![mxid, jid, now]).expect(1);
}

/// Keeps what the server wants to hear back at the next connect.
pub fn set_routing_info(batch: &mut Batch, mxid: &str, info: Option<&[u8]>) {
    batch.update(&ROUTING, args![mxid, info]);
}

/// Remembers the room in which the user talks with the bot. Fails the batch if there is no such login.
pub fn set_management_room(batch: &mut Batch, mxid: &str, room_id: Option<&str>) {
    batch.update(&MANAGEMENT, args![mxid, room_id]).expect(1);
}

/// Takes the prekey ids from `first` up to (not including) `next`. Fails the batch if `first` is not the next free id any more.
pub fn take_prekey_ids(batch: &mut Batch, mxid: &str, first: u32, next: u32) {
    batch
        .update(&PREKEY_IDS, args![mxid, first, next])
        .expect(1);
}

/// The user has left: the row stays, without the identity. Follow it with [`forget_identity`]. Fails the batch if there is no
/// such login.
pub fn set_left(batch: &mut Batch, mxid: &str, now: Millis) {
    batch.update(&LEFT, args![mxid, now]).expect(1);
}

/// Deletes what belongs to a login's identity: keys, sessions, and what was encrypted with them. Chats and messages stay.
pub fn forget_identity(batch: &mut Batch, mxid: &str) {
    for forget in &FORGET {
        batch.update(forget, args![mxid]);
    }
}

/// Deletes what waits in a user's rooms. Written before [`erase_all`], which forgets whose the rooms are.
pub fn erase_rooms(batch: &mut Batch, mxid: &str) {
    for erase in &ERASE_ROOMS {
        batch.update(erase, args![mxid]);
    }
}

/// Forgets which rooms were a user's before. Written after [`erase_rooms`] and before [`erase_all`].
pub fn erase_former_rooms(batch: &mut Batch, mxid: &str) {
    batch.update(&ERASE_FORMER, args![mxid]);
}

/// Deletes everything that belongs to a user, the login itself too.
pub fn erase_all(batch: &mut Batch, mxid: &str) {
    forget_identity(batch, mxid);
    for erase in &ERASE {
        batch.update(erase, args![mxid]);
    }
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT mxid, state, jid, account_id, registration_id, identity, noise_key, next_prekey_id, \
             routing_info, management_room, last_error, created_ts, updated_ts FROM logins ",
            $where
        )
    };
}

/// The login of a Matrix user.
pub async fn get(store: &Store, mxid: &str) -> Result<Option<Login>, Error> {
    store
        .one(select!("WHERE mxid = $1"), args![mxid], login)
        .await
}

/// The login with an interop JID.
pub async fn by_jid(store: &Store, jid: &str) -> Result<Option<Login>, Error> {
    store
        .one(select!("WHERE jid = $1"), args![jid], login)
        .await
}

/// The login that the gatekeeper knows by `account_id` (a push names it).
pub async fn by_account_id(store: &Store, account_id: &str) -> Result<Option<Login>, Error> {
    store
        .one(select!("WHERE account_id = $1"), args![account_id], login)
        .await
}

/// The login whose user talks with the bot in this room.
pub async fn by_management_room(store: &Store, room_id: &str) -> Result<Option<Login>, Error> {
    store
        .one(
            select!("WHERE management_room = $1 ORDER BY mxid"),
            args![room_id],
            login,
        )
        .await
}

/// Every login.
pub async fn list(store: &Store) -> Result<Vec<Login>, Error> {
    store.all(select!("ORDER BY mxid"), vec![], login).await
}

/// The logins in one state.
pub async fn in_state(store: &Store, state: State) -> Result<Vec<Login>, Error> {
    store
        .all(
            select!("WHERE state = $1 ORDER BY mxid"),
            args![state],
            login,
        )
        .await
}

fn login(row: &Row<'_>) -> Result<Login, Error> {
    let mxid = row.text(0)?;
    let key = args![&mxid];
    Ok(Login {
        state: State::parse(&row.text(1)?)?,
        jid: row.opt_text(2)?,
        account_id: row.opt_text(3)?,
        registration_id: row.u32(4)?,
        identity: row.opt_secret(5, TABLE, "identity", &key)?,
        noise_key: row.opt_secret(6, TABLE, "noise_key", &key)?,
        next_prekey_id: row.u32(7)?,
        routing_info: row.opt_bytes(8)?,
        management_room: row.opt_text(9)?,
        last_error: row.opt_text(10)?,
        created_ts: row.int(11)?,
        updated_ts: row.int(12)?,
        mxid,
    })
}
