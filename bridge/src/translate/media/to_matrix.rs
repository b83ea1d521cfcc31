//! A WhatsApp message with a file as a Matrix event.

use gatekeeper::message::{Contact, Media, MediaKind};
use ruma::events::room::EncryptedFile;
use serde_json::{Map, Value, json};

use super::essence;
use crate::translate::{beginning, fits, whatsapp_to_matrix::text_content};

/// The loudest part of a waveform on Matrix (MSC1767) and on WhatsApp.
const LOUDEST: u32 = 1024;
const WHATSAPP_LOUDEST: u32 = 100;

/// A file at the homeserver.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Where it is, and what opens it.
    pub file: EncryptedFile,
    /// Bytes.
    pub size: u64,
}

/// A message's files at the homeserver.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The file itself.
    pub main: Attached,
    /// A small JPEG of it.
    pub thumbnail: Option<Attached>,
}

/// The content of the `m.room.message` for a file that came from WhatsApp.
#[must_use]
pub fn event(media: &Media, uploaded: &Uploaded) -> Value {
    let name = file_name(media);
    let msgtype = match media.kind {
        MediaKind::Image | MediaKind::Sticker => "m.image",
        MediaKind::Video | MediaKind::Gif | MediaKind::RoundVideo => "m.video",
        MediaKind::Audio | MediaKind::Voice => "m.audio",
        MediaKind::Document => "m.file",
    };
    let mut content = match media.caption.as_deref().filter(|text| !text.is_empty()) {
        Some(caption) if fits(caption, None) => text_content(caption),
        Some(caption) => text_content(&format!(
            "{}\n({} characters in all, too many to be shown here: ask the sender to write them as a message of their own)",
            beginning(caption),
            caption.chars().count()
        )),
        None => json!({ "body": name }),
    };
    content["msgtype"] = msgtype.into();
    content["filename"] = name.into();
    content["file"] = json!(uploaded.main.file);
    content["info"] = info(media, uploaded);
    if matches!(media.kind, MediaKind::Voice) {
        content["org.matrix.msc3245.voice"] = json!({});
        let mut audio = Map::new();
        if let Some(seconds) = media.seconds {
            audio.insert("duration".to_owned(), milliseconds(seconds).into());
        }
        if !media.waveform.is_empty() {
            let loudness = |part: &u8| {
                let part = u32::from(*part).min(WHATSAPP_LOUDEST);
                (part * LOUDEST + WHATSAPP_LOUDEST / 2) / WHATSAPP_LOUDEST
            };
            let waveform: Vec<u32> = media.waveform.iter().map(loudness).collect();
            audio.insert("waveform".to_owned(), waveform.into());
        }
        content["org.matrix.msc1767.audio"] = audio.into();
    }
    content
}

fn info(media: &Media, uploaded: &Uploaded) -> Value {
    let mut info = json!({ "size": uploaded.main.size });
    if !media.mimetype.is_empty() {
        info["mimetype"] = media.mimetype.as_str().into();
    }
    if let Some(width) = media.width.filter(|width| *width > 0) {
        info["w"] = width.into();
    }
    if let Some(height) = media.height.filter(|height| *height > 0) {
        info["h"] = height.into();
    }
    if let Some(seconds) = media.seconds {
        info["duration"] = milliseconds(seconds).into();
    }
    if media.kind == MediaKind::Gif {
        for key in [
            "fi.mau.gif",
            "fi.mau.loop",
            "fi.mau.autoplay",
            "fi.mau.hide_controls",
            "fi.mau.no_audio",
        ] {
            info[key] = true.into();
        }
    }
    if let Some(thumbnail) = &uploaded.thumbnail {
        info["thumbnail_file"] = json!(thumbnail.file);
        info["thumbnail_info"] = json!({ "mimetype": "image/jpeg", "size": thumbnail.size });
    }
    info
}

fn milliseconds(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

/// What a file is called: by its sender, or by what it is.
#[must_use]
pub fn file_name(media: &Media) -> String {
    let named = media.file_name.as_deref().map(str::trim);
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return beginning(name);
    }
    let essence = essence(&media.mimetype);
    let stem = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Video | MediaKind::Gif | MediaKind::RoundVideo => "video",
        MediaKind::Audio => "audio",
        MediaKind::Voice => "voice-message",
        MediaKind::Document => "file",
        MediaKind::Sticker => "sticker",
    };
    let ending = match &*essence {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "video/mp4" => "mp4",
        "video/3gpp" => "3gp",
        "audio/mpeg" => "mp3",
        "audio/mp4" => "m4a",
        "audio/aac" => "aac",
        "audio/amr" => "amr",
        "audio/ogg" => "ogg",
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        _ => return stem.to_owned(),
    };
    format!("{stem}.{ending}")
}

/// A text that is too long for an event, as a file: its name, and what is said with it.
#[must_use]
pub fn long_text(text: &str) -> (String, String) {
    let caption = format!("{}\n(The whole text is in this file.)", beginning(text));
    ("message.txt".to_owned(), caption)
}

/// Contacts as one vCard file: its name, and what is in it.
#[must_use]
pub fn vcards(contacts: &[Contact]) -> (String, Vec<u8>) {
    let name = match contacts {
        [one] => {
            let name: String = one
                .name
                .chars()
                .filter(|c| !c.is_control() && !matches!(c, '/' | '\\' | ':'))
                .take(100)
                .collect();
            match name.trim().trim_matches('.') {
                "" => "contact".to_owned(),
                name => name.to_owned(),
            }
        }
        several => format!("{} contacts", several.len()),
    };
    let mut file = String::new();
    for contact in contacts {
        file.push_str(contact.vcard.trim_end());
        file.push_str("\r\n");
    }
    (format!("{name}.vcf"), file.into_bytes())
}
