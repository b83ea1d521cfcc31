//! The content of a message: the `Message` protobuf of WhatsApp's end-to-end encryption, as
//! [`Body`].
//!
//! The schema is `waproto`'s. Only this module knows it: the rest of the house sees [`Body`], which
//! has one variant per kind that we understand; every other kind, known to the schema or newer
//! than it, becomes [`Body::Unknown`] with a name for the user to read, never an error and never
//! silence. A further kind needs a variant, an arm in [`encode()`] and one in [`decode()`].
//!
//! Wrappers (disappearing, view-once, document with caption, edited, moving sticker, ...) are taken
//! off first, on the bytes, so that the schema is applied once, to the innermost message.

mod attachment;
mod body;
mod decode;
mod encode;
mod kinds;
mod wire;

pub use self::{
    attachment::{Media, MediaFile, MediaKind},
    body::{Body, Contact, Context, Location, MessageKey, Quote},
    decode::decode,
    encode::{Unsendable, encode},
};

/// Bytes that are not a `Message` protobuf.
///
/// It says nothing about the content, so it may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the decrypted content is not a message protobuf: {0}")]
pub struct MalformedMessage(&'static str);

#[cfg(test)]
mod tests;
