//! Waiting for a condition with a deadline; nothing here sleeps for a fixed time and hopes.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How long a test waits for something that normally takes a moment. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `probe` again and again until it gives `Some`, an error, or `deadline` has passed.
///
/// # Errors
///
/// The probe's error at once, or a timeout that names `what` was waited for.
pub async fn until<T, F, Fut>(what: &str, deadline: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let start = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if start.elapsed() > deadline {
            return Err(Error::new(format!(
                "waited {} s for {what}",
                deadline.as_secs()
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(400));
    }
}
