//! How a phone behaves.

use std::collections::BTreeSet;

use gatekeeper::message::MediaKind;
use serde::{Deserialize, Serialize};

/// How a phone behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// Sends a delivery receipt for what it decrypts.
    pub auto_receipts: bool,
    /// Sends a read receipt as well, as if its owner were looking at the chat.
    pub auto_read: bool,
    /// Its owner lets others know what was read, and sees what they have read.
    pub read_receipts: bool,
    /// Is connected. While it is not, the server keeps what is for it.
    pub online: bool,
    /// Its owner has turned third-party chats on. While they are off, partner users cannot find it
    /// and what they send is refused.
    pub third_party_chats: bool,
    /// Its owner sees third-party chats among all others; otherwise in a folder of their own.
    pub combined_inbox: bool,
    /// Kinds of message that it does not show when they come from a partner's user: it tells the sender
    /// so. The words are those of [`KINDS`].
    pub refused: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auto_receipts: true,
            auto_read: false,
            read_receipts: true,
            online: true,
            third_party_chats: true,
            combined_inbox: false,
            refused: BTreeSet::new(),
        }
    }
}

/// A change of [`Options`]: what is named is set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptionsChange {
    /// See [`Options::auto_receipts`].
    pub auto_receipts: Option<bool>,
    /// See [`Options::auto_read`].
    pub auto_read: Option<bool>,
    /// See [`Options::read_receipts`].
    pub read_receipts: Option<bool>,
    /// See [`Options::online`].
    pub online: Option<bool>,
    /// See [`Options::third_party_chats`].
    pub third_party_chats: Option<bool>,
    /// See [`Options::combined_inbox`].
    pub combined_inbox: Option<bool>,
    /// See [`Options::refused`].
    pub refused: Option<BTreeSet<String>>,
}

/// Kinds of message that a phone may refuse, besides those of files.
const KINDS: [&str; 8] = [
    "text", "location", "contact", "reaction", "edit", "revoke", "timer", "unknown",
];

/// A word that names no kind of message.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no kind of message that a phone may refuse")]
pub(crate) struct NotAKind(String);

/// The words that [`Options::refused`] may hold.
pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
    MediaKind::ALL.into_iter().map(MediaKind::word).chain(KINDS)
}

impl Options {
    /// These options with `change` applied.
    pub(crate) fn changed(&self, change: OptionsChange) -> Result<Self, NotAKind> {
        let refused = change.refused.unwrap_or_else(|| self.refused.clone());
        if let Some(word) = refused
            .iter()
            .find(|word| !kinds().any(|kind| kind == word.as_str()))
        {
            return Err(NotAKind(word.clone()));
        }
        Ok(Self {
            auto_receipts: change.auto_receipts.unwrap_or(self.auto_receipts),
            auto_read: change.auto_read.unwrap_or(self.auto_read),
            read_receipts: change.read_receipts.unwrap_or(self.read_receipts),
            online: change.online.unwrap_or(self.online),
            third_party_chats: change.third_party_chats.unwrap_or(self.third_party_chats),
            combined_inbox: change.combined_inbox.unwrap_or(self.combined_inbox),
            refused,
        })
    }
}
