//! Looks every few seconds for what has waited too long to be left unsaid.

use std::{sync::Arc, time::Duration};

use store::{Batch, meta, reports, reports::Overdue, undecryptable};
use tokio::time::Instant;

use crate::{
    core::{Core, Wake},
    notices::{Notice, Reason},
    placeholders,
};

/// What is written to see whether the database takes writes again.
const PROBE: &str = "last_probe";
/// Between two looks, at least.
const TICK: Duration = Duration::from_secs(3);
/// At most this part of the time is spent on looking: what waits may be much when a neighbour is away for long.
const SHARE: u32 = 20;
/// Messages that are looked at at a time.
const PAGE: u32 = 100;
/// A message that has not gone after this long, in milliseconds, gets the status "pending".
const PENDING_MS: i64 = 8_000;
/// After this long a notice says so.
const NOTICE_MS: i64 = 30_000;
/// The flow of messages has this much longer to say itself why one waits in the inbox.
const GRACE_MS: i64 = 5_000;

/// Looks until the bridge ends.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let began = Instant::now();
        let looked = look(&core).await;
        let pause = match &looked {
            Ok(()) => TICK.max(began.elapsed() * SHARE),
            Err(error) => {
                tracing::warn!(%error, "what waits could not be looked for");
                TICK
            }
        };
        if looked.is_err() || core.store.trouble().is_some() {
            // Where nothing can be read nobody writes: this finds out that there is trouble, and that it is over.
            let mut batch = Batch::new();
            meta::put(&mut batch, PROBE, &core.now().to_string());
            // What came of it is noted by the store.
            let _ = core.store.commit(batch).await;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn look(core: &Arc<Core>) -> Result<(), store::Error> {
    let now = core.now();
    for (loud, age) in [(false, PENDING_MS), (true, NOTICE_MS)] {
        let before = now.saturating_sub(age);
        let unsent = reports::unsent_since(&core.store, before, loud, PAGE).await?;
        let grace = if loud { GRACE_MS } else { 0 };
        let unread = before.saturating_sub(grace);
        let unread = reports::unread_since(&core.store, unread, loud, PAGE).await?;
        let mut batch = Batch::new();
        for overdue in unsent.iter().chain(&unread) {
            waits(core, overdue, loud, &mut batch);
        }
        core.store.commit(batch).await?;
    }
    for (login, peer) in reports::chats(&core.store).await? {
        core.wake(Wake::Reports(login, peer));
    }
    let before = now.saturating_sub(placeholders::AFTER_MS);
    for (login, peer) in undecryptable::unannounced(&core.store, before).await? {
        core.incoming.announce(core, (login, peer));
    }
    Ok(())
}

fn waits(core: &Core, overdue: &Overdue, loud: bool, batch: &mut Batch) {
    let connected = core
        .logins
        .get(&overdue.login)
        .is_some_and(|login| login.connection.is_connected());
    let why = if connected {
        "WhatsApp has not confirmed it. It is kept and tried again"
    } else {
        "WhatsApp's server does not answer. It is kept, and sent when the server is back"
    };
    Notice::waits(&overdue.event_id, Reason::Unanswered, why, loud).put(
        batch,
        core,
        &overdue.login,
        &overdue.peer,
    );
}
