//! What a client is asked and what it shows.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

/// How to log in.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Base address of the homeserver.
    pub homeserver: &'a str,
    /// Full Matrix id or its local part.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// Trust devices that their owner has not signed, as clients did before MSC4153.
    pub accepts_insecure: bool,
}

impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A room as the client sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct Room {
    /// The room id.
    pub room_id: String,
    /// The name that the client shows.
    pub name: String,
    /// The client's own membership.
    pub membership: String,
    /// Whether `m.room.encryption` is in its state.
    pub encrypted: bool,
    /// Who sent the client's own membership event.
    pub inviter: Option<String>,
    /// Whether the invitation said that this is a direct chat.
    pub is_direct: bool,
    /// User id to membership.
    pub members: HashMap<String, String>,
}

/// An uploaded attachment, encrypted as Matrix does it.
#[derive(Debug, Clone, Deserialize)]
pub struct Upload {
    /// The `EncryptedFile` for an event's `file` key.
    pub file: Value,
    /// Size of the plain file in bytes.
    pub size: u64,
    /// SHA-256 of the plain file, in hexadecimal.
    pub sha256: String,
}

/// A file that was downloaded, checked and decrypted.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct Download {
    /// Size of the plain file in bytes.
    pub size: u64,
    /// SHA-256 of the plain file, in hexadecimal.
    pub sha256: String,
}

/// An event as the client shows it: decrypted, with the mark that a user would see beside it.
#[derive(Debug, Clone, Deserialize)]
pub struct TimelineEvent {
    /// The event id.
    pub event_id: String,
    /// Its sender.
    pub sender: String,
    /// The type, of the decrypted event if it could be decrypted.
    #[serde(rename = "type")]
    pub kind: String,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// `origin_server_ts`.
    pub ts: u64,
    /// The content, decrypted if possible; of the last edit, if there is one.
    pub content: Value,
    /// The content as it was before any edit.
    pub original: Value,
    /// `m.relates_to`, which stands in the clear beside encrypted content.
    pub relation: Value,
    /// What a redaction event redacts.
    pub redacts: Option<String>,
    /// The edit whose content is shown.
    pub edited: Option<String>,
    /// Whether it was encrypted on the wire.
    pub encrypted: bool,
    /// Whether it was encrypted and could be decrypted.
    pub decrypted: bool,
    /// Why it could not be decrypted.
    pub failure: Option<String>,
    /// `NONE`, `GREY` or `RED` for an encrypted event.
    pub shield: Option<String>,
    /// Why there is a shield.
    pub shield_reason: Option<String>,
    /// Whether it was redacted.
    pub redacted: bool,
    /// Who redacted it.
    pub redacted_by: Option<String>,
}

impl TimelineEvent {
    /// The plain text of a message that could be read.
    #[must_use]
    pub fn body(&self) -> Option<&str> {
        if self.kind != "m.room.message" || (self.encrypted && !self.decrypted) {
            return None;
        }
        self.content["body"].as_str()
    }

    /// The event that this one answers.
    #[must_use]
    pub fn answers(&self) -> Option<&str> {
        self.relation["m.in_reply_to"]["event_id"].as_str()
    }

    /// Whether it relates to `event_id` in this way: `m.annotation`, `m.replace`, `m.reference`, ...
    #[must_use]
    pub fn relates(&self, kind: &str, event_id: &str) -> bool {
        self.relation["rel_type"] == kind && self.relation["event_id"] == event_id
    }

    /// The emoji, if this is a reaction to `event_id` that was not taken back.
    #[must_use]
    pub fn reaction_to(&self, event_id: &str) -> Option<&str> {
        (self.kind == "m.reaction" && !self.redacted && self.relates("m.annotation", event_id))
            .then(|| self.relation["key"].as_str())
            .flatten()
    }

    /// Encrypted, decrypted, and without any warning beside it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.encrypted
            && self.decrypted
            && self.shield.as_deref() == Some("NONE")
            && self.shield_reason.is_none()
    }

    /// One line for a failed test.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} {} {} encrypted={} decrypted={} failure={:?} shield={:?} {:?} {}",
            self.event_id,
            self.sender,
            self.kind,
            self.encrypted,
            self.decrypted,
            self.failure,
            self.shield,
            self.shield_reason,
            self.content
        )
    }
}
