//! What a phone sent, to answer retry receipts.

use std::collections::{HashMap, VecDeque};

use gatekeeper::stanza::Jid;

/// Sent messages that a phone keeps.
const SENT: usize = 2048;

/// What a phone sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    order: VecDeque<(Jid, String)>,
    messages: HashMap<(Jid, String), SentMessage>,
}

/// One sent message, as it was before encryption.
#[derive(Clone, Debug)]
pub(crate) struct SentMessage {
    /// The padded protobuf.
    pub plaintext: Vec<u8>,
    /// The stanza's `type`.
    pub kind: String,
    /// The `mediatype` of its ciphertext.
    pub media_type: Option<String>,
    /// The stanza's `edit`.
    pub edit: Option<u8>,
    /// Whether a receiver who cannot decrypt it should show nothing.
    pub hidden: bool,
    /// How often it was sent again.
    pub retries: u8,
}

impl Sent {
    /// Keeps a message; the oldest goes when there are too many.
    pub(crate) fn keep(&mut self, to: Jid, id: String, message: SentMessage) {
        let key = (to, id);
        if self.messages.insert(key.clone(), message).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > SENT {
            if let Some(oldest) = self.order.pop_front() {
                self.messages.remove(&oldest);
            }
        }
    }

    /// A message that was sent to somebody, to send it again.
    pub(crate) fn get_mut(&mut self, to: &Jid, id: &str) -> Option<&mut SentMessage> {
        self.messages.get_mut(&(to.clone(), id.to_owned()))
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&(Jid, String), &SentMessage)> {
        self.order
            .iter()
            .filter_map(|key| self.messages.get_key_value(key))
    }
}
