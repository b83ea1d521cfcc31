//! A Matrix message as WhatsApp text.

use ruma::events::room::message::RoomMessageEventContent;

use super::Refusal;

/// What a translation depends on besides the message.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Display name of the sender, which an emote begins with.
    pub sender_name: &'a str,
    /// Whether notices (`m.notice`, what bots write) cross.
    pub notices: bool,
    /// Longest text, in characters.
    pub max_chars: usize,
}

/// Translates a message.
pub fn to_whatsapp(
    content: &RoomMessageEventContent,
    options: &Options<'_>,
) -> Result<String, Refusal> {
    let _ = (content, options);
    Err(Refusal::Empty)
}
