//! Translation between Matrix messages and WhatsApp text: pure functions, nothing stored, nothing logged.

mod html;
mod marks;
mod matrix_to_whatsapp;
mod whatsapp_to_matrix;

use serde_json::Value;

pub use self::{
    matrix_to_whatsapp::{Options, to_whatsapp},
    whatsapp_to_matrix::to_matrix,
};

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
    /// A kind of message that does not cross.
    #[error("{what} cannot be sent to WhatsApp yet: only text can")]
    Kind {
        /// What it is, as the subject of a sentence: "a picture".
        what: &'static str,
    },
    /// An edit of an earlier message.
    #[error("an edit cannot be sent to WhatsApp yet: the other side keeps the first version")]
    Edit,
    /// A deletion of an earlier message.
    #[error("a deletion cannot be sent to WhatsApp yet: the other side still has the message")]
    Deletion,
}

/// What to tell the sender of an event that is no message; nothing for events that are not meant for the other side.
#[must_use]
pub fn refusal_for(event_type: &str) -> Option<Refusal> {
    let what = match event_type {
        "m.room.redaction" => return Some(Refusal::Deletion),
        "m.reaction" => "a reaction",
        "m.sticker" => "a sticker",
        "m.call.invite" | "m.call.notify" | "org.matrix.msc4075.rtc.notification" => "a call",
        "m.poll.start" | "org.matrix.msc3381.poll.start" => "a poll",
        "m.poll.response" | "org.matrix.msc3381.poll.response" => "a vote",
        "m.location" | "m.beacon_info" | "org.matrix.msc3672.beacon_info" => "a location",
        _ => return None,
    };
    Some(Refusal::Kind { what })
}

/// The content of an `m.notice`, for what can only be told about.
fn notice(text: &str) -> Value {
    serde_json::json!({ "msgtype": "m.notice", "body": text })
}
