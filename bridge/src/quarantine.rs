//! What cannot be handled: its tries are counted, then it is set aside, so that nothing waits behind it; its sender is told,
//! and an operator can bring it back.

use std::{sync::Arc, time::Duration};

use gatekeeper::{stanza, stanzas::IncomingMessage};
use ruma::{EventId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use store::{
    Batch, Error,
    inbox::{self, Head},
    messages, outbox, portals,
    quarantine::{self, Entry, Stanza, Way},
    reports, sends,
};

use crate::{
    core::{Core, Wake},
    later::backoff,
    notices::{self, Notice},
    passes::Hold,
};

/// Rows that are looked through together for a damaged one.
const PAGE: u32 = 64;

/// What became of something that failed.
pub(crate) enum Verdict {
    /// It is tried again after this long; what is behind it waits.
    Again(Duration),
    /// It was set aside.
    SetAside,
}

/// An event could not be handled, and time alone will not help.
pub(crate) async fn event_failed(
    core: &Arc<Core>,
    event: &Head,
    state: inbox::State,
    hold: &Hold,
) -> Result<Verdict, Hold> {
    let attempts = event.attempts.saturating_add(1);
    if attempts < core.config.limits.tries {
        let mut batch = Batch::new();
        inbox::put_off(&mut batch, event.seq, state, attempts, 0, &hold.reason);
        failpoints::around!("inbox.again.commit", core.store.commit(batch).await)?;
        let delay = hold.after.unwrap_or_else(|| backoff(event.attempts));
        return Ok(Verdict::Again(delay));
    }
    set_aside(core, event, attempts, &hold.reason).await?;
    Ok(Verdict::SetAside)
}

async fn set_aside(
    core: &Arc<Core>,
    event: &Head,
    attempts: u32,
    reason: &str,
) -> Result<(), Hold> {
    tracing::error!(
        event = %core.log_id(&event.event_id), room = %core.log_id(&event.room_id), attempts, reason,
        "an event from Matrix cannot be handled; it is set aside. See `gatehouse replay --list`"
    );
    metrics::counter!("gatehouse_quarantined_total").increment(1);
    let mut batch = Batch::new();
    inbox::quarantine(&mut batch, event.seq, attempts, reason);
    let told = tell_sender(core, event, &mut batch).await?;
    failpoints::around!("inbox.aside.commit", core.store.commit(batch).await)?;
    if let Some((login, peer)) = told {
        notices::wake(core, &login, &peer);
    }
    Ok(())
}

/// Wants the sender of an event told that it is set aside; says in which chat.
async fn tell_sender(
    core: &Arc<Core>,
    event: &Head,
    batch: &mut Batch,
) -> Result<Option<(String, String)>, Hold> {
    if event.kind == "m.room.member" {
        return Ok(None);
    }
    let room = core.room(&event.room_id)?;
    if let Some(portal) = core.portal_of(&room).await? {
        if event.sender != portal.login {
            return Ok(None);
        }
        Notice::set_aside(&event.event_id).put(batch, core, &portal.login, &portal.peer);
        return Ok(Some((portal.login.clone(), portal.peer.clone())));
    }
    if !UserId::parse(&event.sender).is_ok_and(|sender| !core.config.is_own(&sender)) {
        return Ok(None);
    }
    // Said in the chat with the bot.
    let text = "What you wrote here could not be done: something is wrong in the bridge. Whoever runs it can see it, and have it tried again; or write it once more.";
    let id = format!("set aside {}", event.event_id);
    notices::note(batch, core.now(), &event.sender, "", id, text);
    Ok(Some((event.sender.clone(), String::new())))
}

/// Finds the events of a room that cannot even be read from the database, from position `after` on. The homeserver is asked for
/// such an event; what it no longer has is set aside.
pub(crate) async fn damaged_events(
    core: &Arc<Core>,
    room: &RoomId,
    after: i64,
) -> Result<(), Hold> {
    let mut at = after;
    loop {
        let heads = inbox::heads(&core.store, room.as_str(), at, PAGE).await?;
        for head in &heads {
            at = head.seq;
            let Err(error) = inbox::next(&core.store, room.as_str(), head.seq - 1, 1).await else {
                continue;
            };
            if !matches!(error, Error::Corrupt { .. }) {
                return Err(error.into());
            }
            tracing::error!(event = %core.log_id(&head.event_id), %error, "a stored event is damaged; the homeserver is asked for it");
            match read_anew(core, room, &head.event_id).await? {
                Some(body) => {
                    let mut batch = Batch::new();
                    inbox::set_body(&mut batch, &head.event_id, body);
                    failpoints::around!("inbox.anew.commit", core.store.commit(batch).await)?;
                }
                None => set_aside(core, head, head.attempts, "its row is damaged").await?,
            }
        }
        if heads.len() < PAGE as usize {
            return Ok(());
        }
    }
}

/// An event as the homeserver has it.
async fn read_anew(core: &Arc<Core>, room: &RoomId, event: &str) -> Result<Option<String>, Hold> {
    let puppet = match core.portal_of(room).await? {
        Some(portal) => core.ghost(&portal.ghost).await?,
        None => core.bot_puppet().await?,
    };
    let Ok(event) = EventId::parse(event) else {
        return Ok(None);
    };
    match puppet.get_event(room, &event).await {
        Ok(found) => Ok(found.map(|raw| raw.json().get().to_owned())),
        Err(error) if error.is_retryable() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// Says in a chat that a message from WhatsApp is not there: in the batch that sets it aside.
fn tell_receiver(core: &Core, batch: &mut Batch, login: &str, peer: &str, id: &str, why: &str) {
    let text = format!("⚠️ A message from WhatsApp could not be put here: {why}.");
    notices::note(
        batch,
        core.now(),
        login,
        peer,
        format!("set aside {id}"),
        &text,
    );
}

/// The homeserver refuses an event for good: it is set aside and no longer holds up its room.
pub(crate) fn refused_send(core: &Core, batch: &mut Batch, row: &sends::Send, reason: &str) {
    sends::quarantine(batch, row.seq, core.now(), reason);
    metrics::counter!("gatehouse_quarantined_total").increment(1);
    if let (Some(login), Some(peer)) = (&row.event.login, &row.event.peer) {
        let why = "your homeserver does not take it. It is kept, and whoever runs the bridge can have it tried again";
        tell_receiver(core, batch, login, peer, &row.event.txn_id, why);
    }
}

/// Sets the events of a room aside that cannot be read from the table of sends.
pub(crate) async fn damaged_sends(core: &Core, room: &RoomId) -> Result<(), Error> {
    let mut at = 0;
    loop {
        let heads = sends::heads(&core.store, room.as_str(), at, PAGE).await?;
        for head in &heads {
            at = head.seq;
            let Err(error) = sends::next(&core.store, room.as_str(), head.seq - 1, 1).await else {
                continue;
            };
            if !matches!(error, Error::Corrupt { .. }) {
                return Err(error);
            }
            tracing::error!(room = %core.log_id(room.as_str()), %error, "a stored event is damaged; it is set aside. See `gatehouse replay --list`");
            metrics::counter!("gatehouse_quarantined_total").increment(1);
            let mut batch = Batch::new();
            sends::quarantine(&mut batch, head.seq, core.now(), "its row is damaged");
            if let (Some(login), Some(peer)) = (&head.login, &head.peer) {
                let why = "it was damaged on the bridge's disk. Ask your contact to send it again";
                tell_receiver(core, &mut batch, login, peer, &head.txn_id, why);
            }
            failpoints::around!("sends.aside.commit", core.store.commit(batch).await)?;
        }
        if heads.len() < PAGE as usize {
            return Ok(());
        }
    }
}

/// A stanza of the outbox cannot be read: it is set aside, and the sender of its message is told.
pub(crate) async fn damaged_stanza(core: &Core, row: &outbox::Stanza) -> Result<(), Error> {
    metrics::counter!("gatehouse_quarantined_total").increment(1);
    let mut batch = Batch::new();
    outbox::quarantine(&mut batch, row.seq, core.now(), "its row is damaged");
    if let (Some(event), outbox::Kind::Message) = (&row.event_id, row.kind) {
        let (login, peer) = (&row.login, &row.peer);
        let failed = messages::Status::Failed;
        messages::advance(&mut batch, login, peer, &row.stanza_id, failed);
        Notice::damaged(event).put(&mut batch, core, login, peer);
    }
    failpoints::around!("outbox.aside.commit", core.store.commit(batch).await)?;
    notices::wake(core, &row.login, &row.peer);
    Ok(())
}

/// Keeps a message from WhatsApp that cannot be handled. After this commit the gatekeeper may forget it.
pub(crate) async fn keep_stanza(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    message: &IncomingMessage,
    reason: &str,
) -> Result<(), Hold> {
    tracing::error!(
        login = %core.log_id(login), stanza = %core.log_id(&message.id), reason,
        "a message from WhatsApp cannot be handled; it is set aside. See `gatehouse replay --list`"
    );
    metrics::counter!("gatehouse_quarantined_total").increment(1);
    let row = Stanza {
        login: login.to_owned(),
        peer: peer.to_owned(),
        stanza_id: message.id.clone(),
        stanza: core.encode(&message.to_node())?,
        reason: reason.to_owned(),
        received_ts: core.now(),
    };
    let mut batch = Batch::new();
    quarantine::put(&mut batch, &row);
    let why = "something is wrong in the bridge. It is kept, and whoever runs the bridge can have it tried again";
    tell_receiver(core, &mut batch, login, peer, &message.id, why);
    failpoints::around!("incoming.aside.commit", core.store.commit(batch).await)?;
    notices::wake(core, login, peer);
    Ok(())
}

/// A message that was brought back cannot be read from the database: it stays set aside.
pub(crate) async fn keep_damaged(core: &Core, row: Stanza) -> Result<(), Hold> {
    tracing::error!(stanza = %core.log_id(&row.stanza_id), "a message that was set aside is damaged");
    let mut batch = Batch::new();
    let reason = "its row is damaged".to_owned();
    quarantine::put(&mut batch, &Stanza { reason, ..row });
    core.store.commit(batch).await?;
    Ok(())
}

/// A message that was set aside, as it came.
pub(crate) fn stanza_of(row: &Stanza) -> Option<IncomingMessage> {
    let node = stanza::decode(&row.stanza).ok()?;
    IncomingMessage::parse(&node).ok()
}

/// What an operator wants to see or to bring back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// One, by its id as the list shows it.
    One(String),
    /// All of a room.
    Room(String),
    /// Everything.
    All,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What it is brought back by.
    pub id: String,
    /// Where it was on its way: `from_matrix`, `to_whatsapp`, `from_whatsapp`, `to_matrix`.
    pub way: String,
    /// Its room, where it has one.
    pub room: Option<String>,
    /// Whose it is.
    pub user: Option<String>,
    /// When it came or was set aside, milliseconds since 1970.
    pub since_ms: i64,
    /// Why it was set aside.
    pub reason: String,
}

impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_deref().unwrap_or("-");
        write!(f, "{}  {}  {user}  {}", self.id, self.way, self.reason)
    }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::FromMatrix => "from_matrix",
        Way::ToWhatsApp => "to_whatsapp",
        Way::FromWhatsApp => "from_whatsapp",
        Way::ToMatrix => "to_matrix",
    }
}

/// What is set aside and selected, with its room where that can be told.
async fn selected(
    store: &store::Store,
    selection: &Selection,
) -> Result<Vec<(Entry, Option<String>)>, Error> {
    let mut found = Vec::new();
    for entry in quarantine::list(store).await? {
        let mut room = entry.room_id.clone();
        if let (None, Some(login), Some(peer)) = (&room, &entry.login, &entry.peer) {
            let portal = portals::by_peer(store, login, peer).await?;
            room = portal.and_then(|portal| portal.room_id);
        }
        let wanted = match selection {
            Selection::One(id) => entry.id == *id,
            Selection::Room(id) => room.as_deref() == Some(id),
            Selection::All => true,
        };
        if wanted {
            found.push((entry, room));
        }
    }
    Ok(found)
}

/// What is set aside.
///
/// # Errors
///
/// When the database cannot be read.
pub async fn list(store: &store::Store, selection: &Selection) -> Result<Vec<Listed>, Error> {
    let entries = selected(store, selection).await?;
    let listed = entries.into_iter().map(|(entry, room)| Listed {
        way: word(entry.way).to_owned(),
        id: entry.id,
        room,
        user: entry.login,
        since_ms: entry.since_ts,
        reason: entry.reason.unwrap_or_default(),
    });
    Ok(listed.collect())
}

/// Brings back what is selected: it is handled when its turn comes, or when the bridge starts. Gives what was brought back.
///
/// # Errors
///
/// When the database cannot be read or written.
pub async fn replay(store: &store::Store, selection: &Selection) -> Result<Vec<Listed>, Error> {
    let listed = list(store, selection).await?;
    let mut batch = Batch::new();
    for (entry, _) in selected(store, selection).await? {
        quarantine::replay(&mut batch, &entry);
        if entry.way == Way::FromWhatsApp || entry.way == Way::ToMatrix {
            // Should it fail again, that is told again.
            reports::done(&mut batch, &format!("set aside {}", entry.id));
        }
    }
    failpoints::around!("replay.commit", store.commit(batch).await)?;
    Ok(listed)
}

/// Has the running bridge take up what was brought back.
pub(crate) async fn take_up(core: &Arc<Core>, entries: &[Listed]) {
    for entry in entries {
        let room = entry.room.as_deref().and_then(|id| core.room(id).ok());
        match (entry.way.as_str(), room, &entry.user) {
            ("from_matrix", Some(room), _) => core.wake(Wake::Inbox(room)),
            ("to_matrix", Some(room), _) => core.wake(Wake::Sends(room)),
            ("to_whatsapp", _, Some(user)) => {
                if let Some(login) = core.logins.get(user) {
                    // The outbox is sent from its beginning.
                    login.connection.reconnect();
                }
            }
            (_, _, Some(user)) => core.incoming.take_up(core, user).await,
            _ => {}
        }
    }
}
