//! What a message says, apart from how it is written down.

use std::fmt;

use super::Media;

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
        /// Where the message stands.
        context: Context,
    },
    /// A file.
    Media(Box<Media>),
    /// A place.
    Location(Location),
    /// People to write to: at least one.
    Contacts {
        /// They.
        contacts: Vec<Contact>,
        /// Where the message stands.
        context: Context,
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
        /// Its new content. A text that replaces what a file says under it comes as a text when the
        /// sender names the new caption alone, else as the whole file.
        body: Box<Body>,
        /// The sender's clock, milliseconds since 1970.
        timestamp_ms: i64,
    },
    /// From now on the messages of this chat disappear after a time.
    Timer {
        /// After how many seconds; 0 is never.
        seconds: u32,
    },
    /// A kind that this version does not carry.
    Unknown {
        /// Its name, for people: `poll`, `live location`, or `field 140` when even the schema is too old.
        kind: String,
    },
}

impl Body {
    /// A text that stands alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            context: Context::default(),
        }
    }

    /// The kind, for people.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Media(media) => media.kind.name(),
            Self::Location(_) => "location",
            Self::Contacts { .. } => "contact",
            Self::Reaction { .. } => "reaction",
            Self::Revoke { .. } => "deletion",
            Self::Edit { .. } => "edit",
            Self::Timer { .. } => "disappearing-messages setting",
            Self::Unknown { kind } => kind,
        }
    }

    /// The kind as one word, as configuration and the sandbox's control API write it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Media(media) => media.kind.word(),
            Self::Location(_) => "location",
            Self::Contacts { .. } => "contact",
            Self::Reaction { .. } => "reaction",
            Self::Revoke { .. } => "revoke",
            Self::Edit { .. } => "edit",
            Self::Timer { .. } => "timer",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Where the message stands, for the kinds that people read.
    pub fn context(&self) -> Option<&Context> {
        match self {
            Self::Text { context, .. } | Self::Contacts { context, .. } => Some(context),
            Self::Media(media) => Some(&media.context),
            Self::Location(location) => Some(&location.context),
            Self::Reaction { .. }
            | Self::Revoke { .. }
            | Self::Edit { .. }
            | Self::Timer { .. }
            | Self::Unknown { .. } => None,
        }
    }

    /// [`Body::context`], to change it.
    pub fn context_mut(&mut self) -> Option<&mut Context> {
        match self {
            Self::Text { context, .. } | Self::Contacts { context, .. } => Some(context),
            Self::Media(media) => Some(&mut media.context),
            Self::Location(location) => Some(&mut location.context),
            Self::Reaction { .. }
            | Self::Revoke { .. }
            | Self::Edit { .. }
            | Self::Timer { .. }
            | Self::Unknown { .. } => None,
        }
    }

    /// The `type` attribute of the `<message>` that carries it.
    pub const fn stanza_type(&self) -> &'static str {
        match self {
            Self::Reaction { .. } => "reaction",
            Self::Media(_) | Self::Location(_) | Self::Contacts { .. } => "media",
            Self::Text { .. }
            | Self::Revoke { .. }
            | Self::Edit { .. }
            | Self::Timer { .. }
            | Self::Unknown { .. } => "text",
        }
    }

    /// The `mediatype` attribute of the `<enc>` that carries it, if its type is `media`.
    pub fn media_type(&self) -> Option<&'static str> {
        match self {
            Self::Media(media) => Some(media.kind.media_type()),
            Self::Location(_) => Some("location"),
            Self::Contacts { contacts, .. } if contacts.len() == 1 => Some("vcard"),
            Self::Contacts { .. } => Some("contact_array"),
            _ => None,
        }
    }

    /// The `edit` attribute of the `<message>` that carries it: 1 edits, 7 takes back.
    pub fn stanza_edit(&self) -> Option<&'static str> {
        match self {
            Self::Edit { .. } => Some("1"),
            Self::Revoke { .. } => Some("7"),
            Self::Reaction { emoji, .. } if emoji.is_empty() => Some("7"),
            _ => None,
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

/// Where a message stands in its chat.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Context {
    /// The message that it answers.
    pub reply_to: Option<Quote>,
    /// After how many seconds it disappears, if it does.
    pub expiration: Option<u32>,
    /// Whether it was written elsewhere before.
    pub forwarded: bool,
}

impl Context {
    /// A message that answers another one.
    pub fn reply(quote: Quote) -> Self {
        Self {
            reply_to: Some(quote),
            ..Self::default()
        }
    }
}

/// A place. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Default)]
pub struct Location {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// What it is called.
    pub name: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// How exact it is, in metres.
    pub accuracy_m: Option<u32>,
    /// A small JPEG of the map.
    pub thumbnail: Option<Vec<u8>>,
    /// Where the message stands.
    pub context: Context,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Location").finish_non_exhaustive()
    }
}

/// Somebody to write to. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// The name.
    pub name: String,
    /// The vCard.
    pub vcard: String,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").finish_non_exhaustive()
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

/// The message that another one answers, as `ContextInfo` quotes it.
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
