//! Sharing a room's key, and encrypting with it.

use std::{
    ops::Range,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use matrix_sdk_crypto::{
    CollectStrategy, EncryptionSettings, types::events::room::encrypted::RoomEncryptedEventContent,
};
use ruma::{
    OwnedUserId, RoomId, UserId,
    events::{AnyMessageLikeEventContent, room::history_visibility::HistoryVisibility},
    serde::Raw,
};
use serde_json::value::RawValue;

use super::{Puppet, lock};
use crate::PuppetError;

/// Rooms whose readiness a puppet remembers.
const REMEMBERED_ROOMS: usize = 256;
/// A session is not used in the last minute of its life, so that it cannot end between the check and its use.
const MARGIN: Duration = Duration::from_secs(60);
/// The OlmMachine keeps a session for at least this long, whatever the room says.
const SHORTEST_PERIOD: Duration = Duration::from_secs(3600);
/// Passes of sharing. A second one is needed when a list changes or a session runs out meanwhile.
const PASSES: usize = 3;

/// Which devices of a room's members get its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySharing {
    /// All devices, signed by their owner or not: what clients do unless told otherwise. A user of a client without
    /// cross-signing can read, and so can a device that a malicious homeserver adds to a user.
    #[default]
    EveryDevice,
    /// Only devices signed by their owner; all devices in a room where somebody has no cross-signing keys at all.
    SignedDevices,
}

/// How often a room's key changes. `m.room.encryption` may say otherwise than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomEncryption {
    /// Messages under one key.
    pub rotation_messages: u64,
    /// How long one key is used.
    pub rotation_period: Duration,
}

impl Default for RoomEncryption {
    /// The specification's values: 100 messages, a week.
    fn default() -> Self {
        Self {
            rotation_messages: 100,
            rotation_period: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// What makes the next `prepare` of a room a no-op.
#[derive(Debug)]
pub(super) struct PreparedRoom {
    /// Sorted.
    recipients: Vec<OwnedUserId>,
    devices_epoch: u64,
    messages_left: u64,
    /// The key is too old afterwards, and before it by a clock that was set back: the machine uses it in between.
    valid: Range<SystemTime>,
}

impl Puppet {
    /// Makes sure that the devices of `recipients` have the key for this puppet's next message in `room`.
    ///
    /// Asks the homeserver for device lists and one-time keys where needed, and sends the key. Costs nothing while no
    /// device list, recipient or key has changed. Everything is committed before it is sent.
    ///
    /// # Errors
    ///
    /// Nothing was sent in the room; the same call can be made again if the error is retryable.
    pub async fn prepare(
        self: &Arc<Self>,
        room: &RoomId,
        recipients: &[OwnedUserId],
    ) -> Result<(), PuppetError> {
        self.prepare_with(room, recipients, RoomEncryption::default())
            .await
    }

    /// [`prepare`](Self::prepare) in a room that has rotation settings of its own.
    ///
    /// # Errors
    ///
    /// As `prepare`.
    pub async fn prepare_with(
        self: &Arc<Self>,
        room: &RoomId,
        recipients: &[OwnedUserId],
        encryption: RoomEncryption,
    ) -> Result<(), PuppetError> {
        self.usable()?;
        let mut recipients = recipients.to_vec();
        recipients.sort_unstable();
        recipients.dedup();
        for _ in 0..PASSES {
            if self.is_prepared(room, &recipients) {
                return Ok(());
            }
            self.share(room, &recipients, encryption).await?;
        }
        if self.is_prepared(room, &recipients) {
            Ok(())
        } else {
            Err(PuppetError::NotPrepared)
        }
    }

    fn is_prepared(&self, room: &RoomId, recipients: &[OwnedUserId]) -> bool {
        let epoch = self.devices_epoch.load(Ordering::SeqCst);
        lock(&self.prepared).get(room).is_some_and(|prepared| {
            prepared.recipients == recipients
                && prepared.devices_epoch == epoch
                && prepared.messages_left > 0
                && prepared.valid.contains(&SystemTime::now())
        })
    }

    async fn share(
        self: &Arc<Self>,
        room: &RoomId,
        recipients: &[OwnedUserId],
        encryption: RoomEncryption,
    ) -> Result<(), PuppetError> {
        let users = || recipients.iter().map(AsRef::as_ref);
        self.machine.update_tracked_users(users()).await?;
        self.pump().await?;
        // Before the lists are read: a change from here on makes another pass.
        let devices_epoch = self.devices_epoch.load(Ordering::SeqCst);
        {
            let _one = self.exchange.lock().await;
            self.claim(users()).await?;
        }
        let settings = self.settings(recipients, encryption).await?;
        let requests = self
            .machine
            .share_room_key(room, users(), settings.clone())
            .await?;
        failpoints::around!("megolm.share.commit", self.commit().await)?;
        for request in &requests {
            failpoints::around!("megolm.share.send", self.send_to_devices(request).await)?;
        }
        // That the key is out need not be durable before it is used: the same request would be sent again.
        self.remember(room, recipients, &settings, devices_epoch)
            .await
    }

    async fn settings(
        &self,
        recipients: &[OwnedUserId],
        encryption: RoomEncryption,
    ) -> Result<EncryptionSettings, PuppetError> {
        let sharing_strategy = match self.sharing {
            KeySharing::EveryDevice => CollectStrategy::AllDevices,
            KeySharing::SignedDevices if self.all_have_identities(recipients).await? => {
                CollectStrategy::IdentityBasedStrategy
            }
            KeySharing::SignedDevices => CollectStrategy::AllDevices,
        };
        Ok(EncryptionSettings {
            rotation_period: encryption.rotation_period,
            rotation_period_msgs: encryption.rotation_messages,
            history_visibility: HistoryVisibility::Shared,
            sharing_strategy,
            ..EncryptionSettings::default()
        })
    }

    async fn all_have_identities(&self, recipients: &[OwnedUserId]) -> Result<bool, PuppetError> {
        for user in recipients {
            if self.machine.get_identity(user, None).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn remember(
        &self,
        room: &RoomId,
        recipients: &[OwnedUserId],
        settings: &EncryptionSettings,
        devices_epoch: u64,
    ) -> Result<(), PuppetError> {
        let _still = self.ratchet.lock().await;
        let Some(session) = self
            .machine
            .store()
            .get_outbound_group_session(room)
            .await?
        else {
            return Err(PuppetError::NotPrepared);
        };
        if session.expired() || session.invalidated() {
            return Ok(());
        }
        let pickle = session.pickle().await;
        let period = settings
            .rotation_period
            .max(SHORTEST_PERIOD)
            .saturating_sub(MARGIN);
        let created = Duration::from_secs(pickle.creation_time.get().into());
        let messages = settings.rotation_period_msgs.clamp(1, 10_000);
        let prepared = PreparedRoom {
            recipients: recipients.to_vec(),
            devices_epoch,
            messages_left: messages.saturating_sub(pickle.message_count),
            valid: UNIX_EPOCH + created..UNIX_EPOCH + created + period,
        };
        let mut rooms = lock(&self.prepared);
        if rooms.len() >= REMEMBERED_ROOMS && !rooms.contains_key(room) {
            // Preparing a room again costs little; a list of what was used when is not worth its upkeep.
            let any = rooms.keys().next().cloned();
            any.and_then(|room| rooms.remove(&room));
        }
        rooms.insert(room.to_owned(), prepared);
        Ok(())
    }

    /// Makes the next message in `room` use a new key, as when a member has left.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn rotate(&self, room: &RoomId) -> Result<(), PuppetError> {
        self.usable()?;
        let _still = self.ratchet.lock().await;
        lock(&self.prepared).remove(room);
        self.machine.discard_room_key(room).await?;
        Ok(())
    }

    /// Encrypts an event's content with the room's key. No network; the ratchet step is staged: send the result only
    /// after [`commit_with`](Self::commit_with).
    ///
    /// # Errors
    ///
    /// [`PuppetError::NotPrepared`] if [`prepare`](Self::prepare) is due.
    pub async fn encrypt(
        &self,
        room: &RoomId,
        event_type: &str,
        content: Box<RawValue>,
    ) -> Result<Raw<RoomEncryptedEventContent>, PuppetError> {
        self.usable()?;
        let content = Raw::<AnyMessageLikeEventContent>::from_json(content);
        let _one = self.ratchet.lock().await;
        self.spend(room)?;
        let encrypting = self
            .machine
            .encrypt_room_event_raw(room, event_type, &content);
        // The library asserts that the session is alive. `spend` has made sure of it, but a panic here would take the
        // whole portal with it if the clock were set forward by days in between.
        let encrypting = AssertUnwindSafe(encrypting).catch_unwind();
        match failpoints::around!("megolm.encrypt", encrypting.await) {
            Ok(Ok(encrypted)) => Ok(encrypted.content),
            Ok(Err(matrix_sdk_crypto::MegolmError::Store(error))) => Err(error.into()),
            Ok(Err(_)) => Err(PuppetError::Crypto("cannot encrypt".to_owned())),
            Err(_) => {
                lock(&self.prepared).remove(room);
                Err(PuppetError::NotPrepared)
            }
        }
    }

    /// Takes one message off the session's account.
    fn spend(&self, room: &RoomId) -> Result<(), PuppetError> {
        let mut rooms = lock(&self.prepared);
        let prepared = rooms.get_mut(room).ok_or(PuppetError::NotPrepared)?;
        if !prepared.valid.contains(&SystemTime::now()) {
            return Err(PuppetError::NotPrepared);
        }
        prepared.messages_left = prepared
            .messages_left
            .checked_sub(1)
            .ok_or(PuppetError::NotPrepared)?;
        Ok(())
    }

    /// Whether the homeserver knows a device of `user` that can read this puppet's messages.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn has_devices(&self, user: &UserId) -> Result<bool, PuppetError> {
        let devices = self.machine.get_user_devices(user, None).await?;
        Ok(devices.devices().any(|device| !device.is_deleted()))
    }
}
