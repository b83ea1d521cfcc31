//! The published keys of a user: what a peer fetches before its first message.

use wacore_libsignal::protocol::{DeviceId, IdentityKey, PreKeyBundle};

use super::{MAX_PREKEY_ID, SignalError, keys::public_key};

/// The published half of a one-time prekey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreKeyPublic {
    /// Number of the key, 24 bits.
    pub id: u32,
    /// Curve25519 public key, without type byte.
    pub public: [u8; 32],
}

/// The published half of a signed prekey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedPreKeyPublic {
    /// Number of the key, 24 bits.
    pub id: u32,
    /// Curve25519 public key, without type byte.
    pub public: [u8; 32],
    /// XEdDSA signature of the identity key over `0x05 || public`.
    pub signature: [u8; 64],
}

impl SignedPreKeyPublic {
    /// Checks that `identity` (raw, 32 bytes) made the signature.
    pub fn verify(&self, identity: &[u8; 32]) -> Result<(), SignalError> {
        let signed = public_key(&self.public)?.serialize();
        if public_key(identity)?.verify_signature(&signed, &self.signature) {
            Ok(())
        } else {
            Err(SignalError::BadSignature)
        }
    }
}

/// Everything that is needed to open a session with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle {
    /// The user's registration id.
    pub registration_id: u32,
    /// The user's identity key, without type byte.
    pub identity: [u8; 32],
    /// The signed prekey.
    pub signed_prekey: SignedPreKeyPublic,
    /// A one-time prekey, when the server had one left. Without it the session still works; its
    /// first messages are a little less forward secret.
    pub prekey: Option<PreKeyPublic>,
}

impl Bundle {
    /// Checks ids and the signature over the signed prekey. [`super::establish`] does it anyway.
    pub fn verify(&self) -> Result<(), SignalError> {
        let ids = [Some(self.signed_prekey.id), self.prekey.map(|key| key.id)];
        for id in ids.into_iter().flatten() {
            if id > MAX_PREKEY_ID {
                return Err(SignalError::PreKeyIdRange(id));
            }
        }
        self.signed_prekey.verify(&self.identity)
    }

    pub(super) fn to_library(self, device: DeviceId) -> Result<PreKeyBundle, SignalError> {
        let prekey = match self.prekey {
            Some(key) => Some((key.id.into(), public_key(&key.public)?)),
            None => None,
        };
        Ok(PreKeyBundle::new(
            self.registration_id,
            device,
            prekey,
            self.signed_prekey.id.into(),
            public_key(&self.signed_prekey.public)?,
            self.signed_prekey.signature.to_vec(),
            IdentityKey::new(public_key(&self.identity)?),
        )?)
    }
}
