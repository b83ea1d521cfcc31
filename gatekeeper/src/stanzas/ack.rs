//! `<ack>`: one end has taken a stanza (G 4.3).
//!
//! A message that is answered neither by an ack nor by a delivery receipt is delivered again: that
//! is what makes the channel lose nothing.

use super::{ParseError, read};
use crate::stanza::{Jid, Node};

const TAG: &str = "ack";

/// Why a client refuses a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nack {
    /// The stanza could not be read: 487.
    Parse,
    /// Stanza unknown: 488.
    UnknownStanza,
    /// Class of the stanza unknown: 489.
    UnknownClass,
    /// Type of the stanza unknown: 490.
    UnknownType,
    /// The decrypted protobuf is damaged: 491.
    BadProtobuf,
    /// The message lacks its secret: 495.
    NoMessageSecret,
    /// The Signal counter was used before: 496.
    OldCounter,
    /// The message was deleted meanwhile: 499.
    Deleted,
    /// Any other failure: 500.
    Unhandled,
    /// Another code.
    Other(u16),
}

impl Nack {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Parse => 487,
            Self::UnknownStanza => 488,
            Self::UnknownClass => 489,
            Self::UnknownType => 490,
            Self::BadProtobuf => 491,
            Self::NoMessageSecret => 495,
            Self::OldCounter => 496,
            Self::Deleted => 499,
            Self::Unhandled => 500,
            Self::Other(code) => code,
        }
    }
}

impl From<u16> for Nack {
    fn from(code: u16) -> Self {
        match code {
            487 => Self::Parse,
            488 => Self::UnknownStanza,
            489 => Self::UnknownClass,
            490 => Self::UnknownType,
            491 => Self::BadProtobuf,
            495 => Self::NoMessageSecret,
            496 => Self::OldCounter,
            499 => Self::Deleted,
            500 => Self::Unhandled,
            _ => Self::Other(code),
        }
    }
}

/// A client's answer to a stanza of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAck {
    /// The tag of the stanza that is answered.
    pub class: String,
    /// Its id.
    pub id: String,
    /// Its `from`.
    pub to: Jid,
    /// Its `participant`.
    pub participant: Option<Jid>,
    /// Its `recipient`.
    pub recipient: Option<Jid>,
    /// Its `type`, except of a message.
    pub kind: Option<String>,
    /// Why it is refused; nothing accepts it.
    pub error: Option<Nack>,
}

impl ClientAck {
    /// The acceptance of any stanza; nothing if it has no id or no `from` to answer to.
    pub fn of(stanza: &Node) -> Option<Self> {
        Some(Self {
            class: stanza.tag.clone(),
            id: read::opt_text(stanza, "id")?,
            to: stanza.jid("from")?,
            participant: stanza.jid("participant"),
            recipient: stanza.jid("recipient"),
            kind: if stanza.is("message") {
                None
            } else {
                read::opt_text(stanza, "type")
            },
            error: None,
        })
    }

    /// The same answer as a refusal.
    #[must_use]
    pub fn refusing(self, error: Nack) -> Self {
        Self {
            error: Some(error),
            ..self
        }
    }

    /// Writes it.
    pub fn to_node(&self) -> Node {
        Node::new(TAG)
            .attr("class", self.class.as_str())
            .attr("id", self.id.as_str())
            .attr("to", &self.to)
            .opt_attr("participant", self.participant.as_ref())
            .opt_attr("recipient", self.recipient.as_ref())
            .opt_attr("type", self.kind.as_deref())
            .opt_attr("error", self.error.map(|error| u64::from(error.code())))
    }

    /// Reads it, as the server does.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        Ok(Self {
            class: read::text(node, TAG, "class")?,
            id: read::text(node, TAG, "id")?,
            to: read::jid(node, TAG, "to")?,
            participant: read::opt_jid(node, TAG, "participant")?,
            recipient: read::opt_jid(node, TAG, "recipient")?,
            kind: read::opt_text(node, "type"),
            error: read::opt_number::<u16>(node, TAG, "error")?.map(Nack::from),
        })
    }
}

/// The server's answer to a stanza of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAck {
    /// The tag of the stanza that is answered.
    pub class: String,
    /// Its id.
    pub id: String,
    /// Its `to`.
    pub from: Jid,
    /// Its `type`, except of a message.
    pub kind: Option<String>,
    /// Its `participant`.
    pub participant: Option<Jid>,
    /// When the server took it, in seconds since 1970.
    pub t: Option<u64>,
    /// The server's hash over the devices, if ours was another one.
    pub phash: Option<String>,
    /// Why the server refuses it; see [`crate::profile::Profile::classify_ack`].
    pub error: Option<u16>,
}

impl ServerAck {
    /// The acceptance of any stanza; nothing if it has no id or no `to`.
    pub fn of(stanza: &Node, t: u64) -> Option<Self> {
        Some(Self {
            class: stanza.tag.clone(),
            id: read::opt_text(stanza, "id")?,
            from: stanza.jid("to")?,
            kind: if stanza.is("message") {
                None
            } else {
                read::opt_text(stanza, "type")
            },
            participant: stanza.jid("participant"),
            t: Some(t),
            phash: None,
            error: None,
        })
    }

    /// The same answer as a refusal.
    #[must_use]
    pub fn refusing(self, error: u16) -> Self {
        Self {
            error: Some(error),
            ..self
        }
    }

    /// Writes it, as the server does.
    pub fn to_node(&self) -> Node {
        Node::new(TAG)
            .attr("class", self.class.as_str())
            .attr("id", self.id.as_str())
            .attr("from", &self.from)
            .opt_attr("type", self.kind.as_deref())
            .opt_attr("participant", self.participant.as_ref())
            .opt_attr("t", self.t)
            .opt_attr("phash", self.phash.as_deref())
            .opt_attr("error", self.error.map(u64::from))
    }

    /// Reads it.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        Ok(Self {
            class: read::text(node, TAG, "class")?,
            id: read::text(node, TAG, "id")?,
            from: read::jid(node, TAG, "from")?,
            kind: read::opt_text(node, "type"),
            participant: read::opt_jid(node, TAG, "participant")?,
            t: read::opt_number(node, TAG, "t")?,
            phash: read::opt_text(node, "phash"),
            error: read::opt_number(node, TAG, "error")?,
        })
    }
}
