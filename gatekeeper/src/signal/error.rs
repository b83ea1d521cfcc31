//! What can go wrong with a session, and what to tell the sender about it.

use wacore_libsignal::protocol::SignalProtocolError;

/// Why a Signal operation was refused. The peer's stored state is as it was before the call.
///
/// Nothing in here carries content, keys or addresses, so it may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// This very message was decrypted before: acknowledge it again and do nothing else.
    #[error("the message was already decrypted once (a repeated delivery)")]
    Duplicate,
    /// There is no session that could read or carry the message.
    #[error("no Signal session with this peer: fetch the peer's prekey bundle first")]
    NoSession,
    /// A prekey message names a one-time prekey that we do not hold (used up, or never ours).
    #[error("the message was made for one-time prekey {0}, which is not held here any more")]
    UnknownPreKey(u32),
    /// A prekey message names a signed prekey that we do not hold.
    #[error("the message was made for signed prekey {0}, which is not held here any more")]
    UnknownSignedPreKey(u32),
    /// The authentication code is wrong: tampered with, or made for other keys.
    #[error("the message's authentication code is wrong")]
    BadMac,
    /// The message cannot be parsed or read by any session.
    #[error("the message is malformed or fits no session")]
    InvalidMessage,
    /// The message is further ahead of the chain than the limit of 2000 skipped messages.
    #[error("the message is too far ahead of the last one that was read")]
    TooFarAhead,
    /// Not version 3; the version that the message states.
    #[error("Signal message version {0} is not spoken here (only version 3 is)")]
    UnsupportedVersion(u8),
    /// A public key is not a Curve25519 key.
    #[error("a key has the wrong type or length")]
    InvalidKey,
    /// The identity key did not sign the signed prekey of the bundle.
    #[error("the signature over the signed prekey is not the identity key's")]
    BadSignature,
    /// A prekey id outside of the 24 bits that the wire has.
    #[error("prekey id {0} is outside of 1..=16777215")]
    PreKeyIdRange(u32),
    /// Stored bytes (session, identity, prekey) that are not what this version wrote.
    #[error("stored Signal state cannot be read back: {0}")]
    CorruptState(&'static str),
    /// The cryptographic library failed in a way that says nothing about the message.
    #[error("the Signal library failed: {0}")]
    Internal(&'static str),
}

/// Reason codes of a retry receipt (`<retry error="..">`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RetryReason {
    /// Anything else.
    Unknown = 0,
    /// No session.
    NoSession = 1,
    /// Invalid key.
    InvalidKey = 2,
    /// Prekey id not known here.
    PreKeyId = 3,
    /// The message is invalid.
    InvalidMessage = 4,
    /// A signature is wrong.
    InvalidSignature = 5,
    /// Too far in the future.
    FutureMessage = 6,
    /// The authentication code is wrong.
    BadMac = 7,
    /// The stored session is invalid.
    InvalidSession = 8,
    /// A message key is invalid.
    InvalidMessageKey = 9,
}

impl RetryReason {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Reads the number; codes unknown to us are [`RetryReason::Unknown`].
    pub const fn from_code(code: u64) -> Self {
        match code {
            1 => Self::NoSession,
            2 => Self::InvalidKey,
            3 => Self::PreKeyId,
            4 => Self::InvalidMessage,
            5 => Self::InvalidSignature,
            6 => Self::FutureMessage,
            7 => Self::BadMac,
            8 => Self::InvalidSession,
            9 => Self::InvalidMessageKey,
            _ => Self::Unknown,
        }
    }
}

impl SignalError {
    /// The reason to put into a retry receipt. `None` for [`SignalError::Duplicate`], which must
    /// be acknowledged and never be asked for again.
    pub const fn retry_reason(self) -> Option<RetryReason> {
        Some(match self {
            Self::Duplicate => return None,
            Self::NoSession => RetryReason::NoSession,
            Self::UnknownPreKey(_) | Self::UnknownSignedPreKey(_) | Self::PreKeyIdRange(_) => {
                RetryReason::PreKeyId
            }
            Self::BadMac => RetryReason::BadMac,
            Self::InvalidMessage | Self::UnsupportedVersion(_) => RetryReason::InvalidMessage,
            Self::TooFarAhead => RetryReason::FutureMessage,
            Self::InvalidKey => RetryReason::InvalidKey,
            Self::BadSignature => RetryReason::InvalidSignature,
            Self::CorruptState(_) => RetryReason::InvalidSession,
            Self::Internal(_) => RetryReason::Unknown,
        })
    }
}

impl From<SignalProtocolError> for SignalError {
    fn from(error: SignalProtocolError) -> Self {
        use SignalProtocolError as E;
        match error {
            E::DuplicatedMessage(..) => Self::Duplicate,
            E::SessionNotFound(_) => Self::NoSession,
            // The stores of this module refuse with these; the session module fills in the id.
            E::InvalidPreKeyId => Self::UnknownPreKey(0),
            E::InvalidSignedPreKeyId => Self::UnknownSignedPreKey(0),
            E::BadMac(_) => Self::BadMac,
            E::InvalidMessage(..)
            | E::InvalidProtobufEncoding
            | E::CiphertextMessageTooShort(_)
            | E::InvalidArgument(_) => Self::InvalidMessage,
            E::LegacyCiphertextVersion(version) | E::UnrecognizedCiphertextVersion(version) => {
                Self::UnsupportedVersion(version)
            }
            E::UnrecognizedMessageVersion(version) => {
                Self::UnsupportedVersion(u8::try_from(version).unwrap_or(u8::MAX))
            }
            E::NoKeyTypeIdentifier | E::BadKeyType(_) | E::BadKeyLength(..) => Self::InvalidKey,
            E::SignatureValidationFailed => Self::BadSignature,
            E::InvalidSessionStructure(reason) => Self::CorruptState(reason),
            E::InvalidState(reason, _) => Self::CorruptState(reason),
            _ => Self::Internal("unexpected error"),
        }
    }
}
