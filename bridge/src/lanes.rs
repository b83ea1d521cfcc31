//! Lanes: work that must run in order within one key (a room, a contact) and side by side across keys.
//!
//! A lane exists only while it has work. Idle rooms cost nothing: no task, no queue, no entry in a map. How many
//! lanes run at once is bounded, so a burst over thousands of rooms does not become thousands of tasks
//! at work.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

/// Whether a lane that is running was asked to run again meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Running,
    RunAgain,
}

/// A set of lanes with one bound on how many run at a time.
pub(crate) struct Lanes<K> {
    running: Arc<Mutex<HashMap<K, Pass>>>,
    permits: Arc<Semaphore>,
}

impl<K> Clone for Lanes<K> {
    fn clone(&self) -> Self {
        Self {
            running: self.running.clone(),
            permits: self.permits.clone(),
        }
    }
}

impl<K> fmt::Debug for Lanes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Lanes<K> {
    /// Lanes of which at most `at_once` work at the same time.
    #[must_use]
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            running: Arc::default(),
            permits: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// Sees to it that `pass` runs for `key` once more after this call: starts the lane, or has the
    /// running one go round again. A pass works until it finds nothing more to do.
    pub(crate) fn wake<F, Fut>(&self, key: K, pass: F)
    where
        F: Fn(K) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(state) = running.get_mut(&key) {
                *state = Pass::RunAgain;
                return;
            }
            running.insert(key.clone(), Pass::Running);
        }
        let lanes = self.clone();
        tokio::spawn(async move {
            let mut guard = LaneGuard {
                lanes,
                key: Some(key.clone()),
            };
            loop {
                // The permit goes back between two passes, so a busy lane does not starve a waiting one.
                let Ok(permit) = guard.lanes.permits.clone().acquire_owned().await else {
                    return;
                };
                pass(key.clone()).await;
                drop(permit);
                if !guard.lanes.again(&key) {
                    // The entry is gone: the guard has nothing left to do.
                    guard.key = None;
                    return;
                }
            }
        });
    }

    /// Takes note that a pass ended: true to go round again, false if the lane is closed.
    fn again(&self, key: &K) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get_mut(key) {
            Some(state) if *state == Pass::RunAgain => {
                *state = Pass::Running;
                true
            }
            _ => {
                running.remove(key);
                false
            }
        }
    }

    /// How many lanes have work now.
    #[cfg(test)]
    pub(crate) fn busy(&self) -> usize {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// Frees the lane if a pass panics, so that the next event of that room is handled all the same.
struct LaneGuard<K: Clone + Eq + Hash + Send + 'static> {
    lanes: Lanes<K>,
    key: Option<K>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Drop for LaneGuard<K> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.lanes
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(key);
        }
    }
}

/// One asynchronous lock per key, made when it is wanted and gone when nobody holds it.
pub(crate) struct KeyedLocks<K> {
    locks: Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self {
            locks: Mutex::default(),
        }
    }
}

impl<K> fmt::Debug for KeyedLocks<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLocks").finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash> KeyedLocks<K> {
    /// Waits for the lock of `key`.
    pub(crate) async fn lock(&self, key: &K) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            // Locks that nobody holds are dropped when the map has grown, so it stays as small as what is in use.
            if locks.len() > 1024 {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            locks.entry(key.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_wake_during_a_pass_makes_another_pass() {
        let lanes = Lanes::new(4);
        let passes = Arc::new(AtomicUsize::new(0));
        let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let pass = {
            let (passes, gate) = (passes.clone(), gate.clone());
            move |_: u32| {
                let (passes, gate, enter) = (passes.clone(), gate.clone(), enter.clone());
                async move {
                    let _ = enter.send(());
                    gate.acquire().await.unwrap().forget();
                    passes.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        lanes.wake(1, pass.clone());
        entered.recv().await;
        lanes.wake(1, pass.clone());
        lanes.wake(1, pass);
        gate.add_permits(2);
        entered.recv().await;
        while lanes.busy() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            passes.load(Ordering::SeqCst),
            2,
            "two wakes while running are one more pass"
        );
    }

    #[tokio::test]
    async fn a_panic_frees_the_lane() {
        let lanes = Lanes::new(1);
        lanes.wake(1, |_: u32| async { panic!("on purpose") });
        while lanes.busy() > 0 {
            tokio::task::yield_now().await;
        }
        let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
        lanes.wake(1, move |_| {
            let done = done.clone();
            async move {
                let _ = done.send(());
            }
        });
        assert!(finished.recv().await.is_some());
    }
}
