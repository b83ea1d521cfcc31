//! Opening sessions, encrypting, decrypting.
//!
//! Three traps of the library are closed here: the counter lease is waived on every record (see
//! `stores`), the one-time prekey that was used is handed to the caller to delete in the same
//! transaction that stores the session, and a failed call leaves the [`Peer`] exactly as it was.

use std::{fmt, str::FromStr};

use rand::CryptoRng;
use wacore_libsignal::protocol::{
    CiphertextMessage, DeviceId, PreKeySignalMessage, ProtocolAddress, SignalMessage, UsePQRatchet,
    consts::MAX_FORWARD_JUMPS, message_decrypt, message_encrypt, process_prekey_bundle,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Bundle, Identity, PreKey, SignalError, SignedPreKey,
    keys::raw,
    stores::{Identities, Sessions, now},
};

/// What is stored about one peer of one login. An empty value means: never met.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The session record, opaque; secret, to be sealed at rest.
    pub session: Option<Vec<u8>>,
    /// The newest identity key seen of the peer, without type byte.
    pub identity: Option<[u8; 32]>,
}

impl Peer {
    /// Whether [`encrypt`] can work without fetching a bundle first.
    pub const fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Drops the session but remembers the identity, as after a notice that the peer's identity
    /// changed: the next message needs a bundle, and the change is then seen and reported.
    pub fn forget_session(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.zeroize();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.forget_session();
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("session", &self.session.as_ref().map(|bytes| bytes.len()))
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// What an operation taught about the peer's identity key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityChange {
    /// The key on file.
    Unchanged,
    /// The first key ever seen of this peer; trusted on first use.
    First,
    /// Another key than before: the peer has reinstalled, or is somebody else. The user is told,
    /// messages go on.
    Changed,
}

impl IdentityChange {
    fn of(before: Option<[u8; 32]>, now: [u8; 32]) -> Self {
        match before {
            None => Self::First,
            Some(key) if key == now => Self::Unchanged,
            Some(_) => Self::Changed,
        }
    }
}

/// The `type` attribute of an `<enc>` child, for one-to-one messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncKind {
    /// A message of a running session.
    Msg,
    /// A message that carries the keys to open the session.
    PkMsg,
}

impl EncKind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Msg => "msg",
            Self::PkMsg => "pkmsg",
        }
    }
}

impl fmt::Display for EncKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An `<enc>` type that is not a one-to-one Signal message, such as `skmsg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of one-to-one Signal message (known are msg and pkmsg)")]
pub struct UnknownEncKind;

impl FromStr for EncKind {
    type Err = UnknownEncKind;

    fn from_str(word: &str) -> Result<Self, UnknownEncKind> {
        match word {
            "msg" => Ok(Self::Msg),
            "pkmsg" => Ok(Self::PkMsg),
            _ => Err(UnknownEncKind),
        }
    }
}

/// An encrypted message: the content of one `<enc>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertext {
    /// Which of the two forms it has.
    pub kind: EncKind,
    /// The bytes, beginning with the version byte.
    pub bytes: Vec<u8>,
}

/// The keys that a prekey message was made for, readable before it is decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreKeyIds {
    /// Our one-time prekey, if the sender was given one.
    pub prekey: Option<u32>,
    /// Our signed prekey.
    pub signed_prekey: u32,
    /// The sender's identity key, without type byte. Not proven before decryption.
    pub identity: [u8; 32],
    /// The sender's registration id.
    pub registration_id: u32,
}

/// Our prekeys that a prekey message asks for; empty for [`EncKind::Msg`].
///
/// Look them up by [`prekey_ids`]. A key that is gone stays `None`: if the message belongs to a
/// session that is open already, it is not needed.
#[derive(Debug, Clone, Default)]
pub struct LocalKeys {
    /// The one-time prekey.
    pub prekey: Option<PreKey>,
    /// The signed prekey.
    pub signed: Option<SignedPreKey>,
}

/// A decrypted message. The caller stores the [`Peer`] and deletes the consumed prekey in one
/// transaction.
#[derive(Clone)]
pub struct Decrypted {
    /// The content, still padded.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The one-time prekey that must be deleted now.
    pub consumed_prekey: Option<u32>,
    /// Whether the sender's identity key is new.
    pub identity_change: IdentityChange,
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted")
            .field("consumed_prekey", &self.consumed_prekey)
            .field("identity_change", &self.identity_change)
            .finish_non_exhaustive()
    }
}

/// Opens a session from a fetched bundle; an older session stays readable for late messages.
///
/// Refuses a bundle whose signed prekey the identity did not sign ([`SignalError::BadSignature`]).
pub fn establish(
    identity: &Identity,
    peer: &mut Peer,
    bundle: &Bundle,
    rng: &mut impl CryptoRng,
) -> Result<IdentityChange, SignalError> {
    bundle.verify()?;
    let address = address();
    let mut sessions = Sessions::load(peer.session.as_deref())?;
    let mut identities = Identities {
        own: identity,
        peer: peer.identity,
    };
    now(process_prekey_bundle(
        &address,
        &mut sessions,
        &mut identities,
        &bundle.to_library(address.device_id())?,
        rng,
        UsePQRatchet::No,
    ))?;
    let change = IdentityChange::of(peer.identity, bundle.identity);
    replace(peer, &sessions, Some(bundle.identity))?;
    Ok(change)
}

/// Encrypts one (padded) message and moves the session on.
///
/// [`SignalError::NoSession`] asks for [`establish`]: there is no session, or the open one belongs
/// to an identity that the peer has replaced since.
pub fn encrypt(
    identity: &Identity,
    peer: &mut Peer,
    plaintext: &[u8],
) -> Result<Ciphertext, SignalError> {
    let mut sessions = Sessions::load(peer.session.as_deref())?;
    let known = remote_identity(&sessions)?;
    // A late message of the peer's former identity brings its session to the front again. Reading
    // it is right, answering to it is not: nobody could read the answer.
    if peer.identity.is_some_and(|newest| newest != known) {
        return Err(SignalError::NoSession);
    }
    let mut identities = Identities {
        own: identity,
        peer: peer.identity,
    };
    let message = now(message_encrypt(
        plaintext,
        &address(),
        &mut sessions,
        &mut identities,
    ))?;
    let kind = match &message {
        CiphertextMessage::SignalMessage(_) => EncKind::Msg,
        CiphertextMessage::PreKeySignalMessage(_) => EncKind::PkMsg,
        _ => return Err(SignalError::Internal("unexpected kind of ciphertext")),
    };
    let bytes = message.serialize().to_vec();
    replace(peer, &sessions, peer.identity.or(Some(known)))?;
    Ok(Ciphertext { kind, bytes })
}

/// Reads which of our prekeys a prekey message was made for.
pub fn prekey_ids(pkmsg: &[u8]) -> Result<PreKeyIds, SignalError> {
    let message = parse_prekey_message(pkmsg)?;
    Ok(PreKeyIds {
        prekey: message.pre_key_id().map(u32::from),
        signed_prekey: message.signed_pre_key_id().into(),
        identity: raw(message.identity_key().public_key()),
        registration_id: message.registration_id(),
    })
}

/// Decrypts one message and moves the session on; on an error the peer is untouched.
///
/// [`SignalError::Duplicate`] means that the very message was read before: acknowledge it again.
pub fn decrypt(
    identity: &Identity,
    peer: &mut Peer,
    kind: EncKind,
    bytes: &[u8],
    keys: &LocalKeys,
    rng: &mut impl CryptoRng,
) -> Result<Decrypted, SignalError> {
    let (message, ids) = match kind {
        EncKind::Msg => {
            check_version(bytes)?;
            (
                CiphertextMessage::SignalMessage(SignalMessage::try_from(bytes)?),
                None,
            )
        }
        EncKind::PkMsg => (
            CiphertextMessage::PreKeySignalMessage(parse_prekey_message(bytes)?),
            Some(prekey_ids(bytes)?),
        ),
    };
    let mut sessions = Sessions::load(peer.session.as_deref())?;
    let mut identities = Identities {
        own: identity,
        peer: peer.identity,
    };
    let mut prekeys = keys.clone();
    let result = now(message_decrypt(
        &message,
        &address(),
        &mut sessions,
        &mut identities,
        &mut prekeys,
        keys,
        rng,
        UsePQRatchet::No,
    ))
    .map_err(|error| match (error, ids) {
        (SignalError::InvalidMessage, _) if too_far_ahead(peer, &message) => {
            SignalError::TooFarAhead
        }
        (SignalError::UnknownPreKey(_), Some(ids)) => {
            SignalError::UnknownPreKey(ids.prekey.unwrap_or_default())
        }
        (SignalError::UnknownSignedPreKey(_), Some(ids)) => {
            SignalError::UnknownSignedPreKey(ids.signed_prekey)
        }
        (error, _) => error,
    })?;
    let plaintext = Zeroizing::new(result.plaintext);
    // Only a prekey message that opened a session can bring a new identity. A late message of an
    // older session is read with that session's key, which must not displace the newer one.
    let opened = matches!(
        result.identity_change,
        wacore_libsignal::protocol::IdentityChange::ReplacedExisting
    );
    let newest = match (ids, peer.identity) {
        (Some(ids), before) if opened || before.is_none() => ids.identity,
        (_, Some(before)) => before,
        (_, None) => remote_identity(&sessions)?,
    };
    let identity_change = IdentityChange::of(peer.identity, newest);
    replace(peer, &sessions, Some(newest))?;
    Ok(Decrypted {
        plaintext,
        consumed_prekey: result.consumed_prekey_id.map(u32::from),
        identity_change,
    })
}

/// The library logs addresses and keys its maps by them; it is given none of ours.
fn address() -> ProtocolAddress {
    ProtocolAddress::new("peer", DeviceId::from(0))
}

fn replace(
    peer: &mut Peer,
    sessions: &Sessions,
    identity: Option<[u8; 32]>,
) -> Result<(), SignalError> {
    let stored = sessions.stored()?;
    peer.forget_session();
    peer.session = stored;
    peer.identity = identity;
    Ok(())
}

/// Whether a message is past the limit of skipped messages. The library knows it, but tells only
/// that no session could read the message.
fn too_far_ahead(peer: &Peer, message: &CiphertextMessage) -> bool {
    let message = match message {
        CiphertextMessage::SignalMessage(message) => message,
        CiphertextMessage::PreKeySignalMessage(message) => message.message(),
        _ => return false,
    };
    let sessions = Sessions::load(peer.session.as_deref()).ok();
    let next = sessions
        .as_ref()
        .and_then(|sessions| sessions.record.as_ref()?.session_state())
        .and_then(|state| {
            state
                .get_receiver_chain_key(message.sender_ratchet_key())
                .ok()?
        })
        .map_or(0, |chain| chain.index());
    usize::try_from(message.counter().saturating_sub(next))
        .is_ok_and(|ahead| ahead > MAX_FORWARD_JUMPS)
}

/// The identity key at the other end of the current session.
fn remote_identity(sessions: &Sessions) -> Result<[u8; 32], SignalError> {
    let state = sessions
        .record
        .as_ref()
        .and_then(|record| record.session_state())
        .ok_or(SignalError::NoSession)?;
    let key = state
        .remote_identity_key()
        .map_err(|_| SignalError::CorruptState("remote identity"))?
        .ok_or(SignalError::CorruptState("remote identity"))?;
    Ok(raw(key.public_key()))
}

/// The high half of the version byte is the version of the message, the low half the newest that
/// its sender knows. We write `0x33`; of others only the version of the message matters.
pub(super) fn check_version(bytes: &[u8]) -> Result<(), SignalError> {
    match bytes.first() {
        None => Err(SignalError::InvalidMessage),
        Some(byte) if byte >> 4 == 3 => Ok(()),
        Some(byte) => Err(SignalError::UnsupportedVersion(byte >> 4)),
    }
}

pub(super) fn parse_prekey_message(bytes: &[u8]) -> Result<PreKeySignalMessage, SignalError> {
    check_version(bytes)?;
    let message = PreKeySignalMessage::try_from(bytes)?;
    check_version(message.message().serialized())?;
    Ok(message)
}
