//! How long to wait before the next attempt.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use super::BackoffConfig;

/// Attempts at once in a row, before they wait like the others.
const AT_ONCE: u32 = 3;

/// Counts attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    config: BackoffConfig,
    failures: u32,
    at_once: u32,
}

impl Backoff {
    pub(super) fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            failures: 0,
            at_once: 0,
        }
    }

    /// Attempts that have failed since the last good connection.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Begins again with the first wait.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.at_once = 0;
    }

    /// The next wait: between half and all of a time that doubles.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let factor = 2u32.saturating_pow(self.failures.min(31));
        self.failures = self.failures.saturating_add(1);
        let all = self
            .config
            .first
            .saturating_mul(factor)
            .min(self.config.max);
        all.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// The wait of an attempt that should be made at once: none, unless it happens again and again.
    pub(super) fn at_once(&mut self, rng: &mut impl Rng) -> Duration {
        self.at_once += 1;
        if self.at_once > AT_ONCE {
            self.next(rng)
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(BackoffConfig {
            first: Duration::from_secs(1),
            max: Duration::from_secs(10),
            stable: Duration::from_secs(60),
        })
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let (mut backoff, mut rng) = (backoff(), SmallRng::seed_from_u64(1));
        for full in [1, 2, 4, 8, 10, 10, 10] {
            let wait = backoff.next(&mut rng).as_secs_f64();
            let full = f64::from(full);
            assert!(full / 2.0 <= wait && wait <= full, "{wait} of {full}");
        }
        for _ in 0..100 {
            assert!(backoff.next(&mut rng) <= Duration::from_secs(10));
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_secs(1));
    }

    #[test]
    fn at_once_is_at_once_only_a_few_times() {
        let (mut backoff, mut rng) = (backoff(), SmallRng::seed_from_u64(1));
        for _ in 0..AT_ONCE {
            assert_eq!(backoff.at_once(&mut rng), Duration::ZERO);
        }
        assert!(backoff.at_once(&mut rng) > Duration::ZERO);
        backoff.reset();
        assert_eq!(backoff.at_once(&mut rng), Duration::ZERO);
    }
}
