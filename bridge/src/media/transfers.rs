//! Transfers: files on their way, few at a time, outside of every lock.
//!
//! A room or a chat whose turn it is asks for the outcome of its transfer. The first time there is none: the transfer
//! starts, the chat waits (and only this one), and is woken when it has ended. Then the outcome is there, until it is
//! taken. Nothing of this outlives the process: after a crash the chat asks again.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Bounds on all transfers, whatever they carry.
#[derive(Clone)]
pub(crate) struct Bounds {
    all: Arc<Semaphore>,
    each: usize,
    logins: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounds")
            .field("all", &self.all)
            .finish_non_exhaustive()
    }
}

impl Bounds {
    /// At most `all` transfers at a time, of one login at most `each`.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            each,
            logins: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Breaks all transfers off and waits until they have cleaned up. None starts any more.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs `work` when its turn has come; nothing if the bridge stops before it is done.
    async fn run<T>(&self, login: &str, work: impl Future<Output = T>) -> Option<T> {
        let own = self.of_login(login);
        let turn = async {
            // A login's own bound first: whoever waits for it stands in nobody's way.
            let _own = own.acquire().await.ok()?;
            let _all = self.all.acquire().await.ok()?;
            Some(work.await)
        };
        self.stop.run_until_cancelled(turn).await.flatten()
    }

    fn of_login(&self, login: &str) -> Arc<Semaphore> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if logins.len() > 1024 {
            logins.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        logins
            .entry(login.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.each)))
            .clone()
    }
}

/// Transfers of one direction by what they are for, and what came out of them.
pub(crate) struct Transfers<K, T> {
    bounds: Bounds,
    state: Arc<Mutex<HashMap<K, State<T>>>>,
}

enum State<T> {
    UnderWay,
    /// It ended with this.
    Ended(T),
}

/// What a chat learns of its transfer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress<T> {
    /// It has ended.
    Ended(T),
    /// It is on its way: the chat is woken when it has ended.
    UnderWay,
}

impl<K, T> Clone for Transfers<K, T> {
    fn clone(&self) -> Self {
        Self {
            bounds: self.bounds.clone(),
            state: self.state.clone(),
        }
    }
}

impl<K, T> fmt::Debug for Transfers<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfers").finish_non_exhaustive()
    }
}

impl<K, T> Transfers<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + 'static,
{
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            state: Arc::default(),
        }
    }

    /// What has come out of the transfer for `key`; starts it with `work` if there is none. `ended` is called when it has
    /// ended. The outcome stays until it is [taken](Self::take).
    pub(crate) fn ask<W, F>(&self, key: &K, login: &str, work: W, ended: F) -> Progress<T>
    where
        W: Future<Output = T> + Send + 'static,
        F: FnOnce() + Send + 'static,
    {
        {
            let mut state = self.lock();
            match state.get(key) {
                Some(State::Ended(outcome)) => return Progress::Ended(outcome.clone()),
                Some(State::UnderWay) => return Progress::UnderWay,
                None => state.insert(key.clone(), State::UnderWay),
            };
        }
        let mut place = Place {
            transfers: self.clone(),
            key: Some(key.clone()),
        };
        let login = login.to_owned();
        let bounds = self.bounds.clone();
        self.bounds.tasks.spawn(async move {
            // In a box: it is large, and the task lives through all of its waiting.
            let Some(outcome) = bounds.run(&login, Box::pin(work)).await else {
                return;
            };
            if let Some(key) = place.key.take() {
                place.transfers.lock().insert(key, State::Ended(outcome));
            }
            drop(place);
            ended();
        });
        Progress::UnderWay
    }

    /// The outcome has been used, or is of no use: it is forgotten, and the next to ask starts anew.
    pub(crate) fn take(&self, key: &K) {
        let mut state = self.lock();
        if matches!(state.get(key), Some(State::Ended(_))) {
            state.remove(key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, State<T>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the place free if a transfer is broken off or panics.
struct Place<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + 'static> {
    transfers: Transfers<K, T>,
    key: Option<K>,
}

impl<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + 'static> Drop for Place<K, T> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.transfers.lock().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    async fn next(receiver: &mut mpsc::UnboundedReceiver<u32>) -> u32 {
        tokio::time::timeout(SOON, receiver.recv())
            .await
            .expect("in time")
            .expect("a sender")
    }

    #[tokio::test]
    async fn a_transfer_runs_once_and_its_outcome_waits() {
        let transfers = Transfers::<u32, String>::new(Bounds::new(4, 2));
        let (sender, mut ended) = mpsc::unbounded_channel();
        let runs = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (sender, runs) = (sender.clone(), runs.clone());
            let work = async move {
                runs.fetch_add(1, Ordering::SeqCst);
                "done".to_owned()
            };
            transfers.ask(&1, "alice", work, move || sender.send(1).unwrap())
        };
        assert_eq!(ask(), Progress::UnderWay);
        assert_eq!(ask(), Progress::UnderWay);
        next(&mut ended).await;
        for _ in 0..2 {
            assert_eq!(ask(), Progress::Ended("done".to_owned()));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        transfers.take(&1);
        assert_eq!(ask(), Progress::UnderWay);
        transfers.take(&1);
        assert_eq!(ask(), Progress::UnderWay, "what is under way is not taken");
        next(&mut ended).await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn one_login_does_not_take_all_places() {
        let transfers = Transfers::<u32, ()>::new(Bounds::new(3, 2));
        let gate = Arc::new(Semaphore::new(0));
        let (sender, mut started) = mpsc::unbounded_channel();
        let ask = |key: u32, login: &str| {
            let (gate, sender) = (gate.clone(), sender.clone());
            let work = async move {
                sender.send(key).unwrap();
                gate.acquire().await.unwrap().forget();
            };
            transfers.ask(&key, login, work, || {});
        };
        for key in 0..10 {
            ask(key, "greedy");
        }
        ask(100, "modest");
        let mut first = Vec::new();
        for _ in 0..3 {
            first.push(next(&mut started).await);
        }
        assert!(first.contains(&100), "{first:?}");
        assert!(started.try_recv().is_err(), "three at a time");
        gate.add_permits(1);
        next(&mut started).await;
        gate.add_permits(100);
        for _ in 0..7 {
            next(&mut started).await;
        }
    }

    #[tokio::test]
    async fn a_stop_breaks_transfers_off() {
        let bounds = Bounds::new(3, 3);
        let transfers = Transfers::<u32, ()>::new(bounds.clone());
        let (sender, mut started) = mpsc::unbounded_channel();
        let work = async move {
            sender.send(1).unwrap();
            std::future::pending::<()>().await;
        };
        transfers.ask(&1, "alice", work, || panic!("it has not ended"));
        next(&mut started).await;
        tokio::time::timeout(SOON, bounds.stop())
            .await
            .expect("in time");
        assert!(transfers.lock().is_empty());
        transfers.ask(&2, "alice", async {}, || panic!("none starts any more"));
        while !transfers.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_frees_the_place() {
        let transfers = Transfers::<u32, ()>::new(Bounds::new(1, 1));
        transfers.ask(&1, "alice", async { panic!("on purpose") }, || {});
        while !transfers.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        let (sender, mut ended) = mpsc::unbounded_channel();
        transfers.ask(&1, "alice", async {}, move || sender.send(1).unwrap());
        next(&mut ended).await;
    }
}
