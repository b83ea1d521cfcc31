//! What is not public about the gatekeeper, and our choice for each (G 9).
//!
//! A partner that signs the contract learns the answers and edits this module, or the
//! `[gatekeeper.profile]` part of the configuration, and nothing else. Every choice has a default that works with the
//! sandbox; an unknown key is an error.
//!
//! | unknown | here |
//! |---|---|
//! | U1 claims, audience and lifetime of tokens | [`Profile::token`] |
//! | U2 transport of the chat channel | [`Profile::chat`]; the address itself is configuration of the bridge |
//! | U3 login payload, where the protocol's version goes | [`Profile::login`] |
//! | U4 how WhatsApp users are addressed and found | [`Profile::directory`] |
//! | U5 how interop addresses are written | [`Profile::interop_jids`] |
//! | U6, U7 media: authorisation, sizes, retention | [`Profile::media`] |
//! | U8 deletion, U10 reachability | the stanzas of [`crate::assumed`] |
//! | U9 what refusals mean, U19 bans and rate limits | [`Profile::failures`] and the `classify_*` functions |
//! | U11 extras of a message, U12 read receipts, U13 accepted kinds | [`Profile::message`] |
//! | U14 the user's own network address | not said: the bridge does not learn from where its users write |
//! | U15 groups | not built |
//! | U16 push | [`Profile::push`] |
//! | U17 root of the server's certificates | [`ChatProfile::trust_root`] |
//! | U18 draining the mailbox, ack or receipt | [`Profile::offline`] |
//! | U20 Messenger | [`LoginProfile::product`]: WhatsApp interop alone is built |
//! | U21 post-quantum handshake and sessions | `noise` and `signal` speak the classical ones and skip unknown fields |
//! | U22 new keys for an enlisted user | [`Profile::keys`] |

mod chat;
mod classify;
mod message;
mod token;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    chat::{ChatProfile, LoginProfile},
    classify::{FailureClass, FailureRules, RefusalClass},
    message::MessageProfile,
    token::TokenProfile,
};
use crate::{
    stanza::{InteropJidStyle, Jid, Node, Server},
    stanzas::{IncomingMessage, Origin, Receipt},
};

/// All choices. See the module's documentation for which unknown is where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Tokens (U1).
    pub token: TokenProfile,
    /// The chat channel (U2, U17).
    pub chat: ChatProfile,
    /// The login (U3, U20).
    pub login: LoginProfile,
    /// WhatsApp users (U4).
    pub directory: DirectoryProfile,
    /// How a client writes interop addresses (U5).
    pub interop_jids: InteropJidStyle,
    /// Media (U6, U7).
    pub media: MediaProfile,
    /// Messages and receipts (U11, U12, U13).
    pub message: MessageProfile,
    /// Refusals (U9, U19).
    pub failures: FailureRules,
    /// Push (U16).
    pub push: PushProfile,
    /// The mailbox (U18).
    pub offline: OfflineProfile,
    /// Publishing keys (U22).
    pub keys: KeyProfile,
    /// Deadlines.
    pub limits: Limits,
}

/// A profile that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile.{key}: {problem}")]
pub struct ProfileError {
    /// The key, as in the configuration.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub problem: &'static str,
}

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

impl Profile {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ProfileError> {
        let Limits {
            keepalive_min_seconds: min,
            keepalive_max_seconds: max,
            ..
        } = self.limits;
        let wrong = |key, problem| Err(ProfileError { key, problem });
        if min == 0 || min > max {
            return wrong(
                "limits.keepalive_min_seconds",
                "must be at least 1 and not above the maximum",
            );
        }
        let limits = &self.limits;
        let deadlines = [
            limits.handshake_seconds,
            limits.query_seconds,
            limits.keepalive_max_seconds,
            limits.pong_seconds,
            limits.write_seconds,
        ];
        if !deadlines.iter().all(|seconds| (1..=DAY).contains(seconds)) {
            return wrong(
                "limits",
                "a deadline must be at least 1 second and at most a day",
            );
        }
        if self.failures.replaced_seconds > DAY {
            return wrong("failures.replaced_seconds", "must be at most a day");
        }
        let waits = &self.failures.re_enlist_after_seconds;
        if waits.iter().any(|seconds| *seconds > DAY) {
            return wrong(
                "failures.re_enlist_after_seconds",
                "each must be at most a day",
            );
        }
        if self.offline.batch == 0 {
            return wrong("offline.batch", "must be at least 1");
        }
        if self.keys.batch == 0 || self.keys.first_upload == 0 {
            return wrong("keys.batch", "an upload must hold at least 1 key");
        }
        if self.keys.keep_signed_days < 30 {
            return wrong(
                "keys.keep_signed_days",
                "must be at least 30: messages wait that long in the mailbox",
            );
        }
        if self.login.version.is_empty() || self.login.version.len() > 5 {
            return wrong("login.version", "must be one to five numbers");
        }
        let host = &self.media.host;
        if !host.starts_with("https://") && !host.starts_with("http://") {
            return wrong(
                "media.host",
                "must be a base URL, such as https://mmg.whatsapp.net",
            );
        }
        self.token.check()?;
        self.chat.check()
    }

    /// What a client sends when it has a message safely: the delivery receipt, and the ack besides it
    /// if both are wanted (U18).
    pub fn taken(&self, message: &IncomingMessage) -> Vec<Node> {
        let mut stanzas = vec![Receipt::delivery(message).to_node(Origin::Client)];
        if !self.offline.receipt_replaces_ack {
            stanzas.push(message.ack().to_node());
        }
        stanzas
    }

    /// A WhatsApp user's phone number, with `+`, if the address is one (U4). An address of another
    /// kind has to be looked up.
    pub fn phone_of(&self, jid: &Jid) -> Option<String> {
        let digits = jid.user.bytes().all(|byte| byte.is_ascii_digit());
        (self.directory.phone_jids
            && jid.server == Server::Whatsapp
            && !jid.user.is_empty()
            && digits)
            .then(|| format!("+{}", jid.user))
    }

    /// The address of a phone number (`+` and digits) if it needs no look-up (U4).
    pub fn jid_of(&self, phone: &str) -> Option<Jid> {
        let digits = phone.strip_prefix('+')?;
        (self.directory.lookup == Lookup::Direct
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| Jid::phone(digits))
    }
}

/// How WhatsApp users are addressed and found (U4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectoryProfile {
    /// Whether an address on `s.whatsapp.net` is the phone number.
    pub phone_jids: bool,
    /// How a phone number becomes an address.
    pub lookup: Lookup,
}

impl Default for DirectoryProfile {
    fn default() -> Self {
        Self {
            phone_jids: true,
            lookup: Lookup::Usync,
        }
    }
}

/// How a phone number becomes an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// The server is asked ([`crate::stanzas::usync`]).
    Usync,
    /// The number is the address.
    Direct,
}

/// Media (U6, U7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaProfile {
    /// The media server where the files that WhatsApp users send are fetched (G 6.3): scheme and
    /// host, such as `https://mmg.whatsapp.net`.
    pub host: String,
    /// Most bytes of a file, in both directions.
    pub max_bytes: u64,
    /// How long we keep a file that WhatsApp's proxy may fetch.
    pub retention_days: u32,
    /// Whether the proxy must show a valid token of the gatekeeper if it shows any.
    pub check_proxy_token: bool,
}

impl Default for MediaProfile {
    fn default() -> Self {
        Self {
            host: "https://mmg.whatsapp.net".to_owned(),
            max_bytes: 100 * 1024 * 1024,
            retention_days: 31,
            check_proxy_token: true,
        }
    }
}

/// What we answer to pushes (U16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PushProfile {
    /// The HTTP status for a user who is not enlisted here.
    pub unknown_user_status: u16,
    /// The HTTP status for a token that does not verify.
    pub refused_status: u16,
}

impl Default for PushProfile {
    fn default() -> Self {
        Self {
            unknown_user_status: 404,
            refused_status: 401,
        }
    }
}

/// How the mailbox is drained (U18).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OfflineProfile {
    /// Stanzas asked for at a time.
    pub batch: u32,
    /// Whether a delivery receipt stands for the ack of a message, or both are sent.
    pub receipt_replaces_ack: bool,
}

impl Default for OfflineProfile {
    fn default() -> Self {
        Self {
            batch: 100,
            receipt_replaces_ack: true,
        }
    }
}

/// Publishing keys (U22). A new identity means enlisting anew; a new signed prekey is sent by the
/// `rotate` query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyProfile {
    /// One-time prekeys of the first upload.
    pub first_upload: u32,
    /// One-time prekeys of each later upload.
    pub batch: u32,
    /// Upload when fewer than this many are left.
    pub refill_below: u32,
    /// Days after which a signed prekey is replaced.
    pub rotate_signed_days: u32,
    /// Days that a replaced signed prekey is kept, for messages on their way.
    pub keep_signed_days: u32,
}

impl Default for KeyProfile {
    fn default() -> Self {
        Self {
            first_upload: 812,
            batch: 50,
            refill_below: 5,
            rotate_signed_days: 7,
            keep_signed_days: 35,
        }
    }
}

/// Deadlines of the chat channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds for connecting, and again for handshake and login.
    pub handshake_seconds: u64,
    /// Seconds for the answer to a query.
    pub query_seconds: u64,
    /// Shortest pause between pings, in seconds.
    pub keepalive_min_seconds: u64,
    /// Longest pause between pings, in seconds.
    pub keepalive_max_seconds: u64,
    /// Seconds for the answer to a ping.
    pub pong_seconds: u64,
    /// Seconds that the server may take to accept bytes.
    pub write_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_seconds: 20,
            query_seconds: 75,
            keepalive_min_seconds: 20,
            keepalive_max_seconds: 30,
            pong_seconds: 10,
            write_seconds: 30,
        }
    }
}

impl Limits {
    /// [`Limits::handshake_seconds`].
    pub fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
    }

    /// [`Limits::query_seconds`].
    pub fn query(&self) -> Duration {
        Duration::from_secs(self.query_seconds)
    }

    /// [`Limits::write_seconds`].
    pub fn write(&self) -> Duration {
        Duration::from_secs(self.write_seconds)
    }

    /// [`Limits::pong_seconds`].
    pub fn pong(&self) -> Duration {
        Duration::from_secs(self.pong_seconds)
    }
}

#[cfg(test)]
mod tests;
