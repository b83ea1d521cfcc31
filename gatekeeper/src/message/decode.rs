//! Protobuf to [`Body`].

use waproto::{
    codec,
    whatsapp::{self as schema, message as kind, message::protocol_message::Type},
};

use super::{Body, MalformedMessage, MessageKey, Quote, kinds, wire};

/// Reads a message protobuf (without padding).
///
/// Fails only when the bytes are no protobuf at all; whatever is not understood is
/// [`Body::Unknown`].
pub fn decode(content: &[u8]) -> Result<Body, MalformedMessage> {
    decode_nested(content, MAX_NESTED)
}

/// A message in a message: the content of an edit, and the quoted message of a reply.
const MAX_NESTED: u8 = 2;

/// `nested`: how many more messages inside this one are read.
fn decode_nested(content: &[u8], nested: u8) -> Result<Body, MalformedMessage> {
    let content = wire::unwrap(content)?;
    let message = codec::message_decode(content)
        .map_err(|_| MalformedMessage("its fields do not fit the schema"))?;
    let known = if let Some(text) = message.conversation {
        Some(Body::text(text))
    } else if let Some(extended) = message.extended_text_message.into_option() {
        text(extended, nested)
    } else if let Some(reaction) = message.reaction_message.into_option() {
        self::reaction(reaction)
    } else if let Some(protocol) = message.protocol_message.into_option() {
        self::protocol(protocol, nested)
    } else {
        None
    };
    match known {
        Some(body) => Ok(body),
        None => Ok(Body::Unknown {
            kind: kinds::name(content)?,
        }),
    }
}

fn text(extended: kind::ExtendedTextMessage, nested: u8) -> Option<Body> {
    let reply_to = extended
        .context_info
        .into_option()
        .and_then(|context| quote(context, nested));
    Some(Body::Text {
        text: extended.text?,
        reply_to,
    })
}

fn quote(context: schema::ContextInfo, nested: u8) -> Option<Quote> {
    let stanza_id = context.stanza_id.filter(|id| !id.is_empty())?;
    let body = context
        .quoted_message
        .into_option()
        .and_then(|quoted| inner(&quoted, nested));
    Some(Quote {
        stanza_id,
        participant: context.participant,
        body,
    })
}

/// Reads a message inside of the message. It has been parsed once, so this fails only by depth.
fn inner(message: &schema::Message, nested: u8) -> Option<Box<Body>> {
    let nested = nested.checked_sub(1)?;
    decode_nested(&codec::message_to_vec(message), nested)
        .ok()
        .map(Box::new)
}

fn reaction(reaction: kind::ReactionMessage) -> Option<Body> {
    Some(Body::Reaction {
        target: key(reaction.key.into_option()?)?,
        emoji: reaction.text.unwrap_or_default(),
        timestamp_ms: reaction.sender_timestamp_ms.unwrap_or_default(),
    })
}

fn protocol(protocol: kind::ProtocolMessage, nested: u8) -> Option<Body> {
    let target = protocol.key.into_option().and_then(key);
    match protocol.r#type {
        Some(Type::REVOKE) => Some(Body::Revoke { target: target? }),
        Some(Type::MESSAGE_EDIT) => {
            let body = inner(&protocol.edited_message.into_option()?, nested)?;
            // An edit replaces content by content; anything else in it makes no sense.
            if !matches!(*body, Body::Text { .. } | Body::Unknown { .. }) {
                return None;
            }
            let timestamp_ms = protocol.timestamp_ms.unwrap_or_default();
            Some(Body::Edit {
                target: target?,
                body,
                timestamp_ms,
            })
        }
        Some(Type::EPHEMERAL_SETTING) => Some(Body::Unknown {
            kind: "disappearing-messages setting".to_owned(),
        }),
        // A type that is absent or newer than the schema is not a deletion, although zero, the
        // number of a deletion, would be the default of the field.
        _ => None,
    }
}

fn key(key: schema::MessageKey) -> Option<MessageKey> {
    Some(MessageKey {
        id: key.id.filter(|id| !id.is_empty())?,
        from_me: key.from_me.unwrap_or_default(),
        remote_jid: key.remote_jid,
        participant: key.participant,
    })
}
