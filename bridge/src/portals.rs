//! Portals: the room of one login and one contact. How it comes to be, from either side, and how it ends.

pub(crate) mod describe;

use std::{sync::Arc, time::Duration};

use puppeting::{GhostProfile, NewRoom, Puppet, PuppetError};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::json;
use store::{
    Batch, inbox,
    portals::{self, Portal},
};

use crate::{
    config::Level,
    core::Core,
    directory, ids, management,
    passes::{Hold, gone},
    phone::PhoneNumber,
};

/// Before a room that is being joined is looked at again.
const JOINING: Duration = Duration::from_millis(500);
/// Events of a room among which an invitation is looked for.
const AT_ONCE: u32 = 100;
/// Rooms that are tried for a contact: earlier ones may have been closed to the ghost.
const ROOMS: u32 = 16;

/// The ghost of a phone number, made with its keys in place.
pub(crate) async fn ghost_of_number(
    core: &Arc<Core>,
    phone: &PhoneNumber,
) -> Result<OwnedUserId, PuppetError> {
    let user = core.config.ghost_id(phone);
    core.puppets.ensure(&user, profile(phone, None)).await?;
    Ok(user)
}

fn profile(phone: &PhoneNumber, peer: Option<&str>) -> GhostProfile {
    GhostProfile {
        phone: Some(phone.international()),
        peer: peer.map(str::to_owned),
        display_name: Some(phone.international()),
    }
}

/// The portal of a login and a contact, its room made and its user invited if it is new.
pub(crate) async fn ensure(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
) -> Result<(Portal, OwnedRoomId), Hold> {
    // One contact's room is made once, whoever needs it first.
    let _lock = core
        .portal_locks
        .lock(&(login.to_owned(), peer.to_owned()))
        .await;
    let known = portals::by_peer(&core.store, login, peer).await?;
    if let Some(portal) = &known
        && let Some(room) = portal.room_id.as_deref()
    {
        if portal.state == portals::State::Active {
            describe::keep_up(core, portal).await?;
            return Ok((portal.clone(), core.room(room)?));
        }
        // Its user has made a room, and a crash came before the ghost was in it. The invitation is still in the inbox.
        let waiting = inbox::heads(&core.store, room, 0, AT_ONCE).await?;
        if waiting.iter().any(|event| event.kind == "m.room.member") {
            return Err(Hold {
                after: Some(JOINING),
                ..Hold::until("the room is being joined")
            });
        }
    }
    let ghost = contact_ghost(core, login, peer).await?;
    let room = open_room(core, &ghost, login, peer).await?;
    let state = portals::State::Active;
    let portal = record(core, login, peer, &ghost, &room, true, state).await?;
    describe::keep_up(core, &portal).await?;
    Ok((portal, room))
}

/// The ghost that stands for a contact. Where the gatekeeper tells the number, it is the number's ghost.
async fn contact_ghost(core: &Arc<Core>, login: &str, peer: &str) -> Result<Arc<Puppet>, Hold> {
    let phone = directory::phone_of(core, login, peer).await?;
    let (user, profile) = match &phone {
        Some(phone) => (core.config.ghost_id(phone), profile(phone, Some(peer))),
        None => (
            core.numberless_ghost(peer)?,
            GhostProfile {
                phone: None,
                peer: Some(peer.to_owned()),
                display_name: Some("WhatsApp contact".to_owned()),
            },
        ),
    };
    Ok(core.puppets.ensure(&user, profile).await?)
}

/// Makes the room: encrypted from its first event, written down, and then the user invited. An alias makes it one room, however often
/// this is tried; a room that its user left before is used again.
async fn open_room(
    core: &Arc<Core>,
    ghost: &Arc<Puppet>,
    login: &str,
    peer: &str,
) -> Result<OwnedRoomId, Hold> {
    let user = core.user(login)?;
    let bot = core.bot_puppet().await?;
    let mut state = describe::initial(core, login, peer);
    state.push(functional_members(core));
    for attempt in 0..ROOMS {
        let alias = ids::portal_alias(&core.config.appservice.ghost_prefix, login, peer, attempt);
        let made = failpoints::around!(
            "portal.room",
            ghost
                .create_room(NewRoom {
                    alias: Some(alias),
                    invite: vec![core.bot.clone()],
                    is_direct: true,
                    encrypted: true,
                    state: state.clone(),
                    ..NewRoom::default()
                })
                .await
        )?;
        let room = made.room_id;
        match failpoints::around!("portal.join", bot.join(&room).await) {
            Ok(()) => {}
            Err(error) if error.is_retryable() => return Err(error.into()),
            // That room is over.
            Err(_) => continue,
        }
        // Before its user can say anything in it: what is said in a room that is no portal goes nowhere.
        let state = portals::State::New;
        record(core, login, peer, ghost, &room, true, state).await?;
        match failpoints::around!("portal.user", ghost.invite_directly(&room, &user).await) {
            Ok(()) => return Ok(room),
            Err(error) if error.is_retryable() => return Err(error.into()),
            // The ghost was thrown out of it.
            Err(_) => continue,
        }
    }
    Err(Hold::damaged("no room can be made for a contact"))
}

/// Names the bot as a member that is no person, so that clients still show a chat of two.
fn functional_members(core: &Core) -> (String, String, serde_json::Value) {
    (
        "io.element.functional_members".to_owned(),
        String::new(),
        json!({ "service_members": [core.bot] }),
    )
}

async fn record(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    ghost: &Puppet,
    room: &RoomId,
    bot_joined: bool,
    state: portals::State,
) -> Result<Portal, Hold> {
    let mut batch = Batch::new();
    match portals::by_peer(&core.store, login, peer).await? {
        Some(former) => {
            if let Some(old) = former
                .room_id
                .as_deref()
                .and_then(|old| RoomId::parse(old).ok())
            {
                core.forget_portal(&old);
                if old != room {
                    portals::leave_room(&mut batch, former.id, old.as_str());
                }
            }
            portals::return_to_room(&mut batch, room.as_str());
            portals::set_room(&mut batch, former.id, Some(room.as_str()));
            portals::set_flags(&mut batch, former.id, true, bot_joined);
            portals::set_state(&mut batch, former.id, state);
        }
        None => portals::put(
            &mut batch,
            &portals::NewPortal {
                login: login.to_owned(),
                peer: peer.to_owned(),
                ghost: ghost.user_id().to_string(),
                room_id: Some(room.to_string()),
                encrypted: true,
                bot_joined,
                state,
            },
        ),
    }
    failpoints::around!("portal.commit", core.store.commit(batch).await)?;
    core.forget_portal(room);
    portals::by_peer(&core.store, login, peer)
        .await?
        .ok_or_else(|| Hold::until("a portal vanished"))
}

/// A change of membership in any room that the bridge sees.
pub(crate) async fn member(
    core: &Arc<Core>,
    room: &RoomId,
    event: inbox::Event,
) -> Result<(), Hold> {
    let mut done = Batch::new();
    inbox::done(&mut done, event.seq);
    if let Some(change) = MemberEvent::read(&event.body)
        && let Ok(target) = UserId::parse(&change.state_key)
    {
        match change.membership.as_str() {
            "invite" if core.config.is_own(&target) && event.sender != core.bot.as_str() => {
                invited(core, room, &event, &target).await?;
            }
            "leave" | "ban" => {
                if let Some(portal) = core.portal_of(room).await? {
                    left(core, room, &portal, &target).await?;
                } else {
                    management::left(core, room, &target).await?;
                }
            }
            "join" => management::joined(core, room, &target).await?,
            _ => {}
        }
    }
    failpoints::around!("member.done", core.store.commit(done).await)?;
    Ok(())
}

struct MemberEvent {
    state_key: String,
    membership: String,
}

impl MemberEvent {
    fn read(body: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Event {
            state_key: String,
            content: Content,
        }
        #[derive(serde::Deserialize)]
        struct Content {
            membership: String,
        }
        let event: Event = serde_json::from_str(body).ok()?;
        Some(Self {
            state_key: event.state_key,
            membership: event.content.membership,
        })
    }
}

/// Somebody invited the bot or a ghost.
async fn invited(
    core: &Arc<Core>,
    room: &RoomId,
    event: &inbox::Event,
    target: &UserId,
) -> Result<(), Hold> {
    let sender = event.sender.as_str();
    if *target == *core.bot {
        // Into a portal it was invited by a ghost, and has joined already.
        if UserId::parse(sender).is_ok_and(|sender| core.config.is_own(&sender)) {
            return Ok(());
        }
        return match core.portal_of(room).await? {
            Some(portal) if portal.login == sender => bring_back(core, room, &portal).await,
            _ => management::invited(core, room, sender).await,
        };
    }
    let inviter = core.user(sender)?;
    if core.config.is_own(&inviter) {
        return Ok(());
    }
    let Some(phone) = core.config.phone_of(target) else {
        return Ok(());
    };
    if core.config.level_of(&inviter) < Level::User {
        // No ghost and no room is made for them; one that is there turns them down.
        return match core.puppet_if_known(target.as_str()).await? {
            Some(ghost) => gone(ghost.leave(room, Some(management::NOT_ALLOWED)).await),
            None => Ok(()),
        };
    }
    ghost_of_number(core, &phone).await?;
    let Some(ghost) = core.puppet_if_known(target.as_str()).await? else {
        return Ok(());
    };
    match adopt(core, room, sender, &phone, &ghost).await? {
        Ok(()) => Ok(()),
        Err(refusal) => {
            let text = format!(
                "The chat with {} cannot be opened: {refusal}",
                phone.international()
            );
            management::tell(core, sender, &event.event_id, &text).await?;
            // The invitation is turned down, so that it does not look as if somebody was there.
            gone(ghost.leave(room, None).await)
        }
    }
}

/// Makes a room into which a user invited a ghost the portal with that contact; the inner error is for the user.
async fn adopt(
    core: &Arc<Core>,
    room: &RoomId,
    login: &str,
    phone: &PhoneNumber,
    ghost: &Arc<Puppet>,
) -> Result<Result<(), String>, Hold> {
    if core.login(login).await?.is_none() {
        return Ok(Err(
            "you are not joined to WhatsApp yet. Write “enable” to me first".to_owned(),
        ));
    }
    let peer = match directory::resolve(core, login, phone).await? {
        Ok(peer) => peer,
        Err(refusal) => return Ok(Err(refusal.to_string())),
    };
    let _lock = core
        .portal_locks
        .lock(&(login.to_owned(), peer.clone()))
        .await;
    if let Some(portal) = portals::by_peer(&core.store, login, &peer).await?
        && let Some(old) = portal.room_id.as_deref()
        && old != room.as_str()
    {
        let old = core.room(old)?;
        // A room that the user was invited to and has not joined yields to the one that the user made.
        if membership(ghost, &old, login).await?.as_deref() == Some("join") {
            return Ok(Err(format!(
                "you have a chat with this contact already: https://matrix.to/#/{old}"
            )));
        }
    }
    if let Some(other) = core.portal_of(room).await?
        && other.room_id.as_deref() == Some(room.as_str())
        && (other.login != login || other.peer != peer)
    {
        return Ok(Err(
            "the room is the chat with another contact. Invite this one into a room of its own"
                .to_owned(),
        ));
    }
    // Before anybody sees the ghost there: whoever writes now does not make another room.
    let state = portals::State::New;
    let new = record(core, login, &peer, ghost, room, false, state).await?;
    failpoints::around!("portal.adopt", ghost.join(room).await)?;
    if !ghost.is_encrypted(room).await? {
        let content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
        match ghost
            .put_state(room, "m.room.encryption", "", &content)
            .await
        {
            Ok(_) => {}
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(_) => {
                close(core, room, &new).await?;
                return Ok(Err("the room is not encrypted, and I may not turn encryption on in it. Turn it on in the room's settings and invite the contact again".to_owned()));
            }
        }
    }
    let bot_joined = bring_bot(core, room, ghost).await?;
    let state = portals::State::Active;
    let portal = record(core, login, &peer, ghost, room, bot_joined, state).await?;
    describe::keep_up(core, &portal).await?;
    Ok(Ok(()))
}

/// Has the bot join a portal that a user opened, so that it can say there what goes wrong. Where the ghost may not
/// invite it, the bot speaks in its own chat instead.
async fn bring_bot(core: &Arc<Core>, room: &RoomId, ghost: &Puppet) -> Result<bool, Hold> {
    match failpoints::around!("portal.invite", ghost.invite(room, &core.bot).await) {
        Ok(()) => {}
        Err(error) if error.is_retryable() => return Err(error.into()),
        Err(_) => {
            // Refused because it is in the room, or because the ghost may not invite.
            let membership = membership(ghost, room, core.bot.as_str()).await?;
            if !matches!(membership.as_deref(), Some("join" | "invite")) {
                return Ok(false);
            }
        }
    }
    match core.bot_puppet().await?.join(room).await {
        Ok(()) => {}
        Err(error) if error.is_retryable() => return Err(error.into()),
        Err(_) => return Ok(false),
    }
    let (kind, key, content) = functional_members(core);
    match ghost.put_state(room, &kind, &key, &content).await {
        Err(error) if error.is_retryable() => Err(error.into()),
        // Not allowed to: clients then show the bot as a third member, which is no more than untidy.
        Ok(_) | Err(_) => Ok(true),
    }
}

/// A user invited the bot into the chat again that it was removed from.
async fn bring_back(core: &Arc<Core>, room: &RoomId, portal: &Portal) -> Result<(), Hold> {
    let ghost = core.ghost(&portal.ghost).await?;
    let bot_joined = bring_bot(core, room, &ghost).await?;
    set_bot_joined(core, room, portal, bot_joined).await
}

/// Notes whether the bot is in a portal: where it is not, the ghost tells clients what becomes of messages, and what there is to say is
/// said in the bot's own chat.
async fn set_bot_joined(
    core: &Core,
    room: &RoomId,
    portal: &Portal,
    bot_joined: bool,
) -> Result<(), Hold> {
    let mut batch = Batch::new();
    portals::set_flags(&mut batch, portal.id, portal.encrypted, bot_joined);
    failpoints::around!("portal.bot.commit", core.store.commit(batch).await)?;
    core.forget_portal(room);
    Ok(())
}

/// What a user is in a room.
async fn membership(puppet: &Puppet, room: &RoomId, user: &str) -> Result<Option<String>, Hold> {
    let Ok(user) = UserId::parse(user) else {
        return Ok(None);
    };
    match puppet.membership(room, &user).await {
        Ok(membership) => Ok(membership),
        Err(error) if error.is_retryable() => Err(error.into()),
        // The puppet is not in that room any more, so nobody can talk there.
        Err(_) => Ok(None),
    }
}

/// Somebody left a portal or was removed from it. When its user or its ghost is gone, the portal has no room; the next
/// message opens one again. What still waits in the old room goes on from there.
async fn left(core: &Arc<Core>, room: &RoomId, portal: &Portal, who: &UserId) -> Result<(), Hold> {
    if *who == *core.bot {
        return set_bot_joined(core, room, portal, false).await;
    }
    let over = portal.state == portals::State::Closed;
    if over || (who.as_str() != portal.login && who.as_str() != portal.ghost) {
        return Ok(());
    }
    close(core, room, portal).await
}

/// Takes its room from a portal.
async fn close(core: &Arc<Core>, room: &RoomId, portal: &Portal) -> Result<(), Hold> {
    let mut batch = Batch::new();
    portals::leave_room(&mut batch, portal.id, room.as_str());
    portals::set_room(&mut batch, portal.id, None);
    portals::set_state(&mut batch, portal.id, portals::State::Closed);
    failpoints::around!("portal.closed.commit", core.store.commit(batch).await)?;
    core.forget_portal(room);
    Ok(())
}

/// Opens the chat with a number at a user's wish; the inner error is for the user.
pub(crate) async fn start_chat(
    core: &Arc<Core>,
    login: &str,
    phone: &PhoneNumber,
) -> Result<Result<OwnedRoomId, String>, Hold> {
    if core.login(login).await?.is_none() {
        return Ok(Err(
            "you are not joined to WhatsApp yet. Write “enable” first".to_owned(),
        ));
    }
    let peer = match directory::resolve(core, login, phone).await? {
        Ok(peer) => peer,
        Err(refusal) => return Ok(Err(refusal.to_string())),
    };
    let (_, room) = ensure(core, login, &peer).await?;
    Ok(Ok(room))
}
