//! [`Body`] to protobuf.

mod media;

use waproto::{
    buffa::MessageField,
    codec,
    whatsapp::{self as schema, message as kind, message::protocol_message::Type},
};

use super::{Body, Contact, Context, Location, MessageKey, Quote};

/// A body that cannot be sent: it was never understood, or WhatsApp has no place for a part of it.
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
        Body::Text { text, context } => match self::context(context) {
            None => message.conversation = Some(text.clone()),
            Some(context) => {
                message.extended_text_message = MessageField::some(kind::ExtendedTextMessage {
                    text: Some(text.clone()),
                    context_info: MessageField::some(context),
                    ..Default::default()
                });
            }
        },
        Body::Media(media) => return media::message(media),
        Body::Location(location) => {
            message.location_message = MessageField::some(self::location(location));
        }
        Body::Contacts { contacts, context } => contacts_message(&mut message, contacts, context)?,
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
            message.edited_message = wrapped(schema::Message {
                protocol_message: MessageField::some(edit),
                ..Default::default()
            });
        }
        Body::Timer { seconds } => {
            let setting = kind::ProtocolMessage {
                r#type: Some(Type::EPHEMERAL_SETTING),
                ephemeral_expiration: Some(*seconds),
                ..Default::default()
            };
            message.ephemeral_message = wrapped(schema::Message {
                protocol_message: MessageField::some(setting),
                ..Default::default()
            });
        }
        Body::Unknown { kind } => return Err(Unsendable { kind: kind.clone() }),
    }
    Ok(message)
}

fn wrapped(message: schema::Message) -> MessageField<kind::FutureProofMessage> {
    MessageField::some(kind::FutureProofMessage {
        message: MessageField::some(message),
    })
}

fn location(location: &Location) -> kind::LocationMessage {
    kind::LocationMessage {
        degrees_latitude: Some(location.latitude),
        degrees_longitude: Some(location.longitude),
        name: location.name.clone(),
        address: location.address.clone(),
        accuracy_in_meters: location.accuracy_m,
        jpeg_thumbnail: location.thumbnail.clone(),
        context_info: context(&location.context).into(),
        ..Default::default()
    }
}

fn contacts_message(
    message: &mut schema::Message,
    contacts: &[Contact],
    context: &Context,
) -> Result<(), Unsendable> {
    let context_info: MessageField<_> = self::context(context).into();
    let contact = |contact: &Contact| kind::ContactMessage {
        display_name: Some(contact.name.clone()),
        vcard: Some(contact.vcard.clone()),
        ..Default::default()
    };
    match contacts {
        [] => {
            return Err(Unsendable {
                kind: "contact".to_owned(),
            });
        }
        [one] => {
            message.contact_message = MessageField::some(kind::ContactMessage {
                context_info,
                ..contact(one)
            });
        }
        many => {
            message.contacts_array_message = MessageField::some(kind::ContactsArrayMessage {
                display_name: Some(format!("{} contacts", many.len())),
                contacts: many.iter().map(contact).collect(),
                context_info,
            });
        }
    }
    Ok(())
}

/// Where a message stands; nothing if there is nothing to say.
fn context(context: &Context) -> Option<schema::ContextInfo> {
    if *context == Context::default() {
        return None;
    }
    let mut info = context.reply_to.as_ref().map(quote).unwrap_or_default();
    info.expiration = context.expiration;
    if context.forwarded {
        info.is_forwarded = Some(true);
        info.forwarding_score = Some(1);
    }
    Some(info)
}

fn quote(quote: &Quote) -> schema::ContextInfo {
    // What cannot be written down again (a kind that we do not carry) is quoted as an empty text:
    // clients show the answer under an empty box, which is better than losing the reference.
    let quoted = quote
        .body
        .as_deref()
        .map(|body| match without_context(body) {
            Ok(message) => message,
            Err(Unsendable { .. }) => schema::Message {
                conversation: Some(String::new()),
                ..Default::default()
            },
        });
    schema::ContextInfo {
        stanza_id: Some(quote.stanza_id.clone()),
        participant: quote.participant.clone(),
        quoted_message: quoted.into(),
        ..Default::default()
    }
}

/// A quoted message carries no quote of its own.
fn without_context(body: &Body) -> Result<schema::Message, Unsendable> {
    let mut body = body.clone();
    if let Some(context) = body.context_mut() {
        *context = Context::default();
    }
    message(&body)
}

fn key(key: &MessageKey) -> schema::MessageKey {
    schema::MessageKey {
        remote_jid: key.remote_jid.clone(),
        from_me: Some(key.from_me),
        id: Some(key.id.clone()),
        participant: key.participant.clone(),
    }
}
