//! What stock clients need: credentials, the certificate, the names of those they can write to.

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Context, Error,
    error::Body,
    phones::{Answer, phone},
};
use crate::{
    account::Account,
    stock::{Addressing, CredentialsError, alias},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct Wanted {
    device: u16,
    addressing: Addressing,
}

/// Makes credentials for a device of a phone. They are told once and not kept.
pub(super) async fn credentials(
    State(context): State<Context>,
    Path(number): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Answer {
    let phone = phone(&context, &number)?;
    let world = &context.world;
    let made = world
        .make_credentials(&phone, wanted.device, wanted.addressing)
        .map_err(|error| match error {
            CredentialsError::Devices => Error::bad(
                error.to_string(),
                "take the number of a device that it has, or give it new keys with POST …/identity",
            ),
            CredentialsError::Signal(_) => Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
                "try again",
            ),
        })?;
    let users: Vec<Value> = world
        .accounts()
        .iter()
        .filter(|account| !account.lock().gone)
        .map(|account| alias_of(account))
        .collect();
    Ok(Json(json!({
        "creds": made.to_json(),
        "chat": context.addresses.chat,
        "chat_tls": context.addresses.chat_tls,
        "root": context.addresses.root,
        "certificate": world.certificate.to_pem(),
        "users": users,
    })))
}

/// How a stock client addresses a partner's user.
pub(super) fn alias_of(account: &Account) -> Value {
    json!({"user": account.identifier, "number": alias::number(&account.jid),
           "lid": alias::lid(&account.jid)})
}

/// The certificate of the side over TLS.
pub(super) async fn certificate(State(context): State<Context>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/x-pem-file")],
        context.world.certificate.to_pem(),
    )
}
