//! From the table of sends to the homeserver: puts a room's events in order, again until each is accepted.
//!
//! The transaction id and the device go with each request, so the homeserver makes one event of however many attempts.

use std::sync::Arc;

use puppeting::{Puppet, PuppetError};
use ruma::{EventId, MilliSecondsSinceUnixEpoch, RoomId, TransactionId, UInt};
use serde_json::value::RawValue;
use store::{Batch, Error, Millis, sends};

use crate::{
    core::{Core, Wake},
    ids, notices, quarantine,
};

/// Rows read at a time.
const PAGE: u32 = 32;
/// Why a reaction of the user's is redacted.
pub(crate) const ONE_REACTION: &str = "WhatsApp keeps one reaction of each person";
/// After this many refusals that no waiting will mend, an event is set aside.
const REFUSALS: u32 = 3;

/// Puts an event that a puppet sends into the table of sends.
pub(crate) fn put(
    batch: &mut Batch,
    puppet: &Puppet,
    room: &RoomId,
    txn_id: String,
    kind: &str,
    content: &str,
    ts: Millis,
) {
    sends::put(batch, event(puppet, room, txn_id, kind, content, ts));
}

/// An event that a puppet sends.
pub(crate) fn event(
    puppet: &Puppet,
    room: &RoomId,
    txn_id: String,
    kind: &str,
    content: &str,
    ts: Millis,
) -> sends::NewSend {
    sends::NewSend {
        txn_id,
        room_id: room.to_string(),
        sender: puppet.user_id().to_string(),
        device_id: puppet.device_id().to_string(),
        method: sends::Method::Send,
        event_type: kind.to_owned(),
        target: None,
        content: content.to_owned(),
        ts,
        login: None,
        peer: None,
        stanza_id: None,
    }
}

/// Redacts an event as a puppet, once however often it is tried; `reason` stands beside the redaction.
pub(crate) fn redact(
    core: &Core,
    batch: &mut Batch,
    puppet: &Puppet,
    room: &RoomId,
    event_id: &str,
    reason: &str,
) {
    let txn_id = ids::transaction_id("", room.as_str(), event_id, "redact");
    let now = core.now();
    sends::put(
        batch,
        sends::NewSend {
            method: sends::Method::Redact,
            target: Some(event_id.to_owned()),
            ..event(puppet, room, txn_id, "m.room.redaction", reason, now)
        },
    );
}

/// Sends what a room has to send, until nothing is left or something is in the way.
pub(crate) async fn pass(core: &Arc<Core>, room: &RoomId) {
    loop {
        match page(core, room).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(hold) => {
                let delay = hold
                    .after
                    .unwrap_or_else(|| crate::later::backoff(hold.attempts));
                tracing::warn!(room = %core.log_id(room.as_str()), reason = %hold.reason, ?delay, "events for the homeserver wait");
                core.later.wake_after(Wake::Sends(room.to_owned()), delay);
                return;
            }
        }
    }
}

/// Why a room's events must wait.
struct Held {
    after: Option<std::time::Duration>,
    attempts: u32,
    reason: String,
}

impl From<Error> for Held {
    fn from(error: Error) -> Self {
        Self {
            after: None,
            attempts: 2,
            reason: error.to_string(),
        }
    }
}

/// Sends one page; says whether there may be more.
async fn page(core: &Arc<Core>, room: &RoomId) -> Result<bool, Held> {
    let rows = match sends::next(&core.store, room.as_str(), 0, PAGE).await {
        Err(Error::Corrupt { .. }) => {
            quarantine::damaged_sends(core, room).await?;
            return Ok(true);
        }
        rows => rows?,
    };
    let more = rows.len() == PAGE as usize;
    let mut commits = Vec::with_capacity(rows.len());
    let mut held = None;
    let mut sent = Vec::new();
    for row in rows {
        match failpoints::around!("posting.send", deliver(core, room, &row).await) {
            Ok(event_id) => {
                core.unposted.invalidate(room);
                let mut batch = Batch::new();
                sends::accepted(&mut batch, &row, &event_id);
                // The next event goes while this is written: a crash in between only sends it again, and the
                // homeserver knows its transaction id.
                failpoints::pass!("posting.commit");
                commits.push(core.store.submit(batch));
                sent.extend(row.event.login.zip(row.event.peer));
            }
            Err(error) if error.is_retryable() => {
                // The homeserver is away, which is no refusal: it does not count as one.
                let attempts = core.unposted.get(room).unwrap_or_default();
                let count = attempts.saturating_add(1);
                core.unposted.insert(room.to_owned(), count);
                held = Some(Held {
                    after: error.retry_after(),
                    attempts,
                    reason: error.to_string(),
                });
                break;
            }
            Err(error) => {
                refused(core, room, &row, &error).await?;
            }
        }
    }
    for commit in commits {
        commit.await?;
        failpoints::pass!("posting.committed");
    }
    // What is about these events may have waited for their ids.
    core.receipts.posted(core, room);
    sent.dedup();
    for (login, peer) in sent {
        core.incoming.nudge(core, &login, &peer);
    }
    if core.is_held(room) {
        core.wake(Wake::Inbox(room.to_owned()));
    }
    match held {
        Some(held) => Err(held),
        None => Ok(more),
    }
}

async fn deliver(
    core: &Arc<Core>,
    room: &RoomId,
    row: &sends::Send,
) -> Result<String, PuppetError> {
    let damaged = || PuppetError::Invalid("a stored event is damaged".to_owned());
    let sends::NewSend {
        sender,
        content,
        txn_id,
        event_type,
        target,
        ..
    } = &row.event;
    let puppet = core.puppet(sender).await?;
    let txn_id = failpoints::id(txn_id);
    let txn_id: &TransactionId = txn_id.as_str().into();
    let event_id = match row.event.method {
        sends::Method::Send => {
            let content = RawValue::from_string(content.clone()).map_err(|_| damaged())?;
            let ts = UInt::try_from(row.event.ts)
                .ok()
                .map(MilliSecondsSinceUnixEpoch);
            puppet.send(room, txn_id, event_type, content, ts).await?
        }
        sends::Method::Redact => {
            let target =
                EventId::parse(target.as_deref().unwrap_or_default()).map_err(|_| damaged())?;
            let reason = Some(content.as_str()).filter(|reason| !reason.is_empty());
            puppet.redact(room, &target, txn_id, reason).await?
        }
        sends::Method::State => {
            let content = serde_json::from_str(content).map_err(|_| damaged())?;
            let key = target.as_deref().unwrap_or_default();
            puppet.put_state(room, event_type, key, &content).await?
        }
    };
    Ok(event_id.to_string())
}

/// The homeserver will not have an event. After a few attempts it is set aside, and the log says so: the ghost was removed
/// from the room, the room is gone, or the event is too large.
async fn refused(
    core: &Arc<Core>,
    room: &RoomId,
    row: &sends::Send,
    error: &PuppetError,
) -> Result<(), Held> {
    let mut batch = Batch::new();
    if row.attempts + 1 < REFUSALS {
        sends::retry(&mut batch, row.seq, row.attempts + 1, core.now());
        failpoints::around!("posting.again.commit", core.store.commit(batch).await)?;
        return Err(Held {
            after: None,
            attempts: 1,
            reason: error.to_string(),
        });
    }
    if row.event.method == sends::Method::Redact
        && row.event.content == ONE_REACTION
        && let Ok(Some(portal)) = core.portal_of(room).await
    {
        sends::done(&mut batch, row.seq);
        let text = "WhatsApp keeps one reaction of each person: your new one took the place of the one before, which I may not remove here. Take it back yourself.";
        let id = row.event.txn_id.clone();
        let (login, peer) = (&portal.login, &portal.peer);
        notices::note(&mut batch, core.now(), login, peer, id, text);
    } else {
        tracing::error!(
            room = %core.log_id(room.as_str()), %error,
            "the homeserver refuses an event; it is set aside. See `gatehouse replay --list`"
        );
        quarantine::refused_send(core, &mut batch, row, &error.to_string());
    }
    failpoints::around!("posting.aside.commit", core.store.commit(batch).await)?;
    Ok(())
}
