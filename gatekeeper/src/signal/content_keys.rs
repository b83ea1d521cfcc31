//! The seam that says who holds the keys of the content.
//!
//! The interface's published rules want the content keys of a partner's user on that user's own
//! client. In the form that this house ships, the bridge is that client: it runs where its user
//! trusts it, and [`HeldHere`] decrypts in its memory. The other form keeps the bridge as a proxy
//! and moves the Signal half to the user's device; then another [`ContentKeys`] asks that device,
//! over whatever transport, and nothing else in the bridge changes, because nothing else touches a
//! private key of the content: callers hand over opaque [`Peer`] records and get protobufs back.
//!
//! Two rules bind every holder: a call that fails changes nothing, and a call that succeeds may be
//! made public (sent, acknowledged) only after the caller has stored the changed [`Peer`].

use std::fmt;

use async_trait::async_trait;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::{
    Bundle, Ciphertext, EncKind, Identity, IdentityChange, LocalKeys, Peer, SignalError, decrypt,
    encrypt, establish,
};
use crate::padding::{pad, unpad};

/// The holder of one login's content keys.
#[async_trait]
pub trait ContentKeys: Send + Sync {
    /// Opens a session with a peer whose bundle was fetched.
    async fn establish(
        &self,
        peer: &mut Peer,
        bundle: &Bundle,
    ) -> Result<IdentityChange, SignalError>;

    /// Pads and encrypts a message protobuf.
    async fn encrypt(&self, peer: &mut Peer, content: &[u8]) -> Result<Ciphertext, SignalError>;

    /// Decrypts and unpads one message; see [`decrypt`] for the rules.
    async fn decrypt(
        &self,
        peer: &mut Peer,
        kind: EncKind,
        bytes: &[u8],
        keys: &LocalKeys,
    ) -> Result<Opened, SignalError>;
}

/// A decrypted message protobuf.
#[derive(Clone)]
pub struct Opened {
    /// The protobuf, without padding.
    pub content: Zeroizing<Vec<u8>>,
    /// The one-time prekey to delete in the transaction that stores the peer.
    pub consumed_prekey: Option<u32>,
    /// Whether the sender's identity key is new.
    pub identity_change: IdentityChange,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("consumed_prekey", &self.consumed_prekey)
            .field("identity_change", &self.identity_change)
            .finish_non_exhaustive()
    }
}

/// Content keys in this process.
#[derive(Debug, Clone)]
pub struct HeldHere<R> {
    identity: Identity,
    random: fn() -> R,
}

impl<R: CryptoRng> HeldHere<R> {
    /// Holds the identity of one login; `random` gives a cryptographic random number generator
    /// (`rand::rng` in the program, a seeded one in tests).
    pub const fn new(identity: Identity, random: fn() -> R) -> Self {
        Self { identity, random }
    }
}

#[async_trait]
impl<R: CryptoRng + 'static> ContentKeys for HeldHere<R> {
    async fn establish(
        &self,
        peer: &mut Peer,
        bundle: &Bundle,
    ) -> Result<IdentityChange, SignalError> {
        establish(&self.identity, peer, bundle, &mut (self.random)())
    }

    async fn encrypt(&self, peer: &mut Peer, content: &[u8]) -> Result<Ciphertext, SignalError> {
        let length = (self.random)().next_u32().to_be_bytes();
        let padded = Zeroizing::new(pad(content.to_vec(), length[0]));
        encrypt(&self.identity, peer, &padded)
    }

    async fn decrypt(
        &self,
        peer: &mut Peer,
        kind: EncKind,
        bytes: &[u8],
        keys: &LocalKeys,
    ) -> Result<Opened, SignalError> {
        let mut after = peer.clone();
        let decrypted = decrypt(
            &self.identity,
            &mut after,
            kind,
            bytes,
            keys,
            &mut (self.random)(),
        )?;
        let content = unpad(&decrypted.plaintext).map_err(|_| SignalError::InvalidMessage)?;
        let content = Zeroizing::new(content.to_vec());
        *peer = after;
        Ok(Opened {
            content,
            consumed_prekey: decrypted.consumed_prekey,
            identity_change: decrypted.identity_change,
        })
    }
}
