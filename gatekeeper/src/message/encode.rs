//! [`Body`] to protobuf.

use waproto::{
    buffa::MessageField,
    codec,
    whatsapp::{self as schema, message as kind, message::protocol_message::Type},
};

use super::{Body, MessageKey, Quote};

/// A body that cannot be sent, because it was never understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of kind \"{kind}\" cannot be sent by this version")]
pub struct Unsendable {
    /// The kind, for people.
    pub kind: String,
}

/// Writes the message protobuf (without padding).
pub fn encode(body: &Body) -> Result<Vec<u8>, Unsendable> {
    Ok(codec::message_to_vec(&message(body)?))
}

fn message(body: &Body) -> Result<schema::Message, Unsendable> {
    let mut message = schema::Message::default();
    match body {
        Body::Text {
            text,
            reply_to: None,
        } => message.conversation = Some(text.clone()),
        Body::Text {
            text,
            reply_to: Some(quote),
        } => {
            message.extended_text_message = MessageField::some(kind::ExtendedTextMessage {
                text: Some(text.clone()),
                context_info: MessageField::some(context(quote)),
                ..Default::default()
            });
        }
        Body::Reaction {
            target,
            emoji,
            timestamp_ms,
        } => {
            message.reaction_message = MessageField::some(kind::ReactionMessage {
                key: MessageField::some(key(target)),
                text: Some(emoji.clone()),
                sender_timestamp_ms: Some(*timestamp_ms),
                ..Default::default()
            });
        }
        Body::Revoke { target } => {
            message.protocol_message = MessageField::some(kind::ProtocolMessage {
                key: MessageField::some(key(target)),
                r#type: Some(Type::REVOKE),
                ..Default::default()
            });
        }
        Body::Edit {
            target,
            body,
            timestamp_ms,
        } => {
            let edit = kind::ProtocolMessage {
                key: MessageField::some(key(target)),
                r#type: Some(Type::MESSAGE_EDIT),
                edited_message: MessageField::some(self::message(body)?),
                timestamp_ms: Some(*timestamp_ms),
                ..Default::default()
            };
            message.edited_message = MessageField::some(kind::FutureProofMessage {
                message: MessageField::some(schema::Message {
                    protocol_message: MessageField::some(edit),
                    ..Default::default()
                }),
            });
        }
        Body::Unknown { kind } => return Err(Unsendable { kind: kind.clone() }),
    }
    Ok(message)
}

fn context(quote: &Quote) -> schema::ContextInfo {
    // What cannot be written down again (a kind that we do not carry) is quoted as an empty text:
    // clients show the answer under an empty box, which is better than losing the reference.
    let quoted = quote.body.as_deref().map(|body| match without_quote(body) {
        Ok(message) => message,
        Err(Unsendable { .. }) => schema::Message {
            conversation: Some(String::new()),
            ..Default::default()
        },
    });
    schema::ContextInfo {
        stanza_id: Some(quote.stanza_id.clone()),
        participant: quote.participant.clone(),
        quoted_message: quoted.map_or_else(MessageField::none, MessageField::some),
        ..Default::default()
    }
}

/// A quoted message carries no quote of its own.
fn without_quote(body: &Body) -> Result<schema::Message, Unsendable> {
    match body {
        Body::Text { text, .. } => message(&Body::text(text.as_str())),
        other => message(other),
    }
}

fn key(key: &MessageKey) -> schema::MessageKey {
    schema::MessageKey {
        remote_jid: key.remote_jid.clone(),
        from_me: Some(key.from_me),
        id: Some(key.id.clone()),
        participant: key.participant.clone(),
    }
}
