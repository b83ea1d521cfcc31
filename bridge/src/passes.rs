//! How a pass over a room's or a contact's work can end early.

use std::time::Duration;

use puppeting::{HttpError, PuppetError};

/// Why one waits that waits for a file.
const FILE: &str = "a file is on its way";

/// Why a room or contact must wait. What was committed before stays done; the rest is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    /// When to try again; the default grows with each attempt.
    pub(crate) after: Option<Duration>,
    /// For the log: no content, no number.
    pub(crate) reason: String,
}

impl Hold {
    /// A file is on its way: whoever waits for it is woken when it is there, and looks again now and then in case that is
    /// missed.
    pub(crate) fn for_a_file() -> Self {
        Self {
            after: Some(Duration::from_secs(120)),
            reason: FILE.to_owned(),
        }
    }

    /// Whether all is well, and an operator need not hear of it.
    pub(crate) fn is_usual(&self) -> bool {
        self.reason == FILE
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
