//! A file in a message.

use std::fmt;

use super::Context;
use crate::media::{MediaKey, Sums};

/// What a file is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A short film without sound that plays over and over.
    Gif,
    /// A film recorded in the chat, shown in a circle.
    RoundVideo,
    /// Sound.
    Audio,
    /// Sound recorded in the chat.
    Voice,
    /// Any file.
    Document,
    /// A picture without a frame, usually WebP.
    Sticker,
}

impl MediaKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Image,
        Self::Video,
        Self::Gif,
        Self::RoundVideo,
        Self::Audio,
        Self::Voice,
        Self::Document,
        Self::Sticker,
    ];

    /// The kind, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundVideo => "round video",
            Self::Voice => "voice message",
            other => other.word(),
        }
    }

    /// The kind as one word, as configuration and the sandbox's control API write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Gif => "gif",
            Self::RoundVideo => "round_video",
            Self::Audio => "audio",
            Self::Voice => "voice",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }

    /// The kind that has this [word](Self::word).
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The `mediatype` attribute of the `<enc>` that carries it (G 4.1).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Gif => "gif",
            Self::RoundVideo => "ptv",
            Self::Audio => "audio",
            Self::Voice => "ptt",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }

    /// What the keys of such a file are derived for (G 6.1).
    pub const fn key_info(self) -> &'static str {
        match self {
            Self::Image | Self::Sticker => "WhatsApp Image Keys",
            Self::Video | Self::Gif | Self::RoundVideo => "WhatsApp Video Keys",
            Self::Audio | Self::Voice => "WhatsApp Audio Keys",
            Self::Document => "WhatsApp Document Keys",
        }
    }

    /// Whether WhatsApp has a place for a text under it. With the others a text has to be a message
    /// of its own.
    pub const fn carries_caption(self) -> bool {
        match self {
            Self::Image | Self::Video | Self::Gif | Self::RoundVideo | Self::Document => true,
            Self::Audio | Self::Voice | Self::Sticker => false,
        }
    }
}

/// A file, with what is said about it. `Debug` shows the kind only.
#[derive(Clone, PartialEq)]
pub struct Media {
    /// What it is shown as.
    pub kind: MediaKind,
    /// Its media type, such as `image/jpeg` or `audio/ogg; codecs=opus`; empty if the sender said
    /// none.
    pub mimetype: String,
    /// The text under it, for kinds that [carry one](MediaKind::carries_caption).
    pub caption: Option<String>,
    /// Its name; documents alone have one.
    pub file_name: Option<String>,
    /// Where it is and how it is decrypted.
    pub file: MediaFile,
    /// Pixels; pictures and films alone have them.
    pub width: Option<u32>,
    /// Pixels; pictures and films alone have them.
    pub height: Option<u32>,
    /// Duration of film and sound, in seconds.
    pub seconds: Option<u32>,
    /// The loudness of sound, 0 to 100, for 64 equal parts of it, or empty.
    pub waveform: Vec<u8>,
    /// A small JPEG of pictures, films and documents.
    pub thumbnail: Option<Vec<u8>>,
    /// Whether it is to be shown once only; pictures, films and sound can be.
    pub view_once: bool,
    /// Whether a sticker moves.
    pub animated: bool,
    /// Where the message stands.
    pub context: Context,
}

impl Media {
    /// A file about which nothing else is said.
    pub fn new(kind: MediaKind, mimetype: impl Into<String>, file: MediaFile) -> Self {
        Self {
            kind,
            mimetype: mimetype.into(),
            caption: None,
            file_name: None,
            file,
            width: None,
            height: None,
            seconds: None,
            waveform: Vec::new(),
            thumbnail: None,
            view_once: false,
            animated: false,
            context: Context::default(),
        }
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Where a file is, how it is decrypted, and how to know it. `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct MediaFile {
    /// The key.
    pub key: MediaKey,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// SHA-256 of the encrypted file.
    pub enc_sha256: [u8; 32],
    /// Bytes of the file, by the sender's word.
    pub length: u64,
    /// The path at the media server.
    pub direct_path: String,
    /// A whole address, as ordinary clients send it; nothing here follows it.
    pub url: Option<String>,
    /// When the key was made, in seconds since 1970.
    pub key_timestamp: i64,
}

impl MediaFile {
    /// A file that was encrypted just now.
    pub fn new(key: MediaKey, sums: Sums, direct_path: String, key_timestamp: i64) -> Self {
        Self {
            key,
            sha256: sums.sha256,
            enc_sha256: sums.enc_sha256,
            length: sums.length,
            direct_path,
            url: None,
            key_timestamp,
        }
    }
}

impl fmt::Debug for MediaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaFile")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
