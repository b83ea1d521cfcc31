//! What a connection reports.

use std::{fmt, time::Duration};

use crate::{
    profile::FailureClass,
    stanzas::{
        ChatState, IncomingMessage, Notification, Receipt, RetryReceipt, ServerAck, Success,
    },
};

/// What a connection reports, in the order in which it happened.
///
/// It holds addresses and content: it may not be logged.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The login is accepted. What is in the outbox and not acknowledged has to be sent again.
    Connected(Success),
    /// The connection has ended or could not be made.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// When the next attempt is made; nothing if none will be.
        retry_in: Option<Duration>,
    },
    /// The login is refused, and is not tried again before [`super::Connection::wake`]:
    /// [`FailureClass::ReEnlist`] or [`FailureClass::Fatal`].
    LoginRefused(FailureClass),
    /// A message. After the commit: its delivery receipt (see
    /// [`crate::stanzas::Receipt::delivery`]), or a retry receipt and its ack.
    Message(IncomingMessage),
    /// What became of our messages. After the commit: its ack.
    Receipt(Receipt),
    /// A message of ours is asked for again. After the commit: its ack.
    Retry(RetryReceipt),
    /// The server has a message or a receipt of ours, or refuses it.
    Ack(ServerAck),
    /// The peer in `from` has another identity. After the commit: its ack.
    IdentityChanged(Notification),
    /// The server has only so many of our one-time prekeys left.
    LowPrekeys(u32),
    /// Another change at the server, acknowledged already.
    Notification(Notification),
    /// Somebody is typing. Not acknowledged at all, and dropped when there is much else.
    ChatState(ChatState),
    /// So many stanzas wait in the mailbox and will come now.
    OfflinePending(u32),
    /// All stanzas of the mailbox have come; they were so many.
    OfflineDone(u32),
    /// New routing information, to be given back in [`super::Credentials::routing_info`].
    RoutingInfo(Vec<u8>),
}

/// Why a connection has ended. Holds nothing that a log may not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// No credentials could be had.
    Credentials(String),
    /// The server cannot be reached, or the channel broke.
    Transport(String),
    /// The server was too slow with connecting, the handshake or the login.
    Deadline,
    /// The handshake failed: the server is not who it should be, or something lies in between.
    Handshake(String),
    /// Frames or their encryption are damaged.
    Damaged(String),
    /// The server refused the login with this number.
    LoginFailed(u16),
    /// The server ended the stream with this number, if it gave one.
    StreamError(Option<u16>),
    /// Another connection of the same user took over.
    Replaced,
    /// The server ended the connection in order.
    Ended,
    /// The server closed the channel.
    Closed,
    /// The server does not answer pings.
    Silent,
    /// The server does not take what is sent to it.
    Stalled,
    /// More came than was taken: the rest is asked for again.
    Overflow,
    /// [`super::Connection::reconnect`] was called.
    Requested,
    /// A fault of this program.
    Panicked,
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(why) => write!(f, "no credentials: {why}"),
            Self::Transport(why) => write!(f, "the server cannot be reached: {why}"),
            Self::Deadline => f.write_str("the server was too slow to let us in"),
            Self::Handshake(why) => write!(f, "the handshake failed: {why}"),
            Self::Damaged(why) => write!(f, "the channel is damaged: {why}"),
            Self::LoginFailed(code) => write!(f, "the server refused the login with code {code}"),
            Self::StreamError(Some(code)) => {
                write!(f, "the server ended the stream with code {code}")
            }
            Self::StreamError(None) => f.write_str("the server ended the stream with an error"),
            Self::Replaced => f.write_str("another connection of the same user took over"),
            Self::Ended => f.write_str("the server ended the connection"),
            Self::Closed => f.write_str("the server closed the channel"),
            Self::Silent => f.write_str("the server does not answer"),
            Self::Stalled => f.write_str("the server does not take what is sent"),
            Self::Overflow => f.write_str("more came than could be taken; it is asked for again"),
            Self::Requested => f.write_str("a new connection was asked for"),
            Self::Panicked => f.write_str("a fault of the program"),
        }
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// An attempt is being made.
    Connecting,
    /// The login is accepted.
    Online,
    /// The next attempt is not due yet.
    Waiting,
    /// The login is refused; see [`Event::LoginRefused`].
    Refused,
    /// The task has ended.
    Stopped,
}
