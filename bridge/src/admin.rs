//! What an operator and their monitoring ask of the running bridge: is it alive, is it ready, how much waits, who uses it.
//!
//! It is served beside the application-service API, on the listener that only the homeserver and the operator reach. What
//! names users is given only to who holds the `as_token`.

mod status;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Store;
use zeroize::Zeroizing;

pub use self::status::{Status, User};
pub use crate::leaving::{Departure, Operator};
use crate::{
    appservice::{SinkError, TransactionSink, bearer},
    quarantine::{self, Selection},
    registration::Registration,
};

/// Path of the numbers of [`Status`].
pub(crate) const STATUS_PATH: &str = "/_gatehouse/status";
/// Path of the list of [`User`]s.
pub(crate) const USERS_PATH: &str = "/_gatehouse/users";

/// Path of what was set aside: GET lists it, POST brings back what its body, a [`Selection`], selects.
pub(crate) const REPLAY_PATH: &str = "/_gatehouse/replay";
/// Path that ends the enlistment of the user in the body.
pub(crate) const DISABLE_PATH: &str = "/_gatehouse/disable";
/// Path that erases the user in the body.
pub(crate) const ERASE_PATH: &str = "/_gatehouse/erase";

/// Whom a request is about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// Their Matrix id.
    pub(crate) user: OwnedUserId,
}

/// What the router needs to know.
#[derive(Clone)]
pub struct Admin {
    store: Store,
    token: Arc<Zeroizing<String>>,
    sink: Arc<dyn TransactionSink>,
    operator: Arc<dyn Operator>,
    metrics: Option<PrometheusHandle>,
}

impl Admin {
    /// A router's state. `sink` says whether the bridge is ready, `operator` does what an operator wants done.
    #[must_use]
    pub fn new(
        store: Store,
        registration: &Registration,
        sink: Arc<dyn TransactionSink>,
        operator: Arc<dyn Operator>,
    ) -> Self {
        let token = Arc::new(Zeroizing::new(registration.as_token.secret().to_owned()));
        Self {
            store,
            token,
            sink,
            operator,
            metrics: recorder().cloned(),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// The recorder of this process, installed at the first call; nothing if something else records already.
fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| PrometheusBuilder::new().install_recorder().ok())
        .as_ref()
}

/// Health, readiness, metrics, status, users and their end.
pub fn router(state: Admin) -> Router {
    Router::new()
        .route("/health", get(live))
        .route("/_matrix/mau/live", get(live))
        .route("/_matrix/mau/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .route(STATUS_PATH, get(status))
        .route(USERS_PATH, get(users))
        .route(DISABLE_PATH, post(disable))
        .route(ERASE_PATH, post(erase))
        .route(REPLAY_PATH, get(set_aside).post(replay))
        .with_state(state)
}

/// Alive: the process answers.
async fn live() -> Response {
    Json(json!({ "ok": true })).into_response()
}

/// Ready: transactions can be taken.
async fn ready(State(state): State<Admin>) -> Response {
    let ok = state.sink.ready().await;
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ "ok": ok }))).into_response()
}

async fn metrics_text(State(state): State<Admin>) -> Response {
    // What is counted by looking: asked for when somebody looks, so that idling costs nothing.
    match Status::read(&state.store).await {
        Ok(status) => {
            status.record();
            record_handles();
        }
        Err(error) => tracing::warn!(%error, "the numbers for the metrics cannot be read"),
    }
    match &state.metrics {
        Some(metrics) => {
            metrics.run_upkeep();
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (kind, metrics.render()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// How many files and sockets this process has open, under the name that Prometheus's own clients use.
fn record_handles() {
    if let Ok(handles) = std::fs::read_dir("/proc/self/fd") {
        let count = u32::try_from(handles.count()).unwrap_or(u32::MAX);
        metrics::gauge!("process_open_fds").set(count);
    }
}

async fn status(State(state): State<Admin>, headers: HeaderMap) -> Response {
    if !state.allows(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    answer(Status::read(&state.store).await)
}

async fn users(State(state): State<Admin>, headers: HeaderMap) -> Response {
    if !state.allows(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    answer(User::list(&state.store).await)
}

async fn disable(
    State(state): State<Admin>,
    headers: HeaderMap,
    Json(about): Json<About>,
) -> Response {
    if !state.allows(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    ended(state.operator.disable(&about.user).await)
}

async fn erase(
    State(state): State<Admin>,
    headers: HeaderMap,
    Json(about): Json<About>,
) -> Response {
    if !state.allows(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    ended(state.operator.erase(&about.user).await)
}

fn ended(result: Result<Departure, SinkError>) -> Response {
    match result {
        Ok(departure) => Json(departure).into_response(),
        Err(error) => {
            tracing::warn!(%error, "what the operator asked for is not done yet");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn set_aside(
    State(state): State<Admin>,
    headers: HeaderMap,
    Query(selection): Query<Wanted>,
) -> Response {
    if !state.allows(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    answer(quarantine::list(&state.store, &selection.into()).await)
}

async fn replay(
    State(state): State<Admin>,
    headers: HeaderMap,
    Json(selection): Json<Selection>,
) -> Response {
    if !state.allows(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    answer(state.operator.replay(&selection).await)
}

/// A [`Selection`] as a query.
#[derive(Deserialize)]
struct Wanted {
    one: Option<String>,
    room: Option<String>,
}

impl From<Wanted> for Selection {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted { one: Some(id), .. } => Self::One(id),
            Wanted { room: Some(id), .. } => Self::Room(id),
            _ => Self::All,
        }
    }
}

fn answer<T: serde::Serialize>(result: Result<T, store::Error>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the database cannot be read for the operator");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

impl Admin {
    fn allows(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| {
            let (token, wanted) = (token.as_bytes(), self.token.as_bytes());
            aws_lc_rs::constant_time::verify_slices_are_equal(token, wanted).is_ok()
        })
    }
}

#[cfg(test)]
mod tests;
