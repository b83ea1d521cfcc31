//! What the gatekeeper asks of the bridge: the key set that verifies its tokens, pushes, and the files that users send
//! (G 1.2, G 7, G 6.2).
//!
//! A push says that something waits for a user whose login is not connected. It is signed by the gatekeeper; its key set is
//! fetched, kept, and fetched again when an unknown key turns up, but not more often than now and then, so that
//! forged tokens cannot make the bridge ask without end.

mod keys;
mod media;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gatekeeper::token::Jwks;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tower_http::timeout::TimeoutLayer;

pub(crate) use self::keys::fetch as fetch_keys;
pub use self::{
    keys::{KeyError, Keys, PushRefused, TokenRefused},
    media::{Found, Shelf},
};
use crate::{
    appservice::{SinkError, bearer},
    config::Config,
};

/// Path of the key set, as the published sample has it.
pub const JWKS_PATH: &str = "/.well-known/oauth/openid/jwks";
/// Larger than any push.
const PUSH_LIMIT: usize = 16 * 1024;
/// How long a request may take from its header to the beginning of its answer. The files themselves have their own.
const DEADLINE: Duration = Duration::from_secs(60);

/// What stands behind the router.
#[async_trait]
pub trait PushSink: Send + Sync + 'static {
    /// The key set to publish.
    async fn jwks(&self) -> Result<Jwks, SinkError>;

    /// Something waits for the user with this identifier (as the identity tokens name them): their login connects.
    /// False if there is no such user. The same push may come several times.
    async fn push(&self, identifier: &str) -> Result<bool, SinkError>;
}

/// What the router needs to know.
#[derive(Clone)]
pub struct Public {
    config: Arc<Config>,
    keys: Arc<Keys>,
    sink: Arc<dyn PushSink>,
    shelf: Arc<dyn Shelf>,
    downloads: Arc<Semaphore>,
}

impl Public {
    /// A router's state: tokens are checked with `keys`, pushes go to `sink`, files come from `shelf`.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        keys: Keys,
        sink: Arc<dyn PushSink>,
        shelf: Arc<dyn Shelf>,
    ) -> Self {
        Self {
            downloads: Arc::new(Semaphore::new(config.media.downloads)),
            config,
            keys: Arc::new(keys),
            sink,
            shelf,
        }
    }
}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Public").finish_non_exhaustive()
    }
}

/// The key set at its well-known path, and under the path of `public.url` `/push` and the hosted files.
pub fn router(state: Public) -> Router {
    let base = state
        .config
        .public
        .url
        .path()
        .trim_end_matches('/')
        .to_owned();
    Router::new()
        .route(JWKS_PATH, get(jwks))
        .route(&format!("{base}/push"), post(push))
        .route(&format!("{base}/{{reference}}"), get(media::get))
        .route(&format!("{base}/{{reference}}/"), get(media::get))
        .layer(DefaultBodyLimit::max(PUSH_LIMIT))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            DEADLINE,
        ))
        .with_state(state)
}

/// `GET /.well-known/oauth/openid/jwks`
async fn jwks(State(state): State<Public>) -> Response {
    match state.sink.jwks().await {
        Ok(keys) => {
            metrics::counter!("gatehouse_jwks_requests_total").increment(1);
            ([(header::CACHE_CONTROL, "max-age=300")], axum::Json(keys)).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "the key set cannot be given out");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

#[derive(Deserialize)]
struct Push {
    to: String,
}

/// `POST {base}/push`
async fn push(
    State(state): State<Public>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> StatusCode {
    let answer = handle_push(&state, &headers, body).await;
    metrics::counter!("gatehouse_pushes_total", "status" => answer.as_str().to_owned())
        .increment(1);
    answer
}

async fn handle_push(
    state: &Public,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> StatusCode {
    let rules = &state.config.gatekeeper.profile.push;
    let status = |code: u16, usual| StatusCode::from_u16(code).unwrap_or(usual);
    let refused = status(rules.refused_status, StatusCode::UNAUTHORIZED);
    let unknown = status(rules.unknown_user_status, StatusCode::NOT_FOUND);

    let Some(token) = bearer(headers) else {
        tracing::warn!("refused a push without a token");
        return refused;
    };
    let issuer = &state.config.gatekeeper.profile.token.audience;
    match state
        .keys
        .check(token, &state.config.push_audiences(), issuer, now())
        .await
    {
        Ok(()) => {}
        Err(PushRefused::Token(reason)) => {
            tracing::warn!(%reason, "refused a push");
            return refused;
        }
        // It may well be genuine: the gatekeeper should come again.
        Err(PushRefused::NoKeys(error)) => {
            tracing::warn!(%error, "a push cannot be checked");
            return StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return rejection.status(),
    };
    let Ok(Push { to }) = serde_json::from_slice(&body) else {
        tracing::warn!("refused a push whose body is not {{\"to\": …}}");
        return StatusCode::BAD_REQUEST;
    };
    match state.sink.push(&to).await {
        Ok(true) => StatusCode::OK,
        Ok(false) => unknown,
        Err(error) => {
            tracing::warn!(%error, "a push was put off");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
