//! The Matrix identities the bridge plays: ghosts and the bot.
//!
//! Each is a *puppet*: a user of the bridge's namespace with a device, one-time and fallback keys and cross-signing
//! keys of its own, so that no client has a reason to distrust it. [`Puppets`] registers and opens them; a [`Puppet`]
//! decrypts, encrypts and speaks the client-server API as that user.
//!
//! Nothing that depends on new key material leaves before that material is durable: the crypto store stages what the
//! OlmMachine saves, [`Puppet::commit_with`] writes it together with the caller's rows, and every request this crate
//! sends itself is preceded by such a commit.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod attachment;
mod config;
pub mod crypto_store;
mod device_lists;
mod error;
pub mod http;
mod keys;
mod puppet;
mod puppets;
mod sync;

pub use attachment::{AttachmentDecryptor, AttachmentEncryptor, AttachmentError, AttachmentKeys};
pub use config::{HomeserverConfig, Token};
pub use crypto_store::{SqlCryptoStore, Staged, WriteMode};
pub use error::{DecryptError, HttpError, PuppetError, Refusal};
pub use http::{Download, Homeserver, Identity};
pub use keys::{ToDevice, TransactionKeys};
pub use puppet::{
    CreatedRoom, DecryptedEvent, KeySharing, KeyUpdates, NewRoom, NewRoomKey, Puppet,
    RoomEncryption, SenderTrust, StateContent,
};
pub use puppets::{GhostProfile, PuppetOptions, Puppets, Received, Said, SaidIn, SweepResult};
