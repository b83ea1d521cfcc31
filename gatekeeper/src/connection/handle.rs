//! The handle of a connection.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    ConnectionConfig, CredentialsProvider, Event, QueryError, SendError, State, link::Link,
    supervisor,
};
use crate::{profile::Limits, stanza::Node};

/// What the task and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) stop: CancellationToken,
    pub(super) wake: Notify,
    pub(super) reconnect: Notify,
    link: Mutex<Option<Arc<Link>>>,
    state: watch::Sender<State>,
}

impl Shared {
    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Opens the way out. Calls that were meant for the time before are forgotten.
    pub(super) fn attach(&self, link: Arc<Link>) {
        let _ = self.wake.notified().now_or_never();
        let _ = self.reconnect.notified().now_or_never();
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }

    pub(super) fn detach(&self) {
        let link = self
            .link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(link) = link {
            link.end();
        }
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends when somebody asks for an attempt.
    pub(super) async fn woken(&self) {
        tokio::select! {
            () = self.wake.notified() => {}
            () = self.reconnect.notified() => {}
        }
    }
}

/// A handle of a login's connection. The task ends with the last one.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    limits: Limits,
    _last: Arc<DropGuard>,
}

impl Connection {
    /// Starts the task. Must be called within a Tokio runtime.
    pub fn spawn(
        config: ConnectionConfig,
        provider: Arc<dyn CredentialsProvider>,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(config.event_capacity.max(1));
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            stop: stop.clone(),
            wake: Notify::new(),
            reconnect: Notify::new(),
            link: Mutex::new(None),
            state: watch::Sender::new(State::Connecting),
        });
        let connection = Self {
            shared: shared.clone(),
            limits: config.profile.limits.clone(),
            _last: Arc::new(stop.drop_guard()),
        };
        tokio::spawn(supervisor::run(config, provider, shared, events));
        (connection, receiver)
    }

    /// Hands a stanza to the connection. That it was taken does not mean that it arrived: that is
    /// what the server's acks are for.
    ///
    /// # Errors
    ///
    /// If there is no connection, or the stanza cannot be written.
    pub async fn send(&self, node: Node) -> Result<(), SendError> {
        let link = self.shared.link().ok_or(SendError::NotConnected)?;
        link.send(&node).await
    }

    /// Sends a query and waits for its answer. It is given an id if it has none.
    ///
    /// # Errors
    ///
    /// If there is no connection, no answer in time, or a refusal.
    pub async fn query(&self, node: Node) -> Result<Node, QueryError> {
        let link = self.shared.link().ok_or(QueryError::NotConnected)?;
        link.query(node, self.limits.query()).await
    }

    /// Connects at once, if the connection waits for its next attempt or was refused. One that
    /// stands is tested: whoever got a push although it stands has a dead connection.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Gives a standing connection up and opens a new one: the server then sends again what is not
    /// acknowledged.
    pub fn reconnect(&self) {
        self.shared.reconnect.notify_one();
    }

    /// Ends the task; comes back when what was handed over has been written.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        let mut state = self.shared.state.subscribe();
        // An error would mean that the task is gone, which is what is wanted.
        let _ = state.wait_for(|state| *state == State::Stopped).await;
    }

    /// Where the connection stands, and every change of it.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Whether the login is accepted at the moment.
    pub fn is_connected(&self) -> bool {
        *self.shared.state.borrow() == State::Online
    }
}
