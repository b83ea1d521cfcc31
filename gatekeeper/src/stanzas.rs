//! The stanzas of the chat channel, typed: what each holds, how it is written and how it is read (G 4, 5.4).
//!
//! Both ends use the same types: the bridge writes what a client writes and reads what the server
//! writes; the sandbox does the reverse. A stanza that exists in both directions names its peer in
//! `to` when a client wrote it and in `from` when the server did, so its functions take an
//! [`Origin`]. Unknown attributes and children are passed over; what is missing or damaged is a
//! [`ParseError`], which never holds a value of the stanza and may be logged.
//!
//! These are the stanzas of WhatsApp's ordinary protocol. Those that we had to invent stand in
//! [`crate::assumed`].

pub mod ack;
pub mod blocklist;
pub mod chatstate;
mod error;
pub mod ib;
pub mod id;
pub mod iq;
pub mod keys;
pub mod message;
pub mod notification;
pub mod privacy;
mod read;
pub mod receipt;
pub mod retry;
pub mod stream;
pub mod usync;

pub use self::{
    ack::{ClientAck, Nack, ServerAck},
    chatstate::{ChatState, Typing},
    error::ParseError,
    ib::Ib,
    iq::{IqError, IqHead, IqKind},
    keys::{Digest, FetchAnswer, KeyUpload, KeysRequest, Wanted},
    message::{Enc, EncType, IncomingMessage, OutgoingMessage, Participant},
    notification::{Notification, NotificationKind},
    receipt::{Receipt, ReceiptKind},
    retry::RetryReceipt,
    stream::{Failure, StreamError, Success},
};

use crate::stanza::{Jid, Server};

/// Which end wrote a stanza: decides whether its peer stands in `to` or in `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client (the partner's user, or a phone).
    Client,
    /// The chat server.
    Server,
}

impl Origin {
    /// The attribute that names the peer.
    pub fn peer_attr(self) -> &'static str {
        match self {
            Self::Client => "to",
            Self::Server => "from",
        }
    }
}

/// The address of the chat server itself, to which most queries go.
pub fn chat_server() -> Jid {
    Jid::server(Server::Whatsapp)
}

#[cfg(test)]
mod tests;
