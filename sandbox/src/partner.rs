//! A partner service: its published keys, fetched and kept, and what they say about a token.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gatekeeper::token::{self, Jwks, VerifyError};
use serde_json::json;
use tracing::warn;

use crate::{clock::real_ms, config::PartnerConfig, world::World};

/// Time that a partner has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a key set.
const MAX_JWKS: usize = 256 * 1024;

/// A partner.
#[derive(Debug)]
pub(crate) struct Partner {
    /// Its agreement.
    pub config: PartnerConfig,
    keys: Mutex<Option<Fetched>>,
}

#[derive(Clone, Debug)]
struct Fetched {
    jwks: Arc<Jwks>,
    at: Instant,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenRefused {
    /// The partner's keys are not known and cannot be fetched now.
    #[error("the partner's key set cannot be fetched")]
    Unavailable,
    /// No key of this partner made it.
    #[error("the token is not this partner's")]
    NotTheirs,
    /// It is the partner's, or claims to be, and is not valid.
    #[error("the token is not valid")]
    Invalid,
}

impl Partner {
    /// A partner whose keys have not been fetched yet.
    pub(crate) fn new(config: PartnerConfig) -> Self {
        Self {
            config,
            keys: Mutex::new(None),
        }
    }

    /// Ids of the keys that were fetched, and how long ago; nothing before the first fetch.
    pub(crate) fn known_keys(&self) -> Option<(Vec<String>, Duration)> {
        let fetched = crate::lock(&self.keys).clone()?;
        Some((key_ids(&fetched.jwks), fetched.at.elapsed()))
    }

    /// Fetches the keys.
    pub(crate) async fn refresh(&self, world: &World) -> Option<Arc<Jwks>> {
        let url = self.config.jwks_url();
        match fetch(&world.http, &url).await {
            Ok(jwks) => {
                let jwks = Arc::new(jwks);
                let fetched = Fetched {
                    jwks: Arc::clone(&jwks),
                    at: Instant::now(),
                };
                *crate::lock(&self.keys) = Some(fetched);
                world.events.emit("jwks_fetched", || {
                    json!({"integrator": self.config.integrator,
                           "keys": key_ids(&jwks)})
                });
                Some(jwks)
            }
            Err(error) => {
                warn!(integrator = self.config.integrator, %error, "the partner's key set cannot be fetched");
                None
            }
        }
    }

    /// Checks a token and returns the user-visible identifier that it names. A key that is not known
    /// is looked for in a newly fetched set.
    pub(crate) async fn verify(&self, world: &World, token: &str) -> Result<String, TokenRefused> {
        // A partner dates its tokens by the machine's clock, or by the time that `<success>` tells it.
        let at = |jwks: &Jwks, now| token::verify(token, jwks, &self.config.audience, now);
        let check = |jwks: &Jwks| match at(jwks, real_ms() / 1000) {
            Err(VerifyError::NotYetValid) => at(jwks, world.clock.now()),
            verified => verified,
        };
        let known = crate::lock(&self.keys).clone().map(|fetched| fetched.jwks);
        let mut verified = known.as_deref().map_or(Err(VerifyError::UnknownKid), check);
        if verified == Err(VerifyError::UnknownKid) {
            let jwks = self.refresh(world).await.ok_or(TokenRefused::Unavailable)?;
            verified = check(&jwks);
        }
        let claims = verified.map_err(|error| match error {
            VerifyError::UnknownKid => TokenRefused::NotTheirs,
            _ => TokenRefused::Invalid,
        })?;
        if self
            .config
            .issuer
            .as_ref()
            .is_some_and(|issuer| *issuer != claims.iss)
        {
            return Err(TokenRefused::NotTheirs);
        }
        claims
            .sub
            .filter(|identifier| !identifier.is_empty())
            .ok_or(TokenRefused::Invalid)
    }
}

fn key_ids(jwks: &Jwks) -> Vec<String> {
    jwks.keys.iter().map(|key| key.kid.clone()).collect()
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the key set is larger than {MAX_JWKS} bytes")]
    TooLarge,
    #[error("the key set is not JSON of a key set: {0}")]
    Json(#[from] serde_json::Error),
}

async fn fetch(http: &reqwest::Client, url: &str) -> Result<Jwks, FetchError> {
    let mut answer = http
        .get(url)
        .timeout(TIMEOUT)
        .send()
        .await?
        .error_for_status()?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_JWKS {
            return Err(FetchError::TooLarge);
        }
    }
    Ok(serde_json::from_slice(&body)?)
}

/// Fetches every partner's keys again and again.
pub(crate) async fn keep_fresh(world: Arc<World>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_secs(1)));
    loop {
        ticks.tick().await;
        for partner in &world.partners {
            partner.refresh(&world).await;
        }
    }
}
