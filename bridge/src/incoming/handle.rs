//! A few messages of one contact: which came before, where they go, and what is told when they are written.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use failpoints::Breakage;
use gatekeeper::{signal::Span, stanza::Node, stanzas::IncomingMessage};
use puppeting::Puppet;
use ruma::{EventId, OwnedRoomId};
use serde_json::Value;
use store::{
    Batch, messages,
    portals::Portal,
    quarantine,
    undecryptable::{self, Undecryptable},
};

use super::{Chat, order, write::Work};
use crate::{
    core::{Core, Wake},
    media, outgoing,
    passes::Hold,
    placeholders, portals, retries,
};

/// What came of handling messages.
pub(super) enum Handled {
    /// So many from the front are done.
    Done(usize),
    /// Nothing is done: these belong before the first one.
    Early(Vec<Span>),
}

/// Where messages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The gatekeeper. One that comes before its turn waits.
    Gatekeeper,
    /// They were set aside, and are brought back. It is their turn.
    Aside,
}

/// Handles messages of one contact, oldest first. Where one comes before its turn the ones before it are done.
pub(super) async fn handle(
    core: &Arc<Core>,
    of: &Chat,
    stanzas: Vec<IncomingMessage>,
    source: Source,
) -> Result<Handled, Hold> {
    let (login, peer) = of;
    let mut finished = stanzas.len();
    let order: Vec<String> = stanzas.iter().map(|stanza| stanza.id.clone()).collect();
    let known = known(core, of, &stanzas, source).await?;
    let mut receipts: Vec<Node> = Vec::new();
    let mut fresh = Vec::new();
    let mut seen = HashSet::new();
    // What is not decrypted leaves a gap in the ratchet, if it was encrypted anew.
    let mut unread = Vec::new();
    for stanza in stanzas {
        if known.contains(&stanza.id) {
            // It came before and its receipt did not arrive.
            receipts.extend(core.profile.taken(&stanza));
            unread.push(stanza);
        } else if seen.insert(stanza.id.clone()) {
            fresh.push(stanza);
        } else {
            // The gatekeeper sent it twice: one receipt does for both, and only when it is written.
            unread.push(stanza);
        }
    }
    for position in unread.iter().filter_map(order::position) {
        core.incoming.pass_over(of, &position);
    }
    if !fresh.is_empty() {
        let (portal, room) = portals::ensure(core, login, peer).await?;
        let ghost = core.ghost(&portal.ghost).await?;
        ghost.prepare(&room, &core.readers(&portal)?).await?;
        let chat = Chatting {
            core,
            portal: &portal,
            room: &room,
            ghost: &ghost,
            patient: source == Source::Gatekeeper,
        };
        let mut shown = Shown::new();
        let mut early = None;
        // What has to be looked up in the room is looked up between two attempts: nothing is asked of the network under the
        // session's lock.
        let (written, given) = loop {
            match chat.write(&fresh, &shown).await? {
                Attempt::Written(count, receipts) => break (count, receipts),
                Attempt::Early(missing) => {
                    early = Some(missing);
                    break (0, Vec::new());
                }
                Attempt::Wants(event) => {
                    let found = outgoing::read_event(core, &portal, &event).await?;
                    shown.insert(event, found);
                }
            }
        };
        if written < fresh.len() {
            let next = fresh.get(written).map(|stanza| &stanza.id);
            let place = order.iter().position(|id| Some(id) == next);
            finished = place.unwrap_or(0);
        }
        receipts.extend(given);
        if let Some(missing) = early.filter(|_| finished == 0) {
            give(core, login, receipts).await;
            return Ok(Handled::Early(missing));
        }
    }
    give(core, login, receipts).await;
    Ok(Handled::Done(finished))
}

/// Sends delivery receipts. Not connected: the messages come again at the next connection, and are known then.
async fn give(core: &Core, login: &str, receipts: Vec<Node>) {
    let Some(login) = core.logins.get(login) else {
        return;
    };
    for receipt in receipts {
        let sent = failpoints::around!("incoming.receipt", login.connection.send(receipt).await);
        if sent.is_err() {
            return;
        }
    }
}

/// Which of these messages came before. A message whose ciphertext came before would be found out by decrypting; this is also
/// for what was encrypted anew, comes from the mailbox again, or has an id that was used already. What comes from the mailbox and is
/// set aside is known, too: its receipt was lost.
async fn known(
    core: &Arc<Core>,
    (login, peer): &Chat,
    stanzas: &[IncomingMessage],
    source: Source,
) -> Result<HashSet<String>, Hold> {
    let mut known = HashSet::new();
    for stanza in stanzas {
        let row = messages::get(&core.store, login, peer, &stanza.id).await?;
        let from_mailbox = source == Source::Gatekeeper && stanza.offline.is_some();
        let is_known = row.is_some()
            || (from_mailbox && quarantine::holds(&core.store, login, peer, &stanza.id).await?);
        if is_known {
            known.insert(stanza.id.clone());
        }
    }
    Ok(known)
}

/// Events of a room that were read again, in the clear: nothing for those that are gone or unreadable.
pub(super) type Shown = HashMap<String, Option<Value>>;

/// What came of an attempt to write messages down.
enum Attempt {
    /// So many from the front are written, and these receipts may go.
    Written(usize, Vec<Node>),
    /// Nothing is written: what this event shows must be known first.
    Wants(String),
    /// Nothing is written: these belong before the first message.
    Early(Vec<Span>),
}

/// A chat whose messages are handled.
struct Chatting<'a> {
    core: &'a Arc<Core>,
    portal: &'a Portal,
    room: &'a OwnedRoomId,
    ghost: &'a Arc<Puppet>,
    /// Whether a message that comes before its turn waits.
    patient: bool,
}

impl Chatting<'_> {
    /// Decrypts and translates messages and writes them down in one commit, as many as go together.
    async fn write(&self, fresh: &[IncomingMessage], shown: &Shown) -> Result<Attempt, Hold> {
        let Self {
            core,
            portal,
            room,
            ghost,
            patient,
        } = *self;
        let (login, peer) = (&portal.login, &portal.peer);
        let mut unread = undecryptable::of_chat(&core.store, login, peer).await?;
        let may_stand =
            |stanza: &IncomingMessage| placeholders::may_be_sent(core, unread.get(&stanza.id));
        if fresh.iter().any(may_stand) {
            // A crash came between a placeholder and the note of its event: the same request tells the event.
            placeholders::try_put(core, login, peer).await?;
            unread = undecryptable::of_chat(&core.store, login, peer).await?;
        }
        self.leave_behind(fresh, &mut unread).await?;
        let session = core
            .sessions
            .open(login, peer)
            .await
            .map_err(|error| Hold::failed(&error))?;
        let mut work = Work {
            core,
            unread,
            portal,
            room,
            ghost,
            shown,
            wanted: None,
            patient,
            missing: None,
            is_late: false,
            session,
            batch: Batch::new(),
            receipts: Vec::new(),
            retries: Vec::new(),
            count: 0,
            placed: HashSet::new(),
            timer: portal.timer,
            fades: false,
        };
        for stanza in fresh {
            match work.one(stanza).await {
                Ok(()) => {}
                // What went before is written; this one is tried again, with a new room key if that was missing.
                Err(_) if work.count > 0 => break,
                Err(hold) => match (work.wanted.take(), work.missing.take()) {
                    (Some(event), _) => return Ok(Attempt::Wants(event)),
                    (None, Some(missing)) => return Ok(Attempt::Early(missing)),
                    (None, None) => return Err(hold),
                },
            }
        }
        let Work {
            session,
            mut batch,
            mut receipts,
            retries: again,
            count,
            fades,
            ..
        } = work;
        session.save(&mut batch, core.now());
        if failpoints::is_broken(Breakage::EarlyAnswers) {
            give(core, login, std::mem::take(&mut receipts)).await;
            tokio::time::sleep(failpoints::LATE).await;
        }
        failpoints::around!("incoming.commit", ghost.commit_with(batch).await)?;
        drop(session);
        for stanza in fresh.iter().take(count) {
            media::fetched(core, login, peer, &stanza.id);
        }
        core.wake_sends(room);
        if fades {
            core.wake(Wake::Fading);
        }
        for retry in again {
            retries::ask(core, login, retry).await;
        }
        Ok(Attempt::Written(count, receipts))
    }

    /// Forgets placeholders that stand in a room that the user has left since: no room shows what relates to an event of
    /// another one, so their messages come as ones of their own.
    async fn leave_behind(
        &self,
        fresh: &[IncomingMessage],
        unread: &mut HashMap<String, Undecryptable>,
    ) -> Result<(), Hold> {
        for stanza in fresh {
            let Some(row) = unread.get_mut(&stanza.id) else {
                continue;
            };
            let Some(event) = row.placeholder.as_deref() else {
                continue;
            };
            let here = match EventId::parse(event) {
                Ok(event) => match self.ghost.get_event(self.room, &event).await {
                    Ok(found) => found.is_some(),
                    Err(error) if error.is_retryable() => return Err(error.into()),
                    Err(_) => false,
                },
                Err(_) => false,
            };
            if !here {
                row.placeholder = None;
            }
        }
        Ok(())
    }
}
