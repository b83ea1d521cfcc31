//! How a pass over a room's or a contact's work can end early.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;

use puppeting::{HttpError, PuppetError};

use crate::sessions::SessionError;

/// Why one waits that waits for a file.
const FILE: &str = "a file is on its way";
/// Why one waits that has much on its way already.
const CROWD: &str = "much is on its way";

/// Why a room or contact must wait. What was committed before stays done; the rest is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    /// When to try again; the default grows with each attempt.
    pub(crate) after: Option<Duration>,
    /// For the log: no content, no number.
    pub(crate) reason: String,
    /// Whether time alone will not help: it counts as a try of what was handled, and after some tries that is set aside. What
    /// is about the network, the disk or a neighbour that is away never counts.
    pub(crate) lasting: bool,
}

impl Hold {
    /// A file is on its way: whoever waits for it is woken when it is there, and looks again now and then in case that is
    /// missed.
    pub(crate) fn for_a_file() -> Self {
        Self {
            after: Some(Duration::from_secs(120)),
            reason: FILE.to_owned(),
            lasting: false,
        }
    }

    /// Much is on its way to a contact: its room goes on as it is taken.
    pub(crate) fn crowded() -> Self {
        Self {
            after: Some(Duration::from_secs(60)),
            ..Self::until(CROWD)
        }
    }

    /// Whether all is well, and an operator need not hear of it.
    pub(crate) fn is_usual(&self) -> bool {
        self.reason == FILE || self.reason == CROWD
    }

    /// Something is not there yet.
    pub(crate) fn until(reason: &str) -> Self {
        Self {
            after: None,
            reason: reason.to_owned(),
            lasting: false,
        }
    }

    /// Something is wrong that time alone does not mend.
    pub(crate) fn damaged(reason: &str) -> Self {
        Self {
            lasting: true,
            ..Self::until(reason)
        }
    }

    /// The same, with its error.
    pub(crate) fn lasting(error: &dyn std::error::Error) -> Self {
        Self {
            lasting: true,
            ..Self::failed(error)
        }
    }

    /// Something failed that may work later.
    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            source = error.source();
        }
        Self {
            after: None,
            reason,
            lasting: false,
        }
    }

    /// Nothing failed, it is only too early.
    pub(crate) fn after(delay: Duration) -> Self {
        Self {
            after: Some(delay),
            reason: "waiting".to_owned(),
            lasting: false,
        }
    }

    /// The login is not connected. It wakes its rooms when it is.
    pub(crate) fn not_connected() -> Self {
        Self {
            after: Some(Duration::from_secs(60)),
            reason: "the login is not connected".to_owned(),
            lasting: false,
        }
    }
}

impl From<store::Error> for Hold {
    fn from(error: store::Error) -> Self {
        Self {
            lasting: is_lasting(&error),
            ..Self::failed(&error)
        }
    }
}

/// Whether a database error is about a row, not about the database.
fn is_lasting(error: &store::Error) -> bool {
    matches!(
        error,
        store::Error::Corrupt { .. } | store::Error::Database(_) | store::Error::Conflict(_)
    )
}

impl From<HttpError> for Hold {
    fn from(error: HttpError) -> Self {
        Self {
            after: error.retry_after(),
            lasting: !error.is_retryable(),
            ..Self::failed(&error)
        }
    }
}

impl From<PuppetError> for Hold {
    fn from(error: PuppetError) -> Self {
        let lasting = match &error {
            PuppetError::Store(error) => is_lasting(error),
            error => !error.is_retryable(),
        };
        Self {
            after: error.retry_after(),
            lasting,
            ..Self::failed(&error)
        }
    }
}

impl From<SessionError> for Hold {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error) => error.into(),
            error @ SessionError::Signal(_) => Self::lasting(&error),
            // It is being enlisted, or its user has left.
            error @ SessionError::NoIdentity => Self::failed(&error),
        }
    }
}

/// What the homeserver refuses for good when a puppet leaves a room: the puppet is not in it.
pub(crate) fn gone(left: Result<(), HttpError>) -> Result<(), Hold> {
    match left {
        Err(error) if error.is_retryable() => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Runs a handler. One that panics has failed: what it worked on is tried again, and is not lost.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, Hold>>) -> Result<T, Hold> {
    // What a handler changes is committed whole or not at all; locks are given back when it is dropped.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(Hold::damaged("a handler panicked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_neighbours_never_counts() {
        let unavailable = store::Error::Unavailable("disk full".to_owned());
        assert!(!Hold::from(unavailable.clone()).lasting);
        assert!(!Hold::from(PuppetError::Store(unavailable)).lasting);
        assert!(!Hold::from(PuppetError::NotPrepared).lasting);
        assert!(!Hold::from(store::Error::Closed).lasting);
        assert!(!Hold::not_connected().lasting && !Hold::for_a_file().lasting);
        let gone = HttpError::Transport {
            endpoint: "send",
            reason: "timed out".to_owned(),
        };
        assert!(!Hold::from(gone).lasting);

        assert!(Hold::from(store::Error::Database("no such column".to_owned())).lasting);
        assert!(Hold::from(PuppetError::Crypto("no".to_owned())).lasting);
        assert!(
            Hold::from(SessionError::Signal(
                gatekeeper::signal::SignalError::NoSession
            ))
            .lasting
        );
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let held = caught(async {
            let read: Result<u32, _> = "no number".parse::<u32>();
            Ok::<_, Hold>(read.expect("a number"))
        });
        assert!(held.await.is_err_and(|hold| hold.lasting));
        assert_eq!(caught(async { Ok::<_, Hold>(1) }).await.ok(), Some(1));
    }
}
