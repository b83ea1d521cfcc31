//! Translation between Matrix messages and WhatsApp text: pure functions, nothing stored, nothing logged.

mod fitting;
mod html;
mod marks;
mod matrix_to_whatsapp;
pub mod media;
mod places;
mod whatsapp_to_matrix;

use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation as _;

pub use self::{
    fitting::{beginning, bounded, edit, fits},
    matrix_to_whatsapp::{above, caption_of, plain_words, to_whatsapp},
    whatsapp_to_matrix::{note_below, replacement, to_matrix},
};
use crate::capabilities::Feature;

/// Why a message cannot go to WhatsApp. The text is for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no text in it.
    #[error("there is nothing in this message that WhatsApp could show")]
    Empty,
    /// It is longer than WhatsApp takes.
    #[error("this message has {length} characters and WhatsApp takes {limit}: send it in parts")]
    TooLong {
        /// Its length in characters, as WhatsApp would get it.
        length: usize,
        /// The longest possible.
        limit: usize,
    },
    /// A kind that the other side is not shown, in the words of the table.
    #[error("{0}")]
    NotAccepted(&'static str),
    /// A file that is larger than WhatsApp takes.
    #[error("the file is too large: WhatsApp takes {}", bytes(*.limit))]
    TooLarge {
        /// The most bytes.
        limit: u64,
    },
    /// A file that is not there.
    #[error("there is no file in it that could be sent")]
    NoFile,
    /// A place that is nowhere on earth.
    #[error("this location has no place on earth")]
    Nowhere,
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = "bytes";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "bytes" || value.fract() < 0.05 || value >= 100.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// Which feature an event that is no message belongs to; nothing for events that are not meant for the other side.
#[must_use]
pub fn feature_of(event_type: &str, content: &Value) -> Option<Feature> {
    Some(match event_type {
        "m.sticker" => Feature::Sticker,
        "m.call.invite" | "m.call.notify" | "org.matrix.msc4075.rtc.notification" => Feature::Call,
        "m.poll.start"
        | "org.matrix.msc3381.poll.start"
        | "m.poll.response"
        | "org.matrix.msc3381.poll.response"
        | "m.poll.end"
        | "org.matrix.msc3381.poll.end" => Feature::Poll,
        // One for the whole walk: the places that follow (`m.beacon`) come every few seconds.
        "m.beacon_info" | "org.matrix.msc3672.beacon_info" if content["live"] == true => {
            Feature::LiveLocation
        }
        _ => return None,
    })
}

/// Whether this is one emoji, as WhatsApp takes it for a reaction, of at most `max_bytes`.
#[must_use]
pub fn is_emoji(text: &str, max_bytes: usize) -> bool {
    let is_sign = |c: char| {
        // Keycaps begin with a digit, and two old signs are below the rest.
        matches!(c, '0'..='9' | '#' | '*' | '©' | '®') || (c >= '\u{200d}' && !c.is_alphanumeric())
    };
    !text.is_empty()
        && text.len() <= max_bytes
        && text.chars().all(is_sign)
        && !text.is_ascii()
        && !text.chars().any(char::is_whitespace)
        && text.graphemes(true).nth(1).is_none()
}

/// The content of an `m.notice`, for what can only be told about.
fn notice(text: &str) -> Value {
    serde_json::json!({ "msgtype": "m.notice", "body": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_and_what_is_none() {
        for emoji in ["👍", "❤️", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "🇪🇺", "©️", "👍🏽", "⁉️"]
        {
            assert!(is_emoji(emoji, 64), "{emoji}");
        }
        let bomb = "👍".repeat(10_000);
        for text in [
            "",
            "a",
            "ok",
            "mxc://localhost/a",
            "1",
            "é",
            "да",
            "👍 👍",
            "👍👍",
            "🇪🇺🇩🇪",
            "👍a",
            " ",
            "文",
            &bomb,
        ] {
            assert!(!is_emoji(text, 64), "{text}");
        }
    }
}
