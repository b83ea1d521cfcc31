//! The gatekeeper's keys, and what its tokens must say.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use gatekeeper::token::{Claims, Jwks, VerifyError, verify};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::Url;

/// A key set that is older than this is fetched again, so that withdrawn keys end.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Larger than any key set.
const MAX_BYTES: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Fetches that may follow each other at once; after them one in [`REFETCH`].
const BURST: NonZeroU32 = NonZeroU32::new(3).unwrap();
const REFETCH: Duration = Duration::from_secs(20);

/// Why a push is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PushRefused {
    /// Its token is wrong.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The gatekeeper's keys cannot be had, so nothing can be said about the token.
    #[error("the gatekeeper's key set is not there: {0}")]
    NoKeys(#[from] KeyError),
}

/// What is wrong with a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// Signature, key, audience or times.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// Somebody else signed it.
    #[error("the token has another issuer than the gatekeeper")]
    Issuer,
}

/// Why a key set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No answer.
    #[error("it could not be fetched: {0}")]
    Fetch(#[source] reqwest::Error),
    /// An answer that is no key set.
    #[error("the answer is no key set")]
    Malformed,
    /// It was asked for too often.
    #[error("it was asked for often enough just now")]
    TooOften,
}

/// The key set of the gatekeeper, fetched when it is needed.
pub struct Keys {
    url: Url,
    client: reqwest::Client,
    cached: RwLock<Option<Cached>>,
    fetching: tokio::sync::Mutex<()>,
    limiter: DefaultDirectRateLimiter,
}

#[derive(Clone)]
struct Cached {
    keys: Arc<Jwks>,
    fetched: Instant,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys that are fetched from `url`.
    #[must_use]
    pub fn new(url: Url, client: reqwest::Client) -> Self {
        let quota = Quota::with_period(REFETCH).map(|quota| quota.allow_burst(BURST));
        Self {
            url,
            client,
            cached: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
            limiter: RateLimiter::direct(quota.unwrap_or_else(|| Quota::per_minute(BURST))),
        }
    }

    /// Checks the token of a push at the time `now` (seconds since 1970).
    ///
    /// # Errors
    ///
    /// A token that is wrong, or keys that are not there.
    pub async fn check(
        &self,
        token: &str,
        audiences: &[String],
        issuer: &str,
        now: u64,
    ) -> Result<(), PushRefused> {
        let known = self
            .cached()
            .filter(|cached| cached.fetched.elapsed() < MAX_AGE);
        let cached = match known {
            Some(cached) => cached,
            None => self.fetch(None).await?,
        };
        let claims = match verify_any(token, &cached.keys, audiences, now) {
            // The key may be new.
            Err(VerifyError::UnknownKid) => match self.fetch(Some(cached.fetched)).await {
                Ok(fresh) => verify_any(token, &fresh.keys, audiences, now),
                Err(error) => {
                    tracing::debug!(%error, "the gatekeeper's keys were not fetched again");
                    Err(VerifyError::UnknownKid)
                }
            },
            other => other,
        }
        .map_err(TokenRefused::from)?;
        if claims.iss != issuer {
            return Err(TokenRefused::Issuer.into());
        }
        Ok(())
    }

    fn cached(&self) -> Option<Cached> {
        self.cached
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Fetches the set, once for all who ask for it at the same time. `seen` is when the set was fetched that is not enough.
    async fn fetch(&self, seen: Option<Instant>) -> Result<Cached, KeyError> {
        let _one_at_a_time = self.fetching.lock().await;
        let newer = |cached: &Cached| match seen {
            Some(seen) => cached.fetched > seen,
            None => cached.fetched.elapsed() < MAX_AGE,
        };
        if let Some(cached) = self.cached().filter(newer) {
            return Ok(cached);
        }
        self.limiter.check().map_err(|_| KeyError::TooOften)?;
        let keys = fetch(&self.client, self.url.clone()).await?;
        let cached = Cached {
            keys: Arc::new(keys),
            fetched: Instant::now(),
        };
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(cached.clone());
        Ok(cached)
    }
}

fn verify_any(
    token: &str,
    keys: &Jwks,
    audiences: &[String],
    now: u64,
) -> Result<Claims, VerifyError> {
    let mut result = Err(VerifyError::Audience);
    for audience in audiences {
        result = verify(token, keys, audience, now);
        if result != Err(VerifyError::Audience) {
            break;
        }
    }
    result
}

/// Fetches a key set.
///
/// # Errors
///
/// No answer, or one that is no key set.
pub(crate) async fn fetch(client: &reqwest::Client, url: Url) -> Result<Jwks, KeyError> {
    let response = client.get(url).timeout(TIMEOUT).send().await;
    let response = response
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| KeyError::Fetch(error.without_url()))?;
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(|error| KeyError::Fetch(error.without_url()))?);
        if body.len() > MAX_BYTES {
            return Err(KeyError::Malformed);
        }
    }
    serde_json::from_slice(&body).map_err(|_| KeyError::Malformed)
}
