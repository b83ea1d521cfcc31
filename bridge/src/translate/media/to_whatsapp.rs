//! A Matrix event with a file as a WhatsApp one.

use gatekeeper::message::{Body, Media, MediaFile, MediaKind};
use ruma::{OwnedMxcUri, events::room::EncryptedFile};
use serde::Deserialize as _;
use serde_json::Value;

use super::{super::Refusal, essence};
use crate::{
    capabilities::{Capabilities, Feature, Level},
    translate::html,
};

/// Parts of a waveform as WhatsApp has it, and the loudest of them.
const PARTS: usize = 64;
const LOUDEST: u64 = 100;
/// The loudest part of a waveform on Matrix (MSC1767).
const MATRIX_LOUDEST: u64 = 1024;

/// Where a file is on Matrix.
#[derive(Clone, Debug)]
pub enum Source {
    /// Encrypted for the readers of the event.
    Encrypted(EncryptedFile),
    /// As it is, although the event may be encrypted.
    Plain(OwnedMxcUri),
}

/// A file that somebody sends, before it has been carried over.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// What it is shown as.
    pub kind: MediaKind,
    /// Its media type.
    pub mimetype: String,
    /// The text under it.
    pub caption: Option<String>,
    /// A text that goes after it, where its kind has no place for one.
    pub after: Option<String>,
    /// Its name, of documents.
    pub file_name: Option<String>,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Duration in seconds.
    pub seconds: Option<u32>,
    /// Loudness, 0 to 100, of 64 parts; or empty.
    pub waveform: Vec<u8>,
    /// Where it is.
    pub source: Source,
    /// Bytes, by the sender's word.
    pub size: Option<u64>,
    /// Where a small picture of it is.
    pub thumbnail: Option<Source>,
    /// The blurhash of pictures and films.
    pub blurhash: Option<String>,
}

impl Attachment {
    /// The message, once the file is where WhatsApp can fetch it.
    #[must_use]
    pub fn body(&self, file: MediaFile, thumbnail: Option<Vec<u8>>) -> Body {
        Body::Media(Box::new(Media {
            caption: self.caption.clone(),
            file_name: self.file_name.clone(),
            width: self.width,
            height: self.height,
            seconds: self.seconds,
            waveform: self.waveform.clone(),
            thumbnail,
            ..Media::new(self.kind, self.mimetype.clone(), file)
        }))
    }
}

/// Reads an event with a file; nothing for one of another kind.
///
/// `content` is the content of an `m.room.message` or `m.sticker`.
///
/// # Errors
///
/// A [`Refusal`] that says to the sender why it does not cross.
pub fn attachment(
    event_type: &str,
    content: &Value,
    capabilities: &Capabilities,
) -> Option<Result<Attachment, Refusal>> {
    let word = match event_type {
        "m.sticker" => "m.sticker",
        "m.room.message" => content["msgtype"].as_str()?,
        _ => return None,
    };
    let feature = match word {
        "m.image" => Feature::Image,
        "m.video" if flag(content, "fi.mau.gif") => Feature::Gif,
        "m.video" => Feature::Video,
        "m.audio" if is_voice(content) => Feature::Voice,
        "m.audio" => Feature::Audio,
        "m.file" => Feature::File,
        "m.sticker" => Feature::Sticker,
        _ => return None,
    };
    Some(read(feature, content, capabilities))
}

fn read(
    feature: Feature,
    content: &Value,
    capabilities: &Capabilities,
) -> Result<Attachment, Refusal> {
    let info = &content["info"];
    let body = content["body"].as_str().unwrap_or_default();
    let name = content["filename"]
        .as_str()
        .filter(|name| !name.is_empty())
        .unwrap_or(body);
    let mimetype = match info["mimetype"].as_str().filter(|word| word.contains('/')) {
        Some(word) => word.to_owned(),
        None => guess(name).to_owned(),
    };
    let (kind, mimetype) = kind(feature, mimetype, capabilities)?;
    let size = info["size"].as_u64();
    let limit = capabilities.limits().file_bytes;
    if size.is_some_and(|size| size > limit) {
        return Err(Refusal::TooLarge { limit });
    }
    let text = caption(feature, content, body, name, capabilities)?;
    let (caption, after) = if kind.carries_caption() {
        (text, None)
    } else {
        (None, text)
    };
    let framed = !matches!(
        kind,
        MediaKind::Audio | MediaKind::Voice | MediaKind::Document
    );
    let timed = matches!(
        kind,
        MediaKind::Video | MediaKind::Gif | MediaKind::Audio | MediaKind::Voice
    );
    Ok(Attachment {
        kind,
        mimetype,
        caption,
        after,
        file_name: (kind == MediaKind::Document && !name.is_empty()).then(|| name.to_owned()),
        width: pixels(&info["w"]).filter(|_| framed),
        height: pixels(&info["h"]).filter(|_| framed),
        seconds: seconds(content).filter(|_| timed),
        waveform: if kind == MediaKind::Voice {
            waveform(&content["org.matrix.msc1767.audio"]["waveform"])
        } else {
            Vec::new()
        },
        source: source(content, "file", "url").ok_or(Refusal::NoFile)?,
        size,
        thumbnail: source(info, "thumbnail_file", "thumbnail_url"),
        blurhash: info["xyz.amorgan.blurhash"]
            .as_str()
            .filter(|_| framed)
            .map(str::to_owned),
    })
}

/// What the file is shown as. What WhatsApp would not show as what it is goes as a document.
fn kind(
    feature: Feature,
    mimetype: String,
    capabilities: &Capabilities,
) -> Result<(MediaKind, String), Refusal> {
    let accepted = |feature: Feature| {
        let way = capabilities.to_whatsapp(feature);
        match way.level {
            Level::Full | Level::Partial => Ok(()),
            _ => Err(Refusal::NotAccepted(way.words)),
        }
    };
    accepted(feature)?;
    let essence = essence(&mimetype);
    let picture = matches!(&*essence, "image/jpeg" | "image/png" | "image/webp");
    let film = matches!(&*essence, "video/mp4" | "video/3gpp");
    let kind = match feature {
        Feature::Image if picture => MediaKind::Image,
        Feature::Sticker if essence == "image/webp" && capabilities.has(Feature::Sticker) => {
            MediaKind::Sticker
        }
        Feature::Sticker if picture => {
            accepted(Feature::Image)?;
            MediaKind::Image
        }
        Feature::Gif if film && capabilities.has(Feature::Gif) => MediaKind::Gif,
        Feature::Video | Feature::Gif if film => {
            accepted(Feature::Video)?;
            MediaKind::Video
        }
        Feature::Voice if is_opus(&essence, &mimetype) => {
            return Ok((MediaKind::Voice, "audio/ogg; codecs=opus".to_owned()));
        }
        Feature::Voice | Feature::Audio
            if matches!(
                &*essence,
                "audio/mpeg" | "audio/mp4" | "audio/aac" | "audio/amr" | "audio/ogg"
            ) =>
        {
            accepted(Feature::Audio)?;
            MediaKind::Audio
        }
        _ => {
            accepted(Feature::File)?;
            MediaKind::Document
        }
    };
    Ok((kind, mimetype))
}

/// Voice messages are Ogg with Opus everywhere on Matrix; another codec says its name.
fn is_opus(essence: &str, mimetype: &str) -> bool {
    let codecs = mimetype.to_ascii_lowercase();
    match essence {
        "audio/ogg" => !codecs.contains("codecs") || codecs.contains("opus"),
        "audio/opus" => true,
        _ => false,
    }
}

fn is_voice(content: &Value) -> bool {
    [
        "org.matrix.msc3245.voice",
        "org.matrix.msc3245.voice.v2",
        "voice",
        "m.voice",
    ]
    .iter()
    .any(|key| content[*key].is_object())
}

/// Bridges write it into the event or into its `info`.
fn flag(content: &Value, key: &str) -> bool {
    content[key] == true || content["info"][key] == true
}

/// MSC2530: with a file name beside it, the body is a text under the file.
fn caption(
    feature: Feature,
    content: &Value,
    body: &str,
    name: &str,
    capabilities: &Capabilities,
) -> Result<Option<String>, Refusal> {
    // The body of a sticker describes it for those who cannot see it.
    if feature == Feature::Sticker || !content["filename"].is_string() || body == name {
        return Ok(None);
    }
    let formatted = content["formatted_body"]
        .as_str()
        .filter(|_| content["format"] == "org.matrix.custom.html");
    let text = formatted
        .and_then(html::render)
        .filter(|text| !text.trim().is_empty())
        .unwrap_or_else(|| body.to_owned());
    let length = text.chars().count();
    let limit = capabilities.limits().text_chars;
    if length > limit {
        return Err(Refusal::TooLong { length, limit });
    }
    Ok((!text.trim().is_empty()).then_some(text))
}

fn source(content: &Value, encrypted: &str, plain: &str) -> Option<Source> {
    if let Ok(file) = EncryptedFile::deserialize(&content[encrypted]) {
        return Some(Source::Encrypted(file));
    }
    let url = content[plain].as_str()?;
    Some(Source::Plain(url.into()))
}

fn pixels(value: &Value) -> Option<u32> {
    let pixels = value.as_f64().filter(|pixels| *pixels >= 1.0)?;
    // Nothing that is larger can be a picture.
    Some(pixels.min(1_000_000.0) as u32)
}

/// Milliseconds on Matrix; at least one second where there is any sound.
fn seconds(content: &Value) -> Option<u32> {
    let duration = [
        &content["org.matrix.msc1767.audio"]["duration"],
        &content["info"]["duration"],
    ];
    let ms = duration
        .into_iter()
        .find_map(|value| value.as_f64().filter(|ms| *ms > 0.0))?;
    Some((ms / 1000.0).round().clamp(1.0, f64::from(u32::MAX)) as u32)
}

/// Any number of parts becomes 64, by the loudest of each.
fn waveform(value: &Value) -> Vec<u8> {
    let Some(parts) = value.as_array().filter(|parts| !parts.is_empty()) else {
        return Vec::new();
    };
    let loudness = |part: &Value| {
        let part = part.as_f64().unwrap_or_default().clamp(0.0, 1024.0) as u64;
        u8::try_from((part * LOUDEST + MATRIX_LOUDEST / 2) / MATRIX_LOUDEST).unwrap_or(100)
    };
    (0..PARTS)
        .map(|part| {
            let from = part * parts.len() / PARTS;
            let to = ((part + 1) * parts.len() / PARTS).max(from + 1);
            let these = parts.get(from..to).unwrap_or_default();
            these.iter().map(loudness).max().unwrap_or_default()
        })
        .collect()
}

/// The media type of a file whose sender says none, by its name.
fn guess(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    match &*ending.to_ascii_lowercase() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "mp4" | "m4v" => "video/mp4",
        "3gp" => "video/3gpp",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "aac" => "audio/aac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "pdf" => "application/pdf",
        "vcf" => "text/vcard",
        _ => "application/octet-stream",
    }
}
