//! How a pass over a room's or a contact's work can end early.

use std::time::Duration;

use puppeting::{HttpError, PuppetError};

/// Why a room or contact must wait. What was committed before stays done; the rest is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    /// When to try again; the default grows with each attempt.
    pub(crate) after: Option<Duration>,
    /// For the log: no content, no number.
    pub(crate) reason: String,
}

impl Hold {
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
        }
    }

    /// Nothing failed, it is only too early.
    pub(crate) fn after(delay: Duration) -> Self {
        Self {
            after: Some(delay),
            reason: "waiting".to_owned(),
        }
    }

    /// The login is not connected. It wakes its rooms when it is.
    pub(crate) fn not_connected() -> Self {
        Self {
            after: Some(Duration::from_secs(60)),
            reason: "the login is not connected".to_owned(),
        }
    }
}

impl From<store::Error> for Hold {
    fn from(error: store::Error) -> Self {
        Self::failed(&error)
    }
}

impl From<HttpError> for Hold {
    fn from(error: HttpError) -> Self {
        Self {
            after: error.retry_after(),
            ..Self::failed(&error)
        }
    }
}

impl From<PuppetError> for Hold {
    fn from(error: PuppetError) -> Self {
        let after = error.retry_after();
        Self {
            after,
            ..Self::failed(&error)
        }
    }
}
