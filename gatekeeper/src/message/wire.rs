//! Just enough of the protobuf wire format to look at the fields of a message without its schema.

use waproto::{
    buffa::encoding::{Tag, WireType, decode_varint, skip_field},
    tags::message as tag,
};

use super::MalformedMessage;

/// More layers than any client makes; a message wrapped deeper is not opened further.
const MAX_WRAPPERS: usize = 8;

/// The single field of all wrappers: the message inside.
const WRAPPED_MESSAGE: u32 = 1;

/// Wrappers whose content is an ordinary message.
const WRAPPERS: [u32; 10] = [
    tag::EPHEMERAL_MESSAGE,
    tag::VIEW_ONCE_MESSAGE,
    tag::VIEW_ONCE_MESSAGE_V2,
    tag::VIEW_ONCE_MESSAGE_V2_EXTENSION,
    tag::DOCUMENT_WITH_CAPTION_MESSAGE,
    tag::EDITED_MESSAGE,
    tag::GROUP_MENTIONED_MESSAGE,
    tag::LOTTIE_STICKER_MESSAGE,
    tag::ASSOCIATED_CHILD_MESSAGE,
    tag::SPOILER_MESSAGE,
];

/// Wrappers of what is to be shown once only.
const VIEW_ONCE: [u32; 3] = [
    tag::VIEW_ONCE_MESSAGE,
    tag::VIEW_ONCE_MESSAGE_V2,
    tag::VIEW_ONCE_MESSAGE_V2_EXTENSION,
];

/// One field: its number, and its bytes if it has a length.
pub(super) type Field<'a> = (u32, Option<&'a [u8]>);

/// The fields of a protobuf, in order; ends after the first error.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<Field<'a>, MalformedMessage> {
        let tag = Tag::decode(&mut self.rest).map_err(|_| MalformedMessage("bad field tag"))?;
        if tag.wire_type() != WireType::LengthDelimited {
            skip_field(tag, &mut self.rest).map_err(|_| MalformedMessage("bad field value"))?;
            return Ok((tag.field_number(), None));
        }
        let length = decode_varint(&mut self.rest).map_err(|_| MalformedMessage("bad length"))?;
        let (value, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(MalformedMessage("a field is longer than the message"))?;
        self.rest = rest;
        Ok((tag.field_number(), Some(value)))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, MalformedMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A message without its wrappers.
pub(super) struct Unwrapped<'a> {
    /// The innermost message.
    pub(super) message: &'a [u8],
    /// Whether a wrapper said that it is to be shown once only.
    pub(super) view_once: bool,
}

/// Takes all wrappers off.
pub(super) fn unwrap(message: &[u8]) -> Result<Unwrapped<'_>, MalformedMessage> {
    let mut innermost = Unwrapped {
        message,
        view_once: false,
    };
    for _ in 0..MAX_WRAPPERS {
        match wrapped(innermost.message)? {
            Some((wrapper, inside)) => {
                innermost.message = inside;
                innermost.view_once |= VIEW_ONCE.contains(&wrapper);
            }
            None => break,
        }
    }
    Ok(innermost)
}

/// A wrapper's number and what is in it.
fn wrapped(message: &[u8]) -> Result<Option<(u32, &[u8])>, MalformedMessage> {
    for field in Fields::of(message) {
        if let (number, Some(wrapper)) = field?
            && WRAPPERS.contains(&number)
        {
            for field in Fields::of(wrapper) {
                if let (WRAPPED_MESSAGE, Some(inside)) = field? {
                    return Ok(Some((number, inside)));
                }
            }
        }
    }
    Ok(None)
}
