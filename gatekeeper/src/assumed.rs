//! Stanzas that we invented, because what the gatekeeper wants in their place is not public (G 9).
//!
//! All of them stand here, and nowhere else; a partner that knows the real ones edits this module.
//!
//! | for | our stanza | unknown |
//! |---|---|---|
//! | deletion of a user at the gatekeeper | iq `set`, namespace `urn:xmpp:whatsapp:account`, `<remove/>` | U8 |
//! | asking a WhatsApp user to allow third-party chats | iq `set`, namespace `w:interop`, `<reach jid/>` | U10 |
//! | a message whose kind WhatsApp does not show in third-party chats | receipt of type `unsupported`, attribute `error` 70 | U13 |
//!
//! The first one was once how a WhatsApp account was removed; the others are invented entirely, and
//! only the sandbox understands them. The number 70 is WhatsApp's own `UNSUPPORTED_IN_INTEROP`, which
//! its clients report to their maker; whether they tell the sender is not known.

use crate::{
    stanza::{Jid, Node},
    stanzas::{IqHead, Origin, ParseError, Receipt, ReceiptKind, iq},
};

/// The namespace of the deletion (U8).
pub const ACCOUNT: &str = "urn:xmpp:whatsapp:account";

/// The namespace of reachability (U10).
pub const INTEROP: &str = "w:interop";

/// Deletes the user's identity and data at the gatekeeper, without id (U8). Any result means that
/// it is done; the connection ends after it.
pub fn delete_account() -> Node {
    iq::set(ACCOUNT).child(Node::new("remove"))
}

/// Whether an iq is [`delete_account`].
pub fn is_delete_account(iq: &Node) -> bool {
    IqHead::parse(iq).is_ok_and(|head| head.asks(ACCOUNT)) && iq.child_named("remove").is_some()
}

/// What became of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The user can be written to.
    Reachable,
    /// The user has been asked and has not answered yet.
    Invited,
    /// The user does not take part.
    Unreachable,
}

impl Reach {
    fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Invited => "invited",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Asks a WhatsApp user to allow third-party chats, without id (U10).
pub fn reach(peer: &Jid) -> Node {
    iq::set(INTEROP).child(Node::new("reach").attr("jid", peer))
}

/// Whom [`reach`] asks.
pub fn parse_reach(iq: &Node) -> Result<Jid, ParseError> {
    reach_node(iq)?.jid("jid").ok_or(ParseError::Missing {
        tag: "reach",
        name: "jid",
    })
}

/// The server's answer to [`reach`].
pub fn reach_answer(head: &IqHead, peer: &Jid, reach: Reach) -> Node {
    head.result().child(
        Node::new("reach")
            .attr("jid", peer)
            .attr("status", reach.as_str()),
    )
}

/// Reads [`reach_answer`].
pub fn parse_reach_answer(iq: &Node) -> Result<Reach, ParseError> {
    match reach_node(iq)?.get("status").as_deref() {
        Some("reachable") => Ok(Reach::Reachable),
        Some("invited") => Ok(Reach::Invited),
        Some("unreachable") => Ok(Reach::Unreachable),
        _ => Err(ParseError::Invalid {
            tag: "reach",
            name: "status",
        }),
    }
}

/// `UNSUPPORTED_IN_INTEROP`.
pub const UNSUPPORTED: u64 = 70;

/// The type of the receipt that tells [`UNSUPPORTED`].
const UNSUPPORTED_TYPE: &str = "unsupported";

/// What WhatsApp answers, through its server, to a message of a kind that it does not show in
/// third-party chats (U13). It comes in place of the delivery receipt.
pub fn unsupported(peer: Jid, id: String, t: u64) -> Option<Node> {
    let kind = ReceiptKind::Other(UNSUPPORTED_TYPE.to_owned());
    let receipt = Receipt::new(peer, kind, vec![id], Some(t))?;
    let node = receipt.to_node(Origin::Server);
    Some(node.attr("error", UNSUPPORTED))
}

/// Whether a receipt is [`unsupported`]: its messages will never be shown, and sending them again is
/// of no use.
pub fn is_unsupported(receipt: &Receipt) -> bool {
    matches!(&receipt.kind, ReceiptKind::Other(kind) if kind == UNSUPPORTED_TYPE)
}

fn reach_node(iq: &Node) -> Result<&Node, ParseError> {
    iq.child_named("reach").ok_or(ParseError::NoChild {
        tag: "iq",
        child: "reach",
    })
}
