//! Reading attributes and content with errors that name the place.

use super::ParseError;
use crate::stanza::{Jid, Node};

/// Fails unless the node has this tag.
pub(super) fn expect(node: &Node, tag: &'static str) -> Result<(), ParseError> {
    if node.is(tag) {
        Ok(())
    } else {
        Err(ParseError::Tag { expected: tag })
    }
}

/// A child that must be there.
pub(super) fn child<'a>(
    node: &'a Node,
    tag: &'static str,
    child: &'static str,
) -> Result<&'a Node, ParseError> {
    node.child_named(child)
        .ok_or(ParseError::NoChild { tag, child })
}

/// An attribute as text that must be there, not be empty, and hold no control characters: it is a word or a name.
pub(super) fn text(
    node: &Node,
    tag: &'static str,
    name: &'static str,
) -> Result<String, ParseError> {
    match opt_text(node, name) {
        Some(text) if text.contains(char::is_control) => Err(ParseError::Invalid { tag, name }),
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(ParseError::Missing { tag, name }),
    }
}

/// An attribute as text.
pub(super) fn opt_text(node: &Node, name: &str) -> Option<String> {
    node.get(name).map(|text| text.into_owned())
}

/// An attribute as an address that must be there.
pub(super) fn jid(node: &Node, tag: &'static str, name: &'static str) -> Result<Jid, ParseError> {
    opt_jid(node, tag, name)?.ok_or(ParseError::Missing { tag, name })
}

/// An attribute as an address; an error if it is there and is none.
pub(super) fn opt_jid(
    node: &Node,
    tag: &'static str,
    name: &'static str,
) -> Result<Option<Jid>, ParseError> {
    match node.attrs.get(name) {
        None => Ok(None),
        Some(value) => value
            .to_jid()
            .map(Some)
            .ok_or(ParseError::Invalid { tag, name }),
    }
}

/// An attribute as a number that must be there.
pub(super) fn number<T: TryFrom<u64>>(
    node: &Node,
    tag: &'static str,
    name: &'static str,
) -> Result<T, ParseError> {
    opt_number(node, tag, name)?.ok_or(ParseError::Missing { tag, name })
}

/// An attribute as a number; an error if it is there and is none, or is too large.
pub(super) fn opt_number<T: TryFrom<u64>>(
    node: &Node,
    tag: &'static str,
    name: &'static str,
) -> Result<Option<T>, ParseError> {
    match node.attrs.get(name) {
        None => Ok(None),
        Some(_) => node
            .u64(name)
            .and_then(|number| T::try_from(number).ok())
            .map(Some)
            .ok_or(ParseError::Invalid { tag, name }),
    }
}

/// The content as bytes that must be there.
pub(super) fn bytes(node: &Node, tag: &'static str) -> Result<Vec<u8>, ParseError> {
    node.content_bytes()
        .map(<[u8]>::to_vec)
        .ok_or(ParseError::Content { tag })
}

/// The content as bytes of a fixed length.
pub(super) fn array<const N: usize>(node: &Node, tag: &'static str) -> Result<[u8; N], ParseError> {
    node.content_bytes()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(ParseError::Content { tag })
}

/// The content of a child as bytes of a fixed length.
pub(super) fn child_array<const N: usize>(
    node: &Node,
    tag: &'static str,
    name: &'static str,
) -> Result<[u8; N], ParseError> {
    array(child(node, tag, name)?, name)
}

/// The content as a big-endian number of at most four bytes.
pub(super) fn be(node: &Node, tag: &'static str) -> Result<u32, ParseError> {
    let bytes = node.content_bytes().unwrap_or_default();
    if bytes.is_empty() || bytes.len() > 4 {
        return Err(ParseError::Content { tag });
    }
    Ok(bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// The content of a child as a big-endian number of at most four bytes.
pub(super) fn child_be(
    node: &Node,
    tag: &'static str,
    name: &'static str,
) -> Result<u32, ParseError> {
    be(child(node, tag, name)?, name)
}
