//! Which room is a user's chat with the bot: how it comes to be, and when the bot leaves one.

use std::sync::Arc;

use puppeting::{NewRoom, Puppet};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use store::{Batch, meta};

use super::{NOT_ALLOWED, help, is_heard, reply};
use crate::{
    core::Core,
    ids,
    passes::{Hold, gone},
};

/// Rooms that are tried for a user: the bot may have left earlier ones.
const ROOMS: u32 = 16;
/// What the bot says when it leaves a room with more than one person in it.
const NOT_ALONE: &str = "I talk with one person at a time. Open a chat of just the two of us.";

/// A user's chat with the bot, which is opened if there is none.
pub(crate) async fn room(core: &Arc<Core>, user: &str) -> Result<OwnedRoomId, Hold> {
    if let Some(room) = room_of(core, user).await? {
        return Ok(room);
    }
    let (bot, id) = (core.bot_puppet().await?, core.user(user)?);
    for attempt in 0..ROOMS {
        // The alias makes it one room, however often this is tried.
        let prefix = &core.config.appservice.ghost_prefix;
        let alias = ids::portal_alias(prefix, user, "", attempt);
        let new = NewRoom {
            alias: Some(alias),
            invite: vec![id.clone()],
            is_direct: true,
            encrypted: true,
            ..NewRoom::default()
        };
        let made = failpoints::around!("botroom.create", bot.create_room(new).await)?;
        if made.existed {
            match bot.invite(&made.room_id, &id).await {
                Ok(()) => {}
                Err(error) if error.is_retryable() => return Err(error.into()),
                // The bot has left it: that room is over.
                Err(_) => continue,
            }
        }
        remember(core, user, &made.room_id).await?;
        return Ok(made.room_id);
    }
    Err(Hold::damaged("no room can be made for a user and the bot"))
}

/// A user's chat with the bot when the bot can say nothing in `refused`, which may have been it.
pub(crate) async fn other_room(
    core: &Arc<Core>,
    user: &str,
    refused: &RoomId,
) -> Result<OwnedRoomId, Hold> {
    forget(core, &core.user(user)?, refused).await?;
    room(core, user).await
}

/// Key under which a user's chat with the bot is remembered. A user has one before there is a login.
pub(crate) fn room_key(user: &str) -> String {
    format!("management_room:{user}")
}

/// A user's chat with the bot, if one is remembered.
pub(crate) async fn room_of(core: &Core, user: &str) -> Result<Option<OwnedRoomId>, Hold> {
    Ok(meta::get(&core.store, &room_key(user))
        .await?
        .and_then(|room| RoomId::parse(room).ok()))
}

/// Remembers a room as a user's chat with the bot: what there is to tell them is told there.
pub(super) async fn remember(core: &Core, user: &str, room: &RoomId) -> Result<(), Hold> {
    if room_of(core, user).await?.as_deref() == Some(room) {
        return Ok(());
    }
    let mut batch = Batch::new();
    meta::put(&mut batch, &room_key(user), room.as_str());
    failpoints::around!("botroom.commit", core.store.commit(batch).await)?;
    Ok(())
}

/// Forgets a room as a user's chat with the bot; says whether it was.
async fn forget(core: &Core, user: &UserId, room: &RoomId) -> Result<bool, Hold> {
    if room_of(core, user.as_str()).await?.as_deref() != Some(room) {
        return Ok(false);
    }
    let mut batch = Batch::new();
    meta::remove(&mut batch, &room_key(user.as_str()));
    failpoints::around!("botroom.left.commit", core.store.commit(batch).await)?;
    Ok(true)
}

/// A user invited the bot: it joins and says what it can do. It declines if that user may not use the bridge, and leaves again
/// if others are there; both with a word why.
pub(crate) async fn invited(core: &Arc<Core>, room: &RoomId, sender: &str) -> Result<(), Hold> {
    let (bot, user) = (core.bot_puppet().await?, core.user(sender)?);
    if !is_heard(core, &user).await? {
        return gone(bot.leave(room, Some(NOT_ALLOWED)).await);
    }
    match failpoints::around!("botroom.join", bot.join(room).await) {
        Ok(()) => {}
        Err(error) if error.is_retryable() => return Err(error.into()),
        // The invitation was taken back.
        Err(_) => return Ok(()),
    }
    if !is_alone_with(&bot, room, &user).await? {
        return leave_if_crowded(core, room).await;
    }
    remember(core, sender, room).await?;
    let cause = format!("welcome{room}");
    reply(core, room, sender, &cause, &help(core), Batch::new()).await
}

/// Somebody joined a room that is no portal.
pub(crate) async fn joined(core: &Arc<Core>, room: &RoomId, who: &UserId) -> Result<(), Hold> {
    if core.config.is_own(who) {
        return Ok(());
    }
    leave_if_crowded(core, room).await
}

/// Has the bot leave a room, unless it is a portal, with more than one person in it: what it says is for one person's eyes.
pub(super) async fn leave_if_crowded(core: &Arc<Core>, room: &RoomId) -> Result<(), Hold> {
    if core.portal_of(room).await?.is_some() {
        return Ok(());
    }
    let bot = core.bot_puppet().await?;
    let members = members(&bot, room).await?;
    // Ghosts are no persons: a room with one is about to become a portal, or was one.
    let is_person = |member: &&OwnedUserId| !core.config.is_own(member);
    let people: Vec<_> = members.iter().filter(is_person).collect();
    if people.len() < 2 {
        return Ok(());
    }
    for person in people {
        forget(core, person, room).await?;
    }
    tracing::info!(room = %core.log_id(room.as_str()), "the bot leaves a room with several people");
    gone(bot.leave(room, Some(NOT_ALONE)).await)
}

/// Whether a room has no members but the bot and one user (who may not have joined yet).
pub(super) async fn is_alone_with(
    bot: &Puppet,
    room: &RoomId,
    user: &UserId,
) -> Result<bool, Hold> {
    let members = members(bot, room).await?;
    let is_there = members.iter().any(|member| *member == *bot.user_id());
    let no_other = |member: &OwnedUserId| *member == *user || *member == *bot.user_id();
    Ok(is_there && members.iter().all(no_other))
}

/// Who is in a room; nobody if the bot is not.
async fn members(bot: &Puppet, room: &RoomId) -> Result<Vec<OwnedUserId>, Hold> {
    match bot.joined_members(room).await {
        Ok(members) => Ok(members),
        Err(error) if error.is_retryable() => Err(error.into()),
        Err(_) => Ok(Vec::new()),
    }
}

/// Somebody left a chat with the bot: an empty one is left too.
pub(crate) async fn left(core: &Arc<Core>, room: &RoomId, who: &UserId) -> Result<(), Hold> {
    if core.config.is_own(who) {
        return Ok(());
    }
    if !forget(core, who, room).await? {
        return Ok(());
    }
    gone(core.bot_puppet().await?.leave(room, None).await)
}
