//! What the crate must know about the homeserver.

use std::fmt;

use ruma::{OwnedServerName, OwnedUserId};
use serde::Deserialize;

/// How to reach the homeserver, and as whom.
#[derive(Clone, Debug)]
pub struct HomeserverConfig {
    /// Base address of the client-server API, such as `http://127.0.0.1:8008`.
    pub url: String,
    /// The part after the colon of the user ids.
    pub server_name: OwnedServerName,
    /// `id` of the registration.
    pub appservice_id: String,
    /// `as_token` of the registration.
    pub as_token: Token,
    /// The bot: `sender_localpart` of the registration at the homeserver.
    pub bot: OwnedUserId,
}

/// A bearer token that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Takes a token as text.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself, for the `Authorization` header.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}
