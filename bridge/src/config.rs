//! The configuration: a TOML file that the operator owns and the program only reads.
//!
//! Values come from the file, then from `GATEHOUSE_SECTION__KEY` in the environment, then, for the secret ones, from
//! the file that `GATEHOUSE_SECTION__KEY_FILE` names. A key that does not exist is an error which names the nearest
//! one that does; values that cannot work are all reported at once, each with its cure.

mod check;
mod load;
mod media;
mod messages;
mod permissions;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use gatekeeper::{profile::Profile, transport::Endpoint};
use reqwest::Url;
use ruma::{OwnedServerName, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

pub use self::{
    check::Problem,
    load::{ConfigError, EXAMPLE, SECRETS},
    media::Media,
    messages::Messages,
    permissions::{Level, Permissions},
};
use crate::{capabilities::Capabilities, phone::PhoneNumber};

/// Everything that an operator decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The Matrix homeserver that this bridge belongs to.
    pub homeserver: Homeserver,
    /// What the homeserver sees of the bridge; goes into the registration.
    pub appservice: Appservice,
    /// What the gatekeeper sees of the bridge: the key set and the push endpoint.
    pub public: Public,
    /// Where everything is kept.
    pub database: Database,
    /// Files on their way.
    pub media: Media,
    /// The WhatsApp side.
    pub gatekeeper: Gatekeeper,
    /// What senders are told of their messages.
    pub messages: Messages,
    /// Who may use the bridge.
    pub permissions: Permissions,
    /// What is written to standard error.
    pub log: Log,
    /// Bounds on memory and work.
    pub limits: Limits,
}

/// The Matrix homeserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Homeserver {
    /// Base address of the client-server API as the bridge reaches it.
    pub url: Url,
    /// The part behind the colon of its users' ids.
    pub server_name: OwnedServerName,
}

/// The application service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Appservice {
    /// Id of the registration; must be unique on the homeserver.
    pub id: String,
    /// Address at which the homeserver reaches the bridge.
    pub url: Url,
    /// Address on which the bridge listens for the homeserver.
    pub listen: SocketAddr,
    /// Localpart of the bridge's bot.
    pub bot_localpart: String,
    /// What the localpart of every ghost begins with; the digits of the phone number follow.
    pub ghost_prefix: String,
    /// Whether what bots write in a chat (`m.notice`) goes to WhatsApp.
    pub bridge_notices: bool,
}

/// The side that faces the internet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    /// Address on which the bridge listens for the gatekeeper.
    pub listen: SocketAddr,
    /// Base address as the gatekeeper reaches it: it posts to `{url}/push`.
    pub url: Url,
}

/// The database.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:path/to/file.db` or `postgres://user:password@host/database`.
    pub url: String,
    /// File with the key that seals key material in the database; made at the first start, mode 0600.
    pub sealing_key: PathBuf,
    /// Connections for reading (writing always takes one).
    pub connections: u32,
    /// How long what is done with is remembered, in seconds.
    pub keep_seconds: u32,
    /// How often what is old is deleted, in seconds.
    pub prune_seconds: u32,
}

impl Database {
    /// The file of an SQLite database; nothing for a server.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let path = self.url.strip_prefix("sqlite:")?;
        Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &redacted_url(&self.url))
            .field("sealing_key", &self.sealing_key)
            .field("connections", &self.connections)
            .field("keep_seconds", &self.keep_seconds)
            .field("prune_seconds", &self.prune_seconds)
            .finish()
    }
}

/// The gatekeeper's addresses and rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gatekeeper {
    /// Where logins connect.
    #[serde(with = "endpoint")]
    pub endpoint: Endpoint,
    /// Where users are enlisted.
    pub enlistment: Url,
    /// Where the gatekeeper publishes the keys that sign its pushes.
    pub jwks: Url,
    /// Number of this service in interop ids; when set, an enlisted id with another one is refused.
    pub integrator: Option<u16>,
    /// `aud` that its pushes must carry; none for `public.url` or its origin.
    pub push_audience: Option<String>,
    /// Everything about the interface that is not published.
    pub profile: Profile,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Form of a line.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,gatehouse::inbox=debug`.
    pub level: String,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// Bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest transaction that is taken from the homeserver, in bytes.
    pub transaction_bytes: usize,
    /// Longest text that is sent to WhatsApp, in characters; a longer one is refused, never cut.
    pub text_chars: usize,
    /// Rooms, contacts and logins that are worked on at the same time.
    pub workers: usize,
    /// Ghosts whose encryption state is kept in memory (about 100 KiB each); the others are loaded when needed.
    pub open_machines: usize,
    /// Tries of something that fails for a reason which time does not mend; then it is set aside.
    pub tries: u32,
    /// Bytes of messages from WhatsApp that are held for one login while they wait; the gatekeeper keeps the others.
    pub waiting_bytes: usize,
}

impl Default for Homeserver {
    fn default() -> Self {
        Self {
            url: constant_url("http://127.0.0.1:8008"),
            server_name: ruma::server_name!("localhost").to_owned(),
        }
    }
}

impl Default for Appservice {
    fn default() -> Self {
        Self {
            id: "whatsapp".to_owned(),
            url: constant_url("http://127.0.0.1:29333"),
            listen: SocketAddr::from(([127, 0, 0, 1], 29333)),
            bot_localpart: "whatsappbot".to_owned(),
            ghost_prefix: "whatsapp_".to_owned(),
            bridge_notices: false,
        }
    }
}

impl Default for Public {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 29334)),
            url: constant_url("http://127.0.0.1:29334"),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite:gatehouse.db".to_owned(),
            sealing_key: PathBuf::from("gatehouse.key"),
            connections: 4,
            keep_seconds: 60 * 24 * 3600,
            prune_seconds: 6 * 3600,
        }
    }
}

impl Default for Gatekeeper {
    fn default() -> Self {
        Self {
            endpoint: constant_endpoint("ws://127.0.0.1:29401/ws/chat"),
            enlistment: constant_url("https://v.whatsapp.net/3p/interop_reg"),
            jwks: constant_url("https://whatsapp.com/.well-known/jwks"),
            integrator: None,
            push_audience: None,
            profile: Profile::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transaction_bytes: 32 * 1024 * 1024,
            text_chars: 65_536,
            workers: 64,
            open_machines: 500,
            tries: 6,
            waiting_bytes: 8 << 20,
        }
    }
}

impl Config {
    /// What crosses under this configuration.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::new(
            &self.gatekeeper.profile,
            self.limits.text_chars,
            self.appservice.bridge_notices,
        )
    }

    /// Full id of the bridge's bot.
    ///
    /// # Panics
    ///
    /// Never for a configuration that was loaded: its localpart and server name were checked.
    #[must_use]
    pub fn bot_id(&self) -> OwnedUserId {
        user_id(&self.appservice.bot_localpart, &self.homeserver.server_name)
    }

    /// Full id of the ghost that stands for a phone number.
    #[must_use]
    pub fn ghost_id(&self, phone: &PhoneNumber) -> OwnedUserId {
        let localpart = format!("{}{}", self.appservice.ghost_prefix, phone.digits());
        user_id(&localpart, &self.homeserver.server_name)
    }

    /// The phone number that a ghost stands for; nothing for the bot, for other users and for ids of the ghosts'
    /// namespace that hold no phone number.
    #[must_use]
    pub fn phone_of(&self, user: &UserId) -> Option<PhoneNumber> {
        if user.server_name() != self.homeserver.server_name {
            return None;
        }
        let digits = user
            .localpart()
            .strip_prefix(&self.appservice.ghost_prefix)?;
        // The canonical digits only, so that no two ids stand for one contact.
        PhoneNumber::from_digits(digits)
    }

    /// Whether an id is in the ghosts' namespace, or is the bot's: a user that the bridge plays.
    #[must_use]
    pub fn is_own(&self, user: &UserId) -> bool {
        user.server_name() == self.homeserver.server_name
            && (user.localpart() == self.appservice.bot_localpart
                || user.localpart().starts_with(&self.appservice.ghost_prefix))
    }

    /// What a Matrix user may do here.
    #[must_use]
    pub fn level_of(&self, user: &UserId) -> Level {
        if self.is_own(user) {
            return Level::Block;
        }
        self.permissions.level(user, &self.homeserver.server_name)
    }

    /// What the `aud` of a push may be: the base address or its origin, as published examples have both.
    #[must_use]
    pub fn push_audiences(&self) -> Vec<String> {
        match &self.gatekeeper.push_audience {
            Some(audience) => vec![audience.clone()],
            None => {
                let url = &self.public.url;
                let mut audiences = vec![url.origin().ascii_serialization()];
                let base = url.as_str().trim_end_matches('/').to_owned();
                if !audiences.contains(&base) {
                    audiences.push(base);
                }
                audiences
            }
        }
    }

    /// `iss` of the identity tokens that the bridge signs: its own public address.
    #[must_use]
    pub fn token_issuer(&self) -> &str {
        self.public.url.as_str().trim_end_matches('/')
    }
}

#[expect(
    clippy::expect_used,
    reason = "both parts were checked when the configuration was loaded"
)]
fn user_id(localpart: &str, server: &ruma::ServerName) -> OwnedUserId {
    UserId::parse(format!("@{localpart}:{server}")).expect("a checked localpart makes a user id")
}

#[expect(
    clippy::expect_used,
    reason = "the argument is a constant, covered by a test"
)]
fn constant_url(url: &str) -> Url {
    Url::parse(url).expect("a constant address")
}

#[expect(
    clippy::expect_used,
    reason = "the argument is a constant, covered by a test"
)]
fn constant_endpoint(endpoint: &str) -> Endpoint {
    endpoint.parse().expect("a constant address")
}

/// An endpoint as text.
mod endpoint {
    use gatekeeper::transport::Endpoint;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(endpoint: &Endpoint, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(endpoint)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Endpoint, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A database address without its password.
pub(crate) fn redacted_url(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) if url.password().is_some() => {
            // Refused only for addresses that cannot carry a password, and this one does.
            let _ = url.set_password(Some("redacted"));
            url.to_string()
        }
        Ok(_) => url.to_owned(),
        Err(_) => "(not an address)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
