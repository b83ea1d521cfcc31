//! Writes stanzas.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};

use super::{
    dictionary::{self, Code},
    error::{EncodeError, JidError},
    jid::{InteropJidStyle, Jid, Server},
    limits,
    node::{Content, Node, Value},
    packed,
    wire::*,
};

/// How a stanza is written. The default is what clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// The form of interop addresses.
    pub interop: InteropJidStyle,
    /// Whether the body is zlib data.
    pub compress: bool,
    /// Whether text of digits is packed two to a byte, as it always is in addresses. Peers must read
    /// both; the published sample (G 3.4) has it unpacked.
    pub pack: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            interop: InteropJidStyle::default(),
            compress: false,
            pack: true,
        }
    }
}

/// Writes a stanza, the flag byte first.
///
/// # Errors
///
/// If the stanza exceeds the [`limits`] or holds something that has no form on the wire: an empty
/// tag or attribute name, or an address that [`JidError`] names.
pub fn encode(node: &Node, options: &EncodeOptions) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder {
        out: vec![0],
        options,
        items: 0,
    };
    encoder.node(node, 1)?;
    let plain = encoder.out;
    let stanza = if options.compress {
        compress(&plain)?
    } else {
        plain
    };
    if stanza.len() > limits::STANZA {
        return Err(EncodeError::TooLarge);
    }
    Ok(stanza)
}

fn compress(plain: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let body = plain.get(1..).unwrap_or_default();
    if body.len() > limits::INFLATED {
        return Err(EncodeError::TooLarge);
    }
    let mut zlib = ZlibEncoder::new(vec![FLAG_COMPRESSED], Compression::default());
    // Writing to memory does not fail.
    zlib.write_all(body)
        .and_then(|()| zlib.finish())
        .map_err(|_| EncodeError::TooLarge)
}

struct Encoder<'a> {
    out: Vec<u8>,
    options: &'a EncodeOptions,
    items: usize,
}

impl Encoder<'_> {
    fn node(&mut self, node: &Node, depth: usize) -> Result<(), EncodeError> {
        if depth > limits::DEPTH {
            return Err(EncodeError::TooDeep);
        }
        self.items += 1 + node.attrs.len();
        if node.attrs.len() > limits::ATTRIBUTES || self.items > limits::ITEMS {
            return Err(EncodeError::TooManyItems);
        }
        if node.tag.is_empty() {
            return Err(EncodeError::NoTag);
        }
        let content = match &node.content {
            Content::Empty => false,
            Content::Nodes(nodes) => !nodes.is_empty(),
            Content::Bytes(_) | Content::Text(_) => true,
        };
        self.list(1 + 2 * node.attrs.len() + usize::from(content))?;
        self.text(&node.tag)?;
        for (name, value) in node.attrs.iter() {
            if name.is_empty() {
                return Err(EncodeError::NoAttributeName);
            }
            self.text(name)?;
            match value {
                Value::Text(text) => self.text(text)?,
                Value::Jid(jid) => self.jid(jid)?,
            }
        }
        match &node.content {
            Content::Nodes(nodes) if content => {
                self.list(nodes.len())?;
                for child in nodes {
                    self.node(child, depth + 1)?;
                }
            }
            Content::Empty | Content::Nodes(_) => {}
            Content::Bytes(bytes) => self.binary(bytes)?,
            Content::Text(text) => self.text(text)?,
        }
        Ok(())
    }

    fn list(&mut self, size: usize) -> Result<(), EncodeError> {
        if let Ok(size) = u8::try_from(size) {
            self.out.extend([LIST_8, size]);
        } else {
            let size = u16::try_from(size).map_err(|_| EncodeError::TooManyItems)?;
            self.out.push(LIST_16);
            self.u16(size);
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        self.text_packed(text, self.options.pack)
    }

    /// Text in its shortest form: a word of the dictionary, packed digits, bytes.
    fn text_packed(&mut self, text: &str, pack: bool) -> Result<(), EncodeError> {
        match dictionary::code(text) {
            Some(Code::Single(byte)) => self.out.push(byte),
            Some(Code::Double(tag, index)) => self.out.extend([tag, index]),
            None => match packed::alphabet_of(text) {
                Some(alphabet) if pack => {
                    self.out.push(alphabet);
                    packed::pack(alphabet, text, &mut self.out);
                }
                _ => self.binary(text.as_bytes())?,
            },
        }
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let length = u32::try_from(bytes.len()).map_err(|_| EncodeError::TooLarge)?;
        // Refused here already, before another copy of something huge is made.
        if self.out.len() + bytes.len() > limits::INFLATED {
            return Err(EncodeError::TooLarge);
        }
        if let Ok(length) = u8::try_from(length) {
            self.out.extend([BINARY_8, length]);
        } else if length < 1 << 20 {
            let [_, length @ ..] = length.to_be_bytes();
            self.out.push(BINARY_20);
            self.out.extend(length);
        } else {
            self.out.push(BINARY_32);
            self.out.extend(length.to_be_bytes());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn jid(&mut self, jid: &Jid) -> Result<(), EncodeError> {
        jid.check()?;
        match (&jid.server, jid.server.domain()) {
            (Server::Interop, _) => self.interop_jid(jid),
            (Server::Msgr, _) => {
                self.out.push(FB_JID);
                self.text_packed(&jid.user, true)?;
                self.u16(jid.device);
                self.text(jid.server.as_str())
            }
            (_, Some(domain)) if jid.device != 0 => {
                let device = u8::try_from(jid.device).map_err(|_| JidError::Device)?;
                self.out.extend([AD_JID, domain, device]);
                self.text_packed(&jid.user, true)
            }
            (server, _) if jid.device == 0 => self.pair(&jid.user, server),
            _ => Err(JidError::Device.into()),
        }
    }

    fn interop_jid(&mut self, jid: &Jid) -> Result<(), EncodeError> {
        if self.options.interop == InteropJidStyle::Pair {
            return self.pair(&jid.user_part(), &jid.server);
        }
        self.out.push(INTEROP_JID);
        self.text_packed(&jid.user, true)?;
        self.u16(jid.device);
        self.u16(jid.integrator);
        match self.options.interop {
            InteropJidStyle::WithServer => self.text(jid.server.as_str()),
            InteropJidStyle::NoServer | InteropJidStyle::Pair => Ok(()),
        }
    }

    fn pair(&mut self, user: &str, server: &Server) -> Result<(), EncodeError> {
        self.out.push(JID_PAIR);
        if user.is_empty() {
            self.out.push(EMPTY);
        } else {
            self.text_packed(user, true)?;
        }
        self.text(server.as_str())
    }

    fn u16(&mut self, number: u16) {
        self.out.extend(number.to_be_bytes());
    }
}
