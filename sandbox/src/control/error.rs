//! Errors of the control API, and JSON bodies that explain what is wrong with them.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{phone::SendError, world::PhoneError};

/// A refusal: what is wrong and what to do about it.
#[derive(Debug, Serialize)]
pub(crate) struct Error {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    cure: String,
}

impl Error {
    pub(super) fn new(
        status: StatusCode,
        error: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error: error.into(),
            cure: cure.into(),
        }
    }

    /// The request cannot be understood.
    pub(super) fn bad(error: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, cure)
    }

    /// What the request names does not exist.
    pub(super) fn missing(error: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, cure)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        // These messages have the form "cause: cure".
        let text = error.to_string();
        let (cause, cure) = text.split_once(": ").unwrap_or((&text, ""));
        let status = match error {
            SendError::NoMessage(_) => StatusCode::NOT_FOUND,
            SendError::Signal(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::CONFLICT,
        };
        let cure = match error {
            SendError::NoText(_) => "edit a text, or a file that has a text under it",
            SendError::NoMessage(_) | SendError::NotOwn(_) => {
                "look for the id with GET /control/phones/{number}/messages?with=…"
            }
            SendError::Signal(_) => "see the cause; the user's published keys may be damaged",
            _ => cure,
        };
        Self::new(status, cause, cure)
    }
}

impl From<PhoneError> for Error {
    fn from(error: PhoneError) -> Self {
        let status = match error {
            PhoneError::Exists => StatusCode::CONFLICT,
            PhoneError::Signal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(
            status,
            error.to_string(),
            "take another number, or use the phone as it is",
        )
    }
}

/// A JSON body; one that is wrong is refused with the place and the reason.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|error| too_large(&error))?;
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            Error::bad(
                format!("the body is not what is expected here: {error}"),
                "send a JSON object with the fields that `sandbox serve --help` lists",
            )
        })
    }
}

fn too_large(error: &BytesRejection) -> Error {
    Error::new(error.status(), error.body_text(), "send a smaller body")
}
