//! Keys of our own: the identity, one-time prekeys, signed prekeys.
//!
//! Secret bytes are wiped when a value is dropped and never shown by `Debug`. `to_bytes` gives the
//! secret form for the (sealed) database: a format byte, the fixed fields in big endian, the
//! private key; public keys are computed again on reading, so they cannot disagree.

use std::fmt;

use rand::CryptoRng;
use wacore_libsignal::protocol::{
    GenericSignedPreKey as _, IdentityKey, IdentityKeyPair, KeyPair, PreKeyRecord, PrivateKey,
    PublicKey, SignedPreKeyRecord, Timestamp,
};
use zeroize::Zeroizing;

use super::{PreKeyPublic, SignalError, SignedPreKeyPublic};

/// Prekey ids have 24 bits on the wire; 0 is left out because protobuf reads it as "none".
pub const MAX_PREKEY_ID: u32 = 0x00ff_ffff;

/// The only stored format so far.
const FORMAT: u8 = 1;

/// Registration ids that WhatsApp's libraries draw have 14 bits.
const REGISTRATION_IDS: u32 = 16380;

/// The prekey id after `id`, starting again at 1 after [`MAX_PREKEY_ID`].
pub const fn next_prekey_id(id: u32) -> u32 {
    if id >= MAX_PREKEY_ID { 1 } else { id + 1 }
}

/// A Curve25519 key pair.
#[derive(Clone)]
struct Pair {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Pair {
    fn generate(rng: &mut impl CryptoRng) -> Self {
        let pair = KeyPair::generate(rng);
        Self {
            private: Zeroizing::new(*pair.private_key.serialize()),
            public: raw(&pair.public_key),
        }
    }

    fn from_private(private: Zeroizing<[u8; 32]>) -> Result<Self, SignalError> {
        let key = PrivateKey::deserialize(private.as_slice())
            .map_err(|_| SignalError::CorruptState("private key"))?;
        let public = key
            .public_key()
            .map_err(|_| SignalError::CorruptState("private key"))?;
        Ok(Self {
            private,
            public: raw(&public),
        })
    }

    fn to_library(&self) -> Result<KeyPair, SignalError> {
        let private = PrivateKey::deserialize(self.private.as_slice())
            .map_err(|_| SignalError::CorruptState("private key"))?;
        Ok(KeyPair::new(public_key(&self.public)?, private))
    }
}

/// The raw 32 bytes of a library key, without the type byte `0x05`.
pub(super) fn raw(key: &PublicKey) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(key.public_key_bytes()) {
        *to = *from;
    }
    bytes
}

/// A library key from the raw 32 bytes.
pub(super) fn public_key(bytes: &[u8; 32]) -> Result<PublicKey, SignalError> {
    PublicKey::from_djb_public_key_bytes(bytes).map_err(|_| SignalError::InvalidKey)
}

/// The long-term identity of one login: its key pair and its registration id.
#[derive(Clone)]
pub struct Identity {
    registration_id: u32,
    pair: Pair,
}

impl Identity {
    /// Draws a new identity.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let registration_id = 1 + rng.next_u32() % REGISTRATION_IDS;
        Self {
            registration_id,
            pair: Pair::generate(rng),
        }
    }

    /// The registration id that goes into enlistment (`e_regid`), bundles and prekey messages.
    pub const fn registration_id(&self) -> u32 {
        self.registration_id
    }

    /// The public identity key, without type byte.
    pub const fn public(&self) -> [u8; 32] {
        self.pair.public
    }

    /// The private key alone, for an implementation with a form of its own.
    pub fn private_key(&self) -> Zeroizing<[u8; 32]> {
        self.pair.private.clone()
    }

    /// An XEdDSA signature over `message`.
    pub fn sign(&self, message: &[u8], rng: &mut impl CryptoRng) -> Result<[u8; 64], SignalError> {
        let signature = self
            .to_library()?
            .private_key()
            .calculate_signature(message, rng)
            .map_err(|_| SignalError::Internal("signature"))?;
        <[u8; 64]>::try_from(signature.as_ref())
            .map_err(|_| SignalError::Internal("signature length"))
    }

    /// The secret form for the sealed database: format byte, registration id, private key.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(37));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.registration_id.to_be_bytes());
        bytes.extend_from_slice(self.pair.private.as_slice());
        bytes
    }

    /// Reads what [`Identity::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignalError> {
        let mut reader = Reader::open(bytes, "identity")?;
        let registration_id = reader.number()?;
        let private = reader.array()?;
        reader.end()?;
        Ok(Self {
            registration_id,
            pair: Pair::from_private(private)?,
        })
    }

    pub(super) fn to_library(&self) -> Result<IdentityKeyPair, SignalError> {
        let pair = self.pair.to_library()?;
        Ok(IdentityKeyPair::new(
            IdentityKey::new(pair.public_key),
            pair.private_key,
        ))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("registration_id", &self.registration_id)
            .finish_non_exhaustive()
    }
}

/// A one-time prekey: published, used by one peer for one first message, then deleted.
#[derive(Clone)]
pub struct PreKey {
    id: u32,
    pair: Pair,
}

impl PreKey {
    /// Draws the prekey with number `id` (1 to [`MAX_PREKEY_ID`]).
    pub fn generate(id: u32, rng: &mut impl CryptoRng) -> Result<Self, SignalError> {
        Ok(Self {
            id: check_id(id)?,
            pair: Pair::generate(rng),
        })
    }

    /// Draws `count` prekeys beginning with `first`, and says which id comes after them.
    ///
    /// Ids go round after [`MAX_PREKEY_ID`], so the caller stores the returned id and passes it in
    /// again: an id is not used a second time before all others were.
    pub fn generate_batch(
        first: u32,
        count: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<Self>, u32), SignalError> {
        let mut id = check_id(first)?;
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            keys.push(Self::generate(id, rng)?);
            id = next_prekey_id(id);
        }
        Ok((keys, id))
    }

    /// The number of the key.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What is published of it.
    pub const fn public(&self) -> PreKeyPublic {
        PreKeyPublic {
            id: self.id,
            public: self.pair.public,
        }
    }

    /// The secret form for the sealed database.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(37));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(self.pair.private.as_slice());
        bytes
    }

    /// Reads what [`PreKey::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignalError> {
        let mut reader = Reader::open(bytes, "one-time prekey")?;
        let id = reader.number()?;
        let private = reader.array()?;
        reader.end()?;
        Ok(Self {
            id: check_id(id)?,
            pair: Pair::from_private(private)?,
        })
    }

    pub(super) fn to_library(&self) -> Result<PreKeyRecord, SignalError> {
        Ok(PreKeyRecord::new(self.id.into(), &self.pair.to_library()?))
    }
}

impl fmt::Debug for PreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A prekey that all peers may use until it is rotated, signed by the identity key.
#[derive(Clone)]
pub struct SignedPreKey {
    id: u32,
    pair: Pair,
    signature: [u8; 64],
}

impl SignedPreKey {
    /// Draws the signed prekey with number `id` and signs `0x05 || public` with the identity key.
    pub fn generate(
        id: u32,
        identity: &Identity,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SignalError> {
        let id = check_id(id)?;
        let pair = Pair::generate(rng);
        let signed = public_key(&pair.public)?.serialize();
        let signature = identity.sign(&signed, rng)?;
        Ok(Self {
            id,
            pair,
            signature,
        })
    }

    /// The private key alone, for an implementation with a form of its own.
    pub fn private_key(&self) -> Zeroizing<[u8; 32]> {
        self.pair.private.clone()
    }

    /// The number of the key.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What is published of it.
    pub const fn public(&self) -> SignedPreKeyPublic {
        SignedPreKeyPublic {
            id: self.id,
            public: self.pair.public,
            signature: self.signature,
        }
    }

    /// The secret form for the sealed database.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(101));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(self.pair.private.as_slice());
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads what [`SignedPreKey::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignalError> {
        let mut reader = Reader::open(bytes, "signed prekey")?;
        let id = reader.number()?;
        let private = reader.array()?;
        let signature: Zeroizing<[u8; 64]> = reader.array()?;
        reader.end()?;
        Ok(Self {
            id: check_id(id)?,
            pair: Pair::from_private(private)?,
            signature: *signature,
        })
    }

    pub(super) fn to_library(&self) -> Result<SignedPreKeyRecord, SignalError> {
        // The library wants a date but never looks at it; rotation is the caller's business.
        Ok(SignedPreKeyRecord::new(
            self.id.into(),
            Timestamp::from_epoch_millis(0),
            &self.pair.to_library()?,
            &self.signature,
        ))
    }
}

impl fmt::Debug for SignedPreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedPreKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

const fn check_id(id: u32) -> Result<u32, SignalError> {
    if id == 0 || id > MAX_PREKEY_ID {
        Err(SignalError::PreKeyIdRange(id))
    } else {
        Ok(id)
    }
}

/// Takes a stored secret apart.
struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8], what: &'static str) -> Result<Self, SignalError> {
        match bytes.split_first() {
            Some((&FORMAT, rest)) => Ok(Self { rest, what }),
            _ => Err(SignalError::CorruptState(what)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<Zeroizing<[u8; N]>, SignalError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(SignalError::CorruptState(self.what))?;
        self.rest = rest;
        Ok(Zeroizing::new(*head))
    }

    fn number(&mut self) -> Result<u32, SignalError> {
        Ok(u32::from_be_bytes(*self.array()?))
    }

    fn end(self) -> Result<(), SignalError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(SignalError::CorruptState(self.what))
        }
    }
}
