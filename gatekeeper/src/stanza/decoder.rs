//! Reads stanzas. All input is hostile: nothing is taken on trust, and what a stanza may cost is
//! bounded by [`limits`].

use std::{
    borrow::Cow,
    io::{BufRead, Read},
};

use flate2::bufread::ZlibDecoder;

use super::{
    dictionary,
    error::{DecodeError, JidError},
    jid::{Jid, Server},
    limits,
    node::{Attrs, Content, Node, Value},
    packed,
    wire::*,
};

/// Most members that room is made for before they are read.
const RESERVE: usize = 32;

/// Reads a stanza, the flag byte first.
///
/// # Errors
///
/// If the bytes are not exactly one stanza or exceed the [`limits`].
pub fn decode(stanza: &[u8]) -> Result<Node, DecodeError> {
    if stanza.len() > limits::STANZA {
        return Err(DecodeError::TooLarge);
    }
    let (flags, body) = stanza.split_first().ok_or(DecodeError::Truncated)?;
    let body = if flags & FLAG_COMPRESSED == 0 {
        Cow::Borrowed(body)
    } else {
        Cow::Owned(inflate(body)?)
    };
    let mut decoder = Decoder {
        rest: &body,
        items: 0,
    };
    let node = decoder.node(1)?;
    match decoder.rest.len() {
        0 => Ok(node),
        left => Err(DecodeError::Trailing(left)),
    }
}

/// Decompresses one whole zlib stream, and stops early at the limit.
fn inflate(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut zlib = ZlibDecoder::new(body).take(limits::INFLATED as u64 + 1);
    let mut plain = Vec::new();
    zlib.read_to_end(&mut plain)
        .map_err(|_| DecodeError::Inflate)?;
    if plain.len() > limits::INFLATED {
        return Err(DecodeError::TooLarge);
    }
    let mut rest = zlib.into_inner().into_inner();
    match rest.fill_buf() {
        Ok([]) => Ok(plain),
        _ => Err(DecodeError::Inflate),
    }
}

struct Decoder<'a> {
    rest: &'a [u8],
    items: usize,
}

impl<'a> Decoder<'a> {
    fn node(&mut self, depth: usize) -> Result<Node, DecodeError> {
        if depth > limits::DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let tag = self.u8()?;
        let size = self.list_size(tag)?.ok_or(DecodeError::Tag(tag))?;
        let after_tag = size.checked_sub(1).ok_or(DecodeError::NoTag)?;
        self.count(1)?;

        let tag = self
            .text()?
            .filter(|tag| !tag.is_empty())
            .ok_or(DecodeError::NoTag)?;
        let attrs = self.attrs(after_tag / 2)?;
        // After the tag come pairs: what is left over is the content.
        let content = if after_tag % 2 == 0 {
            Content::Empty
        } else {
            self.content(depth)?
        };
        Ok(Node {
            tag: tag.into_owned(),
            attrs,
            content,
        })
    }

    fn attrs(&mut self, count: usize) -> Result<Attrs, DecodeError> {
        if count > limits::ATTRIBUTES {
            return Err(DecodeError::TooManyItems);
        }
        self.count(count)?;
        let mut attrs = Attrs::with_capacity(count.min(RESERVE));
        for _ in 0..count {
            let name = self.text()?.filter(|name| !name.is_empty());
            let name = name.ok_or(DecodeError::NoAttributeName)?;
            if attrs.get(&name).is_some() {
                return Err(DecodeError::DuplicateAttribute);
            }
            let value = self.value()?;
            attrs.push(name.into_owned(), value);
        }
        Ok(attrs)
    }

    fn content(&mut self, depth: usize) -> Result<Content, DecodeError> {
        let tag = self.u8()?;
        if let Some(count) = self.list_size(tag)? {
            let mut nodes = Vec::with_capacity(count.min(RESERVE));
            for _ in 0..count {
                nodes.push(self.node(depth + 1)?);
            }
            return Ok(if nodes.is_empty() {
                Content::Empty
            } else {
                Content::Nodes(nodes)
            });
        }
        if let Some(bytes) = self.binary(tag)? {
            return Ok(Content::Bytes(bytes.to_owned()));
        }
        let value = self.value_after(tag)?;
        Ok(Content::Text(value.as_str().into_owned()))
    }

    /// The size of a list, if the tag starts one.
    fn list_size(&mut self, tag: u8) -> Result<Option<usize>, DecodeError> {
        match tag {
            EMPTY => Ok(Some(0)),
            LIST_8 => Ok(Some(self.u8()?.into())),
            LIST_16 => Ok(Some(self.u16()?.into())),
            _ => Ok(None),
        }
    }

    /// Bytes with their length, if the tag starts them.
    fn binary(&mut self, tag: u8) -> Result<Option<&'a [u8]>, DecodeError> {
        let length = match tag {
            BINARY_8 => u32::from(self.u8()?),
            BINARY_20 => {
                let [high, middle, low] = self.array()?;
                // The field has 20 bits; the upper four of its three bytes mean nothing.
                u32::from_be_bytes([0, high & 0x0f, middle, low])
            }
            BINARY_32 => u32::from_be_bytes(self.array()?),
            _ => return Ok(None),
        };
        let length = usize::try_from(length).map_err(|_| DecodeError::TooLarge)?;
        self.take(length).map(Some)
    }

    /// Text or an address.
    fn value(&mut self) -> Result<Value, DecodeError> {
        let tag = self.u8()?;
        self.value_after(tag)
    }

    fn value_after(&mut self, tag: u8) -> Result<Value, DecodeError> {
        match tag {
            JID_PAIR => self.pair(),
            AD_JID | FB_JID | INTEROP_JID => self.jid(tag).map(Value::Jid),
            _ => {
                let text = self.text_after(tag)?.unwrap_or_default();
                Ok(Value::Text(text.into_owned()))
            }
        }
    }

    /// Text, or nothing where the wire has nothing.
    fn text(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let tag = self.u8()?;
        self.text_after(tag)
    }

    fn text_after(&mut self, tag: u8) -> Result<Option<Cow<'a, str>>, DecodeError> {
        match tag {
            EMPTY => Ok(None),
            BINARY_8 | BINARY_20 | BINARY_32 => {
                let bytes = self.binary(tag)?.unwrap_or_default();
                let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
                Ok(Some(Cow::Borrowed(text)))
            }
            NIBBLE_8 | HEX_8 => {
                let count = self.u8()?;
                let packed = self.take(usize::from(count & 0x7f))?;
                let text = packed::unpack(tag, count & 0x80 != 0, packed);
                text.map(|text| Some(Cow::Owned(text)))
                    .ok_or(DecodeError::Packed)
            }
            DICTIONARY_0..=DICTIONARY_3 => {
                let word = dictionary::double(tag, self.u8()?);
                word.map(|word| Some(Cow::Borrowed(word)))
                    .ok_or(DecodeError::Tag(tag))
            }
            _ => {
                let word = dictionary::single(tag);
                word.map(|word| Some(Cow::Borrowed(word)))
                    .ok_or(DecodeError::Tag(tag))
            }
        }
    }

    /// User and server. Some clients write all text with an `@` in it so, such as a name: what is no
    /// address is text.
    fn pair(&mut self) -> Result<Value, DecodeError> {
        let user = self.text()?.unwrap_or_default();
        let server = self.text()?.ok_or(JidError::NoServer)?;
        Ok(match Jid::from_parts(&user, server.as_ref().into()) {
            Ok(jid) => Value::Jid(jid),
            Err(_) => Value::Text(format!("{user}@{server}")),
        })
    }

    /// An address of the other tags. Its parts are text: addresses do not nest.
    fn jid(&mut self, tag: u8) -> Result<Jid, DecodeError> {
        let jid = match tag {
            AD_JID => {
                let [domain, device] = self.array()?;
                let server = Server::from_domain(domain).ok_or(JidError::Domain(domain))?;
                Jid::new(self.user()?, server).with_device(device.into())
            }
            FB_JID => {
                let user = self.user()?;
                let device = self.u16()?;
                if self.text()?.as_deref() != Some(Server::Msgr.as_str()) {
                    return Err(JidError::Server.into());
                }
                Jid::new(user, Server::Msgr).with_device(device)
            }
            INTEROP_JID => {
                let user = self.user()?;
                let device = self.u16()?;
                let integrator = self.u16()?;
                self.skip_interop();
                Jid::interop(integrator, user).with_device(device)
            }
            _ => return Err(DecodeError::Tag(tag)),
        };
        jid.check()?;
        Ok(jid)
    }

    fn user(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.text()?.ok_or(DecodeError::Jid(JidError::NoUser))
    }

    /// The server writes its name after an interop address, clients do not (G 3.5): take it away if
    /// it is the next value.
    fn skip_interop(&mut self) {
        let before = self.rest;
        match self.text() {
            Ok(Some(text)) if text == Server::Interop.as_str() => {}
            _ => self.rest = before,
        }
    }

    fn count(&mut self, items: usize) -> Result<(), DecodeError> {
        self.items += items;
        if self.items > limits::ITEMS {
            Err(DecodeError::TooManyItems)
        } else {
            Ok(())
        }
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}
