//! Waking things later: one task for all that wait, however many they are.

use std::{collections::HashMap, fmt, hash::Hash, time::Duration};

use futures_util::StreamExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::time::{DelayQueue, delay_queue};

/// Hands keys back when their time has come. Each key waits once: the earliest time counts.
pub(crate) struct Later<K> {
    queue: mpsc::UnboundedSender<Wish<K>>,
}

/// What is asked of the task.
enum Wish<K> {
    /// To hand a key back at a time.
    At(K, Instant),
    /// To hand all of them back now.
    AllNow,
}

impl<K> Clone for Later<K> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<K> fmt::Debug for Later<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Later<K> {
    /// Starts the task. It calls `due` with each key whose time has come, and ends with the last handle.
    pub(crate) fn start(due: impl Fn(K) + Send + 'static) -> Self {
        let (queue, mut wanted) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut delays = DelayQueue::new();
            let mut waiting: HashMap<K, (delay_queue::Key, Instant)> = HashMap::new();
            loop {
                tokio::select! {
                    item = wanted.recv() => match item {
                        None => return,
                        Some(Wish::AllNow) => {
                            delays.clear();
                            waiting.drain().for_each(|(key, _)| due(key));
                        }
                        Some(Wish::At(key, at)) => match waiting.get_mut(&key) {
                            Some((entry, before)) if at < *before => {
                                delays.reset_at(entry, at);
                                *before = at;
                            }
                            Some(_) => {}
                            None => {
                                let entry = delays.insert_at(key.clone(), at);
                                waiting.insert(key, (entry, at));
                            }
                        },
                    },
                    Some(expired) = delays.next(), if !delays.is_empty() => {
                        let key = expired.into_inner();
                        waiting.remove(&key);
                        due(key);
                    }
                }
            }
        });
        Self { queue }
    }

    /// Hands `key` back after `delay`, or earlier if it waits for an earlier time already.
    pub(crate) fn wake_after(&self, key: K, delay: Duration) {
        // Refused only when the task is gone, which is at shutdown.
        let _ = self.queue.send(Wish::At(key, Instant::now() + delay));
    }

    /// Hands everything back now that waits: what stood in the way may be gone.
    pub(crate) fn hurry(&self) {
        let _ = self.queue.send(Wish::AllNow);
    }
}

/// How long to wait before the next attempt: doubles from one second to one minute, and up to a quarter more at
/// random, so that what failed together does not come back together.
#[must_use]
pub(crate) fn backoff(attempts: u32) -> Duration {
    let base = Duration::from_secs(1 << attempts.min(6)).min(Duration::from_secs(60));
    let mut byte = [0];
    // Without randomness the wait is merely not spread.
    let _ = getrandom::fill(&mut byte);
    base + base.mul_f64(f64::from(byte[0]) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_earliest_time_counts() {
        let (out, mut due) = mpsc::unbounded_channel();
        let later = Later::start(move |key| {
            let _ = out.send(key);
        });
        later.wake_after("a", Duration::from_secs(3600));
        later.wake_after("b", Duration::from_millis(300));
        later.wake_after("a", Duration::from_millis(1));
        let mut next = async || {
            let deadline = Duration::from_secs(60);
            tokio::time::timeout(deadline, due.recv())
                .await
                .expect("due within the minute")
        };
        assert_eq!(next().await, Some("a"));
        assert_eq!(next().await, Some("b"));
        later.wake_after("a", Duration::from_millis(1));
        assert_eq!(next().await, Some("a"), "a key can wait again");
        later.wake_after("c", Duration::from_secs(3600));
        later.hurry();
        assert_eq!(next().await, Some("c"));
        later.wake_after("c", Duration::from_millis(1));
        assert_eq!(next().await, Some("c"), "and again after a hurry");
    }

    #[test]
    fn backoff_grows_and_is_bounded() {
        assert!(backoff(0) >= Duration::from_secs(1) && backoff(0) < Duration::from_secs(2));
        assert!(backoff(3) >= Duration::from_secs(8));
        assert!(backoff(40) <= Duration::from_secs(75));
    }
}
