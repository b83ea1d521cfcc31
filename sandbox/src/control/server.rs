//! The server itself: what it is, what happens, faults, time, partners, the record.

use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use super::{Context, Error, error::Body};
use crate::faults::{Faults, FaultsChange};

/// What this is, and where its parts listen.
pub(super) async fn about(State(context): State<Context>) -> Json<Value> {
    let mut about = json!(*context.addresses);
    if let Value::Object(about) = &mut about {
        about.insert("name".to_owned(), "sandbox gatekeeper".into());
        about.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        about.insert(
            "note".to_owned(),
            "A simulation for trying and testing. Nothing here reaches WhatsApp.".into(),
        );
    }
    Json(about)
}

/// What happens, as it happens.
pub(super) async fn events(
    State(context): State<Context>,
) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>>> {
    let stopping = context.world.stopping.clone();
    let events = BroadcastStream::new(context.world.events.subscribe())
        .map(|event| {
            let (name, data) = match event {
                Ok(event) => (event.name, event.data),
                Err(BroadcastStreamRecvError::Lagged(missed)) => {
                    ("missed", json!({"events": missed}))
                }
            };
            Ok(SseEvent::default().event(name).data(data.to_string()))
        })
        .take_until(async move { stopping.cancelled().await });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// The faults that are on.
pub(super) async fn faults(State(context): State<Context>) -> Json<Faults> {
    Json(context.world.faults())
}

/// Changes the faults.
pub(super) async fn set_faults(
    State(context): State<Context>,
    Body(change): Body<FaultsChange>,
) -> Result<Json<Faults>, Error> {
    context
        .world
        .change_faults(&change)
        .map(Json)
        .map_err(|error| {
            Error::bad(
                error.to_string(),
                "give a number from 0 (never) to 1 (always)",
            )
        })
}

fn time(context: &Context) -> Json<Value> {
    let clock = &context.world.clock;
    Json(json!({"now": clock.now(), "ahead_seconds": clock.ahead_ms() / 1000}))
}

/// The sandbox's time.
pub(super) async fn clock(State(context): State<Context>) -> Json<Value> {
    time(&context)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Advance {
    advance_seconds: u64,
}

/// Moves the clock.
pub(super) async fn advance(
    State(context): State<Context>,
    Body(advance): Body<Advance>,
) -> Json<Value> {
    context.world.advance(advance.advance_seconds);
    time(&context)
}

/// Partners and their users.
pub(super) async fn partners(State(context): State<Context>) -> Json<Value> {
    let accounts = context.world.accounts();
    let partners: Vec<Value> = context
        .world
        .partners
        .iter()
        .map(|partner| {
            let users: Vec<Value> = accounts
                .iter()
                .filter(|account| account.jid.integrator == partner.config.integrator)
                .map(|account| {
                    let inner = account.lock();
                    json!({
                        "user": account.identifier,
                        "jid": account.jid,
                        "alias": super::stock::alias_of(account),
                        "enlisted": !inner.gone,
                        "connected": inner.session.is_some(),
                        "connection": inner.session.as_ref().map(|session| session.number),
                        "mailbox": inner.mailbox.len(),
                        "prekeys": inner.prekeys.len(),
                        "devices": [{"id": 0, "registration_id": inner.keys.registration_id,
                                     "identity": hex::encode(inner.keys.identity)}],
                        "read_receipts": inner.read_receipts,
                        "blocked": inner.blocked,
                        "last_seen": inner.last_seen_ms / 1000,
                    })
                })
                .collect();
            let keys = partner
                .known_keys()
                .map(|(ids, age)| json!({"kids": ids, "fetched_seconds_ago": age.as_secs()}));
            json!({
                "integrator": partner.config.integrator,
                "base_url": partner.config.base_url,
                "audience": partner.config.audience,
                "push_audience": partner.config.push_audience,
                "jwks": keys,
                "users": users,
            })
        })
        .collect();
    Json(json!({"partners": partners}))
}

/// The bytes that partners sent, if they are recorded.
pub(super) async fn wire(State(context): State<Context>) -> Result<Response, Error> {
    let failed = |error: std::io::Error| {
        Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the record cannot be read: {error}"),
            "see whether its file is writable and the disk has room",
        )
    };
    let path = context
        .world
        .recorder
        .flushed()
        .await
        .map_err(failed)?
        .ok_or_else(|| {
            Error::missing(
                "nothing is recorded",
                "start the sandbox with --record FILE",
            )
        })?;
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let stream = tokio_util::io::ReaderStream::new(file);
    let body = axum::body::Body::from_stream(stream);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// No such path.
pub(super) async fn not_found(uri: Uri) -> Error {
    Error::missing(
        format!("there is nothing at {}", uri.path()),
        "see `sandbox serve --help` for the paths of the control API",
    )
}

/// A path with another method.
pub(super) async fn wrong_method() -> Error {
    Error::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take this method",
        "see `sandbox serve --help` for the paths and methods of the control API",
    )
}
