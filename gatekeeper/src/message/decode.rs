//! Protobuf to [`Body`].

mod media;

use waproto::{
    codec,
    whatsapp::{self as schema, message as kind, message::protocol_message::Type},
};

use super::{Body, Contact, Context, Location, MalformedMessage, MessageKey, Quote, kinds, wire};

/// Reads a message protobuf (without padding).
///
/// Fails only when the bytes are no protobuf at all; whatever is not understood is
/// [`Body::Unknown`].
pub fn decode(content: &[u8]) -> Result<Body, MalformedMessage> {
    Reader {
        nested: MAX_NESTED,
        edits: false,
    }
    .read(content)
}

/// A message in a message: the content of an edit, and the quoted message of a reply.
const MAX_NESTED: u8 = 2;

/// Reads a message that may stand in another one.
#[derive(Clone, Copy)]
struct Reader {
    /// How many more messages inside this one are read.
    nested: u8,
    /// Whether this is the content of an edit: of a file it may name the new caption alone.
    edits: bool,
}

impl Reader {
    fn read(self, content: &[u8]) -> Result<Body, MalformedMessage> {
        let wire::Unwrapped {
            message: content,
            view_once,
        } = wire::unwrap(content)?;
        let message = codec::message_decode(content)
            .map_err(|_| MalformedMessage("its fields do not fit the schema"))?;
        match self.known(message, view_once) {
            Some(body) => Ok(body),
            None => Ok(Body::Unknown {
                kind: kinds::name(content)?,
            }),
        }
    }

    fn known(self, message: schema::Message, view_once: bool) -> Option<Body> {
        if let Some(text) = message.conversation {
            Some(Body::text(text))
        } else if let Some(extended) = message.extended_text_message.into_option() {
            self.text(extended)
        } else if let Some(reaction) = message.reaction_message.into_option() {
            self::reaction(reaction)
        } else if let Some(protocol) = message.protocol_message.into_option() {
            self.protocol(protocol)
        } else if let Some(location) = message.location_message.into_option() {
            self.location(location)
        } else if let Some(contact) = message.contact_message.into_option() {
            let context = self.context(contact.context_info.clone().into_option());
            self.contacts(vec![contact], context)
        } else if let Some(array) = message.contacts_array_message.into_option() {
            let context = self.context(array.context_info.into_option());
            self.contacts(array.contacts, context)
        } else {
            self.media(
                media::Attachment {
                    image: message.image_message.into_option(),
                    video: message.video_message.into_option(),
                    ptv: message.ptv_message.into_option(),
                    audio: message.audio_message.into_option(),
                    document: message.document_message.into_option(),
                    sticker: message.sticker_message.into_option(),
                },
                view_once,
            )
        }
    }

    fn text(self, extended: kind::ExtendedTextMessage) -> Option<Body> {
        Some(Body::Text {
            context: self.context(extended.context_info.into_option()),
            text: extended.text?,
        })
    }

    fn location(self, location: kind::LocationMessage) -> Option<Body> {
        let latitude = location.degrees_latitude?;
        let longitude = location.degrees_longitude?;
        let on_earth = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        if !on_earth || location.is_live.unwrap_or_default() {
            return None;
        }
        Some(Body::Location(Location {
            latitude,
            longitude,
            name: some(location.name),
            address: some(location.address),
            accuracy_m: location.accuracy_in_meters,
            thumbnail: location.jpeg_thumbnail.filter(|jpeg| !jpeg.is_empty()),
            context: self.context(location.context_info.into_option()),
        }))
    }

    fn contacts(self, contacts: Vec<kind::ContactMessage>, context: Context) -> Option<Body> {
        let contacts: Vec<_> = contacts
            .into_iter()
            .map(|contact| Contact {
                name: contact.display_name.unwrap_or_default(),
                vcard: contact.vcard.unwrap_or_default(),
            })
            .collect();
        (!contacts.is_empty()).then_some(Body::Contacts { contacts, context })
    }

    fn context(self, context: Option<schema::ContextInfo>) -> Context {
        let Some(context) = context else {
            return Context::default();
        };
        Context {
            expiration: context.expiration.filter(|seconds| *seconds > 0),
            forwarded: context.is_forwarded.unwrap_or_default(),
            reply_to: self.quote(context),
        }
    }

    fn quote(self, context: schema::ContextInfo) -> Option<Quote> {
        let stanza_id = name(context.stanza_id)?;
        let body = context
            .quoted_message
            .into_option()
            .and_then(|quoted| self.inner(&quoted, false))
            .map(|mut body| {
                // Where the quoted message stood is of no use here, and `encode` does not write it.
                if let Some(context) = body.context_mut() {
                    *context = Context::default();
                }
                body
            });
        Some(Quote {
            stanza_id,
            participant: context.participant,
            body,
        })
    }

    /// Reads a message inside of the message. It has been parsed once, so this fails only by depth.
    fn inner(self, message: &schema::Message, edits: bool) -> Option<Box<Body>> {
        let nested = self.nested.checked_sub(1)?;
        Self { nested, edits }
            .read(&codec::message_to_vec(message))
            .ok()
            .map(Box::new)
    }

    fn protocol(self, protocol: kind::ProtocolMessage) -> Option<Body> {
        let target = protocol.key.into_option().and_then(key);
        match protocol.r#type {
            Some(Type::REVOKE) => Some(Body::Revoke { target: target? }),
            Some(Type::MESSAGE_EDIT) => {
                let body = self.inner(&protocol.edited_message.into_option()?, true)?;
                // An edit replaces content by content; anything else in it makes no sense.
                if !matches!(
                    *body,
                    Body::Text { .. } | Body::Media(_) | Body::Unknown { .. }
                ) {
                    return None;
                }
                let timestamp_ms = protocol.timestamp_ms.unwrap_or_default();
                Some(Body::Edit {
                    target: target?,
                    body,
                    timestamp_ms,
                })
            }
            Some(Type::EPHEMERAL_SETTING) => Some(Body::Timer {
                seconds: protocol.ephemeral_expiration.unwrap_or_default(),
            }),
            // A type that is absent or newer than the schema is not a deletion, although zero, the
            // number of a deletion, would be the default of the field.
            _ => None,
        }
    }
}

fn reaction(reaction: kind::ReactionMessage) -> Option<Body> {
    Some(Body::Reaction {
        target: key(reaction.key.into_option()?)?,
        emoji: reaction.text.unwrap_or_default(),
        timestamp_ms: reaction.sender_timestamp_ms.unwrap_or_default(),
    })
}

fn key(key: schema::MessageKey) -> Option<MessageKey> {
    Some(MessageKey {
        id: name(key.id)?,
        from_me: key.from_me.unwrap_or_default(),
        remote_jid: key.remote_jid,
        participant: key.participant,
    })
}

/// The id of a message. No client gives one with control characters, and no database need take it.
fn name(id: Option<String>) -> Option<String> {
    id.filter(|id| !id.is_empty() && !id.contains(char::is_control))
}

/// A text that says something.
fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
