//! The router of the application-service API.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequestParts as _, Path, Query, Request, State,
        rejection::BytesRejection,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use failpoints::Breakage;
use http::{HeaderMap, StatusCode, header};
use ruma::{RoomAliasId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{MalformedTransaction, RawTransaction, SinkError, TransactionSink};
use crate::{config::Config, phone::PhoneNumber};

/// Name of the protocol in the third-party look-ups.
const PROTOCOL: &str = "whatsapp";

/// What the router needs to know.
#[derive(Clone)]
pub struct Appservice {
    config: Arc<Config>,
    hs_token: Arc<Zeroizing<String>>,
    sink: Arc<dyn TransactionSink>,
}

impl Appservice {
    /// A router's state: requests must carry `hs_token`, and `sink` gets what they bring.
    #[must_use]
    pub fn new(config: Arc<Config>, hs_token: String, sink: Arc<dyn TransactionSink>) -> Self {
        Self {
            config,
            hs_token: Arc::new(Zeroizing::new(hs_token)),
            sink,
        }
    }
}

impl fmt::Debug for Appservice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appservice").finish_non_exhaustive()
    }
}

/// The endpoints of the specification, the unversioned paths of older servers among them.
pub fn router(state: Appservice) -> Router {
    let limit = state.config.limits.transaction_bytes;
    Router::new()
        .route("/_matrix/app/v1/transactions/{txn_id}", put(transaction))
        .route("/transactions/{txn_id}", put(transaction))
        .route("/_matrix/app/v1/users/{user_id}", get(user))
        .route("/users/{user_id}", get(user))
        .route("/_matrix/app/v1/rooms/{alias}", get(room))
        .route("/rooms/{alias}", get(room))
        .route("/_matrix/app/v1/ping", post(ping))
        .nest("/_matrix/app/v1/thirdparty", third_party())
        .nest("/_matrix/app/unstable/thirdparty", third_party())
        .layer(DefaultBodyLimit::max(limit))
        .route_layer(middleware::from_fn_with_state(state.clone(), authorize))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(state)
}

fn third_party() -> Router<Appservice> {
    Router::new()
        .route("/protocol/{protocol}", get(protocol))
        .route("/user/{protocol}", get(users_of_protocol))
        .route("/user", get(fields_of_user))
        .route("/location/{protocol}", get(locations))
        .route("/location", get(locations))
}

/// An error in the form of the Matrix specification.
struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "errcode": self.code, "error": self.message });
        (self.status, axum::Json(body)).into_response()
    }
}

impl From<SinkError> for ApiError {
    fn from(error: SinkError) -> Self {
        // The cause is for the operator's log; the homeserver only needs to come again.
        let (status, code, message) = match &error {
            SinkError::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "not possible now, try again",
            ),
            SinkError::Limited => (
                StatusCode::TOO_MANY_REQUESTS,
                "M_LIMIT_EXCEEDED",
                "asked for too often, try again in a minute",
            ),
            SinkError::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "M_UNKNOWN",
                "the bridge failed, try again",
            ),
        };
        tracing::warn!(%error, "a request of the homeserver was put off");
        Self::new(status, code, message)
    }
}

impl From<MalformedTransaction> for ApiError {
    fn from(error: MalformedTransaction) -> Self {
        let code = match &error {
            MalformedTransaction::NotJson(_) => "M_NOT_JSON",
            MalformedTransaction::BadShape(_) => "M_BAD_JSON",
        };
        // serde_json's text tells the place, and for a wrong type the value: that could be content.
        let message = match &error {
            MalformedTransaction::NotJson(source) | MalformedTransaction::BadShape(source) => {
                format!(
                    "the body is no transaction (line {}, column {})",
                    source.line(),
                    source.column()
                )
            }
        };
        tracing::warn!(code, "refused a transaction that cannot be read");
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

#[derive(Deserialize)]
struct TokenQuery {
    access_token: Option<String>,
}

/// Lets only the homeserver in: by the `Authorization` header, or by `?access_token=` as older servers send it.
async fn authorize(State(state): State<Appservice>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let query = Query::<TokenQuery>::from_request_parts(&mut parts, &()).await;
    let from_query = query.ok().and_then(|Query(query)| query.access_token);
    let Some(token) = bearer(&parts.headers).map(str::to_owned).or(from_query) else {
        return ApiError::new(
            StatusCode::UNAUTHORIZED,
            "M_UNAUTHORIZED",
            "no token: send the registration's hs_token as Authorization: Bearer",
        )
        .into_response();
    };
    let right = aws_lc_rs::constant_time::verify_slices_are_equal(
        token.as_bytes(),
        state.hs_token.as_bytes(),
    );
    if right.is_err() {
        tracing::warn!(
            "refused a request with a wrong hs_token; do the homeserver and the bridge read the same registration?"
        );
        return ApiError::new(
            StatusCode::FORBIDDEN,
            "M_FORBIDDEN",
            "wrong token: the homeserver and the bridge read different registrations",
        )
        .into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

/// The token of an `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// `PUT /_matrix/app/v1/transactions/{txnId}`
async fn transaction(
    State(state): State<Appservice>,
    Path(txn_id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "M_TOO_LARGE",
            format!(
                "the transaction is larger than {} bytes; raise limits.transaction_bytes",
                state.config.limits.transaction_bytes
            ),
        ),
        status => ApiError::new(status, "M_UNKNOWN", "the body did not arrive whole"),
    })?;
    let transaction = RawTransaction::parse(&body)?;
    if transaction.unreadable > 0 {
        tracing::warn!(
            count = transaction.unreadable,
            "left out entries of a transaction that cannot be read"
        );
    }
    metrics::counter!("gatehouse_transactions_total").increment(1);
    metrics::counter!("gatehouse_transaction_events_total")
        .increment(transaction.events.len() as u64);
    if failpoints::is_broken(Breakage::EarlyAnswers) {
        tokio::spawn(async move {
            tokio::time::sleep(failpoints::LATE).await;
            state.sink.transaction(&txn_id, transaction).await
        });
        return Ok(empty());
    }
    state.sink.transaction(&txn_id, transaction).await?;
    failpoints::pass!("transaction.answer");
    Ok(empty())
}

/// `GET /_matrix/app/v1/users/{userId}`
async fn user(
    State(state): State<Appservice>,
    Path(user): Path<String>,
) -> Result<Response, ApiError> {
    let user = <&UserId>::try_from(user.as_str()).map_err(|_| no_user())?;
    // Only what is in the namespace: nobody makes the bridge act for others.
    let known = state.config.phone_of(user).is_some() || *user == state.config.bot_id();
    if known && state.sink.user(user).await? {
        Ok(empty())
    } else {
        Err(no_user())
    }
}

fn no_user() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "M_NOT_FOUND",
        "the bridge plays no such user",
    )
}

/// `GET /_matrix/app/v1/rooms/{roomAlias}`
async fn room(
    State(state): State<Appservice>,
    Path(alias): Path<String>,
) -> Result<Response, ApiError> {
    let known = match <&RoomAliasId>::try_from(alias.as_str()) {
        Ok(alias) => state.sink.room(alias).await?,
        Err(_) => false,
    };
    if known {
        Ok(empty())
    } else {
        Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "M_NOT_FOUND",
            "the bridge has no such room",
        ))
    }
}

/// `POST /_matrix/app/v1/ping`
async fn ping() -> Response {
    tracing::debug!("the homeserver answered the bridge's ping");
    empty()
}

/// `GET /_matrix/app/v1/thirdparty/protocol/{protocol}`
async fn protocol(Path(protocol): Path<String>) -> Result<Response, ApiError> {
    if protocol != PROTOCOL {
        return Err(no_protocol());
    }
    Ok(axum::Json(json!({
        "user_fields": ["phone"],
        "location_fields": [],
        "icon": "",
        "field_types": {
            "phone": { "regexp": r"\+[1-9][0-9]{6,14}", "placeholder": "+491511234567" }
        },
        "instances": [],
    }))
    .into_response())
}

fn no_protocol() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "M_NOT_FOUND",
        "the bridge speaks no such protocol; it is \"whatsapp\"",
    )
}

#[derive(Deserialize)]
struct PhoneQuery {
    phone: Option<String>,
}

/// `GET /_matrix/app/v1/thirdparty/user/{protocol}?phone=`
async fn users_of_protocol(
    State(state): State<Appservice>,
    Path(protocol): Path<String>,
    Query(query): Query<PhoneQuery>,
) -> Result<Response, ApiError> {
    if protocol != PROTOCOL {
        return Err(no_protocol());
    }
    // A plus sign that was not escaped arrives as a space.
    let phone = query.phone.as_deref().unwrap_or_default().trim();
    let phone = phone
        .parse::<PhoneNumber>()
        .ok()
        .or_else(|| PhoneNumber::from_digits(phone));
    let Some(phone) = phone else {
        return Ok(list(Vec::new()));
    };
    let found = state.sink.contact(&phone).await?;
    Ok(list(
        found
            .into_iter()
            .map(|user| third_party_user(user.as_str(), &phone))
            .collect(),
    ))
}

#[derive(Deserialize)]
struct UserQuery {
    userid: Option<String>,
}

/// `GET /_matrix/app/v1/thirdparty/user?userid=`
async fn fields_of_user(
    State(state): State<Appservice>,
    Query(query): Query<UserQuery>,
) -> Response {
    let found = query.userid.as_deref().and_then(|user| {
        let user = <&UserId>::try_from(user).ok()?;
        Some(third_party_user(
            user.as_str(),
            &state.config.phone_of(user)?,
        ))
    });
    list(found.into_iter().collect())
}

fn third_party_user(user: &str, phone: &PhoneNumber) -> Value {
    json!({ "userid": user, "protocol": PROTOCOL, "fields": { "phone": phone.international() } })
}

/// `GET /_matrix/app/v1/thirdparty/location…`: there are no public places.
async fn locations() -> Response {
    list(Vec::new())
}

async fn unknown_path() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "M_UNRECOGNIZED",
        "there is no such endpoint",
    )
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "M_UNRECOGNIZED",
        "this endpoint has another method",
    )
}

fn empty() -> Response {
    axum::Json(json!({})).into_response()
}

fn list(items: Vec<Value>) -> Response {
    axum::Json(Value::Array(items)).into_response()
}

#[cfg(test)]
mod tests;
