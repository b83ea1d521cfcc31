//! One database behind typed queries: SQLite for a household, PostgreSQL for many users.
//!
//! * **Reading**: functions of the concept modules (`inbox::next(&store, ..)`) on a pool.
//! * **Writing**: the same modules add operations to a [`Batch`]; [`Store::commit`] makes it durable, whole or not at all. One writer
//!   puts all waiting batches into one transaction, so that many small batches share one disk flush.
//! * **Guards**: an operation that must happen once (`inbox::done`) fails its whole batch with [`Error::Conflict`] when
//!   somebody did it before.
//! * **Sealing**: keys and message bodies are AES-256-GCM ciphertext in the database, under a [`SealingKey`] that is not in it.
//!
//! All times are [`Millis`]; a `login` is the Matrix id of an enlisted user; a `peer` is a WhatsApp JID in its canonical text form.

mod batch;
mod db;
mod error;
mod fence;
mod log_id;
mod opaque;
mod open;
mod seal;
mod store;
mod text_enum;
mod writer;

pub mod consents;
pub mod contacts;
pub mod crypto;
pub mod fading;
pub mod ghosts;
pub mod inbox;
pub mod logins;
pub mod media;
pub mod megolm;
pub mod messages;
pub mod meta;
pub mod outbox;
pub mod portals;
pub mod preferences;
pub mod prune;
pub mod quarantine;
pub mod reports;
pub mod sends;
pub mod signal;
pub mod tokens;
pub mod undecryptable;

pub use crate::{
    batch::Batch,
    error::Error,
    fence::Fence,
    log_id::LogId,
    open::{Backend, StoreConfig, is_set_up},
    seal::{SealingKey, Secret},
    store::{Pending, Store},
};

/// Milliseconds since the Unix epoch.
pub type Millis = i64;
