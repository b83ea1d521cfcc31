//! What the homeserver never told: read from the rooms themselves, after every gap and now and then.
//!
//! The bot sits in the portals, so one request as the bot shows what was said in all of them, and who has read it. What came before, in a transaction or
//! by an earlier look, is known by its event id.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use failpoints::Breakage;
use ruma::{OwnedRoomId, UserId, events::AnySyncTimelineEvent, serde::Raw};
use store::{Batch, inbox, meta};

use tokio::sync::Notify;

use crate::{
    core::{Core, Wake},
    inbox::{WANTED, is_wanted},
    passes::Hold,
};

/// Where the next look begins.
const SINCE: &str = "rooms_read_until";
/// How long to wait before a look. What the homeserver has not forgotten comes in a transaction meanwhile, in its order and as
/// it was written; a room shows a message that was deleted since as empty.
const GRACE: Duration = Duration::from_secs(10);
/// How often to look when nothing points to a gap.
const EVERY: Duration = Duration::from_secs(600);

/// Signs that the homeserver may have forgotten what it had to tell, or tells it in the wrong order.
#[derive(Debug)]
pub(crate) struct Gaps {
    last: AtomicU64,
    found: Notify,
    /// Nothing has been looked for since the homeserver last got no answer, or none that it wanted.
    unsettled: AtomicBool,
    /// The last transaction that was turned away for the gap before it.
    turned_away: AtomicU64,
}

impl Default for Gaps {
    fn default() -> Self {
        Self {
            last: AtomicU64::new(0),
            found: Notify::new(),
            unsettled: AtomicBool::new(true),
            turned_away: AtomicU64::new(0),
        }
    }
}

impl Gaps {
    /// The homeserver was away.
    pub(crate) fn likely(&self) {
        self.failed();
    }

    /// Whether to turn away the transaction with this number once, because one before it has not come.
    ///
    /// While Synapse ends its recovery from a failed transaction, it may write one down that it then neither sends nor tries
    /// again before the next failure; those after it overtake it. When one of those is turned away, all come again in their order.
    /// Other application services take numbers too, so a gap proves nothing: a transaction that comes again is taken.
    pub(crate) fn turns_away(&self, number: Option<u64>) -> bool {
        let (Some(number), last) = (number, self.last.load(Ordering::Relaxed)) else {
            return false;
        };
        self.unsettled.load(Ordering::Relaxed)
            && last != 0
            && number > last.saturating_add(1)
            && self.turned_away.swap(number, Ordering::Relaxed) != number
    }

    /// The homeserver got no answer that it wanted: it begins a recovery.
    pub(crate) fn failed(&self) {
        self.unsettled.store(true, Ordering::Relaxed);
        self.found.notify_one();
    }

    /// A new transaction with this number came. A homeserver that was restarted begins its count anew.
    pub(crate) fn numbered(&self, number: Option<u64>) {
        let Some(number) = number else { return };
        if self.last.swap(number, Ordering::Relaxed) >= number {
            self.found.notify_one();
        }
    }
}

/// Looks at the start, after every sign of a gap, and every ten minutes.
pub(crate) async fn keep_up(core: Arc<Core>) {
    loop {
        tokio::time::sleep(GRACE).await;
        let mut attempts = 0;
        while let Err(hold) = look(&core).await {
            let delay = hold
                .after
                .unwrap_or_else(|| crate::later::backoff(attempts));
            attempts += 1;
            tracing::warn!(reason = %hold.reason, ?delay, "the rooms cannot be looked through; tried again");
            tokio::time::sleep(delay).await;
        }
        tokio::select! {
            () = core.gaps.found.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Takes into the inbox what was said in the portals and came in no transaction, and sees who has read what.
async fn look(core: &Arc<Core>) -> Result<(), Hold> {
    if failpoints::is_broken(Breakage::EarlyAnswers) {
        return Ok(());
    }
    let since = meta::get(&core.store, SINCE).await?;
    let said = core
        .puppets
        .said_since(&core.bot, WANTED, since.as_deref())
        .await?;
    let mut events = Vec::new();
    for (room, raw) in said.rooms {
        events.extend(raw.iter().filter_map(|event| new_event(core, &room, event)));
    }
    core.gaps.unsettled.store(false, Ordering::Relaxed);
    let mut batch = Batch::new();
    meta::put(&mut batch, SINCE, &said.next);
    let _turn = core.intake.lock().await;
    let rooms = failpoints::around!(
        "catchup.commit",
        inbox::add(&core.store, batch, events, core.now()).await
    )?;
    if !rooms.is_empty() {
        tracing::info!(
            rooms = rooms.len(),
            "found what the homeserver did not send"
        );
    }
    for room in rooms {
        core.wake(Wake::Inbox(core.room(&room)?));
    }
    for (room, receipt) in said.receipts {
        core.receipts.take(core, room, receipt.json());
    }
    Ok(())
}

fn new_event(
    core: &Core,
    room: &OwnedRoomId,
    event: &Raw<AnySyncTimelineEvent>,
) -> Option<inbox::NewEvent> {
    let text = |name: &str| event.get_field::<String>(name).ok().flatten();
    let (event_id, sender, kind) = (text("event_id")?, text("sender")?, text("type")?);
    if !is_wanted(core, &UserId::parse(&sender).ok()?, &kind) {
        return None;
    }
    // As it stands in a transaction.
    let mut body: serde_json::Map<String, serde_json::Value> =
        event.deserialize_as_unchecked().ok()?;
    // Nothing is left of a deleted message.
    let unsigned = body.get("unsigned");
    if unsigned.is_some_and(|unsigned| unsigned.get("redacted_because").is_some()) {
        return None;
    }
    body.insert("room_id".to_owned(), room.as_str().into());
    Some(inbox::NewEvent {
        event_id,
        room_id: room.to_string(),
        sender,
        kind,
        body: serde_json::Value::Object(body).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overtook_another_is_turned_away_once() {
        let gaps = Gaps::default();
        // Nothing is known of what was before.
        assert!(!gaps.turns_away(Some(7)));
        gaps.numbered(Some(7));
        assert!(!gaps.turns_away(Some(8)));
        gaps.numbered(Some(8));
        assert!(gaps.turns_away(Some(10)));
        // The one before it comes, or never does.
        assert!(!gaps.turns_away(Some(9)));
        assert!(!gaps.turns_away(Some(10)));
        gaps.numbered(Some(10));
        // A homeserver that begins anew, and one that does not count.
        assert!(!gaps.turns_away(Some(1)));
        assert!(!gaps.turns_away(None));

        gaps.unsettled.store(false, Ordering::Relaxed);
        assert!(!gaps.turns_away(Some(20)), "nothing has failed");
        gaps.failed();
        assert!(gaps.turns_away(Some(20)));
    }
}
