//! The time of day.

/// Tells the time of day, against which the server's certificates are checked.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Seconds since 1970.
    fn now(&self) -> u64;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }
}
