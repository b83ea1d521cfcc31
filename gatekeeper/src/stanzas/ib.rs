//! `<ib>`: information about the connection itself: the mailbox, routing, dirty state (G 2.6).
//!
//! A mailbox is drained in batches: the server announces what lies there ([`Ib::OfflinePreview`]),
//! the client asks for a number of stanzas ([`Ib::OfflineBatch`]) and again after having taken
//! them, and the server says when all are sent ([`Ib::OfflineDone`]).

use super::{ParseError, chat_server, iq, read};
use crate::stanza::Node;

const TAG: &str = "ib";

/// The namespace of [`clean`].
pub const DIRTY: &str = "urn:xmpp:whatsapp:dirty";

/// What lies in the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfflinePreview {
    /// Stanzas in all.
    pub count: u32,
    /// Messages among them.
    pub messages: u32,
    /// Receipts among them.
    pub receipts: u32,
    /// Notifications among them.
    pub notifications: u32,
}

/// Information about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ib {
    /// The server: this lies in the mailbox.
    OfflinePreview(OfflinePreview),
    /// The client: send this many of it.
    OfflineBatch(u32),
    /// The server: all of it is sent; it was this many stanzas.
    OfflineDone(u32),
    /// The server: send this at the beginning of the next connection, it leads to the same place.
    EdgeRouting(Vec<u8>),
    /// The server: something that the client may keep a copy of has changed.
    Dirty {
        /// What.
        kind: String,
        /// When, in seconds since 1970.
        timestamp: Option<u64>,
    },
    /// Something else.
    Other,
}

impl Ib {
    /// Writes it.
    pub fn to_node(&self) -> Node {
        let child = match self {
            Self::OfflinePreview(preview) => Node::new("offline_preview")
                .attr("count", preview.count)
                .attr("message", preview.messages)
                .attr("receipt", preview.receipts)
                .attr("notification", preview.notifications)
                .attr("appdata", "0"),
            Self::OfflineBatch(count) => Node::new("offline_batch").attr("count", *count),
            Self::OfflineDone(count) => Node::new("offline").attr("count", *count),
            Self::EdgeRouting(blob) => {
                Node::new("edge_routing").child(Node::new("routing_info").bytes(blob.as_slice()))
            }
            Self::Dirty { kind, timestamp } => Node::new("dirty")
                .attr("type", kind.as_str())
                .opt_attr("timestamp", *timestamp),
            Self::Other => return Node::new(TAG),
        };
        // Only the client's own has no `from`.
        let from = (!matches!(self, Self::OfflineBatch(_))).then(chat_server);
        Node::new(TAG).opt_attr("from", from).child(child)
    }

    /// Reads it.
    pub fn parse(node: &Node) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let Some(child) = node.nodes().first() else {
            return Ok(Self::Other);
        };
        Ok(match child.tag.as_str() {
            "offline_preview" => {
                const TAG: &str = "offline_preview";
                let number = |name| Ok(read::opt_number(child, TAG, name)?.unwrap_or(0));
                Self::OfflinePreview(OfflinePreview {
                    count: number("count")?,
                    messages: number("message")?,
                    receipts: number("receipt")?,
                    notifications: number("notification")?,
                })
            }
            "offline_batch" => Self::OfflineBatch(read::number(child, "offline_batch", "count")?),
            "offline" => {
                Self::OfflineDone(read::opt_number(child, "offline", "count")?.unwrap_or(0))
            }
            "edge_routing" => {
                let blob = read::child(child, "edge_routing", "routing_info")?;
                Self::EdgeRouting(read::bytes(blob, "routing_info")?)
            }
            "dirty" => Self::Dirty {
                kind: read::text(child, "dirty", "type")?,
                timestamp: read::opt_number(child, "dirty", "timestamp")?,
            },
            _ => Self::Other,
        })
    }
}

/// Says that a dirty state has been taken note of, without id.
pub fn clean(kind: &str, timestamp: Option<u64>) -> Node {
    iq::set(DIRTY).child(
        Node::new("clean")
            .attr("type", kind)
            .opt_attr("timestamp", timestamp),
    )
}
