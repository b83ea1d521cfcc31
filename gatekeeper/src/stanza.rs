//! Stanzas: the gatekeeper's tree of tags, attributes and content, and its binary encoding (G 3).
//!
//! A stanza on the wire is one flag byte and a body. The body is a tree of lists in which frequent
//! words are one or two bytes (dictionary 3), runs of digits are packed two to a byte, and addresses
//! ([`Jid`]) have tags of their own. [`encode`] writes a [`Node`], [`decode`] reads one; both refuse
//! what exceeds the [`limits`], and neither panics on any input.
//!
//! ```
//! use gatekeeper::stanza::{self, EncodeOptions, Jid, Node};
//!
//! let ping = Node::new("iq")
//!     .attr("id", "7")
//!     .attr("xmlns", "w:p")
//!     .attr("to", Jid::server("s.whatsapp.net".into()))
//!     .child(Node::new("ping"));
//! let bytes = stanza::encode(&ping, &EncodeOptions::default())?;
//! assert_eq!(stanza::decode(&bytes)?, ping);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decoder;
mod dictionary;
mod encoder;
mod error;
mod jid;
mod node;
mod packed;
mod tokens;
mod wire;

pub use self::{
    decoder::decode,
    encoder::{EncodeOptions, encode},
    error::{DecodeError, EncodeError, JidError},
    jid::{InteropJidStyle, Jid, Server},
    node::{Attrs, Content, Node, Value},
};

/// What a stanza may at most be. Real stanzas stay far below all of these.
pub mod limits {
    /// Bytes of a stanza as it goes into the transport cipher, with the flag byte: the frame's
    /// three-byte length, less the cipher's tag of 16 bytes.
    pub const STANZA: usize = (1 << 24) - 1 - 16;

    /// Bytes of a body after decompression (G 2.6).
    pub const INFLATED: usize = 16 * 1024 * 1024;

    /// Nodes inside one another, the root counted.
    pub const DEPTH: usize = 128;

    /// Attributes of one node.
    pub const ATTRIBUTES: usize = 256;

    /// Nodes and attributes of one stanza together: bounds the memory that a small frame can ask for.
    pub const ITEMS: usize = 1 << 18;

    /// Bytes of an address in its text form.
    pub const JID: usize = 255;
}
