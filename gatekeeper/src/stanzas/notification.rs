//! `<notification>`: something has changed at the server (G 4.8). Each is acknowledged.

use super::{ClientAck, ParseError, read};
use crate::stanza::{Jid, Node};

const TAG: &str = "notification";

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationKind {
    /// The server has few of our one-time prekeys left.
    LowPreKeys {
        /// How many.
        count: u32,
    },
    /// The peer in `from` has another identity key: sessions with it are void.
    IdentityChanged,
    /// Something else, under the server's name for it.
    Other(String),
}

/// A change at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Whom it is about; the server itself for our own keys.
    pub from: Jid,
    /// The stanza's id, for the ack.
    pub id: String,
    /// When, in seconds since 1970.
    pub t: Option<u64>,
    /// Whom within a group.
    pub participant: Option<Jid>,
    /// What has changed.
    pub kind: NotificationKind,
    /// How often it was queued, if it comes from the mailbox.
    pub offline: Option<u32>,
}

impl Notification {
    /// A notification that is not queued.
    pub fn new(from: Jid, id: impl Into<String>, t: u64, kind: NotificationKind) -> Self {
        Self {
            from,
            id: id.into(),
            t: Some(t),
            participant: None,
            kind,
            offline: None,
        }
    }

    /// The word in `type`.
    pub fn type_word(&self) -> &str {
        match &self.kind {
            NotificationKind::LowPreKeys { .. } | NotificationKind::IdentityChanged => "encrypt",
            NotificationKind::Other(name) => name,
        }
    }

    /// Its ack, as a client sends it after having stored what it says.
    pub fn ack(&self) -> ClientAck {
        ClientAck {
            class: TAG.to_owned(),
            id: self.id.clone(),
            to: self.from.clone(),
            participant: self.participant.clone(),
            recipient: None,
            kind: Some(self.type_word().to_owned()),
            error: None,
        }
    }

    /// Writes it, as the server does.
    pub fn to_node(&self) -> Node {
        let child = match &self.kind {
            NotificationKind::LowPreKeys { count } => {
                Some(Node::new("count").attr("value", *count))
            }
            NotificationKind::IdentityChanged => Some(Node::new("identity")),
            NotificationKind::Other(_) => None,
        };
        Node::new(TAG)
            .attr("from", &self.from)
            .attr("id", self.id.as_str())
            .attr("type", self.type_word())
            .opt_attr("t", self.t)
            .opt_attr("participant", self.participant.as_ref())
            .opt_attr("offline", self.offline)
            .children(child)
    }

    /// Reads it.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let name = read::text(node, TAG, "type")?;
        let kind = match (
            name.as_str(),
            node.child_named("count"),
            node.child_named("identity"),
        ) {
            ("encrypt", Some(count), _) => NotificationKind::LowPreKeys {
                count: read::number(count, "count", "value")?,
            },
            ("encrypt", None, Some(_)) => NotificationKind::IdentityChanged,
            _ => NotificationKind::Other(name),
        };
        Ok(Self {
            from: read::jid(node, TAG, "from")?,
            id: read::text(node, TAG, "id")?,
            t: read::opt_number(node, TAG, "t")?,
            participant: read::opt_jid(node, TAG, "participant")?,
            kind,
            offline: read::opt_number(node, TAG, "offline")?,
        })
    }
}
