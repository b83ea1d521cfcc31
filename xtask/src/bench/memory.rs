//! Memory of the bridge by the number of its ghosts, and what it does while nothing happens.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tests::error::Context as _;
use tests::gatehouse::Gatehouse;
use tests::synapse::SERVER_NAME;
use tests::{Result, cache, usage};

use super::rig::{Kind, Rig};

/// Ghosts made at a time.
const AT_ONCE: usize = 32;
/// How long idleness is watched.
const IDLE: Duration = Duration::from_secs(10);

/// A bridge that has nothing to do.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Idle {
    /// Bytes.
    pub(super) resident: u64,
    /// Share of one core.
    pub(super) processor: f64,
}

/// The bridge with a number of ghosts.
#[derive(Debug, Serialize)]
pub(super) struct Footprint {
    pub(super) ghosts: usize,
    /// Ghosts made per second to get there.
    pub(super) made_per_second: f64,
    /// The most memory it ever used so far, in bytes.
    pub(super) peak: u64,
    /// Right after they were made.
    pub(super) idle: Idle,
    /// After a restart.
    pub(super) restarted: Idle,
    pub(super) restarted_peak: u64,
}

/// Watches the bridge for a while.
pub(super) async fn idle(gatehouse: &Gatehouse, time: Duration) -> Result<Idle> {
    let pid = gatehouse.pid().context("gatehouse does not run")?;
    let (start, before) = (Instant::now(), usage::processor(pid)?);
    tokio::time::sleep(time).await;
    let used = usage::processor(pid)?.saturating_sub(before);
    Ok(Idle {
        resident: usage::memory(pid)?.resident,
        processor: used.as_secs_f64() / start.elapsed().as_secs_f64(),
    })
}

/// Makes the ghosts as the homeserver would have them made: by asking the bridge for users that nobody has registered.
pub(super) async fn measure(counts: &[usize]) -> Result<Vec<Footprint>> {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.dedup();
    let rig = Rig::bare(Kind::StandIn).await?;
    let mut footprints = Vec::new();
    let mut made = 0;
    for count in counts {
        let measured = grow(&rig, made, count).await;
        footprints.push(measured.map_err(|error| rig.explain(error))?);
        made = count;
    }
    Ok(footprints)
}

async fn grow(rig: &Rig, made: usize, count: usize) -> Result<Footprint> {
    cache::progress(&format!("memory with {count} ghosts"));
    let start = Instant::now();
    let token = rig.gatehouse.token("hs_token")?;
    stream::iter(made..count)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, |number| ask_for(rig, &token, number))
        .await?;
    let seconds = start.elapsed().as_secs_f64();
    let idle_after = idle(&rig.gatehouse, IDLE).await?;
    let pid = rig.gatehouse.pid().context("gatehouse does not run")?;
    let peak = usage::memory(pid)?.peak;
    rig.gatehouse.stop().await?;
    rig.gatehouse.start().await?;
    settle(&rig.gatehouse).await?;
    let restarted = idle(&rig.gatehouse, IDLE).await?;
    let pid = rig.gatehouse.pid().context("gatehouse does not run")?;
    #[expect(clippy::cast_precision_loss, reason = "a count of ghosts")]
    let made_per_second = (count - made) as f64 / seconds;
    Ok(Footprint {
        ghosts: count,
        made_per_second,
        peak,
        idle: idle_after,
        restarted,
        restarted_peak: usage::memory(pid)?.peak,
    })
}

/// Waits until the bridge has done what a start asks for: it then uses next to no processor time.
async fn settle(gatehouse: &Gatehouse) -> Result<()> {
    let deadline = Duration::from_secs(300);
    tests::wait::until("the bridge to come to rest", deadline, || async {
        let watched = idle(gatehouse, Duration::from_secs(1)).await?;
        Ok((watched.processor < 0.02).then_some(()))
    })
    .await
}

async fn ask_for(rig: &Rig, token: &str, number: usize) -> Result<()> {
    let user = format!("@whatsapp_49152{number:07}:{SERVER_NAME}");
    let url = rig.gatehouse.ports().appservice_url();
    rig.http
        .get(format!("{url}/_matrix/app/v1/users/{user}"))
        .bearer_auth(token)
        .send()
        .await?
        .error_for_status()
        .context("the bridge did not make a ghost")?;
    Ok(())
}
