//! While the homeserver is away, what is to go there waits longer and longer between two attempts. This notices when it is back
//! and has everything tried at once.

use std::{sync::Arc, time::Duration};

use crate::core::Core;

/// How often a homeserver that is away is asked whether it is back.
const ASK: Duration = Duration::from_secs(3);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often one that is there is asked to send what it has. One that cannot reach the bridge for a while waits up to 512
/// seconds before it tries again; it tries at once when it is asked.
const NUDGE: Duration = Duration::from_secs(60);

/// Watches for outages until the bridge ends.
pub(crate) async fn watch(core: Arc<Core>) {
    let homeserver = core.puppets.homeserver();
    loop {
        tokio::select! {
            () = homeserver.went_away() => core.gaps.likely(),
            () = tokio::time::sleep(NUDGE) => {
                ask(&core).await;
                continue;
            }
        }
        let mut lasted = false;
        loop {
            ask(&core).await;
            if !homeserver.is_away() {
                break;
            }
            lasted = true;
            tokio::time::sleep(ASK).await;
        }
        // It may have been restarted, and have forgotten what it had for the bridge.
        core.gaps.likely();
        // After one request that failed little waits, and not for long.
        if lasted {
            tracing::info!("the homeserver is back");
            core.later.hurry();
            if let Err(error) = core.wake_all().await {
                tracing::warn!(%error, "what waits for the homeserver is tried later");
            }
        }
    }
}

/// Asks for an answer, whatever it is, and has the homeserver send what it holds back.
async fn ask(core: &Core) {
    let _ = tokio::time::timeout(PATIENCE, core.puppets.ping(None)).await;
}
