//! `<receipt>`: what became of messages at the other end (G 4.4). Retry receipts: [`super::retry`].

use super::{ClientAck, IncomingMessage, Origin, ParseError, read};
use crate::stanza::{Jid, Node};

const TAG: &str = "receipt";

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// Arrived and decrypted.
    Delivery,
    /// Arrived while the receiver's application was not in use.
    Inactive,
    /// Seen.
    Read,
    /// Seen, but the reader hides it from others.
    ReadSelf,
    /// Listened to or watched.
    Played,
    /// Listened to, but hidden from others.
    PlayedSelf,
    /// Arrived at another device of the sender.
    Sender,
    /// Could not be decrypted: see [`super::RetryReceipt`].
    Retry,
    /// Something newer than this code.
    Other(String),
}

impl ReceiptKind {
    /// The word on the wire; a delivery has none.
    pub fn as_str(&self) -> Option<&str> {
        Some(match self {
            Self::Delivery => return None,
            Self::Inactive => "inactive",
            Self::Read => "read",
            Self::ReadSelf => "read-self",
            Self::Played => "played",
            Self::PlayedSelf => "played-self",
            Self::Sender => "sender",
            Self::Retry => "retry",
            Self::Other(name) => name,
        })
    }

    /// Reads the word.
    pub fn from_word(word: Option<&str>) -> Self {
        match word {
            None | Some("" | "delivery") => Self::Delivery,
            Some("inactive") => Self::Inactive,
            Some("read") => Self::Read,
            Some("read-self") => Self::ReadSelf,
            Some("played") => Self::Played,
            Some("played-self") => Self::PlayedSelf,
            Some("sender") => Self::Sender,
            Some("retry") => Self::Retry,
            Some(name) => Self::Other(name.to_owned()),
        }
    }
}

/// A receipt for one or more messages of one chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The chat: whom it goes to, or whom it comes from.
    pub peer: Jid,
    /// What it says.
    pub kind: ReceiptKind,
    /// The messages, at least one. The first one's id is the receipt's own id too.
    pub ids: Vec<String>,
    /// The sender of the messages within a group.
    pub participant: Option<Jid>,
    /// The chat partner, if it is about another device of our own.
    pub recipient: Option<Jid>,
    /// When it happened, in seconds since 1970.
    pub t: Option<u64>,
    /// How often it was queued, if it comes from the mailbox.
    pub offline: Option<u32>,
}

impl Receipt {
    /// A receipt for messages of a chat; nothing if there are no ids.
    pub fn new(peer: Jid, kind: ReceiptKind, ids: Vec<String>, t: Option<u64>) -> Option<Self> {
        if ids.is_empty() {
            return None;
        }
        Some(Self {
            peer,
            kind,
            ids,
            participant: None,
            recipient: None,
            t,
            offline: None,
        })
    }

    /// The delivery receipt that replaces the ack of a message.
    pub fn delivery(message: &IncomingMessage) -> Self {
        Self {
            peer: message.from.clone(),
            kind: ReceiptKind::Delivery,
            ids: vec![message.id.clone()],
            participant: message.participant.clone(),
            recipient: message.recipient.clone(),
            t: None,
            offline: None,
        }
    }

    /// The id of the receipt itself.
    pub fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }

    /// Its ack, as a client sends it after having stored what it says.
    pub fn ack(&self) -> ClientAck {
        ClientAck {
            class: TAG.to_owned(),
            id: self.id().to_owned(),
            to: self.peer.clone(),
            participant: self.participant.clone(),
            recipient: self.recipient.clone(),
            kind: self.kind.as_str().map(str::to_owned),
            error: None,
        }
    }

    /// Writes it.
    pub fn to_node(&self, origin: Origin) -> Node {
        let node = Node::new(TAG)
            .attr("id", self.id())
            .attr(origin.peer_attr(), &self.peer)
            .opt_attr("type", self.kind.as_str())
            .opt_attr("participant", self.participant.as_ref())
            .opt_attr("recipient", self.recipient.as_ref())
            .opt_attr("t", self.t)
            .opt_attr("offline", self.offline);
        if self.ids.len() < 2 {
            return node;
        }
        let items = self
            .ids
            .iter()
            .skip(1)
            .map(|id| Node::new("item").attr("id", id.as_str()));
        node.child(Node::new("list").children(items))
    }

    /// Reads it. An id that stands both in the stanza and in its list counts once.
    pub fn parse(node: &Node, origin: Origin) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let mut ids = vec![read::text(node, TAG, "id")?];
        for item in node
            .child_named("list")
            .into_iter()
            .flat_map(|list| list.children_named("item"))
        {
            let id = read::text(item, "item", "id")?;
            if ids.first() != Some(&id) {
                ids.push(id);
            }
        }
        Ok(Self {
            peer: read::jid(node, TAG, origin.peer_attr())?,
            kind: ReceiptKind::from_word(node.get("type").as_deref()),
            ids,
            participant: read::opt_jid(node, TAG, "participant")?,
            recipient: read::opt_jid(node, TAG, "recipient")?,
            t: read::opt_number(node, TAG, "t")?,
            offline: read::opt_number(node, TAG, "offline")?,
        })
    }
}
