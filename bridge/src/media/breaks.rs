//! Transfers that end without a file: because a server is away, or because of the file.
//!
//! A server that is away comes back, and its files wait for it. A file that fails again and again at a server that answers
//! would hold up its chat for ever: after [`BREAKS`] attempts people are told instead.

use std::{hash::Hash, time::Duration};

use puppeting::HttpError;

use crate::passes::Hold;

/// After so many attempts that failed for the file, it is given up.
const BREAKS: u32 = 8;
/// Files whose attempts are counted at a time.
const COUNTED: u64 = 10_000;
/// How long a count outlives the last attempt.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// Why a transfer ended without a file. `L` is what is said of a file that is lost.
#[derive(Debug)]
pub(super) enum Broken<L> {
    /// A server does not answer, or we cannot ask: it has nothing to do with the file, which waits.
    Away(Hold),
    /// The server is there and did not do its part for this file. It is tried again, but not for ever.
    File(Hold),
    /// It is not to be had.
    Lost(L),
}

impl<L> Broken<L> {
    /// What an error of the homeserver is for a file, if it is worth another attempt.
    ///
    /// # Errors
    ///
    /// The error, if it is for good.
    pub(super) fn retryable(error: HttpError) -> Result<Self, HttpError> {
        if !error.is_retryable() {
            return Err(error);
        }
        // A proxy says so of a homeserver that is down; the homeserver itself would give a code.
        let proxy = error.errcode().is_none() && matches!(error.status(), Some(502..=504));
        let away = proxy || matches!(error.status(), None | Some(401 | 408 | 429));
        Ok(if !away {
            Self::File(error.into())
        } else {
            Self::Away(error.into())
        })
    }
}

impl<L> From<Hold> for Broken<L> {
    fn from(hold: Hold) -> Self {
        Self::Away(hold)
    }
}

/// How often a file failed.
#[derive(Debug)]
pub(super) struct Breaks<K: Eq + Hash + Send + Sync + 'static>(moka::sync::Cache<K, u32>);

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Breaks<K> {
    pub(super) fn new() -> Self {
        let counts = moka::sync::Cache::builder()
            .max_capacity(COUNTED)
            .time_to_idle(IDLE)
            .build();
        Self(counts)
    }

    /// Counts a failed attempt; true if there were enough.
    pub(super) fn count(&self, key: &K) -> bool {
        let breaks = self.0.get(key).unwrap_or_default().saturating_add(1);
        self.0.insert(key.clone(), breaks);
        breaks >= BREAKS
    }

    /// The file is done with, in one way or the other.
    pub(super) fn forget(&self, key: &K) {
        self.0.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use puppeting::Refusal;

    use super::*;

    #[test]
    fn only_what_the_homeserver_itself_answers_counts() {
        let of = |status, code: Option<&str>| {
            Broken::<()>::retryable(HttpError::Refused {
                endpoint: "download_media",
                refusal: Refusal {
                    status,
                    errcode: code.map(Into::into),
                    message: String::new(),
                    retry_after: None,
                },
            })
        };
        // Its own words on a file of another server.
        for status in [500, 502, 504] {
            assert!(matches!(of(status, Some("M_UNKNOWN")), Ok(Broken::File(_))));
        }
        assert!(matches!(of(500, None), Ok(Broken::File(_))));
        // A proxy in front of a homeserver that is down; a rate limit.
        assert!(matches!(of(502, None), Ok(Broken::Away(_))));
        assert!(matches!(
            of(429, Some("M_LIMIT_EXCEEDED")),
            Ok(Broken::Away(_))
        ));
        assert!(of(404, Some("M_NOT_FOUND")).is_err());
        // A store of files behind the homeserver's address that says no more.
        assert!(matches!(of(404, None), Ok(Broken::File(_))));
        let silent = HttpError::Transport {
            endpoint: "download_media",
            reason: "refused".to_owned(),
        };
        assert!(matches!(
            Broken::<()>::retryable(silent),
            Ok(Broken::Away(_))
        ));
    }

    #[test]
    fn a_file_is_given_up_after_enough_attempts() {
        let breaks = Breaks::new();
        for _ in 1..BREAKS {
            assert!(!breaks.count(&"one"));
        }
        assert!(!breaks.count(&"other"), "each file has its own count");
        assert!(breaks.count(&"one"));
        breaks.forget(&"one");
        assert!(!breaks.count(&"one"));
    }
}
