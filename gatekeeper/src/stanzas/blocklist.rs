//! Blocking: reading and changing the list of users whose messages are refused (G 4.9).

use super::{IqHead, ParseError, iq, read};
use crate::stanza::{Jid, Node};

/// The namespace.
pub const XMLNS: &str = "blocklist";

/// A query of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlocklistRequest {
    /// Who is blocked?
    Get,
    /// Block or unblock a user.
    Set {
        /// The user.
        jid: Jid,
        /// Whether to block.
        block: bool,
    },
}

/// Who is blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    /// The server's name for this state of the list.
    pub dhash: Option<String>,
    /// The users.
    pub users: Vec<Jid>,
}

impl BlocklistRequest {
    /// Writes it, without id.
    pub fn to_node(&self) -> Node {
        match self {
            Self::Get => iq::get(XMLNS),
            Self::Set { jid, block } => iq::set(XMLNS).child(
                Node::new("item")
                    .attr("action", if *block { "block" } else { "unblock" })
                    .attr("jid", jid),
            ),
        }
    }

    /// Reads it, as the server does.
    pub fn parse(iq: &Node) -> Result<Self, ParseError> {
        let Some(item) = iq.child_named("item") else {
            return match iq.get("type").as_deref() {
                Some("set") => Err(ParseError::NoChild {
                    tag: "iq",
                    child: "item",
                }),
                _ => Ok(Self::Get),
            };
        };
        let block = match read::text(item, "item", "action")?.as_str() {
            "block" => true,
            "unblock" => false,
            _ => {
                return Err(ParseError::Invalid {
                    tag: "item",
                    name: "action",
                });
            }
        };
        Ok(Self::Set {
            jid: read::jid(item, "item", "jid")?,
            block,
        })
    }
}

impl Blocklist {
    /// Writes it, as the server answers both queries.
    pub fn to_node(&self, head: &IqHead) -> Node {
        let users = self
            .users
            .iter()
            .map(|jid| Node::new("item").attr("jid", jid));
        head.result().child(
            Node::new("list")
                .opt_attr("dhash", self.dhash.as_deref())
                .children(users),
        )
    }

    /// Reads it. An answer without a list says that nobody is blocked.
    pub fn parse(iq: &Node) -> Result<Self, ParseError> {
        let Some(list) = iq.child_named("list") else {
            return Ok(Self::default());
        };
        let users = list
            .children_named("item")
            .map(|item| read::jid(item, "item", "jid"));
        Ok(Self {
            dhash: read::opt_text(list, "dhash"),
            users: users.collect::<Result<_, _>>()?,
        })
    }
}
