//! Leaving WhatsApp: ending a user's enlistment, and erasing what the bridge keeps of them.
//!
//! Whatever stops it in the middle, doing it again goes on: the command stays in the inbox until it is answered.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gatekeeper::{assumed, connection::QueryError};
use ruma::{OwnedRoomId, UserId};
use serde::{Deserialize, Serialize};
use store::{
    Batch, Millis, consents, logins,
    logins::State,
    messages, meta, outbox,
    portals::{self, Portal},
};

use crate::{
    appservice::SinkError,
    core::Core,
    management, media,
    notices::{self, Notice},
    passes::{Hold, gone},
    quarantine::{self, Listed, Selection},
};

/// For how long the gatekeeper is asked to delete a user before the bridge goes on without its answer, in milliseconds.
const PATIENCE: Millis = 60_000;
/// Before it is asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// Stanzas that are looked at together.
const PAGE: u32 = 200;

/// What a chat shows when its user has left.
const IN_THE_CHAT: &str = "You have left WhatsApp: nothing is sent or received here until you write “enable” to me. What was said here stays.";

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Whether the user was joined.
    pub joined: bool,
    /// Whether the gatekeeper has said that it deleted the user.
    pub confirmed: bool,
}

/// What an operator can have the running bridge do.
#[async_trait]
pub trait Operator: Send + Sync {
    /// Ends a user's enlistment.
    ///
    /// # Errors
    ///
    /// A neighbour that is away.
    async fn disable(&self, user: &UserId) -> Result<Departure, SinkError>;

    /// Ends a user's enlistment and deletes all that is kept of them.
    ///
    /// # Errors
    ///
    /// A neighbour that is away.
    async fn erase(&self, user: &UserId) -> Result<Departure, SinkError>;

    /// Brings back what was set aside, and gives it.
    ///
    /// # Errors
    ///
    /// When the database cannot be read or written.
    async fn replay(&self, selection: &Selection) -> Result<Vec<Listed>, store::Error>;
}

/// Does for an operator at once what users ask the bot for.
pub(crate) struct AtOnce(pub(crate) Arc<Core>);

#[async_trait]
impl Operator for AtOnce {
    async fn replay(&self, selection: &Selection) -> Result<Vec<Listed>, store::Error> {
        let brought = quarantine::replay(&self.0.store, selection).await?;
        quarantine::take_up(&self.0, &brought).await;
        Ok(brought)
    }

    async fn disable(&self, user: &UserId) -> Result<Departure, SinkError> {
        let core = &self.0;
        let left = disable(core, user, 0).await.map_err(unavailable)?;
        if left.joined {
            let text = "Whoever runs this server has ended your registration at WhatsApp. Your chats stay as they are; nothing is sent or received.";
            let mut batch = Batch::new();
            let now = core.now();
            let id = format!("ended {user} {now}");
            notices::note(&mut batch, now, user.as_str(), "", id, text);
            let noted = core.store.commit(batch).await;
            noted.map_err(|error| SinkError::Unavailable(Box::new(error)))?;
            notices::wake(core, user.as_str(), "");
        }
        Ok(left)
    }

    async fn erase(&self, user: &UserId) -> Result<Departure, SinkError> {
        let core = &self.0;
        let room = management::room_of(core, user.as_str()).await;
        let room = room.map_err(unavailable)?;
        let left = erase(core, user, 0).await.map_err(unavailable)?;
        if let Some(room) = room {
            let text = "Whoever runs this server has ended your registration at WhatsApp and erased what I kept of you.";
            let cause = format!("erased {}", core.now());
            let said = management::reply(core, &room, user.as_str(), &cause, text, Batch::new());
            // The erasure counts, not the word of it.
            if let Err(hold) = said.await {
                tracing::warn!(reason = %hold.reason, "a user could not be told of their erasure");
            }
        }
        Ok(left)
    }
}

fn unavailable(hold: Hold) -> SinkError {
    SinkError::Unavailable(hold.reason.into())
}

/// Ends a user's enlistment; their chats stay, and say so. `since` is when they asked for it.
///
/// # Errors
///
/// A [`Hold`] while the gatekeeper does not answer, for a minute.
pub(crate) async fn disable(
    core: &Arc<Core>,
    user: &UserId,
    since: Millis,
) -> Result<Departure, Hold> {
    end(core, user, since, Some(IN_THE_CHAT)).await
}

/// Ends a user's enlistment; `told` is said in each chat.
async fn end(
    core: &Arc<Core>,
    user: &UserId,
    since: Millis,
    told: Option<&str>,
) -> Result<Departure, Hold> {
    let mxid = user.as_str();
    // An enlistment that is under way ends first.
    let _lock = core.key_locks.lock(&mxid.to_owned()).await;
    let row = logins::get(&core.store, mxid).await?;
    let Some(row) = row.filter(|row| row.state != State::Left) else {
        return Ok(Departure {
            joined: false,
            confirmed: false,
        });
    };
    let confirmed = row.state == State::Active && delete_there(core, mxid, since).await?;
    core.logins.stop(mxid).await;
    let mut batch = Batch::new();
    unsent(core, &mut batch, mxid).await?;
    logins::set_left(&mut batch, mxid, core.now());
    logins::forget_identity(&mut batch, mxid);
    consents::withdraw(&mut batch, mxid, core.now());
    let chats = portals::by_login(&core.store, mxid).await?;
    let shown = |portal: &&Portal| portal.room_id.is_some() && portal.bot_joined;
    if let Some(text) = told {
        for portal in chats.iter().filter(shown) {
            let id = format!("left {} {}", portal.id, row.updated_ts);
            notices::note(&mut batch, core.now(), mxid, &portal.peer, id, text);
        }
    }
    failpoints::around!("leave.commit", core.store.commit(batch).await)?;
    core.sessions.forget(mxid);
    for portal in &chats {
        notices::wake(core, mxid, &portal.peer);
    }
    tracing::info!(login = %core.log_id(mxid), confirmed, "a user has left");
    Ok(Departure {
        joined: true,
        confirmed,
    })
}

/// Has the gatekeeper delete a user; says whether it has. One that cannot be asked for a minute is done without: it ends a
/// registration by itself after 30 days without a connection.
async fn delete_there(core: &Arc<Core>, mxid: &str, since: Millis) -> Result<bool, Hold> {
    let asked = match core.logins.get(mxid) {
        Some(login) => failpoints::around!(
            "leave.request",
            login.connection.query(assumed::delete_account()).await
        ),
        // They may not use the bridge, but they may leave.
        None if core.is_blocked(mxid) => {
            crate::logins::ask_once(core, mxid, assumed::delete_account()).await
        }
        None => Err(QueryError::NotConnected),
    };
    match asked {
        Ok(_) => Ok(true),
        Err(error) if core.now().saturating_sub(since) < PATIENCE => Err(Hold {
            after: Some(PAUSE),
            ..Hold::failed(&error)
        }),
        Err(error) => {
            tracing::warn!(login = %core.log_id(mxid), %error, "the gatekeeper could not be told that a user leaves; it ends the registration by itself after 30 days");
            Ok(false)
        }
    }
}

/// What waits to be sent with an identity that ends is not sent: its senders are told.
pub(crate) async fn unsent(core: &Core, batch: &mut Batch, mxid: &str) -> Result<(), Hold> {
    let mut after = 0;
    loop {
        let rows = outbox::next(&core.store, mxid, after, PAGE).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.seq;
        for row in rows.iter().filter(|row| row.kind == outbox::Kind::Message) {
            let (peer, id) = (&row.peer, &row.stanza_id);
            messages::advance(batch, mxid, peer, id, messages::Status::Failed);
            if let Some(event) = row.event_id.as_deref() {
                Notice::not_joined(event).put(batch, core, mxid, peer);
            }
        }
    }
}

/// Ends a user's enlistment and deletes all that is kept of them. Their contacts leave the rooms, which stay the user's own.
///
/// # Errors
///
/// A [`Hold`] while a neighbour does not answer.
pub(crate) async fn erase(
    core: &Arc<Core>,
    user: &UserId,
    since: Millis,
) -> Result<Departure, Hold> {
    let left = end(core, user, since, None).await?;
    let mxid = user.as_str();
    let rooms = portals::by_login(&core.store, mxid).await?;
    for portal in &rooms {
        // What was in the middle of it has written what it had; nobody opens the session of somebody who has left.
        core.sessions.settle(mxid, &portal.peer).await;
        leave(core, portal).await?;
    }
    media::clear(core, mxid).await?;
    let mut batch = Batch::new();
    logins::erase_rooms(&mut batch, mxid);
    failpoints::around!("erase.rooms.commit", core.store.commit(batch).await)?;
    let mut batch = Batch::new();
    logins::erase_former_rooms(&mut batch, mxid);
    failpoints::around!("erase.former.commit", core.store.commit(batch).await)?;
    let mut batch = Batch::new();
    logins::erase_all(&mut batch, mxid);
    meta::remove(&mut batch, &management::room_key(mxid));
    failpoints::around!("erase.user.commit", core.store.commit(batch).await)?;
    core.sessions.forget(mxid);
    for room in rooms.iter().filter_map(room) {
        core.forget_portal(&room);
    }
    tracing::info!(user = %core.log_id(mxid), "a user was erased");
    Ok(left)
}

fn room(portal: &Portal) -> Option<OwnedRoomId> {
    ruma::RoomId::parse(portal.room_id.as_deref()?).ok()
}

/// The contact and the bot leave a chat.
async fn leave(core: &Arc<Core>, portal: &Portal) -> Result<(), Hold> {
    let Some(room) = room(portal) else {
        return Ok(());
    };
    if portal.bot_joined {
        gone(core.bot_puppet().await?.leave(&room, None).await)?;
    }
    let ghost = core.ghost(&portal.ghost).await?;
    gone(failpoints::around!(
        "erase.leave",
        ghost.leave(&room, None).await
    ))
}
