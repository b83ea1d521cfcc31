//! Rooms of one login and one contact.

use crate::{
    Batch, Error, Store,
    batch::{Delete, Insert, OnConflict, Update, args},
    db::Row,
    opaque::opaque,
    text_enum::text_enum,
};

text_enum! {
    /// Where a portal stands.
    State in "portals" {
        /// Its room is being made or joined.
        New = "new",
        /// In use.
        Active = "active",
        /// The user left; the next message opens a new room.
        Closed = "closed",
    }
}

/// A portal to be added.
#[derive(Clone)]
pub struct NewPortal {
    /// Matrix id of the login.
    pub login: String,
    /// The contact's JID.
    pub peer: String,
    /// Matrix id of the ghost.
    pub ghost: String,
    /// The room, if there is one.
    pub room_id: Option<String>,
    /// Whether the room is encrypted.
    pub encrypted: bool,
    /// Whether the bot is in the room.
    pub bot_joined: bool,
    /// Where it stands.
    pub state: State,
}

/// A portal.
#[derive(Clone)]
pub struct Portal {
    /// Row id.
    pub id: i64,
    /// Matrix id of the login.
    pub login: String,
    /// The contact's JID.
    pub peer: String,
    /// Matrix id of the ghost.
    pub ghost: String,
    /// The room, if there is one.
    pub room_id: Option<String>,
    /// Whether the room is encrypted.
    pub encrypted: bool,
    /// Whether the bot is in the room.
    pub bot_joined: bool,
    /// Where it stands.
    pub state: State,
    /// Which state events the room got: empty for none.
    pub described: String,
    /// After how many seconds messages disappear on WhatsApp; 0 for never.
    pub timer: u32,
}

opaque!(NewPortal, Portal);

static PUT: Insert = Insert {
    table: "portals",
    columns: &[
        "login",
        "peer",
        "ghost",
        "room_id",
        "encrypted",
        "bot_joined",
        "state",
    ],
    key: 2,
    conflict: OnConflict::Fail,
};
static ROOM: Update = Update {
    table: "portals",
    key: 1,
    sql: "UPDATE portals SET room_id = $2 WHERE id = $1",
};
static FLAGS: Update = Update {
    table: "portals",
    key: 1,
    sql: "UPDATE portals SET encrypted = $2, bot_joined = $3 WHERE id = $1",
};
static STATE: Update = Update {
    table: "portals",
    key: 1,
    sql: "UPDATE portals SET state = $2 WHERE id = $1",
};
static DESCRIBED: Update = Update {
    table: "portals",
    key: 1,
    sql: "UPDATE portals SET described = $2 WHERE id = $1",
};
static TIMER: Update = Update {
    table: "portals",
    key: 1,
    sql: "UPDATE portals SET timer = $2 WHERE id = $1",
};
static DELETE: Delete = Delete {
    table: "portals",
    keys: &["id"],
};
static LEAVE: Insert = Insert {
    table: "former_rooms",
    columns: &["room_id", "portal"],
    key: 1,
    conflict: OnConflict::Replace,
};
static RETURN: Delete = Delete {
    table: "former_rooms",
    keys: &["room_id"],
};

/// Adds a portal. Fails the batch if the pair of login and contact, or the room, has one already.
pub fn put(batch: &mut Batch, portal: &NewPortal) {
    let NewPortal {
        login,
        peer,
        ghost,
        room_id,
        encrypted,
        bot_joined,
        state,
    } = portal;
    batch.insert(
        &PUT,
        args![login, peer, ghost, room_id, *encrypted, *bot_joined, *state],
    );
}

/// Sets the room. Fails the batch if the portal is gone or another one has that room.
pub fn set_room(batch: &mut Batch, id: i64, room_id: Option<&str>) {
    batch.update(&ROOM, args![id, room_id]).expect(1);
}

/// Remembers a room that the portal has no longer: what was written there before still goes to its contact.
pub fn leave_room(batch: &mut Batch, id: i64, room_id: &str) {
    batch.insert(&LEAVE, args![room_id, id]);
}

/// Forgets that a room was a portal's before: it is one again.
pub fn return_to_room(batch: &mut Batch, room_id: &str) {
    batch.delete(&RETURN, args![room_id]);
}

/// Notes whether the room is encrypted and the bot in it. Fails the batch if the portal is gone.
pub fn set_flags(batch: &mut Batch, id: i64, encrypted: bool, bot_joined: bool) {
    batch
        .update(&FLAGS, args![id, encrypted, bot_joined])
        .expect(1);
}

/// Sets where it stands. Fails the batch if the portal is gone.
pub fn set_state(batch: &mut Batch, id: i64, state: State) {
    batch.update(&STATE, args![id, state]).expect(1);
}

/// Notes which state events the room got. Fails the batch if the portal is gone.
pub fn set_described(batch: &mut Batch, id: i64, described: &str) {
    batch.update(&DESCRIBED, args![id, described]).expect(1);
}

/// Notes after how many seconds messages disappear on WhatsApp. Fails the batch if the portal is gone.
pub fn set_timer(batch: &mut Batch, id: i64, seconds: u32) {
    batch.update(&TIMER, args![id, seconds]).expect(1);
}

/// Forgets a portal.
pub fn delete(batch: &mut Batch, id: i64) {
    batch.delete(&DELETE, args![id]);
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, login, peer, ghost, room_id, encrypted, bot_joined, state, described, timer FROM portals ",
            $where
        )
    };
}

/// A portal by row id.
pub async fn get(store: &Store, id: i64) -> Result<Option<Portal>, Error> {
    store.one(select!("WHERE id = $1"), args![id], portal).await
}

/// The portal of a room.
pub async fn by_room(store: &Store, room_id: &str) -> Result<Option<Portal>, Error> {
    store
        .one(select!("WHERE room_id = $1"), args![room_id], portal)
        .await
}

/// The portal that had a room before. `room_id` of the answer is the room that it has now, if any.
pub async fn by_former_room(store: &Store, room_id: &str) -> Result<Option<Portal>, Error> {
    store
        .one(
            select!("WHERE id = (SELECT portal FROM former_rooms WHERE room_id = $1)"),
            args![room_id],
            portal,
        )
        .await
}

/// The portal of a login and a contact.
pub async fn by_peer(store: &Store, login: &str, peer: &str) -> Result<Option<Portal>, Error> {
    store
        .one(
            select!("WHERE login = $1 AND peer = $2"),
            args![login, peer],
            portal,
        )
        .await
}

/// All portals of a login.
pub async fn by_login(store: &Store, login: &str) -> Result<Vec<Portal>, Error> {
    store
        .all(
            select!("WHERE login = $1 ORDER BY id"),
            args![login],
            portal,
        )
        .await
}

/// All portals of a ghost.
pub async fn by_ghost(store: &Store, ghost: &str) -> Result<Vec<Portal>, Error> {
    store
        .all(
            select!("WHERE ghost = $1 ORDER BY id"),
            args![ghost],
            portal,
        )
        .await
}

/// Portals after row id `after` (0 for the start).
pub async fn list(store: &Store, after: i64, limit: u32) -> Result<Vec<Portal>, Error> {
    store
        .all(
            select!("WHERE id > $1 ORDER BY id LIMIT $2"),
            args![after, limit],
            portal,
        )
        .await
}

fn portal(row: &Row<'_>) -> Result<Portal, Error> {
    Ok(Portal {
        id: row.int(0)?,
        login: row.text(1)?,
        peer: row.text(2)?,
        ghost: row.text(3)?,
        room_id: row.opt_text(4)?,
        encrypted: row.bool(5)?,
        bot_joined: row.bool(6)?,
        state: State::parse(&row.text(7)?)?,
        described: row.text(8)?,
        timer: row.u32(9)?,
    })
}
