//! Stanzas that we invented, because what the gatekeeper wants in their place is not public (G 9).
//!
//! All of them stand here, and nowhere else; a partner that knows the real ones edits this module.
//!
//! | for | our stanza | unknown |
//! |---|---|---|
//! | deletion of a user at the gatekeeper | iq `set`, namespace `urn:xmpp:whatsapp:account`, `<remove/>` | U8 |
//! | asking a WhatsApp user to allow third-party chats | iq `set`, namespace `w:interop`, `<reach jid/>` | U10 |
//!
//! The first one was once how a WhatsApp account was removed; the second is invented entirely, and
//! only the sandbox understands it.

use crate::{
    stanza::{Jid, Node},
    stanzas::{IqHead, ParseError, iq},
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

fn reach_node(iq: &Node) -> Result<&Node, ParseError> {
    iq.child_named("reach").ok_or(ParseError::NoChild {
        tag: "iq",
        child: "reach",
    })
}
