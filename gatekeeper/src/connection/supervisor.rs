//! The task of a connection: attempts, sessions, and the waits between them.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    ConnectionConfig, CredentialsProvider, DisconnectReason, Event, State,
    backoff::Backoff,
    handle::Shared,
    handshake::{self, LoggedIn},
    link::Link,
    queue::Queue,
    session::{Drain, Ended, Outcome, Session},
    writer,
};
use crate::{login::ConnectReason, profile::FailureClass};

/// Runs until it is told to stop, or nobody takes its events any more. A panic ends one connection, not the login.
pub(super) async fn run(
    config: ConnectionConfig,
    provider: Arc<dyn CredentialsProvider>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
) {
    let mut supervisor = Supervisor {
        backoff: Backoff::new(config.backoff),
        config,
        provider,
        shared: shared.clone(),
        events,
        disowned: 0,
    };
    let stop = shared.stop.clone();
    loop {
        // What a connection holds is made anew for each; only the counts of failures go on, which are whole at any time.
        let kept = AssertUnwindSafe(supervisor.keep_connected()).catch_unwind();
        if kept.await.is_ok() || supervisor.after_panic().await.is_none() {
            break;
        }
    }
    stop.cancel();
    shared.detach();
    shared.set(State::Stopped);
}

struct Supervisor {
    config: ConnectionConfig,
    provider: Arc<dyn CredentialsProvider>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    backoff: Backoff,
    /// How often in succession the server did not know the identity.
    disowned: usize,
}

impl Supervisor {
    async fn keep_connected(&mut self) {
        let mut cause = ConnectReason::UserActivated;
        loop {
            self.shared.set(State::Connecting);
            let attempt = handshake::log_in(
                &self.config,
                self.provider.as_ref(),
                cause,
                self.backoff.failures(),
            );
            let stop = self.shared.stop.clone();
            let attempt = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                attempt = attempt => attempt,
            };
            let ended = match attempt {
                Ok(login) => match self.session(login).await {
                    Some(ended) => ended,
                    None => return,
                },
                Err(ended) => ended,
            };
            match self.next(ended).await {
                Some(next) => cause = next,
                None => return,
            }
        }
    }

    /// Lives through one session. Nothing if it was told to end.
    async fn session(&mut self, login: LoggedIn) -> Option<Ended> {
        let LoggedIn {
            reader,
            writer,
            sender,
            receiver,
            decoder,
            routing,
            success,
            early,
        } = login;
        let (link, outgoing) = Link::new(&self.config.profile, rand::random());
        let link = Arc::new(link);
        let closing = CancellationToken::new();
        let writing = tokio::spawn(writer::write(
            writer,
            sender,
            outgoing,
            closing.clone(),
            self.config.profile.limits.write(),
        ));
        let began = Instant::now();
        self.shared.attach(link.clone());
        self.shared.set(State::Online);
        self.disowned = 0;
        tracing::debug!(login = %self.config.log_label, "connected");
        let mut queue = Queue::default();
        queue.push(Event::Connected(success), 0);
        let session = Session {
            config: &self.config,
            link,
            cipher: receiver,
            decoder,
            queue,
            drain: Drain::default(),
            routing,
            carried: false,
        };
        let Outcome { ended, carried } = session
            .run(reader, writing, closing, &self.shared, &self.events, early)
            .await;
        self.shared.detach();
        if carried || began.elapsed() >= self.config.backoff.stable {
            self.backoff.reset();
        }
        ended
    }

    /// Reports the end of an attempt or a session and waits until the next one is due. Nothing if
    /// there shall be none.
    async fn next(&mut self, ended: Ended) -> Option<ConnectReason> {
        let Ended { reason, class } = ended;
        let Some((wait, not_before)) = self.wait(&class) else {
            return self.refused(reason, class).await;
        };
        tracing::info!(
            login = %self.config.log_label, %reason, wait_ms = wait.as_millis(), "disconnected"
        );
        self.shared.set(State::Waiting);
        let due = Instant::now() + wait;
        self.report(Event::Disconnected {
            reason,
            retry_in: Some(wait),
        })
        .await?;
        // A wait that the server asked for is kept, whoever calls.
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => None,
            () = tokio::time::sleep_until(due) => Some(ConnectReason::ErrorReconnect),
            () = self.shared.woken(), if !not_before => Some(ConnectReason::Push),
        }
    }

    /// Reports that a connection ended by a panic and waits like after any failure. Nothing if it was told to stop.
    async fn after_panic(&mut self) -> Option<()> {
        tracing::error!(login = %self.config.log_label, "a connection ended by a panic; it is opened anew");
        self.shared.detach();
        self.next(Ended::retry(DisconnectReason::Panicked)).await?;
        Some(())
    }

    /// How long to wait, and whether the server asked for it. Nothing if waiting is of no use.
    fn wait(&mut self, class: &FailureClass) -> Option<(Duration, bool)> {
        let mut rng = rand::rng();
        match class {
            FailureClass::Reconnect => Some((self.backoff.at_once(&mut rng), false)),
            FailureClass::Retry(None) => Some((self.backoff.next(&mut rng), false)),
            FailureClass::Retry(Some(after)) => {
                Some((self.backoff.next(&mut rng).max(*after), true))
            }
            FailureClass::Replaced => {
                let after = Duration::from_secs(self.config.profile.failures.replaced_seconds);
                Some((self.backoff.next(&mut rng).max(after), false))
            }
            FailureClass::ReEnlist(_) => {
                let waits = &self.config.profile.failures.re_enlist_after_seconds;
                let wait = waits.get(self.disowned).copied();
                self.disowned = self.disowned.saturating_add(1);
                wait.map(|seconds| (Duration::from_secs(seconds), true))
            }
            FailureClass::Fatal(_) => None,
        }
    }

    /// Waits until somebody has done something about a refusal.
    async fn refused(
        &mut self,
        reason: DisconnectReason,
        class: FailureClass,
    ) -> Option<ConnectReason> {
        tracing::warn!(login = %self.config.log_label, %reason, "refused; not tried again before it is asked for");
        self.shared.set(State::Refused);
        self.report(Event::Disconnected {
            reason,
            retry_in: None,
        })
        .await?;
        self.report(Event::LoginRefused(class)).await?;
        self.backoff.reset();
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => None,
            () = self.shared.woken() => Some(ConnectReason::UserActivated),
        }
    }

    async fn report(&self, event: Event) -> Option<()> {
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => None,
            sent = self.events.send(event) => sent.ok(),
        }
    }
}
