//! Messages that do not stay: those of a chat with a timer, and media that may be seen once. When their time has come,
//! their events are redacted.

use std::{sync::Arc, time::Duration};

use ruma::RoomId;
use store::{
    Batch, Millis,
    fading::{self, Fading},
    messages::{self, Direction, Kind},
    sends,
};

use crate::{
    core::{Core, Wake},
    passes::Hold,
    posting,
};

/// Messages that go together.
const PAGE: u32 = 64;
/// Longest sleep: a clock that was set is noticed after it.
const LONGEST: Duration = Duration::from_secs(3600);
/// Pause before a message that is not in the room yet is looked at again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Redacts what is due, and sees to it that this is done again in time.
pub(crate) async fn pass(core: &Arc<Core>) {
    let delay = match work(core).await {
        Ok(delay) => delay,
        Err(hold) => {
            tracing::warn!(reason = %hold.reason, "messages that are to disappear stay longer");
            Some(hold.after.unwrap_or(PATIENCE))
        }
    };
    if let Some(delay) = delay {
        core.later.wake_after(Wake::Fading, delay.min(LONGEST));
    }
}

/// Says when to come again.
async fn work(core: &Arc<Core>) -> Result<Option<Duration>, Hold> {
    loop {
        let due = fading::due(&core.store, core.now(), PAGE).await?;
        for row in &due {
            let done = fade(core, row).await.unwrap_or_else(|hold| {
                tracing::warn!(room = %core.log_id(&row.room_id), reason = %hold.reason, "a message cannot disappear yet");
                false
            });
            if !done {
                // Later, and behind those of other rooms.
                let mut later = Batch::new();
                let patience = i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX);
                fading::set_due(&mut later, row, core.now().saturating_add(patience));
                core.store.commit(later).await?;
            }
        }
        if due.len() < PAGE as usize {
            break;
        }
    }
    let next = fading::next(&core.store).await?;
    Ok(next.map(|next| {
        let wait = next.saturating_sub(core.now());
        Duration::from_millis(u64::try_from(wait).unwrap_or(0) + 1)
    }))
}

/// Redacts one message and its edits; says whether it could be done yet.
async fn fade(core: &Arc<Core>, row: &Fading) -> Result<bool, Hold> {
    let (login, peer) = (&row.login, &row.peer);
    let mut batch = Batch::new();
    fading::done(&mut batch, row);
    let Some(message) = messages::get(&core.store, login, peer, &row.stanza_id).await? else {
        core.store.commit(batch).await?;
        return Ok(true);
    };
    let Some(portal) = store::portals::by_peer(&core.store, login, peer).await? else {
        core.store.commit(batch).await?;
        return Ok(true);
    };
    let ghost = core.ghost(&portal.ghost).await?;
    let mut gone = messages::about(&core.store, login, peer, &row.stanza_id).await?;
    gone.retain(|about| about.kind == Kind::Edit && about.direction == Direction::In);
    gone.push(message);
    for mut part in gone.into_iter().filter(|part| !part.gone) {
        if part.event_id.is_none() {
            if sends::holds(&core.store, &part.room_id, peer, &part.stanza_id).await? {
                return Ok(false);
            }
            // It may have arrived between the two looks.
            let now = messages::get(&core.store, login, peer, &part.stanza_id).await?;
            part = now.unwrap_or(part);
        }
        messages::set_gone(&mut batch, login, peer, &part.stanza_id);
        if let Some(event) = part.event_id.as_deref() {
            let room = core.room(&part.room_id)?;
            posting::redact(core, &mut batch, &ghost, &room, event, "disappeared");
        }
    }
    failpoints::around!("fading.commit", core.store.commit(batch).await)?;
    core.wake_sends(&core.room(&row.room_id)?);
    Ok(true)
}

/// The user has read a room up to `until`: what may be seen once goes now.
pub(crate) async fn read(core: &Arc<Core>, room: &RoomId, until: Millis) -> Result<(), Hold> {
    let seen = fading::unread(&core.store, room.as_str(), until, PAGE).await?;
    if seen.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    let now = core.now();
    for row in &seen {
        fading::set_due(&mut batch, row, now);
    }
    failpoints::around!("fading.seen.commit", core.store.commit(batch).await)?;
    core.wake(Wake::Fading);
    Ok(())
}
