//! Rates and latencies out of times.

use serde::Serialize;

/// How long messages took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) messages: usize,
    /// Messages per second while it was measured.
    pub(super) rate: u32,
    pub(super) p50_ms: u64,
    pub(super) p99_ms: u64,
    pub(super) max_ms: u64,
}

impl Latency {
    pub(super) fn of(mut times: Vec<u64>, rate: u32) -> Self {
        times.sort_unstable();
        Self {
            messages: times.len(),
            rate,
            p50_ms: percentile(&times, 50),
            p99_ms: percentile(&times, 99),
            max_ms: percentile(&times, 100),
        }
    }
}

/// The smallest of the sorted values that is no smaller than `percent` of them; 0 of none.
pub(super) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// How many per second; 0 where no time passed.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and milliseconds of one run are far below 2^52"
)]
pub(super) fn per_second(count: usize, milliseconds: u64) -> f64 {
    if milliseconds == 0 {
        0.0
    } else {
        count as f64 * 1000.0 / milliseconds as f64
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&hundred, 100), 100);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[1, 2, 3], 50), 2);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn latencies_are_sorted_first() {
        let latency = Latency::of(vec![30, 10, 20], 5);
        assert_eq!((latency.p50_ms, latency.max_ms), (20, 30));
    }

    #[test]
    fn rates() {
        assert!((per_second(500, 250) - 2000.0).abs() < 1e-9);
        assert!(per_second(1, 0).abs() < 1e-9);
    }
}
