//! Names for the kinds of messages that this version does not carry.

use waproto::tags::message as tag;

use super::{MalformedMessage, wire::Fields};

/// Names the content of a message (wrappers taken off), for people.
pub(super) fn name(message: &[u8]) -> Result<String, MalformedMessage> {
    let mut beside = None;
    for field in Fields::of(message) {
        let (number, _) = field?;
        match number {
            // These come beside the content, or alone when keys are handed out.
            tag::MESSAGE_CONTEXT_INFO
            | tag::SENDER_KEY_DISTRIBUTION_MESSAGE
            | tag::FAST_RATCHET_KEY_SENDER_KEY_DISTRIBUTION_MESSAGE => beside = Some(number),
            _ => return Ok(of_field(number).map_or_else(|| format!("field {number}"), Into::into)),
        }
    }
    Ok(match beside {
        Some(
            tag::SENDER_KEY_DISTRIBUTION_MESSAGE
            | tag::FAST_RATCHET_KEY_SENDER_KEY_DISTRIBUTION_MESSAGE,
        ) => "group key",
        _ => "empty message",
    }
    .to_owned())
}

const fn of_field(number: u32) -> Option<&'static str> {
    Some(match number {
        tag::CONVERSATION | tag::EXTENDED_TEXT_MESSAGE => "text",
        tag::IMAGE_MESSAGE => "image",
        tag::CONTACT_MESSAGE | tag::CONTACTS_ARRAY_MESSAGE => "contact",
        tag::LOCATION_MESSAGE => "location",
        tag::LIVE_LOCATION_MESSAGE => "live location",
        tag::DOCUMENT_MESSAGE | tag::DOCUMENT_WITH_CAPTION_MESSAGE => "document",
        tag::AUDIO_MESSAGE => "audio",
        tag::VIDEO_MESSAGE => "video",
        tag::PTV_MESSAGE => "round video",
        tag::STICKER_MESSAGE | tag::LOTTIE_STICKER_MESSAGE | tag::STICKER_PACK_MESSAGE => "sticker",
        tag::CALL | tag::CALL_LOG_MESSSAGE | tag::BCALL_MESSAGE => "call",
        tag::SCHEDULED_CALL_CREATION_MESSAGE | tag::SCHEDULED_CALL_EDIT_MESSAGE => "scheduled call",
        tag::PROTOCOL_MESSAGE => "protocol message",
        tag::REACTION_MESSAGE | tag::ENC_REACTION_MESSAGE => "reaction",
        tag::VIEW_ONCE_MESSAGE
        | tag::VIEW_ONCE_MESSAGE_V2
        | tag::VIEW_ONCE_MESSAGE_V2_EXTENSION => "view-once message",
        tag::EPHEMERAL_MESSAGE => "disappearing message",
        tag::EDITED_MESSAGE | tag::SECRET_ENCRYPTED_MESSAGE => "edit",
        tag::POLL_CREATION_MESSAGE
        | tag::POLL_CREATION_MESSAGE_V2
        | tag::POLL_CREATION_MESSAGE_V3
        | tag::POLL_CREATION_MESSAGE_V4
        | tag::POLL_CREATION_MESSAGE_V5
        | tag::POLL_CREATION_MESSAGE_V6 => "poll",
        tag::POLL_UPDATE_MESSAGE => "poll vote",
        tag::POLL_RESULT_SNAPSHOT_MESSAGE | tag::POLL_RESULT_SNAPSHOT_MESSAGE_V3 => "poll result",
        tag::ALBUM_MESSAGE => "album",
        tag::GROUP_INVITE_MESSAGE => "group invitation",
        tag::PIN_IN_CHAT_MESSAGE => "pin",
        tag::KEEP_IN_CHAT_MESSAGE => "keep in chat",
        tag::EVENT_MESSAGE | tag::EVENT_INVITE_MESSAGE => "event",
        tag::COMMENT_MESSAGE | tag::ENC_COMMENT_MESSAGE => "comment",
        tag::PRODUCT_MESSAGE | tag::ORDER_MESSAGE | tag::INVOICE_MESSAGE => "shop message",
        tag::SEND_PAYMENT_MESSAGE
        | tag::REQUEST_PAYMENT_MESSAGE
        | tag::DECLINE_PAYMENT_REQUEST_MESSAGE
        | tag::CANCEL_PAYMENT_REQUEST_MESSAGE
        | tag::PAYMENT_INVITE_MESSAGE
        | tag::PAYMENT_REMINDER_MESSAGE
        | tag::SPLIT_PAYMENT_MESSAGE => "payment",
        tag::HIGHLY_STRUCTURED_MESSAGE
        | tag::TEMPLATE_MESSAGE
        | tag::TEMPLATE_BUTTON_REPLY_MESSAGE
        | tag::LIST_MESSAGE
        | tag::LIST_RESPONSE_MESSAGE
        | tag::BUTTONS_MESSAGE
        | tag::BUTTONS_RESPONSE_MESSAGE
        | tag::INTERACTIVE_MESSAGE
        | tag::INTERACTIVE_RESPONSE_MESSAGE => "interactive message",
        tag::REQUEST_PHONE_NUMBER_MESSAGE => "request for the phone number",
        tag::DEVICE_SENT_MESSAGE => "copy for an own device",
        tag::PLACEHOLDER_MESSAGE => "placeholder",
        _ => return None,
    })
}
