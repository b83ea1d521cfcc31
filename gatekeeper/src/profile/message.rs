//! Which form messages and receipts have (U11, U12, U13).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    stanza::Jid,
    stanzas::{Enc, OutgoingMessage, Participant, Receipt, ReceiptKind, message::phash},
};

/// Which form messages and receipts have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageProfile {
    /// Whether the ciphertext stands in a `<participants>` list instead of directly in the message.
    pub participants: bool,
    /// Whether a message carries the hash over its devices.
    pub phash: bool,
    /// Whether several messages of a chat are reported read in one receipt.
    pub receipt_lists: bool,
    /// The kinds of content that WhatsApp shows in third-party chats; others are refused, or sent in another form.
    pub accepted: Vec<String>,
    /// For how many seconds after sending a message can be edited.
    pub edit_seconds: u64,
    /// For how many seconds after sending a message can be deleted for everyone.
    pub delete_seconds: u64,
    /// For how many milliseconds a message waits for those before it that it has overtaken; 0 shows it at once.
    pub order_wait_ms: u64,
}

impl Default for MessageProfile {
    fn default() -> Self {
        let accepted = [
            "text", "image", "video", "audio", "document", "reaction", "reply",
        ];
        Self {
            participants: false,
            phash: false,
            receipt_lists: true,
            accepted: accepted.map(str::to_owned).into(),
            edit_seconds: 15 * 60,
            delete_seconds: 2 * 24 * 3600,
            order_wait_ms: 2000,
        }
    }
}

impl MessageProfile {
    /// Whether WhatsApp shows this kind of content.
    pub fn accepts(&self, kind: &str) -> bool {
        self.accepted.iter().any(|accepted| accepted == kind)
    }

    /// [`MessageProfile::order_wait_ms`].
    pub fn order_wait(&self) -> Duration {
        Duration::from_millis(self.order_wait_ms)
    }

    /// A message for the one device of a user. `kind` is the stanza's type, such as `text`.
    pub fn message(&self, to: Jid, id: &str, kind: &str, enc: Enc) -> OutgoingMessage {
        let phash = self.phash.then(|| phash(std::slice::from_ref(&to)));
        let mut message = OutgoingMessage {
            kind: kind.to_owned(),
            phash,
            ..OutgoingMessage::text(to, id, enc)
        };
        if self.participants {
            let encs = std::mem::take(&mut message.encs);
            message.participants = vec![Participant {
                jid: message.to.clone(),
                encs,
            }];
        }
        message
    }

    /// The receipts for messages of one sender: one, or one for each.
    pub fn receipts(
        &self,
        peer: &Jid,
        kind: &ReceiptKind,
        ids: Vec<String>,
        t: Option<u64>,
    ) -> Vec<Receipt> {
        let make = |ids| Receipt::new(peer.clone(), kind.clone(), ids, t);
        if self.receipt_lists {
            make(ids).into_iter().collect()
        } else {
            ids.into_iter().filter_map(|id| make(vec![id])).collect()
        }
    }
}
