//! `<iq>`: a query and its answer, tied together by their id.

use super::{ParseError, chat_server, read};
use crate::stanza::{Jid, Node};

const TAG: &str = "iq";

/// The namespace of a client's ping.
pub const CLIENT_PING: &str = "w:p";
/// The namespace of a server's ping.
pub const SERVER_PING: &str = "urn:xmpp:ping";
/// The namespace that says whether a connection wants to be sent messages.
pub const PASSIVE: &str = "passive";

/// What an iq is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IqKind {
    /// Asks.
    Get,
    /// Changes.
    Set,
    /// Answers.
    Result,
    /// Refuses.
    Error,
}

impl IqKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Result => "result",
            Self::Error => "error",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "get" => Self::Get,
            "set" => Self::Set,
            "result" => Self::Result,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// The attributes of an iq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IqHead {
    /// Ties the answer to the query.
    pub id: String,
    /// What it is.
    pub kind: IqKind,
    /// What it is about; answers need none.
    pub xmlns: Option<String>,
    /// Whom a client asks.
    pub to: Option<Jid>,
    /// Who answers, or which server asks.
    pub from: Option<Jid>,
}

impl IqHead {
    /// Reads them.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let kind = read::text(node, TAG, "type")?;
        Ok(Self {
            id: read::text(node, TAG, "id")?,
            kind: IqKind::from_word(&kind).ok_or(ParseError::Invalid {
                tag: TAG,
                name: "type",
            })?,
            xmlns: read::opt_text(node, "xmlns"),
            to: read::opt_jid(node, TAG, "to")?,
            from: read::opt_jid(node, TAG, "from")?,
        })
    }

    /// Whether it asks or changes something within a namespace.
    pub fn asks(&self, xmlns: &str) -> bool {
        matches!(self.kind, IqKind::Get | IqKind::Set) && self.xmlns.as_deref() == Some(xmlns)
    }

    /// The server's answer, still without content.
    pub fn result(&self) -> Node {
        let from = self.to.clone().unwrap_or_else(chat_server);
        Node::new(TAG)
            .attr("from", from)
            .attr("id", self.id.as_str())
            .attr("type", IqKind::Result.as_str())
    }

    /// The client's answer to a query of the server, still without content.
    pub fn client_result(&self) -> Node {
        let to = self.from.clone().unwrap_or_else(chat_server);
        Node::new(TAG)
            .attr("to", to)
            .attr("id", self.id.as_str())
            .attr("type", IqKind::Result.as_str())
    }

    /// The server's refusal.
    pub fn error(&self, error: &IqError) -> Node {
        let from = self.to.clone().unwrap_or_else(chat_server);
        Node::new(TAG)
            .attr("from", from)
            .attr("id", self.id.as_str())
            .attr("type", IqKind::Error.as_str())
            .child(error.to_node())
    }
}

/// Why a query was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server refused the query with code {code}")]
pub struct IqError {
    /// The number, as in HTTP.
    pub code: u16,
    /// The server's words.
    pub text: Option<String>,
    /// Seconds after which it may be tried again.
    pub backoff: Option<u64>,
}

impl IqError {
    /// An error of a number and words.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            text: Some(text.into()),
            backoff: None,
        }
    }

    /// Writes it: the child of the iq.
    pub fn to_node(&self) -> Node {
        Node::new("error")
            .attr("code", u64::from(self.code))
            .opt_attr("text", self.text.as_deref())
            .opt_attr("backoff", self.backoff)
    }

    /// Reads the refusal in an iq; nothing if the iq is none. A refusal without a number is 500.
    pub fn of(iq: &Node) -> Option<Self> {
        if iq.get("type").as_deref() != Some(IqKind::Error.as_str()) {
            return None;
        }
        let error = iq.child_named("error");
        Some(Self {
            code: error
                .and_then(|error| error.u64("code"))
                .and_then(|code| u16::try_from(code).ok())
                .unwrap_or(500),
            text: error.and_then(|error| read::opt_text(error, "text")),
            backoff: error.and_then(|error| error.u64("backoff")),
        })
    }
}

/// A question to the chat server, still without content and without id: a connection gives it one.
pub fn get(xmlns: &str) -> Node {
    request(IqKind::Get, xmlns)
}

/// An order to the chat server, still without content and without id.
pub fn set(xmlns: &str) -> Node {
    request(IqKind::Set, xmlns)
}

fn request(kind: IqKind, xmlns: &str) -> Node {
    Node::new(TAG)
        .attr("to", chat_server())
        .attr("xmlns", xmlns)
        .attr("type", kind.as_str())
}

/// A client's ping; any result answers it.
pub fn ping() -> Node {
    get(CLIENT_PING).child(Node::new("ping"))
}

/// A server's ping.
pub fn server_ping(id: &str) -> Node {
    Node::new(TAG)
        .attr("from", chat_server())
        .attr("id", id)
        .attr("type", IqKind::Get.as_str())
        .attr("xmlns", SERVER_PING)
}

/// Asks the server to send messages (`active`) or to hold them back.
pub fn set_active(active: bool) -> Node {
    set(PASSIVE).child(Node::new(if active { "active" } else { "passive" }))
}

/// What [`set_active`] asks for.
pub fn parse_active(iq: &Node) -> Result<bool, ParseError> {
    match (iq.child_named("active"), iq.child_named("passive")) {
        (Some(_), _) => Ok(true),
        (None, Some(_)) => Ok(false),
        (None, None) => Err(ParseError::NoChild {
            tag: TAG,
            child: "active",
        }),
    }
}
