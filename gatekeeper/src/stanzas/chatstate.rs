//! `<chatstate>`: somebody is typing (G 4.5). Neither queued nor acknowledged.

use super::{Origin, ParseError, read};
use crate::stanza::{Jid, Node};

const TAG: &str = "chatstate";

/// What the user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// Writes.
    Composing,
    /// Records a voice message.
    Recording,
    /// Has stopped.
    Paused,
}

/// A user's activity in a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatState {
    /// The chat: whom it goes to, or whom it comes from.
    pub peer: Jid,
    /// Who within a group.
    pub participant: Option<Jid>,
    /// What the user does.
    pub typing: Typing,
}

impl ChatState {
    /// Writes it.
    pub fn to_node(&self, origin: Origin) -> Node {
        let state = match self.typing {
            Typing::Composing => Node::new("composing"),
            Typing::Recording => Node::new("composing").attr("media", "audio"),
            Typing::Paused => Node::new("paused"),
        };
        Node::new(TAG)
            .attr(origin.peer_attr(), &self.peer)
            .opt_attr("participant", self.participant.as_ref())
            .child(state)
    }

    /// Reads it.
    pub fn parse(node: &Node, origin: Origin) -> Result<Self, ParseError> {
        read::expect(node, TAG)?;
        let typing = match (node.child_named("composing"), node.child_named("paused")) {
            (Some(composing), _) if composing.get("media").as_deref() == Some("audio") => {
                Typing::Recording
            }
            (Some(_), _) => Typing::Composing,
            (None, Some(_)) => Typing::Paused,
            (None, None) => {
                return Err(ParseError::NoChild {
                    tag: TAG,
                    child: "composing",
                });
            }
        };
        Ok(Self {
            peer: read::jid(node, TAG, origin.peer_attr())?,
            participant: read::opt_jid(node, TAG, "participant")?,
            typing,
        })
    }
}
