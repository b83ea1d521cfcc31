//! A login's connection: one task that connects, logs in, and connects again when it breaks.
//!
//! [`Connection::spawn`] starts the task and returns a handle and the receiver of [`Event`]s. The
//! handle sends stanzas, asks questions ([`Connection::query`]) and ends the task.
//!
//! **Who acknowledges what.** What has to be stored first is acknowledged by the receiver of the
//! events, after its commit: a message by its delivery receipt, a receipt, a retry receipt and an
//! identity change by their `ack()`. Whatever is not acknowledged comes again at the next
//! connection. All other stanzas are acknowledged here; a stanza that cannot be read is refused.
//!
//! **What is bounded.** Events wait in a channel, and behind it in a queue of limited length and
//! size. Answers to queries do not wait in it: they reach their query even while nobody takes
//! events. If the queue is full, further stanzas are let go unacknowledged, and when it has been
//! taken the connection is opened anew, so that the server sends them again, in order.
//!
//! **What ends it.** A login that is refused for good ([`Event::LoginRefused`]) is not tried again
//! before [`Connection::wake`]. Everything else is tried again with a jittered back-off, at once
//! after a `515`, after `wake()` and after `reconnect()`. A connection that answers no ping is
//! given up. A panic is reported and waited for like any other failure.

mod backoff;
mod clock;
mod config;
mod event;
mod handle;
mod handshake;
mod link;
mod queue;
mod session;
mod supervisor;
mod writer;

pub use self::{
    clock::{Clock, SystemClock},
    config::{BackoffConfig, BoxError, ConnectionConfig, Credentials, CredentialsProvider},
    event::{DisconnectReason, Event, State},
    handle::Connection,
    link::{QueryError, SendError},
};

#[cfg(test)]
mod tests;
