//! The retry receipt: the receiver could not decrypt a message and asks for it again (G 5.4).
//!
//! Partners must both send and answer them.

use super::{ClientAck, IncomingMessage, Origin, ParseError, ReceiptKind, keys, read};
use crate::{
    signal::{Bundle, RetryReason},
    stanza::{Jid, Node},
};

const TAG: &str = "receipt";

/// After this many tries a receiver gives a message up.
pub const GIVE_UP: u8 = 5;

/// From this try on the receiver sends its keys along, so that the sender can begin a new session.
pub const WITH_KEYS: u8 = 2;

/// A request to encrypt a message anew and send it again under the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryReceipt {
    /// The chat: whom it goes to, or whom it comes from.
    pub peer: Jid,
    /// The message.
    pub id: String,
    /// Who could not decrypt it within a group, or whose message it was.
    pub participant: Option<Jid>,
    /// The chat partner, if it is about another device of our own.
    pub recipient: Option<Jid>,
    /// How often it has been asked for, from 1.
    pub count: u8,
    /// When the message was sent, in seconds since 1970.
    pub t: u64,
    /// Why it could not be decrypted, if the receiver says.
    pub reason: Option<RetryReason>,
    /// The receiver's registration id: another one than before means another installation.
    pub registration_id: u32,
    /// The receiver's keys, to begin a new session with.
    pub keys: Option<Bundle>,
    /// How often it was queued, if it comes from the mailbox.
    pub offline: Option<u32>,
}

impl RetryReceipt {
    /// Asks for a message again. `keys` shall be there from try [`WITH_KEYS`] on.
    pub fn new(
        message: &IncomingMessage,
        count: u8,
        reason: RetryReason,
        registration_id: u32,
        keys: Option<Bundle>,
    ) -> Self {
        Self {
            peer: message.from.clone(),
            id: message.id.clone(),
            participant: message.participant.clone(),
            recipient: message.recipient.clone(),
            count,
            t: message.t,
            reason: Some(reason),
            registration_id,
            keys,
            offline: None,
        }
    }

    /// Its ack, as a client sends it after having stored what it says.
    pub fn ack(&self) -> ClientAck {
        ClientAck {
            class: TAG.to_owned(),
            id: self.id.clone(),
            to: self.peer.clone(),
            participant: self.participant.clone(),
            recipient: self.recipient.clone(),
            kind: ReceiptKind::Retry.as_str().map(str::to_owned),
            error: None,
        }
    }

    /// Writes it.
    pub fn to_node(&self, origin: Origin) -> Node {
        let retry = Node::new("retry")
            .attr("count", u64::from(self.count))
            .attr("id", self.id.as_str())
            .attr("t", self.t)
            .attr("v", "1")
            .opt_attr("error", self.reason.map(|reason| u64::from(reason.code())));
        let keys = self.keys.as_ref().map(keys::retry_key_nodes);
        Node::new(TAG)
            .attr("id", self.id.as_str())
            .attr(origin.peer_attr(), &self.peer)
            .opt_attr("type", ReceiptKind::Retry.as_str())
            .opt_attr("participant", self.participant.as_ref())
            .opt_attr("recipient", self.recipient.as_ref())
            .opt_attr("offline", self.offline)
            .child(retry)
            .child(Node::new("registration").bytes(self.registration_id.to_be_bytes()))
            .children(keys.map(|keys| Node::new("keys").children(keys)))
    }

    /// Reads it.
    pub fn parse(node: &Node, origin: Origin) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let retry = read::child(node, TAG, "retry")?;
        let registration_id = read::child_be(node, TAG, "registration")?;
        Ok(Self {
            peer: read::jid(node, TAG, origin.peer_attr())?,
            id: read::text(node, TAG, "id")?,
            participant: read::opt_jid(node, TAG, "participant")?,
            recipient: read::opt_jid(node, TAG, "recipient")?,
            count: read::opt_number(retry, "retry", "count")?.unwrap_or(1),
            t: read::opt_number(retry, "retry", "t")?.unwrap_or(0),
            reason: read::opt_number(retry, "retry", "error")?.map(RetryReason::from_code),
            registration_id,
            keys: match node.child_named("keys") {
                Some(keys) => Some(keys::parse_keys(keys, "keys", registration_id)?),
                None => None,
            },
            offline: read::opt_number(node, TAG, "offline")?,
        })
    }
}
