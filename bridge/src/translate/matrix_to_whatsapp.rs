//! A Matrix message as a WhatsApp message.

use gatekeeper::message::Body;
use ruma::events::room::message::{
    FormattedBody, MessageFormat, MessageType, sanitize::remove_plain_reply_fallback,
};

use super::{Refusal, html, places};
use crate::capabilities::{Capabilities, Feature, Level};

/// Translates what a message says: formatting becomes marks, and what marks cannot say becomes text. The text is whole or
/// it is refused, never cut. Nothing comes out for what is not meant for the other side: notices, as bots write them.
///
/// `is_answer` says that a quotation at its beginning only repeats what it answers; `sender_name` is what an emote begins
/// with. Files are not translated here.
///
/// # Errors
///
/// A [`Refusal`] that says to the sender why the message does not cross.
pub fn to_whatsapp(
    message: &MessageType,
    is_answer: bool,
    sender_name: &str,
    capabilities: &Capabilities,
) -> Result<Option<Body>, Refusal> {
    let text = match message {
        MessageType::Text(text) => plain(&text.body, text.formatted.as_ref(), is_answer),
        MessageType::Emote(emote) => {
            let action = plain(&emote.body, emote.formatted.as_ref(), is_answer);
            if action.trim().is_empty() {
                return Err(Refusal::Empty);
            }
            format!("* {sender_name} {action}")
        }
        MessageType::Notice(notice) if capabilities.has(Feature::Notice) => {
            plain(&notice.body, notice.formatted.as_ref(), is_answer)
        }
        MessageType::Notice(_) | MessageType::ServerNotice(_) => return Ok(None),
        MessageType::Location(place) => {
            let place = places::to_whatsapp(place).ok_or(Refusal::Nowhere)?;
            if capabilities.to_whatsapp(Feature::Location).level == Level::Full {
                return Ok(Some(Body::Location(place)));
            }
            places::as_text(&place)
        }
        other => {
            let way = capabilities.to_whatsapp(feature(other));
            return match way.level {
                Level::Dropped => Ok(None),
                _ => Err(Refusal::NotAccepted(way.words)),
            };
        }
    };
    if text.trim().is_empty() {
        return Err(Refusal::Empty);
    }
    let (length, limit) = (text.chars().count(), capabilities.limits().text_chars);
    if length > limit {
        return Err(Refusal::TooLong { length, limit });
    }
    Ok(Some(Body::text(text)))
}

/// `text` with the quoted words above it. Where both together are too long, the quotation gives way.
#[must_use]
pub fn above(quoted: &str, text: &str, max_chars: usize) -> String {
    let mut whole = String::new();
    for line in quoted.lines() {
        whole.push_str("> ");
        whole.push_str(line);
        whole.push('\n');
    }
    whole.push_str(text);
    if whole.chars().count() > max_chars {
        text.to_owned()
    } else {
        whole
    }
}

/// The plain words of a message that came from WhatsApp: in them its marks are as they were.
#[must_use]
pub fn plain_words(message: &MessageType) -> Option<String> {
    match message {
        MessageType::Text(text) => Some(text.body.clone()),
        MessageType::Location(place) => Some(place.body.clone()),
        other => caption_of(other).filter(|caption| !caption.is_empty()),
    }
}

/// What stands under a file, empty for nothing; `None` if the message is no file.
#[must_use]
pub fn caption_of(message: &MessageType) -> Option<String> {
    let (caption, formatted) = match message {
        MessageType::Image(file) => (file.caption(), file.formatted_caption()),
        MessageType::Video(file) => (file.caption(), file.formatted_caption()),
        MessageType::Audio(file) => (file.caption(), file.formatted_caption()),
        MessageType::File(file) => (file.caption(), file.formatted_caption()),
        _ => return None,
    };
    Some(caption.map_or_else(String::new, |caption| plain(caption, formatted, false)))
}

fn plain(body: &str, formatted: Option<&FormattedBody>, is_answer: bool) -> String {
    let html = formatted.filter(|formatted| formatted.format == MessageFormat::Html);
    if let Some(text) = html.and_then(|html| html::render(&html.body))
        && !text.trim().is_empty()
    {
        return text;
    }
    // The quote of the message that is answered; HTML has an element of its own for it.
    let body = if is_answer {
        remove_plain_reply_fallback(body)
    } else {
        body
    };
    body.to_owned()
}

fn feature(message: &MessageType) -> Feature {
    match message {
        MessageType::Image(_) => Feature::Image,
        MessageType::Video(_) => Feature::Video,
        MessageType::Audio(_) => Feature::Audio,
        MessageType::File(_) => Feature::File,
        _ => Feature::Unknown,
    }
}

#[cfg(test)]
mod tests;
