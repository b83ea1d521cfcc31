//! What the homeserver never told: read from the rooms themselves, after every sign of a gap and now and then.
//!
//! The bot sits in the portals, so one request as the bot shows what was said in all of them, and who has read it. What came before, in a transaction or
//! by an earlier look, is known by its event id. What comes while a gap is possible (`gaps`) is held until the look, which gives it and what was found
//! their places in the order of the room. So the look is made at once, and again if another sign comes meanwhile.
//!
//! That a deleted message was skipped is remembered: in a transaction it may still come as it was written, behind its deletion.

use std::{sync::Arc, time::Duration};

use failpoints::Breakage;
use puppeting::SaidIn;
use ruma::{UserId, events::AnySyncTimelineEvent, serde::Raw};
use store::{
    Batch,
    inbox::{self, Timeline, Told},
    meta,
};

use crate::{
    core::{Core, Wake},
    inbox::{WANTED, is_wanted},
    passes::Hold,
};

/// Where the first look after a start begins.
const SINCE: &str = "rooms_read_until";
/// After a sign the rooms are looked through once more when this has passed. Until then Synapse drops receipts, and ends its
/// recovery, at the end of which it may forget one more transaction.
const GRACE: Duration = Duration::from_secs(10);
/// How often to look when nothing points to a gap.
const EVERY: Duration = Duration::from_secs(600);
/// For so long what comes is held at most when the rooms cannot be looked through.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to look at most, while something is held.
const PAUSE: Duration = Duration::from_secs(10);

/// Finds out what the homeserver sent last before the bridge was started.
pub(crate) async fn remember(core: &Core) -> Result<(), store::Error> {
    let last = inbox::last_transaction(&core.store, core.server.as_str()).await?;
    let number = last.and_then(|id| id.split('-').next()?.parse().ok());
    core.gaps.remember(number);
    Ok(())
}

/// Looks at the start, at and after every sign of a gap, and every ten minutes.
pub(crate) async fn keep_up(core: Arc<Core>) {
    let mut looks = Looks {
        core: &core,
        since: None,
    };
    loop {
        looks.until_one_succeeds().await;
        let aftermath = async {
            core.gaps.aftermath().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            () = core.gaps.sign() => {}
            () = aftermath => {}
            () = tokio::time::sleep(EVERY) => continue,
        }
        // What Synapse sends again says nothing of devices, and brings no room keys.
        core.puppets.doubt_devices();
        if let Err(hold) = sweep_waiting(&core).await {
            tracing::warn!(reason = %hold.reason, "the inboxes of those who wait for keys are not looked into now");
        }
    }
}

/// Looks into the inboxes of the ghosts whose rooms have waited in vain for a key.
async fn sweep_waiting(core: &Core) -> Result<(), Hold> {
    for room in inbox::rooms_without_keys(&core.store).await? {
        if let Some(portal) = core.portal_of(&core.room(&room)?).await? {
            core.sweep_soon(&portal.ghost);
        }
    }
    Ok(())
}

/// Looks through the rooms, one after the other.
struct Looks<'a> {
    core: &'a Arc<Core>,
    /// Where the next one begins; nothing before the first.
    since: Option<String>,
}

impl Looks<'_> {
    async fn until_one_succeeds(&mut self) {
        let core = self.core;
        let impatience = async {
            loop {
                tokio::time::sleep(PATIENCE).await;
                if core.gaps.is_possible()
                    && let Err(hold) = give_up(core).await
                {
                    tracing::warn!(reason = %hold.reason, "what is held stays held");
                }
            }
        };
        tokio::select! {
            () = self.attempts() => {}
            () = impatience => {}
        }
    }

    async fn attempts(&mut self) {
        let core = self.core;
        let mut attempts = 0;
        while let Err(hold) = self.look().await {
            let mut delay = hold
                .after
                .unwrap_or_else(|| crate::later::backoff(attempts));
            if core.gaps.is_possible() {
                delay = delay.min(PAUSE);
            }
            if attempts == 0 && !delay.is_zero() {
                tracing::warn!(reason = %hold.reason, "the rooms cannot be looked through; tried again and again");
            } else {
                tracing::debug!(reason = %hold.reason, ?delay, "the rooms cannot be looked through");
            }
            attempts += 1;
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = core.gaps.sign() => {}
            }
        }
    }

    /// Takes into the inbox what was said in the portals and came in no transaction, lets go what is held, and sees who has
    /// read what.
    async fn look(&mut self) -> Result<(), Hold> {
        let core = self.core;
        if failpoints::is_broken(Breakage::EarlyAnswers) {
            core.gaps.answered(core.gaps.signs());
            return give_up(core).await;
        }
        let since = match &self.since {
            Some(since) => Some(since.clone()),
            None => meta::get(&core.store, SINCE).await?,
        };
        // Receipts are kept in memory: those of the last look may go with it until they have been handled.
        let receipts_are_handled = core.receipts.is_idle();
        let signs = core.gaps.signs();
        let said = core
            .puppets
            .said_since(&core.bot, WANTED, since.as_deref(), core.now())
            .await?;
        let rooms = said.rooms.iter().map(|said| timeline(core, said)).collect();
        let mut batch = Batch::new();
        match &since {
            Some(since) if receipts_are_handled => meta::put(&mut batch, SINCE, since),
            None => meta::put(&mut batch, SINCE, &said.next),
            Some(_) => {}
        }
        {
            let _turn = core.intake.lock().await;
            if core.gaps.signs() != signs {
                return Err(Hold {
                    after: Some(Duration::ZERO),
                    ..Hold::until("something happened meanwhile")
                });
            }
            let placed = failpoints::around!(
                "catchup.commit",
                inbox::place(&core.store, batch, rooms, || core.arrival()).await
            )?;
            core.gaps.answered(signs);
            if placed.found > 0 {
                let (events, rooms) = (placed.found, placed.rooms.len());
                tracing::info!(events, rooms, "found in the rooms what has not been sent");
            }
            go_on(core, &placed.rooms)?;
        }
        self.since = Some(said.next);
        for (room, receipt) in said.receipts {
            core.receipts.take(core, room, receipt.json());
        }
        Ok(())
    }
}

/// Lets go what is held, in the order in which it came. While the homeserver is away what comes from now on is held again.
async fn give_up(core: &Arc<Core>) -> Result<(), Hold> {
    let _turn = core.intake.lock().await;
    let signs = core.gaps.signs();
    let placed = inbox::place(&core.store, Batch::new(), Vec::new(), || core.arrival()).await?;
    if !placed.rooms.is_empty() {
        let rooms = placed.rooms.len();
        tracing::warn!(
            rooms,
            "what is held goes as it came: the rooms cannot be looked through"
        );
    }
    if !core.puppets.homeserver().is_away() {
        core.gaps.answered(signs);
    }
    go_on(core, &placed.rooms)
}

/// Has rooms worked on after the keys that came meanwhile.
fn go_on(core: &Core, rooms: &[String]) -> Result<(), Hold> {
    if rooms.is_empty() {
        return Ok(());
    }
    let rooms = rooms.iter().map(|room| core.room(room));
    core.after_keys.add(rooms.collect::<Result<Vec<_>, _>>()?);
    core.wake(Wake::Keys);
    Ok(())
}

fn timeline(core: &Core, said: &SaidIn) -> Timeline {
    let entry = |(at, event): (usize, &Raw<AnySyncTimelineEvent>)| {
        let event_id = event.get_field::<String>("event_id").ok().flatten()?;
        if at < said.to_others {
            return Some(Told::Other(event_id));
        }
        told(core, &said.room, event_id, event)
    };
    Timeline {
        room_id: said.room.to_string(),
        events: said.events.iter().enumerate().filter_map(entry).collect(),
    }
}

/// An event that the bridge may have to handle.
fn told(
    core: &Core,
    room: &ruma::RoomId,
    event_id: String,
    event: &Raw<AnySyncTimelineEvent>,
) -> Option<Told> {
    let text = |name: &str| event.get_field::<String>(name).ok().flatten();
    let (sender, kind) = (text("sender")?, text("type")?);
    if !is_wanted(core, &UserId::parse(&sender).ok()?, &kind) {
        return None;
    }
    // As it stands in a transaction.
    let mut body: serde_json::Map<String, serde_json::Value> =
        event.deserialize_as_unchecked().ok()?;
    let unsigned = body.get("unsigned");
    if unsigned.is_some_and(|unsigned| unsigned.get("redacted_because").is_some()) {
        return Some(Told::Gone(event_id));
    }
    body.insert("room_id".to_owned(), room.as_str().into());
    Some(Told::Event(inbox::NewEvent {
        event_id,
        room_id: room.to_string(),
        sender,
        kind,
        body: serde_json::Value::Object(body).to_string(),
    }))
}
