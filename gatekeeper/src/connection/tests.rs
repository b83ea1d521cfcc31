//! Connections against a small server of our own.

mod channels;
mod damage;
mod endings;
mod mailbox;
mod queries;
mod server;
mod stanzas;
