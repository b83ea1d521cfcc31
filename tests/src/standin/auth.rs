//! Who asks, and how the stand-in refuses.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Homeserver;

/// A refusal as Matrix writes it.
#[derive(Debug)]
pub(super) struct Refused(StatusCode, &'static str, String);

/// What a request is answered.
pub(super) type Answer = Result<Json<Value>, Refused>;

impl Refused {
    pub(super) fn bad(code: &'static str, reason: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, code, reason.into())
    }

    pub(super) fn forbidden(reason: impl Into<String>) -> Self {
        Self(StatusCode::FORBIDDEN, "M_FORBIDDEN", reason.into())
    }

    pub(super) fn missing(what: &str) -> Self {
        Self(
            StatusCode::NOT_FOUND,
            "M_NOT_FOUND",
            format!("there is no such {what}"),
        )
    }

    pub(super) fn unrecognized(uri: &Uri) -> Self {
        let reason = format!("the stand-in does not serve {}", uri.path());
        Self(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", reason)
    }

    pub(super) fn unreachable(reason: impl Into<String>) -> Self {
        Self(
            StatusCode::BAD_GATEWAY,
            "M_CONNECTION_FAILED",
            reason.into(),
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, code, reason) = self;
        (status, Json(json!({"errcode": code, "error": reason}))).into_response()
    }
}

/// The user and device that a request speaks for.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) user: String,
    /// Empty for an application service that names none.
    pub(super) device: String,
    pub(super) is_appservice: bool,
    pub(super) token: String,
}

impl FromRequestParts<Homeserver> for Who {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        homeserver: &Homeserver,
    ) -> Result<Self, Self::Rejection> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(|| {
                Refused(
                    StatusCode::UNAUTHORIZED,
                    "M_MISSING_TOKEN",
                    "no access token".to_owned(),
                )
            })?
            .to_owned();
        let state = homeserver.lock();
        if token != homeserver.inner.appservice.as_token {
            let (user, device) = state.tokens.get(&token).cloned().ok_or_else(|| {
                Refused(
                    StatusCode::UNAUTHORIZED,
                    "M_UNKNOWN_TOKEN",
                    "unknown access token".to_owned(),
                )
            })?;
            return Ok(Self {
                user,
                device,
                is_appservice: false,
                token,
            });
        }
        let user = query(&parts.uri, "user_id")
            .unwrap_or_else(|| state.user_id(&homeserver.inner.appservice.sender));
        if !state.is_appservice(&user) {
            return Err(Refused::forbidden(
                "the application service has not registered this user",
            ));
        }
        let device = query(&parts.uri, "device_id").unwrap_or_default();
        let known = |user| state.users.get(user).map(|user| &user.devices);
        if !device.is_empty() && !known(&user).is_some_and(|all| all.contains_key(&device)) {
            return Err(Refused::bad(
                "M_UNKNOWN_DEVICE",
                "the user has no such device",
            ));
        }
        Ok(Self {
            user,
            device,
            is_appservice: true,
            token,
        })
    }
}

/// A value of the query, decoded.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    reqwest::Url::parse("http://localhost")
        .ok()
        .and_then(|mut url| {
            url.set_query(uri.query());
            url.query_pairs()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        })
}
