//! Pairwise Signal sessions as WhatsApp speaks them (X3DH version 3 and the Double Ratchet).
//!
//! The cryptography is `wacore-libsignal`; this module puts it behind small synchronous types of
//! our own, so that nothing else in the house depends on that crate. It does no I/O: each call is
//! given the stored state of one peer and changes it in memory, and **the caller stores the bytes,
//! durably, before a ciphertext leaves or a message is acknowledged**. That rule is what makes it
//! safe to turn the library's counter leases off (see [`session`]).
//!
//! * [`keys`]: our identity and the prekeys that we publish;
//! * [`bundle`]: a peer's published keys, and their verification;
//! * [`session`]: [`establish`], [`encrypt`], [`decrypt`] over a [`Peer`];
//! * [`order`]: which message comes before which, from their headers;
//! * [`content_keys`]: [`ContentKeys`], the seam that says who holds the keys of the content.
//!
//! Wire format: one version byte `0x33`, then the protobuf of a `SignalMessage` (kind `msg`) or a
//! `PreKeySignalMessage` (kind `pkmsg`). There is no post-quantum form on this interface.

pub mod bundle;
pub mod content_keys;
mod error;
pub mod keys;
pub mod order;
pub mod session;
mod stores;

pub use self::{
    bundle::{Bundle, PreKeyPublic, SignedPreKeyPublic},
    content_keys::{ContentKeys, HeldHere, Opened},
    error::{RetryReason, SignalError},
    keys::{Identity, MAX_PREKEY_ID, PreKey, SignedPreKey, next_prekey_id},
    order::{Position, Span, Turn, turn},
    session::{
        Ciphertext, Decrypted, EncKind, IdentityChange, LocalKeys, Peer, PreKeyIds, decrypt,
        encrypt, establish, prekey_ids,
    },
};

#[cfg(test)]
mod tests;
