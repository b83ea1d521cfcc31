//! The sandbox's own time: the machine's clock plus what the control API added to it.
//!
//! Mailboxes, un-enlistment and the `t` attributes follow this clock, so that a test can let thirty
//! days pass at once. Tokens, pushes and certificates follow the machine's clock: their other end was
//! not advanced.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// One day, in milliseconds.
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long the gatekeeper keeps what a user has not fetched, and how long a user may stay away.
pub(crate) const LIMIT_MS: u64 = 30 * DAY_MS;

/// A clock that only goes forward.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead_ms: AtomicU64,
}

impl Clock {
    /// A clock that is `ahead_ms` milliseconds ahead of the machine's.
    pub(crate) fn ahead_by(ahead_ms: u64) -> Self {
        Self {
            ahead_ms: AtomicU64::new(ahead_ms),
        }
    }

    /// Unix time in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        real_ms().saturating_add(self.ahead_ms())
    }

    /// Unix time in seconds, as stanzas carry it.
    pub(crate) fn now(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// How far ahead of the machine's clock this one is, in milliseconds.
    pub(crate) fn ahead_ms(&self) -> u64 {
        self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&self, seconds: u64) {
        let step = seconds.saturating_mul(1000);
        // A failed update is impossible: the closure always returns a value.
        let _ = self
            .ahead_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ahead| {
                Some(ahead.saturating_add(step))
            });
    }
}

/// The machine's own Unix time in milliseconds.
pub(crate) fn real_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_by_seconds_and_never_wraps() {
        let clock = Clock::default();
        let before = clock.now();
        clock.advance(31 * 24 * 3600);
        assert!(clock.now() >= before + 31 * 24 * 3600);
        clock.advance(u64::MAX);
        assert!(clock.now_ms() > before);
    }
}
