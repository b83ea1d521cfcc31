//! The gatekeeper's HTTP side, as partners see it: enlistment, the key set of its pushes, the chat's
//! WebSocket, the media server, and the proxy to partners' files.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, State, WebSocketUpgrade},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gatekeeper::{
    enlist::{EnlistAnswer, EnlistForm, FormError, MAX_FORM},
    frame::MAX_PAYLOAD,
    token::Jwks,
};
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::{assumed::EnlistFailure, chat, media, world::World};

/// Path of the enlistment.
pub use gatekeeper::enlist::PATH as ENLIST_PATH;

/// Path of the key set that verifies pushes.
pub const JWKS_PATH: &str = "/.well-known/jwks";

/// Path of the chat's WebSocket.
pub const CHAT_PATH: &str = "/ws/chat";

#[derive(Clone, Debug)]
struct Context {
    world: Arc<World>,
    connections: TaskTracker,
}

/// The routes.
pub(crate) fn router(world: Arc<World>, connections: TaskTracker) -> Router {
    Router::new()
        .route(ENLIST_PATH, post(enlist))
        .route(JWKS_PATH, get(jwks))
        .route(CHAT_PATH, get(chat))
        .route(media::FILE_PATH, get(file))
        .route(media::DOWNLOAD_PATH, get(download))
        .route(media::UPLOAD_PATH, post(upload))
        .fallback(nothing)
        // More than a form may have, so that one that is too long is answered as a form is.
        .layer(DefaultBodyLimit::max(8 * MAX_FORM))
        .with_state(Context { world, connections })
}

/// Says what this is to whoever looks around.
async fn nothing() -> (StatusCode, &'static str) {
    let text = "Sandbox gatekeeper: simulated, reaches nobody. There is nothing at this address; its pages are at /phone of \
                the control API.\n";
    (StatusCode::NOT_FOUND, text)
}

/// Enlists a user. The answer to everything that is a form is 200; what became of it stands inside.
async fn enlist(
    State(Context { world, .. }): State<Context>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    world.recorder.write(&body);
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the arguments as application/x-www-form-urlencoded",
        )
            .into_response();
    }
    let outcome = match EnlistForm::parse(&body) {
        Ok(form) => world.enlist(&form).await,
        Err(FormError::TokenSize(_) | FormError::TooLong) => Err(EnlistFailure::BadToken),
        Err(_) => Err(EnlistFailure::BadParam),
    };
    let answer = match outcome {
        Ok(login) => EnlistAnswer::Ok { login },
        Err(failure) => {
            info!(reason = failure.as_str(), "an enlistment was refused");
            world.events.emit(
                "enlist_refused",
                || serde_json::json!({"reason": failure.as_str()}),
            );
            EnlistAnswer::Fail {
                reason: failure.as_str().to_owned(),
            }
        }
    };
    (
        [(header::CONTENT_TYPE, "application/json")],
        answer.to_json(),
    )
        .into_response()
}

/// The public half of the key that signs pushes.
async fn jwks(State(Context { world, .. }): State<Context>) -> Response {
    let keys = vec![world.keys.signing.jwk().clone()];
    axum::Json(Jwks { keys }).into_response()
}

/// A file on the media server.
async fn file(
    State(Context { world, .. }): State<Context>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    media::file(&world, &name, &headers).await
}

/// A partner's file, through the proxy.
async fn download(
    State(Context { world, .. }): State<Context>,
    method: Method,
    path: Path<(u16, String)>,
    headers: HeaderMap,
) -> Response {
    media::download(world, method, path, headers).await
}

/// A file of a stock client.
async fn upload(
    State(Context { world, .. }): State<Context>,
    path: Path<(String, String)>,
    claim: Query<media::Claim>,
    body: Body,
) -> Response {
    media::upload(world, path, claim, body).await
}

/// The chat.
async fn chat(State(context): State<Context>, upgrade: WebSocketUpgrade) -> Response {
    // A frame and what may come glued to it.
    let largest = MAX_PAYLOAD + 64 * 1024;
    upgrade
        .max_message_size(largest)
        .max_frame_size(largest)
        .on_upgrade(move |socket| {
            let Context { world, connections } = context;
            connections.track_future(chat::serve_websocket(world, socket))
        })
}
