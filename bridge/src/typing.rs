//! Who types, both ways. Nothing of it is stored; what cannot be said at once is not said.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gatekeeper::stanzas::{ChatState, Origin, Typing as Activity};
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::portals;
use tokio::time::Instant;

use crate::{
    core::{Core, Wake},
    directory,
    passes::Hold,
};

/// WhatsApp forgets that somebody types unless it is told again and again.
const REPEAT: Duration = Duration::from_secs(10);
/// Nobody types for longer: the word of the end was lost.
const LONGEST: Duration = Duration::from_secs(300);
/// Matrix forgets a contact's typing after this long.
const SHOWN: Duration = Duration::from_secs(20);
/// How long a stanza may take to leave.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rooms and chats that are kept in mind at the same time; more are not taken.
const MOST: usize = 10_000;
/// Users of a room who are looked at.
const USERS: usize = 16;

/// A login and a contact.
type Chat = (String, String);

/// Who types now.
#[derive(Debug)]
pub(crate) struct Typing {
    rooms: Mutex<HashMap<OwnedRoomId, Writers>>,
    contacts: Mutex<HashMap<Chat, Activity>>,
    /// Contacts whose ghosts are shown as typing.
    shown: moka::sync::Cache<Chat, ()>,
}

/// Who types in a room.
#[derive(Debug, Default)]
struct Writers {
    users: Vec<OwnedUserId>,
    /// Since when the contact was told so.
    told: Option<Instant>,
}

impl Default for Typing {
    fn default() -> Self {
        Self {
            rooms: Mutex::default(),
            contacts: Mutex::default(),
            shown: moka::sync::Cache::builder()
                .max_capacity(10_000)
                .time_to_live(SHOWN)
                .build(),
        }
    }
}

impl Typing {
    /// Takes an `m.typing` event out of a transaction: the whole list of who types in a room. Does not wait.
    pub(crate) fn take(&self, core: &Core, room: OwnedRoomId, event: &RawValue) {
        let mut users = users_of(event);
        // The ghosts' typing comes back to the bridge.
        users.retain(|user| !core.config.is_own(user));
        users.truncate(USERS);
        {
            let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
            let full = rooms.len() >= MOST;
            match rooms.get_mut(&room) {
                Some(writers) => writers.users = users,
                None if users.is_empty() || full => return,
                None => {
                    let writers = Writers { users, told: None };
                    rooms.insert(room.clone(), writers);
                }
            }
        }
        core.wake(Wake::Typing(room));
    }

    /// Takes what a contact does. Does not wait.
    pub(crate) fn contact(&self, core: &Core, login: &str, state: &ChatState) {
        let peer = core.peer_id(state.participant.as_ref().unwrap_or(&state.peer));
        self.set(core, (login.to_owned(), peer), state.typing);
    }

    /// A contact has sent a message: it does not type any more.
    pub(crate) fn wrote(&self, core: &Core, login: &str, peer: &str) {
        let chat = (login.to_owned(), peer.to_owned());
        if self.shown.contains_key(&chat) {
            self.set(core, chat, Activity::Paused);
        }
    }

    fn set(&self, core: &Core, chat: Chat, activity: Activity) {
        {
            let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
            if contacts.len() >= MOST && !contacts.contains_key(&chat) {
                return;
            }
            contacts.insert(chat.clone(), activity);
        }
        core.wake(Wake::ContactTypes(chat.0, chat.1));
    }

    /// What to tell the contact of a room whose user is `login`: whether they type, if that is to be said (again).
    fn next(&self, room: &RoomId, login: &str, now: Instant) -> Option<Activity> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let writers = rooms.get_mut(room)?;
        let types = writers.users.iter().any(|user| user.as_str() == login);
        let since = writers.told.map(|told| now.saturating_duration_since(told));
        if types && since.is_none_or(|since| since < LONGEST) {
            writers.told.get_or_insert(now);
            return Some(Activity::Composing);
        }
        rooms.remove(room);
        since.map(|_| Activity::Paused)
    }

    fn forget(&self, room: &RoomId) {
        self.rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(room);
    }
}

fn users_of(event: &RawValue) -> Vec<OwnedUserId> {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(default)]
        user_ids: Vec<OwnedUserId>,
    }
    serde_json::from_str::<Event>(event.get())
        .map(|event| event.content.user_ids)
        .unwrap_or_default()
}

/// Tells the contact of a room whether its user types, and again every few seconds while that lasts.
pub(crate) async fn room_pass(core: &Arc<Core>, room: &RoomId) {
    if let Err(hold) = tell_contact(core, room).await {
        tracing::debug!(room = %core.log_id(room.as_str()), reason = %hold.reason, "typing could not be told");
        core.typing.forget(room);
    }
}

async fn tell_contact(core: &Arc<Core>, room: &RoomId) -> Result<(), Hold> {
    let Some(portal) = core.portal_of(room).await? else {
        core.typing.forget(room);
        return Ok(());
    };
    let Some(typing) = core.typing.next(room, &portal.login, Instant::now()) else {
        return Ok(());
    };
    if typing == Activity::Composing {
        core.later.wake_after(Wake::Typing(room.to_owned()), REPEAT);
    }
    let Some(login) = core.logins.get(&portal.login) else {
        return Ok(());
    };
    let state = ChatState {
        peer: directory::parse(&portal.peer)?,
        participant: None,
        typing,
    };
    let sending = login.connection.send(state.to_node(Origin::Client));
    // Not connected, or the way out is full: then nobody learns of it.
    let _ = tokio::time::timeout(PATIENCE, sending).await;
    Ok(())
}

/// Shows in a contact's room whether it types. Matrix has no word for recording: that is typing too.
pub(crate) async fn contact_pass(core: &Arc<Core>, login: &str, peer: &str) {
    let chat = (login.to_owned(), peer.to_owned());
    let activity = {
        let mut contacts = core
            .typing
            .contacts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        contacts.remove(&chat)
    };
    let Some(activity) = activity else { return };
    let shown = async {
        let Some(portal) = portals::by_peer(&core.store, login, peer).await? else {
            return Ok(());
        };
        let Some(room) = portal.room_id.as_deref() else {
            return Ok(());
        };
        let types = activity != Activity::Paused;
        if types {
            core.typing.shown.insert(chat.clone(), ());
        } else {
            core.typing.shown.invalidate(&chat);
        }
        let ghost = core.ghost(&portal.ghost).await?;
        ghost
            .typing(&core.room(room)?, types.then_some(SHOWN))
            .await?;
        Ok::<_, Hold>(())
    };
    if let Err(hold) = shown.await {
        tracing::debug!(login = %core.log_id(login), reason = %hold.reason, "typing could not be shown");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;

    fn typing(users: &[&str]) -> (Typing, OwnedRoomId) {
        let typing = Typing::default();
        let room = ruma::room_id!("!room").to_owned();
        let users = users
            .iter()
            .filter_map(|user| OwnedUserId::try_from(*user).ok())
            .collect();
        let writers = Writers { users, told: None };
        typing
            .rooms
            .lock()
            .expect("unlocked")
            .insert(room.clone(), writers);
        (typing, room)
    }

    #[test]
    fn it_is_repeated_and_ends() {
        let (typing, room) = typing(&["@anna:localhost"]);
        let start = Instant::now();
        let next =
            |after: u64| typing.next(&room, "@anna:localhost", start + Duration::from_secs(after));
        assert_eq!(next(0), Some(Activity::Composing));
        assert_eq!(next(10), Some(Activity::Composing));
        assert_eq!(next(301), Some(Activity::Paused), "nobody types that long");
        assert_eq!(next(302), None, "and that is said once");
    }

    #[test]
    fn who_has_not_begun_does_not_stop() {
        let (typing, room) = typing(&["@bob:localhost"]);
        assert_eq!(typing.next(&room, "@anna:localhost", Instant::now()), None);
        assert!(typing.rooms.lock().expect("unlocked").is_empty());
    }

    #[test]
    fn the_list_of_who_types() {
        let read = |content| {
            let event = json!({"type": "m.typing", "content": content});
            users_of(&to_raw_value(&event).expect("JSON"))
        };
        assert_eq!(read(json!({"user_ids": ["@a:b"]})), ["@a:b"]);
        assert!(read(json!({"user_ids": ["nobody"]})).is_empty());
        assert!(read(json!({})).is_empty());
    }
}
