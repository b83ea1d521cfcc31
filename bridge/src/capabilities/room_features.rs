//! The table as the content of a `com.beeper.room_features` state event.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Capabilities, Feature, Level, Way};

/// Version of the content's form. A new one is sent to every portal although no capability changed.
const VERSION: u32 = 1;

/// The support level as clients read it: rejected, dropped with the rest of the message, not there but with a
/// fallback, partial, full.
fn level(way: Way) -> i8 {
    match way.level {
        Level::Refused => -2,
        Level::Dropped => -1,
        Level::Placeholder | Level::Absent => 0,
        Level::Partial => 1,
        Level::Full => 2,
    }
}

impl Capabilities {
    /// The content of the state event. `id` changes when anything in it does.
    #[must_use]
    pub fn room_features(&self) -> Value {
        let mut content = self.content();
        // The keys of a JSON map are sorted here, so equal content is equal bytes.
        let digest = Sha256::digest(content.to_string());
        let id = hex::encode(digest.get(..8).unwrap_or_default());
        content["id"] = json!(format!("gatehouse.v{VERSION}.{id}"));
        content
    }

    fn content(&self) -> Value {
        let of = |feature| level(self.to_whatsapp(feature));
        let limits = self.limits();
        let mut content = json!({
            "formatting": self.formatting(),
            "file": self.files(),
            "max_text_length": limits.text_chars,
            "location_message": of(Feature::Location),
            "poll": of(Feature::Poll),
            "thread": of(Feature::Thread),
            "reply": of(Feature::Reply),
            "edit": of(Feature::Edit),
            "delete": of(Feature::Delete),
            "reaction": of(Feature::Reaction),
            "reaction_count": 1,
            "read_receipts": of(Feature::ReadReceipt) > 0,
            "typing_notifications": of(Feature::Typing) > 0,
        });
        for (feature, key, seconds) in [
            (Feature::Edit, "edit_max_age", limits.edit_seconds),
            (Feature::Delete, "delete_max_age", limits.delete_seconds),
        ] {
            if of(feature) > 0 {
                content[key] = json!(seconds);
            }
        }
        content
    }

    fn formatting(&self) -> Value {
        let mark = 2;
        let text = level(self.to_whatsapp(Feature::Formatting));
        json!({
            "bold": mark, "italic": mark, "strikethrough": mark, "inline_code": mark, "code_block": mark,
            "blockquote": mark, "unordered_list": mark, "ordered_list": mark, "ordered_list.start": mark,
            "inline_link": text, "headers": text, "horizontal_line": text, "table": text, "spoiler": text,
            "spoiler.reason": text, "details_summary": text, "custom_emoji": text,
            "user_link": level(self.to_whatsapp(Feature::Mention)),
            "room_link": text, "event_link": text,
            "underline": -1, "code_block.syntax_highlighting": -1, "color.foreground": -1,
            "color.background": -1, "superscript": -1, "subscript": -1, "math": -1,
        })
    }

    fn files(&self) -> Value {
        let mut files = Map::new();
        for (kind, feature, types) in [
            (
                "m.image",
                Feature::Image,
                &["image/jpeg", "image/png", "image/webp"][..],
            ),
            ("m.video", Feature::Video, &["video/mp4", "video/3gpp"]),
            ("fi.mau.gif", Feature::Gif, &["video/mp4"]),
            (
                "m.audio",
                Feature::Audio,
                &[
                    "audio/aac",
                    "audio/amr",
                    "audio/mpeg",
                    "audio/mp4",
                    "audio/ogg",
                ],
            ),
            (
                "org.matrix.msc3245.voice",
                Feature::Voice,
                &["audio/ogg", "audio/ogg; codecs=opus"],
            ),
            (
                "m.sticker",
                Feature::Sticker,
                &["image/webp", "image/png", "image/jpeg"],
            ),
            ("m.file", Feature::File, &["*/*"]),
        ] {
            let here = level(self.to_whatsapp(feature));
            let mut types: Map<String, Value> = types
                .iter()
                .map(|kind| ((*kind).to_owned(), json!(here)))
                .collect();
            // Other formats go as files.
            let other = level(self.to_whatsapp(Feature::File)).min(1);
            types
                .entry("*/*")
                .or_insert(json!(if here > 0 { other } else { here }));
            let caption = match feature {
                Feature::Audio | Feature::Voice => 1,
                _ => level(self.to_whatsapp(Feature::Caption)),
            };
            files.insert(
                kind.to_owned(),
                json!({
                    "mime_types": types,
                    "caption": caption,
                    "max_caption_length": self.limits().text_chars,
                    "max_size": self.limits().file_bytes,
                }),
            );
        }
        files.into()
    }
}
