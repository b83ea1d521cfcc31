//! The control API: whoever runs the sandbox moves its phones, its faults and its clock.
//!
//! JSON over HTTP, on loopback unless told otherwise. Every error is an object with `error` (the
//! cause) and `cure` (what to do). Numbers in paths are written `+4915112345678` (the `+` may be
//! left out); partner users are named by the identifier that their service shows, `@alice:localhost`,
//! or by their JID.

mod error;
mod files;
mod messages;
mod page;
mod phones;
mod server;
mod stock;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, Uri, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};

use self::error::Error;
use crate::world::World;

/// Most bytes of a request.
const MAX_BODY: usize = 128 * 1024 * 1024;

/// Where the parts of the sandbox listen, for `GET /control`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Addresses {
    /// Base address of the control API.
    pub control: String,
    /// Base address of the gatekeeper's HTTP side.
    pub http: String,
    /// The same over TLS, for stock clients.
    pub https: String,
    /// Where users are enlisted.
    pub enlistment: String,
    /// The key set that verifies pushes.
    pub jwks: String,
    /// The chat's WebSocket.
    pub chat: String,
    /// The same over TLS.
    pub chat_tls: String,
    /// The chat over plain TCP.
    pub chat_tcp: String,
    /// The page that shows a phone, up to its number.
    pub phone_page: String,
    /// Root key of the chat's certificate chain, in hexadecimal.
    pub root: String,
}

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) world: Arc<World>,
    pub(crate) addresses: Arc<Addresses>,
}

/// The routes.
pub(crate) fn router(world: Arc<World>, addresses: Addresses, names: Vec<String>) -> Router {
    let names: Arc<[String]> = names.into();
    let context = Context {
        world,
        addresses: Arc::new(addresses),
    };
    Router::new()
        .route("/control", get(server::about))
        .route("/control/phones", get(phones::list).post(phones::add))
        .route("/control/phones/{number}", get(phones::show))
        .route(
            "/control/phones/{number}/messages",
            get(phones::messages).post(messages::send),
        )
        .route("/control/phones/{number}/chats", get(phones::chats))
        .route("/control/phones/{number}/uploads", put(files::upload))
        .route(
            "/control/phones/{number}/media/{id}",
            get(files::show).post(files::fetch),
        )
        .route("/control/phones/{number}/reactions", post(phones::react))
        .route("/control/phones/{number}/edits", post(phones::edit))
        .route("/control/phones/{number}/revokes", post(phones::revoke))
        .route("/control/phones/{number}/receipts", post(phones::receipt))
        .route("/control/phones/{number}/typing", post(phones::typing))
        .route("/control/phones/{number}/block", post(phones::block))
        .route("/control/phones/{number}/identity", post(phones::identity))
        .route(
            "/control/phones/{number}/credentials",
            post(stock::credentials),
        )
        .route("/control/certificate", get(stock::certificate))
        .route("/control/phones/{number}/options", post(phones::options))
        .route("/", get(page::front))
        .route("/phone", get(page::list))
        .route("/phone/{number}", get(page::show))
        .route("/page/{name}", get(page::part))
        .route("/control/events", get(server::events))
        .route(
            "/control/faults",
            get(server::faults).post(server::set_faults),
        )
        .route("/control/clock", get(server::clock).post(server::advance))
        .route("/control/partners", get(server::partners))
        .route("/control/wire", get(server::wire))
        .fallback(server::not_found)
        .method_not_allowed_fallback(server::wrong_method)
        .layer(middleware::from_fn(refuse_other_origins))
        .layer(middleware::from_fn_with_state(names, refuse_other_names))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(context)
}

/// Refuses requests that a page of another site makes in somebody's browser: the control API has no
/// password, its address is its protection.
async fn refuse_other_origins(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(origin) = text(header::ORIGIN) {
        let same = origin
            .parse::<Uri>()
            .ok()
            .and_then(|uri| {
                uri.authority()
                    .map(|authority| authority.as_str().to_owned())
            })
            .is_some_and(|authority| text(header::HOST) == Some(authority.as_str()));
        if !same {
            return Error::new(
                StatusCode::FORBIDDEN,
                "the request comes from a page of another origin",
                "use the control API from the command line, or from the sandbox's own pages",
            )
            .into_response();
        }
    }
    next.run(request).await
}

/// Refuses requests that come under a name which is not this machine's. The name of another site can be made to lead
/// here (DNS rebinding), and its pages would be of the same origin then; a numeric address leads nowhere else.
async fn refuse_other_names(
    State(names): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .and_then(|host| host.parse::<Authority>().ok())
        .or_else(|| request.uri().authority().cloned());
    if asked.is_some_and(|asked| is_own_name(asked.host(), &names)) {
        return next.run(request).await;
    }
    Error::new(
        StatusCode::FORBIDDEN,
        "the request is for a host of another name",
        "use `localhost` or the numeric address, or start the sandbox with --control-name NAME",
    )
    .into_response()
}

fn is_own_name(host: &str, names: &[String]) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_sites_are_not_its_own() {
        let names = ["sandbox".to_owned()];
        for own in ["127.0.0.1", "[::1]", "localhost", "LOCALHOST", "Sandbox"] {
            assert!(is_own_name(own, &names), "{own}");
        }
        for other in [
            "elsewhere.example",
            "127.0.0.1.elsewhere.example",
            "localhost.evil",
            "",
        ] {
            assert!(!is_own_name(other, &names), "{other}");
        }
        assert!(!is_own_name("sandbox", &[]));
    }
}
