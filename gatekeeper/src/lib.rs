//! Client of the gatekeeper's interop endpoint (Digital Markets Act, Article 7).
//!
//! From the bottom up: a [`stanza`] is a small tree of tags, attributes and content in a binary
//! encoding; a [`frame`] carries one encrypted stanza over a byte stream; [`noise`] is the handshake
//! that gives both ends their transport keys and proves the server's identity by a certificate
//! chain. These modules do no I/O, read no clock and make no random numbers of their own.
//!
//! References such as "G 3.4" are to sections of the interop dossier that the project keeps.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod frame;
pub mod noise;
pub mod stanza;
