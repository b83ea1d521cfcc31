//! Client of the gatekeeper's interop endpoint (Digital Markets Act, Article 7).
//!
//! From the bottom up: a [`stanza`] is a small tree of tags, attributes and content in a binary
//! encoding; a [`frame`] carries one encrypted stanza over a byte stream; [`noise`] is the handshake
//! that gives both ends their transport keys and proves the server's identity by a certificate
//! chain. The content: [`message`] says what a message means, [`padding`] and [`signal`] encrypt it
//! for one peer, [`media`] encrypts its files. Who the user is: [`token`] signs it, [`enlist`] makes it known to the gatekeeper.
//! The conversation with the server: [`stanzas`] types what is said, [`profile`] holds every choice
//! that is not public, [`assumed`] the stanzas that we invented, [`login`] is what a client says of
//! itself. Two modules do I/O: [`transport`] opens the channel, and [`connection`] is the task that
//! keeps a login connected.
//! But for those two and the one request of `enlist`, these modules do no I/O and read no clock; random numbers
//! are passed in, except for the RSA keys of tokens, which their library draws itself.
//!
//! References such as "G 3.4" and "U5" are to the maintainers' notes, which are not part of this repository;
//! docs/assumptions.md has what matters of them.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod assumed;
pub mod connection;
pub mod enlist;
pub mod frame;
pub mod login;
pub mod media;
pub mod message;
pub mod noise;
pub mod padding;
pub mod profile;
pub mod signal;
pub mod stanza;
pub mod stanzas;
pub mod token;
pub mod transport;
