//! The pages: each phone as its owner would hold it, and the list of phones.
//!
//! Plain HTML, CSS and JavaScript that lie in this program: no part comes from elsewhere and nothing is built. They use
//! the control API like anybody else.

use axum::{
    extract::{Path, State},
    http::{HeaderName, header},
    response::{Html, IntoResponse, Redirect},
};

use super::{Context, Error, phones::phone};

/// Nothing but what lies in this program may run or be fetched; recordings and previews are `blob:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; \
                      connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; form-action 'none'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// Name and type of each part, and the part.
macro_rules! parts {
    ($($name:literal: $kind:literal),* $(,)?) => {
        [$(($name, $kind, include_str!(concat!("page/", $name)))),*]
    };
}

const PARTS: [(&str, &str, &str); 17] = parts! {
    "phone.css": "text/css; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "attach.js": "text/javascript; charset=utf-8",
    "bubble.js": "text/javascript; charset=utf-8",
    "chats.js": "text/javascript; charset=utf-8",
    "composer.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "icons.js": "text/javascript; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "marks.js": "text/javascript; charset=utf-8",
    "menu.js": "text/javascript; charset=utf-8",
    "ogg.js": "text/javascript; charset=utf-8",
    "phones.js": "text/javascript; charset=utf-8",
    "player.js": "text/javascript; charset=utf-8",
    "record.js": "text/javascript; charset=utf-8",
    "settings.js": "text/javascript; charset=utf-8",
    "workshop.js": "text/javascript; charset=utf-8",
};

/// What every answer carries: the policy, no guessing of types, no use by a newer program's pages.
fn headers() -> [(HeaderName, &'static str); 4] {
    [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ]
}

/// The page of one phone. The number comes from the address, so the page is the same for all.
pub(super) async fn show(
    State(context): State<Context>,
    Path(number): Path<String>,
) -> Result<impl IntoResponse, Error> {
    phone(&context, &number)?;
    Ok((headers(), Html(include_str!("page/phone.html"))))
}

/// The list of phones.
pub(super) async fn list() -> impl IntoResponse {
    (headers(), Html(include_str!("page/phones.html")))
}

/// The way in.
pub(super) async fn front() -> Redirect {
    Redirect::to("/phone")
}

/// A part of the pages.
pub(super) async fn part(Path(name): Path<String>) -> Result<impl IntoResponse, Error> {
    let found = PARTS.iter().find(|(each, ..)| *each == name);
    let (_, kind, text) = found.ok_or_else(|| {
        Error::missing(
            format!("the pages have no part `{name}`"),
            "open /phone; if this page is open for long, load it again",
        )
    })?;
    Ok((headers(), [(header::CONTENT_TYPE, *kind)], *text))
}
