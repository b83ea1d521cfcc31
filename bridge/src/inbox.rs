//! The inbox: takes transactions from the homeserver, and hands their events out room by room.

use std::{num::NonZeroU32, sync::Arc};

use async_trait::async_trait;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use ruma::{OwnedUserId, RoomAliasId, RoomId, UserId};
use store::{LogId, Millis, ghosts, inbox};

use crate::{
    appservice::{RawEphemeral, RawEvent, RawTransaction, SinkError, TransactionSink},
    core::{Core, Wake},
    devices, ids, management, outgoing,
    passes::{Hold, caught},
    phone::PhoneNumber,
    portals,
    quarantine::{self, Verdict},
};

/// Events of a room that are handled together.
const PAGE: u32 = 32;

/// Ghosts that are made in a minute because somebody looks for them. Nobody says who that is, so it may be anybody: for users
/// who write to a contact its ghost is made without this limit.
const LOOKED_FOR: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// How many of them at once.
const LOOKED_FOR_AT_ONCE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Why a transaction is turned away.
const OVERTAKEN: &str = "a transaction before this one has not come; all come again in their order";

/// What the flows need of an event before it is read; all else is not even stored.
pub(crate) const WANTED: &[&str] = &[
    "m.room.encrypted",
    "m.room.message",
    "m.room.member",
    "m.reaction",
    "m.sticker",
    "m.room.redaction",
    "m.room.tombstone",
    // Told to their senders: they do not cross.
    "m.call.invite",
    "m.call.notify",
    "org.matrix.msc4075.rtc.notification",
    "m.beacon_info",
    "org.matrix.msc3672.beacon_info",
    "m.poll.start",
    "org.matrix.msc3381.poll.start",
    "m.poll.response",
    "org.matrix.msc3381.poll.response",
    "m.poll.end",
    "org.matrix.msc3381.poll.end",
];

/// Whether an event is worth storing. The bridge's own messages come back to it; of its own users only who was invited or
/// left matters.
pub(crate) fn is_wanted(core: &Core, sender: &UserId, kind: &str) -> bool {
    WANTED.contains(&kind) && (kind == "m.room.member" || !core.config.is_own(sender))
}

/// The bridge as the homeserver sees it.
#[derive(Debug)]
pub struct Intake {
    core: Arc<Core>,
    /// How many ghosts are still made for those who only look.
    looked_for: DefaultDirectRateLimiter,
}

impl Intake {
    /// Takes transactions for `core`.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            looked_for: RateLimiter::direct(
                Quota::per_minute(LOOKED_FOR).allow_burst(LOOKED_FOR_AT_ONCE),
            ),
        }
    }

    /// The ghost of a number that somebody looks for. One that is there costs nothing, of new ones there are only so many.
    async fn look_for(&self, phone: &PhoneNumber) -> Result<OwnedUserId, SinkError> {
        let user = self.core.config.ghost_id(phone);
        let known = ghosts::get(&self.core.store, user.as_str()).await;
        if known.map_err(unavailable)?.is_none() && self.looked_for.check().is_err() {
            return Err(SinkError::Limited);
        }
        portals::ghost_of_number(&self.core, phone)
            .await
            .map_err(unavailable)
    }
}

/// Under which name a transaction is remembered that came at this time: its id and what is in it.
///
/// The id alone does not do. Synapse counts from 1 again after a restart (when it had nothing unsent), and what comes under a
/// used number then is new. A transaction that is sent again has the same events. One without events is always taken: to-device
/// messages and device lists may come twice.
fn transaction_key(txn_id: &str, events: &[RawEvent], received_ts: Millis) -> String {
    if events.is_empty() {
        return format!("{txn_id}-at-{received_ts}");
    }
    let mut parts = vec![txn_id];
    parts.extend(events.iter().map(|event| event.event_id.as_str()));
    format!("{txn_id}-{}", ids::short_digest(&parts))
}

/// Hands on what is not worth storing: receipts and typing.
fn fleeting(core: &Core, events: Vec<RawEphemeral>) {
    for event in events {
        let Some(room) = event.room_id else { continue };
        match event.kind.as_str() {
            "m.receipt" => core.receipts.take(core, room, &event.json),
            "m.typing" => core.typing.take(core, room, &event.json),
            _ => {}
        }
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> SinkError {
    SinkError::Unavailable(Box::new(error))
}

#[async_trait]
impl TransactionSink for Intake {
    async fn transaction(&self, txn_id: &str, body: RawTransaction) -> Result<(), SinkError> {
        let core = &self.core;
        let number = txn_id.parse().ok();
        let txn_id = transaction_key(txn_id, &body.events, core.arrival());
        core.gaps
            .counted_keys(!body.crypto.one_time_key_counts.is_empty());
        let mut rooms = Vec::new();
        let mut events = Vec::with_capacity(body.events.len());
        for event in body.events {
            if !is_wanted(core, &event.sender, &event.kind) {
                continue;
            }
            if !rooms.contains(&event.room_id) {
                rooms.push(event.room_id.clone());
            }
            events.push(inbox::NewEvent {
                event_id: event.event_id.to_string(),
                room_id: event.room_id.to_string(),
                sender: event.sender.to_string(),
                kind: event.kind,
                body: event.json.get().to_owned(),
            });
        }
        let to_device: Vec<_> = body
            .to_device
            .into_iter()
            .map(|message| inbox::to_device::NewMessage {
                user_id: message.to_user_id.to_string(),
                device_id: message.to_device_id.to_string(),
                body: message.json.get().to_owned(),
            })
            .collect();
        let device_changes = devices::worth_keeping(core, body.crypto);
        let ephemeral = body.ephemeral;
        let keys = !to_device.is_empty() || device_changes.is_some();
        let mut transaction = inbox::Transaction {
            hs: core.server.to_string(),
            txn_id,
            received_ts: 0,
            events,
            held: false,
            to_device,
            device_changes,
        };
        let turned_away = {
            let _turn = core.intake.lock().await;
            let turned_away = core.gaps.turns_away(number);
            if turned_away {
                // Its events come again, the rest of it does not.
                transaction.txn_id.push_str(" without events");
                transaction.events.clear();
            }
            transaction.received_ts = core.arrivals(transaction.events.len());
            transaction.held = core.gaps.is_possible();
            if turned_away || transaction.held {
                rooms.clear();
            }
            let accepted = failpoints::around!(
                "transaction.commit",
                inbox::accept(&core.store, transaction).await
            );
            accepted.map_err(|error| {
                core.gaps.likely();
                unavailable(error)
            })?;
            turned_away
        };
        fleeting(core, ephemeral);
        if keys {
            // The keys come first: the events may need them.
            core.after_keys.add(rooms);
            core.wake(Wake::Keys);
        } else {
            for room in rooms {
                core.wake(Wake::Inbox(room));
            }
        }
        if turned_away {
            return Err(SinkError::Unavailable(OVERTAKEN.into()));
        }
        Ok(())
    }

    async fn user(&self, user: &UserId) -> Result<bool, SinkError> {
        let Some(phone) = self.core.config.phone_of(user) else {
            return Ok(*user == *self.core.bot);
        };
        self.look_for(&phone).await?;
        Ok(true)
    }

    async fn room(&self, _alias: &RoomAliasId) -> Result<bool, SinkError> {
        // Aliases are made together with their rooms; one that the homeserver does not know is nobody's.
        Ok(false)
    }

    async fn contact(&self, phone: &PhoneNumber) -> Result<Option<OwnedUserId>, SinkError> {
        self.look_for(phone).await.map(Some)
    }

    async fn ready(&self) -> bool {
        self.core.is_ready().await
    }
}

/// Handles what a room has in the inbox, until nothing is left or something is in the way. What fails again and again is set
/// aside.
pub(crate) async fn pass(core: &Arc<Core>, room: &RoomId) {
    let mut after = 0;
    let mut size = PAGE;
    loop {
        let step = match page(core, room, after, size).await {
            Ok(step) => step,
            Err(hold) => return wait(core, room, &hold),
        };
        match step {
            Step::Done { last, more } => {
                core.went_on(room);
                if !more {
                    return;
                }
                after = last;
            }
            // One of them fails and takes the others with it: one at a time shows which.
            Step::Unclear => size = 1,
            Step::SetAside => size = PAGE,
            Step::Empty => return core.went_on(room),
        }
    }
}

/// What came of a page.
enum Step {
    /// It is handled, up to this position; whether there may be more.
    Done { last: i64, more: bool },
    /// Something in it fails.
    Unclear,
    /// The event that failed was set aside.
    SetAside,
    /// There is nothing.
    Empty,
}

async fn page(core: &Arc<Core>, room: &RoomId, after: i64, size: u32) -> Result<Step, Hold> {
    let events = match inbox::next(&core.store, room.as_str(), after, size).await {
        Ok(events) => events,
        Err(error @ store::Error::Corrupt { .. }) => {
            tracing::error!(room = %LogId::of(room), %error, "the inbox cannot be read");
            quarantine::damaged_events(core, room, after).await?;
            return Ok(Step::SetAside);
        }
        Err(error) => return Err(error.into()),
    };
    let Some(last) = events.last() else {
        return Ok(Step::Empty);
    };
    failpoints::pass!("inbox.take");
    // What waits for its key stays in the inbox: the next page begins after it.
    let (last, state, count) = (last.head(), last.state, events.len());
    match caught(handle(core, room, events)).await {
        Ok(()) => Ok(Step::Done {
            last: last.seq,
            more: count == size as usize,
        }),
        Err(hold) if !hold.lasting => Err(hold),
        Err(_) if count > 1 => Ok(Step::Unclear),
        Err(hold) => match quarantine::event_failed(core, &last, state, &hold).await? {
            Verdict::SetAside => Ok(Step::SetAside),
            Verdict::Again(delay) => Err(Hold {
                after: Some(delay),
                ..hold
            }),
        },
    }
}

/// Has a room looked at again later.
fn wait(core: &Core, room: &RoomId, hold: &Hold) {
    let attempts = core.held(room);
    let delay = hold
        .after
        .unwrap_or_else(|| crate::later::backoff(attempts));
    if !hold.is_usual() {
        tracing::info!(room = %LogId::of(room), reason = %hold.reason, ?delay, "a room's events wait");
    }
    core.later.wake_after(Wake::Inbox(room.to_owned()), delay);
}

async fn handle(core: &Arc<Core>, room: &RoomId, events: Vec<inbox::Event>) -> Result<(), Hold> {
    // Who comes and goes can turn a room into a portal or end it: such events are handled one by one.
    let mut run: Vec<inbox::Event> = Vec::new();
    for event in events {
        if event.kind == "m.room.member" {
            messages(core, room, std::mem::take(&mut run)).await?;
            portals::member(core, room, event).await?;
        } else {
            run.push(event);
        }
    }
    messages(core, room, run).await
}

async fn messages(core: &Arc<Core>, room: &RoomId, events: Vec<inbox::Event>) -> Result<(), Hold> {
    if events.is_empty() {
        return Ok(());
    }
    match core.portal_of(room).await? {
        // Boxed: each is large, and this one waits within others.
        Some(portal) => Box::pin(outgoing::handle(core, &portal, events)).await,
        None => Box::pin(management::handle(core, room, events)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Synapse numbers from 1 again after a restart: what has no events would be taken for what had the number before.
    #[test]
    fn what_has_no_events_is_never_a_repetition() {
        assert_ne!(transaction_key("5", &[], 1), transaction_key("5", &[], 2));
    }
}
