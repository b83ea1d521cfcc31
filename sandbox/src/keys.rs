//! The sandbox's own keys: its certificate root, its Noise key, the key that signs pushes.

use gatekeeper::{
    noise::{CertAuthority, CertError, StaticKeyPair},
    token::{SigningKey, TokenError},
};

use crate::clock::real_ms;

/// The keys of a server.
#[derive(Debug)]
pub(crate) struct ServerKeys {
    /// Static Noise key of the chat.
    pub noise: StaticKeyPair,
    /// Certificate chain over it, as the handshake carries it.
    pub chain: Vec<u8>,
    /// Root of the chain: clients pin it.
    pub root: [u8; 32],
    /// Signs pushes; its public half is at `/.well-known/jwks`.
    pub signing: SigningKey,
}

/// Keys that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The certificate chain.
    #[error("the certificate chain cannot be made: {0}")]
    Certificate(#[from] CertError),
    /// The signing key.
    #[error("the signing key cannot be made: {0}")]
    Token(#[from] TokenError),
}

impl ServerKeys {
    /// New keys.
    pub(crate) fn generate() -> Result<Self, KeysError> {
        let mut rng = rand::rng();
        let noise = StaticKeyPair::generate(&mut rng);
        let authority = CertAuthority::mint(&mut rng, real_ms() / 1000)?;
        let chain = authority.issue(&noise.public(), &mut rng)?;
        let root = authority.root().0;
        Ok(Self {
            noise,
            chain,
            root,
            signing: SigningKey::generate()?,
        })
    }

    /// What clients shall send at the beginning of their next connection. It leads nowhere: there is
    /// one server.
    pub(crate) fn routing(&self) -> Vec<u8> {
        self.root.iter().take(8).copied().collect()
    }
}
