//! A Matrix message as WhatsApp text.

use gatekeeper::message::Body;
use ruma::events::room::message::{
    FormattedBody, MessageFormat, MessageType, Relation, RoomMessageEventContent,
    sanitize::remove_plain_reply_fallback,
};

use super::{Refusal, html};

/// What a translation depends on besides the message and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether notices (`m.notice`, what bots write) cross.
    pub notices: bool,
    /// Longest text, in characters.
    pub max_chars: usize,
}

impl Default for Options {
    /// No notices, and as many characters as WhatsApp's own clients take.
    fn default() -> Self {
        Self {
            notices: false,
            max_chars: 65_536,
        }
    }
}

/// Translates a message: formatting becomes marks, and what marks cannot say becomes text. The text is whole or
/// it is refused, never cut. Nothing comes out for what is not meant for the other side: notices, as bots write them.
///
/// `sender_name` is what an emote begins with.
///
/// # Errors
///
/// A [`Refusal`] that says to the sender why the message does not cross.
pub fn to_whatsapp(
    content: &RoomMessageEventContent,
    sender_name: &str,
    options: &Options,
) -> Result<Option<Body>, Refusal> {
    let is_reply = match &content.relates_to {
        Some(Relation::Replacement(_)) => return Err(Refusal::Edit),
        Some(Relation::Reply { .. } | Relation::Thread(_)) => true,
        _ => false,
    };
    let text = match &content.msgtype {
        MessageType::Text(text) => plain(&text.body, text.formatted.as_ref(), is_reply),
        MessageType::Emote(emote) => {
            let action = plain(&emote.body, emote.formatted.as_ref(), is_reply);
            if action.trim().is_empty() {
                return Err(Refusal::Empty);
            }
            format!("* {sender_name} {action}")
        }
        MessageType::Notice(notice) if options.notices => {
            plain(&notice.body, notice.formatted.as_ref(), is_reply)
        }
        MessageType::Notice(_) | MessageType::ServerNotice(_) => return Ok(None),
        other => return Err(Refusal::Kind { what: kind(other) }),
    };
    if text.trim().is_empty() {
        return Err(Refusal::Empty);
    }
    let length = text.chars().count();
    if length > options.max_chars {
        return Err(Refusal::TooLong {
            length,
            limit: options.max_chars,
        });
    }
    Ok(Some(Body::text(text)))
}

fn plain(body: &str, formatted: Option<&FormattedBody>, is_reply: bool) -> String {
    let html = formatted.filter(|formatted| formatted.format == MessageFormat::Html);
    if let Some(text) = html.and_then(|html| html::render(&html.body))
        && !text.trim().is_empty()
    {
        return text;
    }
    // The quote of the message that is answered; HTML has an element of its own for it.
    let body = if is_reply {
        remove_plain_reply_fallback(body)
    } else {
        body
    };
    body.to_owned()
}

/// What a message that cannot cross is called.
fn kind(message: &MessageType) -> &'static str {
    match message {
        MessageType::Image(_) => "a picture",
        MessageType::Video(_) => "a video",
        MessageType::Audio(_) => "a voice message or other audio",
        MessageType::File(_) => "a file",
        MessageType::Location(_) => "a location",
        MessageType::VerificationRequest(_) => "a request to verify",
        _ => "a message of this kind",
    }
}

#[cfg(test)]
mod tests;
