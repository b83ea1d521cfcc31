//! Read receipts, both ways.
//!
//! From Matrix: everything that the contact wrote up to the event counts as read, and one receipt says so. How far that goes is
//! the status of the messages, so nothing is said twice, however often the homeserver or a restart brings a receipt again.
//! From WhatsApp: the ghost marks the last message that its contact has read. Receipts may be lost; messages are not.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gatekeeper::stanzas::{Origin, ReceiptKind};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{
    Batch, Millis,
    messages::{self, Status},
    outbox, portals,
    portals::Portal,
    preferences::{self, Preferences},
    sends,
};

use crate::{
    core::{Core, Wake},
    directory, fading,
    passes::Hold,
};

/// Rooms whose receipts wait to be looked at; more are not taken.
const WAITING: usize = 10_000;
/// Messages in one receipt.
const AT_ONCE: u32 = 500;
/// Messages whose receipts are told again after a start, by their age in milliseconds.
const RECENT_MS: Millis = 24 * 3600 * 1000;
/// Before the next attempt when a neighbour does not answer.
const PAUSE: Duration = Duration::from_secs(15);

/// Receipts that are under way.
#[derive(Debug)]
pub(crate) struct Receipts {
    /// By room: the events that people have read, with who read them. They stay until they have been handled.
    waiting: Mutex<HashMap<OwnedRoomId, Vec<Read>>>,
    /// The event up to which a room's ghost was last said to have read.
    told: moka::sync::Cache<OwnedRoomId, String>,
}

/// Somebody has read up to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    user: OwnedUserId,
    event: OwnedEventId,
    /// When, as the homeserver says.
    ts: i64,
}

impl Default for Receipts {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            told: moka::sync::Cache::new(10_000),
        }
    }
}

impl Receipts {
    /// Takes an `m.receipt` event, out of a transaction or of a look through the rooms. Does not wait.
    pub(crate) fn take(&self, core: &Core, room: OwnedRoomId, event: &RawValue) {
        let reads: Vec<Read> = public_reads(event)
            .into_iter()
            .filter(|read| !core.config.is_own(&read.user))
            .collect();
        if reads.is_empty() {
            return;
        }
        {
            let mut waiting = self.lock();
            if waiting.len() >= WAITING && !waiting.contains_key(&room) {
                return;
            }
            let known = waiting.entry(room.clone()).or_default();
            for read in reads {
                note(known, read);
            }
        }
        core.wake(Wake::Read(room));
    }

    /// Whether all that was taken has been handled.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    /// Events of a room got their ids: one of them may have been read before that.
    pub(crate) fn posted(&self, core: &Core, room: &RoomId) {
        if self.lock().contains_key(room) {
            core.wake(Wake::Read(room.to_owned()));
        }
    }

    fn of(&self, room: &RoomId) -> Vec<Read> {
        self.lock().get(room).cloned().unwrap_or_default()
    }

    /// Takes out what has been handled, unless something newer has taken its place.
    fn done(&self, room: &RoomId, read: &Read) {
        let mut waiting = self.lock();
        if let Some(known) = waiting.get_mut(room) {
            known.retain(|other| other != read);
            if known.is_empty() {
                waiting.remove(room);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedRoomId, Vec<Read>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a receipt to those of a room. The latest of a user counts: they come in transactions and by looks through the rooms, and the
/// two ways may cross.
fn note(known: &mut Vec<Read>, read: Read) {
    match known.iter_mut().find(|other| other.user == read.user) {
        Some(other) if other.ts > read.ts => {}
        Some(other) => *other = read,
        None => known.push(read),
    }
}

/// Who has read what, out of an `m.receipt` event. A private receipt (`m.read.private`) is nobody's business.
fn public_reads(event: &RawValue) -> Vec<Read> {
    #[derive(Deserialize)]
    struct Event {
        content: BTreeMap<OwnedEventId, Kinds>,
    }
    #[derive(Deserialize)]
    struct Kinds {
        #[serde(rename = "m.read", default)]
        read: BTreeMap<OwnedUserId, Details>,
    }
    #[derive(Deserialize)]
    struct Details {
        #[serde(default)]
        ts: i64,
    }
    let Ok(event) = serde_json::from_str::<Event>(event.get()) else {
        return Vec::new();
    };
    let reads = event.content.into_iter().flat_map(|(event, kinds)| {
        kinds.read.into_iter().map(move |(user, details)| Read {
            user,
            event: event.clone(),
            ts: details.ts,
        })
    });
    reads.collect()
}

/// Handles the receipts of a room.
pub(crate) async fn read_pass(core: &Arc<Core>, room: &RoomId) {
    for read in core.receipts.of(room) {
        match read_up_to(core, room, &read).await {
            Ok(()) => core.receipts.done(room, &read),
            Err(hold) => {
                tracing::info!(room = %core.log_id(room.as_str()), reason = %hold.reason, "a read receipt waits");
                let wake = Wake::Read(room.to_owned());
                core.later.wake_after(wake, hold.after.unwrap_or(PAUSE));
            }
        }
    }
}

async fn read_up_to(core: &Arc<Core>, room: &RoomId, read: &Read) -> Result<(), Hold> {
    let Some(portal) = core.portal_of(room).await? else {
        return Ok(());
    };
    if read.user.as_str() != portal.login {
        return Ok(());
    }
    // Asked first: an event gets its id and leaves the queue in one commit.
    let posting = !sends::heads(&core.store, room.as_str(), 0, 1)
        .await?
        .is_empty();
    if let Some(moment) = known_moment(core, room, &read.event).await? {
        return mark(core, &portal, room, moment).await;
    }
    if let Some(moment) = moment_before(core, &portal, room, &read.event).await? {
        mark(core, &portal, room, moment).await?;
    }
    if posting {
        // It may be one that the homeserver has and whose id is not written down yet.
        return Err(Hold::until("events of the room have no ids yet"));
    }
    Ok(())
}

/// When the bridge had the last bridged message before an event that is none.
async fn moment_before(
    core: &Arc<Core>,
    portal: &Portal,
    room: &RoomId,
    event: &EventId,
) -> Result<Option<Millis>, Hold> {
    // A notice, a status, an edit, a reaction: what stands before it counts.
    let ghost = core.ghost(&portal.ghost).await?;
    let before = match ghost.events_before(room, event).await {
        Ok(before) => before,
        Err(error) if error.is_retryable() => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    for event in before {
        if let Some(moment) = known_moment(core, room, &event).await? {
            return Ok(Some(moment));
        }
    }
    Ok(None)
}

async fn known_moment(
    core: &Arc<Core>,
    room: &RoomId,
    event: &EventId,
) -> Result<Option<Millis>, Hold> {
    let found = messages::by_event(&core.store, event.as_str()).await?;
    Ok(found
        .filter(|message| message.room_id == room.as_str())
        .map(|message| message.ts))
}

/// Marks what came until then as read, and tells the contact unless the user does not want that.
async fn mark(core: &Arc<Core>, portal: &Portal, room: &RoomId, until: Millis) -> Result<(), Hold> {
    fading::read(core, room, until).await?;
    let shown = preferences::get(&core.store, &portal.login)
        .await?
        .read_receipts;
    let peer = directory::parse(&portal.peer)?;
    loop {
        let unread = messages::unread_until(&core.store, room.as_str(), until, AT_ONCE).await?;
        if unread.is_empty() {
            break;
        }
        let more = unread.len() == AT_ONCE as usize;
        let mut batch = Batch::new();
        for message in &unread {
            let (login, peer) = (&message.login, &message.peer);
            messages::advance(&mut batch, login, peer, &message.stanza_id, Status::Read);
        }
        if shown {
            let ids = unread
                .into_iter()
                .rev()
                .filter(|message| message.peer == portal.peer)
                .map(|message| message.stanza_id)
                .collect();
            let t = u64::try_from(core.now() / 1000).ok();
            for receipt in core
                .profile
                .message
                .receipts(&peer, &ReceiptKind::Read, ids, t)
            {
                outbox::replace(
                    &mut batch,
                    outbox::NewStanza {
                        login: portal.login.clone(),
                        peer: portal.peer.clone(),
                        stanza_id: receipt.id().to_owned(),
                        kind: outbox::Kind::Receipt,
                        stanza: core.encode(&receipt.to_node(Origin::Client))?,
                        event_id: None,
                    },
                );
            }
        }
        failpoints::around!("read.commit", core.store.commit(batch).await)?;
        if !more {
            break;
        }
    }
    if let Some(login) = core.logins.get(&portal.login) {
        login.deliver();
    }
    Ok(())
}

/// Has ghosts mark what their contacts have read of the last day's messages: the last time that may have been cut short.
pub(crate) async fn wake_all(core: &Core) -> Result<(), store::Error> {
    let since = core.now().saturating_sub(RECENT_MS);
    for (login, peer) in messages::read_chats(&core.store, since).await? {
        core.wake(Wake::Seen(login, peer));
    }
    Ok(())
}

/// The contact has read messages: the ghost marks the last of them.
pub(crate) async fn seen(core: &Arc<Core>, login: &str, peer: &str) {
    if let Err(hold) = try_seen(core, login, peer).await {
        tracing::info!(login = %core.log_id(login), reason = %hold.reason, "a read receipt for Matrix waits");
        let wake = Wake::Seen(login.to_owned(), peer.to_owned());
        core.later.wake_after(wake, hold.after.unwrap_or(PAUSE));
    }
}

async fn try_seen(core: &Arc<Core>, login: &str, peer: &str) -> Result<(), Hold> {
    let Some(portal) = portals::by_peer(&core.store, login, peer).await? else {
        return Ok(());
    };
    let Some(room) = portal.room_id.as_deref() else {
        return Ok(());
    };
    let last = messages::last_read(&core.store, room).await?;
    let Some(event) = last.and_then(|message| message.event_id) else {
        return Ok(());
    };
    let room = core.room(room)?;
    if core.receipts.told.get(&room).as_ref() == Some(&event) {
        return Ok(());
    }
    let Ok(id) = EventId::parse(&event) else {
        return Ok(());
    };
    let ghost = core.ghost(&portal.ghost).await?;
    match failpoints::around!("seen.send", ghost.read(&room, &id).await) {
        Err(error) if error.is_retryable() => return Err(error.into()),
        Err(error) => {
            tracing::info!(room = %core.log_id(room.as_str()), %error, "the homeserver refuses a read receipt");
        }
        Ok(()) => {}
    }
    core.receipts.told.insert(room, event);
    Ok(())
}

/// Switches a user's read receipts on or off. The gatekeeper learns of it with the next connection, which is made at once.
pub(crate) async fn switch(core: &Arc<Core>, user: &str, on: bool) -> Result<(), Hold> {
    let before = preferences::get(&core.store, user).await?;
    let after = Preferences { read_receipts: on };
    if before == after {
        return Ok(());
    }
    let mut batch = Batch::new();
    preferences::put(&mut batch, user, after);
    failpoints::around!("preferences.commit", core.store.commit(batch).await)?;
    if let Some(login) = core.logins.get(user) {
        login.connection.reconnect();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ruma::{UserId, event_id, user_id};
    use serde_json::{json, value::to_raw_value};

    use super::*;

    fn reads(content: serde_json::Value) -> Vec<(String, String)> {
        let event = json!({"type": "m.receipt", "room_id": "!r", "content": content});
        public_reads(&to_raw_value(&event).expect("JSON"))
            .into_iter()
            .map(|read| (read.user.to_string(), read.event.to_string()))
            .collect()
    }

    #[test]
    fn private_receipts_are_nobodys_business() {
        let found = reads(json!({
            "$a": {"m.read": {"@anna:localhost": {"ts": 5, "thread_id": "main"}}},
            "$b": {"m.read.private": {"@bob:localhost": {"ts": 6}}},
        }));
        assert_eq!(found, [("@anna:localhost".into(), "$a".into())]);
    }

    #[test]
    fn the_latest_of_a_user_counts() {
        let read = |user: &UserId, event: &EventId, ts| Read {
            user: user.to_owned(),
            event: event.to_owned(),
            ts,
        };
        let (anna, bob) = (user_id!("@anna:localhost"), user_id!("@bob:localhost"));
        let (z, a, m) = (event_id!("$z"), event_id!("$a"), event_id!("$m"));
        let mut known = Vec::new();
        for new in [
            read(anna, z, 5),
            read(bob, m, 6),
            read(anna, a, 9),
            // A look through the rooms that began before the last one came.
            read(anna, z, 5),
            read(bob, a, 6),
        ] {
            note(&mut known, new);
        }
        assert_eq!(known, [read(anna, a, 9), read(bob, a, 6)]);
    }

    #[test]
    fn nonsense_is_no_receipt() {
        for content in [
            json!(null),
            json!([]),
            json!({"$a": 7}),
            json!({"no event id": {"m.read": {"nobody": {}}}}),
        ] {
            assert!(reads(content.clone()).is_empty(), "{content}");
        }
    }
}
