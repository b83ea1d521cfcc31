//! From ciphertext of a room to an event.

use matrix_sdk_common::deserialized_responses::{
    AlgorithmInfo, DecryptedRoomEvent, VerificationLevel, VerificationState,
};
use matrix_sdk_crypto::{
    DecryptionSettings, MegolmError, TrustRequirement,
    types::events::room::encrypted::EncryptedEvent,
    vodozemac::megolm::{DecryptionError, MegolmMessage},
};
use ruma::{RoomId, events::AnyTimelineEvent, serde::Raw};
use serde::Deserialize;
use serde_json::Value;

use super::Puppet;
use crate::{DecryptError, PuppetError};

/// What the user writes is taken from each of their devices, signed by their owner or not: many clients are never verified. The
/// bridge does not go by [`DecryptedEvent::trust`].
pub(super) const SETTINGS: DecryptionSettings = DecryptionSettings {
    sender_device_trust_requirement: TrustRequirement::Untrusted,
};

/// What is known about the device that sent an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderTrust {
    /// Signed by its owner's cross-signing keys.
    Signed,
    /// Known, not signed by its owner.
    Unsigned,
    /// No such device is known: deleted since, or the key came by another way.
    Unknown,
}

/// A decrypted room event.
#[derive(Clone, Debug)]
pub struct DecryptedEvent {
    /// The event as if it had been sent in the clear; `m.relates_to` of the clear part is in its content.
    pub event: AnyTimelineEvent,
    /// The same, as JSON.
    pub raw: Raw<AnyTimelineEvent>,
    /// How far the sending device can be trusted.
    pub trust: SenderTrust,
    /// The Megolm session.
    pub session_id: String,
    /// The message's number in its session. The same number under two event ids is a replay; to notice that is up to the caller,
    /// as nothing is remembered here.
    pub message_index: u32,
}

impl Puppet {
    /// Decrypts an `m.room.encrypted` event. No network, nothing to commit.
    ///
    /// # Errors
    ///
    /// See [`DecryptError`].
    pub async fn decrypt(
        &self,
        room: &RoomId,
        event: &Raw<EncryptedEvent>,
    ) -> Result<DecryptedEvent, DecryptError> {
        self.usable()?;
        let clear = Clear::of(event)?;
        let decrypting = self.machine.decrypt_room_event(event, room, &SETTINGS);
        let decrypted = failpoints::around!("megolm.decrypt", decrypting.await)
            .map_err(|error| refused(error, clear.session_id.clone()))?;
        read(decrypted, clear)
    }
}

/// What an event says in the clear.
struct Clear {
    session_id: String,
    message_index: u32,
    relates_to: Option<Value>,
}

impl Clear {
    fn of(event: &Raw<EncryptedEvent>) -> Result<Self, DecryptError> {
        #[derive(Deserialize)]
        struct Outer {
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            #[serde(default)]
            algorithm: String,
            #[serde(default)]
            session_id: String,
            #[serde(default)]
            ciphertext: Value,
            #[serde(rename = "m.relates_to")]
            relates_to: Option<Value>,
        }
        let malformed = |what: &str| DecryptError::Malformed(what.to_owned());
        let outer: Outer = event
            .deserialize_as_unchecked()
            .map_err(|_| malformed("not an encrypted event"))?;
        let content = outer.content;
        if content.algorithm != "m.megolm.v1.aes-sha2" {
            return Err(malformed("unknown algorithm"));
        }
        let ciphertext = content
            .ciphertext
            .as_str()
            .ok_or_else(|| malformed("no ciphertext"))?;
        let message = MegolmMessage::from_base64(ciphertext)
            .map_err(|_| malformed("not a Megolm message"))?;
        Ok(Self {
            session_id: content.session_id,
            message_index: message.message_index(),
            relates_to: content.relates_to,
        })
    }

    /// Puts the relation of the clear part in place of one that was encrypted. Relations belong in the clear (client-server API,
    /// "Relationships to events"), and the two can differ: a client that changes a message while it is still being sent has
    /// encrypted the name that the message had until then.
    fn relate(
        &self,
        event: Raw<AnyTimelineEvent>,
    ) -> Result<Raw<AnyTimelineEvent>, serde_json::Error> {
        let Some(relates_to) = &self.relates_to else {
            return Ok(event);
        };
        let mut json: Value = event.deserialize_as_unchecked()?;
        if let Some(content) = json.get_mut("content").and_then(Value::as_object_mut) {
            content.insert("m.relates_to".to_owned(), relates_to.clone());
        }
        Ok(Raw::from_json(serde_json::value::to_raw_value(&json)?))
    }
}

fn refused(error: MegolmError, session_id: String) -> DecryptError {
    match error {
        MegolmError::MissingRoomKey(withheld) => DecryptError::MissingKey {
            session_id,
            withheld: withheld.map(|code| code.as_str().to_owned()),
        },
        MegolmError::Decryption(DecryptionError::UnknownMessageIndex(..)) => {
            DecryptError::MissingKey {
                session_id,
                withheld: None,
            }
        }
        MegolmError::Store(error) => DecryptError::Puppet(error.into()),
        MegolmError::MismatchedIdentityKeys(_) => DecryptError::SenderMismatch,
        MegolmError::SenderIdentityNotTrusted(VerificationLevel::MismatchedSender) => {
            DecryptError::SenderMismatch
        }
        // The texts of these name errors of the format, never content.
        MegolmError::EventError(error) => DecryptError::Malformed(error.to_string()),
        MegolmError::Decode(error) => DecryptError::Malformed(error.to_string()),
        MegolmError::Decryption(error) => DecryptError::Malformed(error.to_string()),
        MegolmError::JsonError(_) => {
            DecryptError::Malformed("not a Matrix event inside".to_owned())
        }
        _ => DecryptError::Malformed("refused by the crypto library".to_owned()),
    }
}

fn read(decrypted: DecryptedRoomEvent, clear: Clear) -> Result<DecryptedEvent, DecryptError> {
    let info = decrypted.encryption_info;
    let trust = match &info.verification_state {
        VerificationState::Verified
        | VerificationState::Unverified(
            VerificationLevel::UnverifiedIdentity | VerificationLevel::VerificationViolation,
        ) => SenderTrust::Signed,
        VerificationState::Unverified(VerificationLevel::UnsignedDevice) => SenderTrust::Unsigned,
        VerificationState::Unverified(VerificationLevel::None(_)) => SenderTrust::Unknown,
        VerificationState::Unverified(VerificationLevel::MismatchedSender) => {
            return Err(DecryptError::SenderMismatch);
        }
    };
    if !matches!(info.algorithm_info, AlgorithmInfo::MegolmV1AesSha2 { .. }) {
        return Err(DecryptError::Malformed("unknown algorithm".to_owned()));
    }
    let no_event = |_| DecryptError::Malformed("not a Matrix event inside".to_owned());
    let raw = clear.relate(decrypted.event).map_err(no_event)?;
    let event = raw.deserialize().map_err(no_event)?;
    Ok(DecryptedEvent {
        event,
        raw,
        trust,
        session_id: clear.session_id,
        message_index: clear.message_index,
    })
}

impl From<store::Error> for DecryptError {
    fn from(error: store::Error) -> Self {
        Self::Puppet(PuppetError::Store(error))
    }
}
