//! One large file each way, before Synapse, beside the same file through Synapse alone.

use tests::large::{self, Measured};
use tests::stack::{Options, Stack};
use tests::{Result, cache, gatehouse};

/// Carries a file of so many MiB.
pub(super) async fn measure(mib: u64) -> Result<Measured> {
    cache::progress(&format!("a file of {mib} MiB each way"));
    let size = mib << 20;
    let limit = "GATEHOUSE_GATEKEEPER__PROFILE__MEDIA__MAX_BYTES".to_owned();
    let options = Options {
        gatehouse: gatehouse::Options {
            environment: vec![(limit, size.to_string())],
            ..gatehouse::Options::default()
        },
        ..Options::default()
    };
    let stack = Stack::start("bench-media", options).await?;
    let measured = large::measure(&stack, "carrier", "+4915149999999", size).await;
    measured.map_err(|error| stack.explain(error))
}
