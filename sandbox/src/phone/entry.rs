//! One message as a phone shows it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    message::{Body, Media},
    signal::EncKind,
};
use serde::{Deserialize, Serialize};

/// How far a message has come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The server has it: one tick.
    Sent,
    /// The other side's device has it: two ticks.
    Delivered,
    /// The other side has seen it: blue ticks.
    Read,
    /// The other side has listened to it or opened it.
    Played,
}

/// Which kind of Signal message carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encrypted {
    /// The first messages of a session.
    Pkmsg,
    /// All others between two.
    Msg,
    /// A group's.
    Skmsg,
}

impl From<EncKind> for Encrypted {
    fn from(kind: EncKind) -> Self {
        match kind {
            EncKind::PkMsg => Self::Pkmsg,
            EncKind::Msg => Self::Msg,
        }
    }
}

/// Somebody's reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// Who: a phone number with `+`, or a partner user's identifier.
    pub from: String,
    /// The emoji.
    pub emoji: String,
}

/// Whether a file can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// It is being fetched.
    Fetching,
    /// It is there, and is what the message says: `GET …/media/{id}` gives it.
    Ready,
    /// It cannot be fetched, or is not what the message says; `media_error` tells why.
    Failed,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What it is called.
    pub name: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// How exact it is, in metres.
    pub accuracy: Option<u32>,
}

/// Somebody to write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The name.
    pub name: String,
    /// The vCard.
    pub vcard: String,
}

/// One message as `GET …/messages` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Stanza id.
    pub id: String,
    /// Whether the phone's owner wrote it.
    pub from_me: bool,
    /// `text`, `image`, `video`, `gif`, `round_video`, `voice`, `audio`, `document`, `sticker`,
    /// `location`, `live_location`, `contact`, `poll`, `timer`, ..., or `unknown`.
    pub kind: String,
    /// The text of a text message.
    pub text: Option<String>,
    /// The text under a file.
    pub caption: Option<String>,
    /// Type of a file.
    pub mimetype: Option<String>,
    /// Name of a file.
    pub file_name: Option<String>,
    /// Bytes of a file, decrypted.
    pub size: Option<u64>,
    /// SHA-256 of a file, decrypted, in hexadecimal.
    pub sha256: Option<String>,
    /// Whether a file can be looked at.
    #[serde(default)]
    pub media: Option<MediaState>,
    /// Why a file cannot be looked at.
    #[serde(default)]
    pub media_error: Option<String>,
    /// Duration of film and sound, in seconds.
    #[serde(default)]
    pub duration: Option<u32>,
    /// Loudness of sound, 0 to 100; empty if it was not told.
    #[serde(default)]
    pub waveform: Vec<u8>,
    /// Pixels of pictures and films.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels of pictures and films.
    #[serde(default)]
    pub height: Option<u32>,
    /// A small JPEG of pictures, films, documents and places, in base64.
    #[serde(default)]
    pub thumbnail_base64: Option<String>,
    /// Whether it is to be looked at once only.
    #[serde(default)]
    pub view_once: bool,
    /// Whether a sticker moves.
    #[serde(default)]
    pub animated: bool,
    /// A place.
    #[serde(default)]
    pub location: Option<Place>,
    /// People to write to.
    #[serde(default)]
    pub contacts: Vec<Card>,
    /// Whether it was written elsewhere before.
    #[serde(default)]
    pub forwarded: bool,
    /// After how many seconds it disappears, or (of kind `timer`) the messages of the chat do from now
    /// on; 0 is never.
    #[serde(default)]
    pub expiration: Option<u32>,
    /// Whether it has disappeared; what it said is gone then.
    #[serde(default)]
    pub expired: bool,
    /// Id of the message that this one answers.
    pub reply_to: Option<String>,
    /// What this one itself says of that message: its words, or its kind.
    #[serde(default)]
    pub quoted: Option<String>,
    /// Reactions, one per person.
    pub reactions: Vec<Reaction>,
    /// How far it has come: one from the other side is `delivered` once it is shown, `read` once a
    /// read receipt was sent for it.
    pub status: Status,
    /// Whether its text was replaced.
    pub edited: bool,
    /// Whether it was taken back; what it said is gone then.
    pub revoked: bool,
    /// Whether it could not be decrypted (yet): its sender was asked to send it again.
    pub undecryptable: bool,
    /// Which kind of Signal message carried it; nothing while undecryptable.
    pub encrypted: Option<Encrypted>,
    /// Unix time in milliseconds, by the sandbox's clock.
    pub ts: u64,
}

impl Entry {
    /// A message of this kind with nothing in it yet.
    pub fn new(id: String, from_me: bool, kind: impl Into<String>, ts: u64) -> Self {
        Self {
            id,
            from_me,
            kind: kind.into(),
            text: None,
            caption: None,
            mimetype: None,
            file_name: None,
            size: None,
            sha256: None,
            media: None,
            media_error: None,
            duration: None,
            waveform: Vec::new(),
            width: None,
            height: None,
            thumbnail_base64: None,
            view_once: false,
            animated: false,
            location: None,
            contacts: Vec::new(),
            forwarded: false,
            expiration: None,
            expired: false,
            reply_to: None,
            quoted: None,
            reactions: Vec::new(),
            status: Status::Sent,
            edited: false,
            revoked: false,
            undecryptable: false,
            encrypted: None,
            ts,
        }
    }

    /// Takes over what a message says.
    pub(crate) fn say(&mut self, body: &Body) {
        body.word().clone_into(&mut self.kind);
        if let Some(context) = body.context() {
            self.expiration = context.expiration;
            self.forwarded = context.forwarded;
            let answered = context.reply_to.as_ref();
            self.reply_to = answered.map(|quote| quote.stanza_id.clone());
            let quoted = answered.and_then(|quote| quote.body.as_deref());
            self.quoted = quoted.map(|body| match body {
                Body::Text { text, .. } => text.clone(),
                other => other.kind().to_owned(),
            });
        }
        match body {
            Body::Text { text, .. } => self.text = Some(text.clone()),
            Body::Media(media) => self.say_file(media),
            Body::Location(location) => {
                self.location = Some(Place {
                    latitude: location.latitude,
                    longitude: location.longitude,
                    name: location.name.clone(),
                    address: location.address.clone(),
                    accuracy: location.accuracy_m,
                });
                self.thumbnail_base64 = base64(location.thumbnail.as_deref());
            }
            Body::Contacts { contacts, .. } => {
                self.contacts = contacts
                    .iter()
                    .map(|contact| Card {
                        name: contact.name.clone(),
                        vcard: contact.vcard.clone(),
                    })
                    .collect();
            }
            Body::Timer { seconds } => self.expiration = Some(*seconds),
            Body::Unknown { kind } => self.kind = kind.replace(' ', "_"),
            _ => {}
        }
    }

    fn say_file(&mut self, media: &Media) {
        self.caption.clone_from(&media.caption);
        self.mimetype = Some(media.mimetype.clone());
        self.file_name.clone_from(&media.file_name);
        self.size = Some(media.file.length);
        self.sha256 = Some(hex::encode(media.file.sha256));
        self.duration = media.seconds;
        self.waveform.clone_from(&media.waveform);
        self.width = media.width;
        self.height = media.height;
        self.thumbnail_base64 = base64(media.thumbnail.as_deref());
        self.view_once = media.view_once;
        self.animated = media.animated;
    }

    /// Replaces its text, or the text under its file.
    pub(crate) fn edit(&mut self, text: Option<String>) {
        if self.size.is_some() {
            self.caption = text.filter(|text| !text.is_empty());
        } else {
            self.text = text;
        }
        self.edited = true;
    }

    /// Moves the status forward, never back. Returns whether it moved.
    pub fn advance(&mut self, status: Status) -> bool {
        let moved = status > self.status;
        self.status = self.status.max(status);
        moved
    }

    /// Sets or (with an empty emoji) takes back one person's reaction.
    pub fn react(&mut self, from: &str, emoji: &str) {
        self.reactions.retain(|reaction| reaction.from != from);
        if !emoji.is_empty() {
            self.reactions.push(Reaction {
                from: from.to_owned(),
                emoji: emoji.to_owned(),
            });
        }
    }

    /// Takes back what it says.
    pub fn revoke(&mut self) {
        *self = Self {
            revoked: true,
            ..self.emptied()
        };
    }

    /// Lets it disappear, if its time has come. Returns whether it did.
    pub(crate) fn expire(&mut self, now_ms: u64) -> bool {
        let Some(seconds) = self.expiration.filter(|seconds| *seconds > 0) else {
            return false;
        };
        let due = self.ts.saturating_add(u64::from(seconds) * 1000) <= now_ms;
        let expires = due && !self.expired && self.kind != TIMER;
        if expires {
            *self = Self {
                expired: true,
                ..self.emptied()
            };
        }
        expires
    }

    /// The message with nothing in it.
    fn emptied(&self) -> Self {
        Self {
            status: self.status,
            edited: self.edited,
            revoked: self.revoked,
            encrypted: self.encrypted,
            expiration: self.expiration,
            ..Self::new(self.id.clone(), self.from_me, self.kind.clone(), self.ts)
        }
    }
}

/// The kind of a message that sets how long messages stay.
const TIMER: &str = "timer";

fn base64(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> Entry {
        Entry::new(id.to_owned(), false, "text", 0)
    }

    #[test]
    fn a_status_never_goes_back() {
        let mut entry = entry("A");
        assert!(entry.advance(Status::Read));
        assert!(!entry.advance(Status::Delivered));
        assert_eq!(entry.status, Status::Read);
    }

    #[test]
    fn one_reaction_per_person() {
        let mut entry = entry("A");
        entry.react("+1", "a");
        entry.react("+2", "b");
        entry.react("+1", "c");
        assert_eq!(entry.reactions.len(), 2);
        entry.react("+1", "");
        entry.react("+2", "");
        assert!(entry.reactions.is_empty());
    }

    #[test]
    fn a_message_disappears_when_its_time_has_come() {
        let mut entry = entry("A");
        entry.text = Some("hi".to_owned());
        assert!(!entry.expire(u64::MAX));
        entry.expiration = Some(10);
        assert!(!entry.expire(9_999));
        assert!(entry.expire(10_000) && entry.expired && entry.text.is_none());
        assert!(!entry.expire(20_000), "once");
        let mut timer = Entry::new("B".to_owned(), false, TIMER, 0);
        timer.expiration = Some(10);
        assert!(!timer.expire(u64::MAX));
    }
}
