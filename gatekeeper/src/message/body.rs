//! What a message says, apart from how it is written down.

use std::fmt;

/// The content of one message.
///
/// `Debug` shows the kind only, because content never goes into a log.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// Text, in WhatsApp's own marks (`*bold*`, `_italic_`, ...).
    Text {
        /// The text.
        text: String,
        /// The message that it answers.
        reply_to: Option<Quote>,
    },
    /// An emoji on a message; one per person and message, a new one takes the place of the old.
    Reaction {
        /// The message that is reacted to.
        target: MessageKey,
        /// The emoji; empty takes the reaction back.
        emoji: String,
        /// The sender's clock, milliseconds since 1970.
        timestamp_ms: i64,
    },
    /// A message is deleted for everyone.
    Revoke {
        /// The message that goes away.
        target: MessageKey,
    },
    /// A message gets other content.
    Edit {
        /// The message that changes.
        target: MessageKey,
        /// Its new content.
        body: Box<Body>,
        /// The sender's clock, milliseconds since 1970.
        timestamp_ms: i64,
    },
    /// A kind that this version does not carry.
    Unknown {
        /// Its name, for people: `image`, `poll`, or `field 140` when even the schema is too old.
        kind: String,
    },
}

impl Body {
    /// A text without a quote.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            reply_to: None,
        }
    }

    /// The kind, for people.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Reaction { .. } => "reaction",
            Self::Revoke { .. } => "deletion",
            Self::Edit { .. } => "edit",
            Self::Unknown { kind } => kind,
        }
    }

    /// The `type` attribute of the `<message>` that carries it.
    pub const fn stanza_type(&self) -> &'static str {
        match self {
            Self::Reaction { .. } => "reaction",
            Self::Text { .. } | Self::Revoke { .. } | Self::Edit { .. } | Self::Unknown { .. } => {
                "text"
            }
        }
    }

    /// The `edit` attribute of the `<message>` that carries it: 1 edits, 7 takes back.
    pub fn stanza_edit(&self) -> Option<&'static str> {
        match self {
            Self::Edit { .. } => Some("1"),
            Self::Revoke { .. } => Some("7"),
            Self::Reaction { emoji, .. } if emoji.is_empty() => Some("7"),
            Self::Text { .. } | Self::Reaction { .. } | Self::Unknown { .. } => None,
        }
    }

    /// Whether a receiver that cannot decrypt it should show nothing (`decrypt-fail="hide"`).
    pub const fn hidden_when_undecryptable(&self) -> bool {
        matches!(
            self,
            Self::Reaction { .. } | Self::Revoke { .. } | Self::Edit { .. }
        )
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.kind()).finish()
    }
}

/// Which message is meant (`MessageKey` of the schema). Addresses stay as they were written,
/// because a message must not be lost for an address that we cannot parse.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct MessageKey {
    /// The stanza id.
    pub id: String,
    /// Whether the *sender of this key* sent the message that is meant.
    pub from_me: bool,
    /// The chat.
    pub remote_jid: Option<String>,
    /// Who sent it, in a group.
    pub participant: Option<String>,
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageKey")
            .field("id", &self.id)
            .field("from_me", &self.from_me)
            .finish_non_exhaustive()
    }
}

/// The message that a text answers, as `ContextInfo` quotes it.
#[derive(Clone, PartialEq)]
pub struct Quote {
    /// The stanza id of the answered message.
    pub stanza_id: String,
    /// Who wrote it.
    pub participant: Option<String>,
    /// Its content, as the answering side saw it; shown above the answer.
    pub body: Option<Box<Body>>,
}

impl fmt::Debug for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quote")
            .field("stanza_id", &self.stanza_id)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
