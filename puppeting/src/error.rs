//! What can go wrong between the bridge and the homeserver.

use std::time::Duration;

use ruma::api::error::ErrorCode;
use serde::Deserialize;

/// A request to the homeserver that did not succeed.
///
/// The text names the endpoint and the error code only: what the server says may hold user ids, and errors go to logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No answer: refused, reset, timed out.
    #[error("the homeserver did not answer {endpoint}: {reason}")]
    Transport {
        /// What was asked.
        endpoint: &'static str,
        /// What went wrong, without the address.
        reason: String,
    },
    /// The homeserver answered with an error.
    #[error("the homeserver refused {endpoint}: {refusal}")]
    Refused {
        /// What was asked.
        endpoint: &'static str,
        /// What it answered.
        refusal: Refusal,
    },
    /// The answer says success and cannot be understood.
    #[error("the homeserver's answer to {endpoint} cannot be understood: {reason}")]
    Answer {
        /// What was asked.
        endpoint: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The request could not be written: the address in the configuration is unusable.
    #[error("cannot ask the homeserver for {endpoint}: {reason}; check the homeserver address")]
    Request {
        /// What was to be asked.
        endpoint: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl HttpError {
    /// The Matrix error code, if the homeserver gave one.
    pub fn errcode(&self) -> Option<&ErrorCode> {
        match self {
            Self::Refused { refusal, .. } => refusal.errcode.as_ref(),
            _ => None,
        }
    }

    /// Whether the homeserver answered with this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.errcode() == Some(&code)
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the same request may succeed later: the network, an overloaded or broken server, a rate limit, a token that
    /// the homeserver does not know (its operator has yet to load the registration), or a proxy's page in the place of a
    /// homeserver that is away: what the homeserver itself refuses has an error code.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Refused { refusal, .. } => {
                let size = matches!(refusal.status, 413 | 414 | 431);
                refusal.status >= 500
                    || matches!(refusal.status, 401 | 408 | 429)
                    || (refusal.errcode.is_none() && !size)
            }
            // A proxy's error page with status 200; the server itself is not there.
            Self::Answer { .. } => true,
            Self::Request { .. } => false,
        }
    }

    /// How long the homeserver asks to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { refusal, .. } => refusal.retry_after,
            _ => None,
        }
    }
}

/// A homeserver's error answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{status} {}", self.errcode.as_ref().map_or("without error code", |code| code.as_str()))]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `errcode` of the body.
    pub errcode: Option<ErrorCode>,
    /// `error` of the body: may hold user ids, not for logs.
    pub message: String,
    /// `Retry-After` header or `retry_after_ms` of the body.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads an error answer, whatever its body is.
    pub(crate) fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        struct Body {
            errcode: Option<String>,
            error: Option<String>,
            retry_after_ms: Option<u64>,
        }
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let header = retry_after
            .and_then(|v| v.parse().ok())
            .map(Duration::from_secs);
        Self {
            status,
            errcode: body.errcode.map(ErrorCode::from),
            message: body.error.unwrap_or_default(),
            retry_after: header.or(body.retry_after_ms.map(Duration::from_millis)),
        }
    }
}

/// Something a puppet was asked to do and could not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PuppetError {
    /// The homeserver.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A commit failed, so memory and database disagree about this puppet's keys. Open it again.
    #[error("an earlier commit failed; the keys must be read from the database again")]
    Poisoned,
    /// No room key was shared, or it is used up: call [`Puppet::prepare`](crate::Puppet::prepare) first.
    #[error("the room has no usable key yet")]
    NotPrepared,
    /// The homeserver holds keys for this device that the database does not know, so the device cannot be used.
    #[error(
        "the homeserver holds keys for this device that are not in the database (was it lost or restored from a backup?)"
    )]
    DeviceTaken,
    /// The crypto library refused.
    #[error("encryption: {0}")]
    Crypto(String),
    /// Something that can never work, such as a user outside the namespace.
    #[error("{0}")]
    Invalid(String),
}

impl PuppetError {
    /// Whether the same call may succeed later (after [`Puppets::open`](crate::Puppets::open) where poisoned).
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Http(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Poisoned | Self::NotPrepared | Self::DeviceTaken => true,
            Self::Crypto(_) | Self::Invalid(_) => false,
        }
    }

    /// How long the homeserver asks to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(error) => error.retry_after(),
            _ => None,
        }
    }

    /// The homeserver's error code, if it gave one.
    pub fn errcode(&self) -> Option<&ErrorCode> {
        match self {
            Self::Http(error) => error.errcode(),
            _ => None,
        }
    }

    /// Whether the homeserver answered with this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.errcode() == Some(&code)
    }
}

impl From<matrix_sdk_crypto::CryptoStoreError> for PuppetError {
    fn from(error: matrix_sdk_crypto::CryptoStoreError) -> Self {
        match error {
            matrix_sdk_crypto::CryptoStoreError::Backend(cause) => {
                match cause.downcast::<store::Error>() {
                    Ok(error) => Self::Store(*error),
                    Err(other) => Self::Crypto(other.to_string()),
                }
            }
            other => Self::Crypto(crypto_text(&other)),
        }
    }
}

impl From<matrix_sdk_crypto::OlmError> for PuppetError {
    fn from(error: matrix_sdk_crypto::OlmError) -> Self {
        match error {
            matrix_sdk_crypto::OlmError::Store(error) => error.into(),
            other => Self::Crypto(crypto_text(&other)),
        }
    }
}

/// The error of a direct call of the crypto store.
pub(crate) fn crypto<T, E: Into<matrix_sdk_crypto::CryptoStoreError>>(
    result: Result<T, E>,
) -> Result<T, PuppetError> {
    result.map_err(|error| error.into().into())
}

/// The library's errors may name users and devices in their fields: keep the kind only.
fn crypto_text(error: &dyn std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.split(['(', '{', ' '])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// A room event that could not be decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The room key is not here (yet), or only from a later message on. Keep the event and try again when the key comes.
    #[error("the room key is missing")]
    MissingKey {
        /// The Megolm session that is needed.
        session_id: String,
        /// The sender said that it keeps the key back from this device (`m.unverified`, `m.blacklisted`, ..).
        withheld: Option<String>,
    },
    /// The event claims another sender than the device that encrypted it belongs to.
    #[error("the sender is not the owner of the device that encrypted the event")]
    SenderMismatch,
    /// The event can never be decrypted or understood.
    #[error("the event cannot be decrypted: {0}")]
    Malformed(String),
    /// The puppet cannot be used at present.
    #[error(transparent)]
    Puppet(#[from] PuppetError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> HttpError {
        HttpError::Refused {
            endpoint: "test",
            refusal: Refusal::read(status, None, body.as_bytes()),
        }
    }

    #[test]
    fn errors_are_told_apart_by_code() {
        let limited = refused(
            429,
            r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}"#,
        );
        assert!(limited.is(ErrorCode::LimitExceeded));
        assert!(limited.is_retryable());
        assert_eq!(limited.retry_after(), Some(Duration::from_millis(1500)));

        let forbidden = refused(
            403,
            r#"{"errcode":"M_FORBIDDEN","error":"@a:b is not in room"}"#,
        );
        assert!(!forbidden.is_retryable());
        assert!(
            !forbidden.to_string().contains("@a:b"),
            "messages of the server stay out of logs"
        );

        assert!(refused(502, "<html>bad gateway</html>").is_retryable());
        // A proxy whose homeserver is away, and one that takes no large files.
        assert!(refused(404, "404 page not found").is_retryable());
        assert!(refused(302, "").is_retryable());
        assert!(!refused(413, "<html>too large</html>").is_retryable());
        assert!(!refused(404, r#"{"errcode":"M_NOT_FOUND"}"#).is_retryable());
        assert_eq!(refused(400, "[]").errcode(), None);
    }

    #[test]
    fn the_header_wins_over_the_body() {
        let refusal = Refusal::read(429, Some("7"), br#"{"retry_after_ms":1}"#);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
    }
}
