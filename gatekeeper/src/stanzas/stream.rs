//! The stanzas that begin and end a connection: `<success>`, `<failure>`, `<stream:error>`,
//! `<xmlstreamend>` (G 2.6). What a failure means for the login: [`crate::profile`].

use super::{ParseError, read};
use crate::stanza::{Jid, Node};

/// The tag of the orderly end of a connection.
pub const END: &str = "xmlstreamend";

/// The orderly end of a connection.
pub fn end() -> Node {
    Node::new(END)
}

/// The server has accepted the login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// The server's time, in seconds since 1970.
    pub t: Option<u64>,
    /// The user's other address, if it has one.
    pub lid: Option<Jid>,
    /// The region that the connection ended up in.
    pub location: Option<String>,
}

impl Success {
    const TAG: &str = "success";

    /// Writes it, as the server does.
    pub fn to_node(&self) -> Node {
        Node::new(Self::TAG)
            .opt_attr("t", self.t)
            .opt_attr("lid", self.lid.as_ref())
            .opt_attr("location", self.location.as_deref())
    }

    /// Reads it. Nothing in it is needed, so damaged attributes count as absent.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, Self::TAG)?;
        Ok(Self {
            t: node.u64("t"),
            lid: node.jid("lid"),
            location: read::opt_text(node, "location"),
        })
    }
}

/// The server has refused the login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Why: a number such as 401.
    pub reason: u16,
    /// More about a temporary ban.
    pub code: Option<u16>,
    /// Seconds that a temporary ban lasts.
    pub expire: Option<u64>,
    /// The server's words.
    pub message: Option<String>,
}

impl Failure {
    const TAG: &str = "failure";

    /// A refusal with a number alone.
    pub fn new(reason: u16) -> Self {
        Self {
            reason,
            ..Self::default()
        }
    }

    /// Writes it, as the server does.
    pub fn to_node(&self) -> Node {
        Node::new(Self::TAG)
            .attr("reason", u64::from(self.reason))
            .opt_attr("code", self.code.map(u64::from))
            .opt_attr("expire", self.expire)
            .opt_attr("message", self.message.as_deref())
    }

    /// Reads it. It ends the connection whatever it holds, so a damaged reason is 0 and damaged
    /// details count as absent.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, Self::TAG)?;
        let number = |name| node.u64(name).and_then(|number| u16::try_from(number).ok());
        Ok(Self {
            reason: number("reason").unwrap_or(0),
            code: number("code"),
            expire: node.u64("expire"),
            message: read::opt_text(node, "message"),
        })
    }
}

/// The server ends the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamError {
    /// Why: 515 connect again at once, 503 the server restarts, 401 see `conflict`.
    pub code: Option<u16>,
    /// Another connection of the user: `replaced`, `device_removed`.
    pub conflict: Option<String>,
}

impl StreamError {
    const TAG: &str = "stream:error";

    /// An end with a number alone.
    pub fn code(code: u16) -> Self {
        Self {
            code: Some(code),
            conflict: None,
        }
    }

    /// Another connection of the same user took over.
    pub fn replaced() -> Self {
        Self {
            code: None,
            conflict: Some("replaced".to_owned()),
        }
    }

    /// Writes it, as the server does.
    pub fn to_node(&self) -> Node {
        let conflict = self
            .conflict
            .as_deref()
            .map(|kind| Node::new("conflict").attr("type", kind));
        Node::new(Self::TAG)
            .opt_attr("code", self.code.map(u64::from))
            .children(conflict)
    }

    /// Reads it. It ends the connection whatever it holds, so damaged details count as absent.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, Self::TAG)?;
        Ok(Self {
            code: node
                .u64("code")
                .and_then(|number| u16::try_from(number).ok()),
            conflict: node
                .child_named("conflict")
                .and_then(|conflict| read::opt_text(conflict, "type")),
        })
    }
}
