//! The symmetric state of a handshake: running hash, chaining key, cipher.

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    NoiseError,
    keys::StaticKeyPair,
    transport::{Cipher, Receiver, Sender, Transport},
};
use crate::frame::HEADER;

/// The patterns of a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    /// The client does not know the server's key.
    Xx,
    /// The client knows the server's key from before and sends its login at once.
    Ik,
    /// The server could not read an IK hello, and both go on as in XX.
    XxFallback,
}

impl Pattern {
    /// The protocol's name as the first hash: as it is if it fits, else hashed.
    fn hash(self) -> [u8; 32] {
        match self {
            Self::Xx => *b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0",
            Self::Ik => *b"Noise_IK_25519_AESGCM_SHA256\0\0\0\0",
            Self::XxFallback => Sha256::digest(b"Noise_XXfallback_25519_AESGCM_SHA256").into(),
        }
    }
}

/// Which side of the connection one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

/// The state that both sides keep equal.
pub(super) struct State {
    hash: [u8; 32],
    chaining_key: Zeroizing<[u8; 32]>,
    /// None until the first shared secret.
    cipher: Option<Cipher>,
}

impl State {
    /// The state before the first message; the connection header is the prologue.
    pub(super) fn new(pattern: Pattern) -> Self {
        let hash = pattern.hash();
        let mut state = Self {
            hash,
            chaining_key: Zeroizing::new(hash),
            cipher: None,
        };
        state.mix_hash(&HEADER);
        state
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Sha256::new()
            .chain_update(self.hash)
            .chain_update(data)
            .finalize()
            .into();
    }

    /// Mixes the secret shared by our key and theirs into the keys.
    pub(super) fn mix_agreement(
        &mut self,
        ours: &StaticKeyPair,
        theirs: &[u8; 32],
    ) -> Result<(), NoiseError> {
        let shared = ours.agree(theirs)?;
        let (chaining_key, key) = self.expand(shared.as_ref())?;
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(&key)?);
        Ok(())
    }

    pub(super) fn encrypt(&mut self, plain: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let cipher = self.cipher.as_mut().ok_or(NoiseError::Key)?;
        let sealed = cipher.encrypt(&self.hash, plain)?;
        self.mix_hash(&sealed);
        Ok(sealed)
    }

    pub(super) fn decrypt(&mut self, sealed: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let cipher = self.cipher.as_mut().ok_or(NoiseError::Key)?;
        let plain = cipher.decrypt(&self.hash, sealed)?;
        self.mix_hash(sealed);
        Ok(plain)
    }

    /// A public key that the peer sent encrypted.
    pub(super) fn decrypt_key(&mut self, sealed: &[u8]) -> Result<[u8; 32], NoiseError> {
        self.decrypt(sealed)?
            .try_into()
            .map_err(|_| NoiseError::Key)
    }

    /// The keys of the connection. The initiator writes with the first.
    pub(super) fn split(self, role: Role) -> Result<Transport, NoiseError> {
        let (first, second) = self.expand(&[])?;
        let (first, second) = (Cipher::new(&first)?, Cipher::new(&second)?);
        let (sender, receiver) = if role == Role::Initiator {
            (first, second)
        } else {
            (second, first)
        };
        Ok(Transport {
            sender: Sender(sender),
            receiver: Receiver(receiver),
        })
    }

    fn expand(&self, secret: &[u8]) -> Result<(Key, Key), NoiseError> {
        let hkdf = Hkdf::<Sha256>::new(Some(self.chaining_key.as_ref()), secret);
        let mut keys = Zeroizing::new([0; 64]);
        hkdf.expand(&[], keys.as_mut())
            .map_err(|_| NoiseError::Key)?;
        match (keys.first_chunk(), keys.last_chunk()) {
            (Some(first), Some(second)) => Ok((Zeroizing::new(*first), Zeroizing::new(*second))),
            _ => Err(NoiseError::Key),
        }
    }
}

type Key = Zeroizing<[u8; 32]>;
