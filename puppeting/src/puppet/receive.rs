//! What the homeserver says about keys: to-device messages, device lists, key counts.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use matrix_sdk_common::deserialized_responses::ProcessedToDeviceEvent;
use matrix_sdk_crypto::{
    EncryptionSyncChanges,
    store::{CryptoStore as _, types::Changes},
};
use ruma::{
    OneTimeKeyAlgorithm, OwnedRoomId, OwnedUserId,
    api::client::sync::sync_events::{DeviceLists, v3::Response},
    events::AnyToDeviceEvent,
    serde::Raw,
};
use tracing::debug;

use super::{
    Puppet,
    decrypt::SETTINGS,
    exchange::{ONE_TIME_KEYS_LOW, told},
};
use crate::{
    HttpError, Identity, PuppetError, SqlCryptoStore,
    error::crypto,
    sync::{matters, sync},
};

/// What one transaction or one sync says about the keys of one device.
#[derive(Clone, Debug, Default)]
pub struct KeyUpdates {
    /// Messages to the device, in order. Repeated ones do no harm.
    pub to_device: Vec<Raw<AnyToDeviceEvent>>,
    /// Users whose devices changed, and users no longer shared a room with.
    pub device_lists: DeviceLists,
    /// Signed one-time keys left at the homeserver. `None` if it did not say: absence says nothing.
    pub one_time_keys: Option<u64>,
    /// Kinds of fallback keys not yet used. `None` if it did not say.
    pub unused_fallback_keys: Option<Vec<OneTimeKeyAlgorithm>>,
    /// Where the next sync goes on.
    pub next_batch: Option<String>,
}

impl KeyUpdates {
    /// Whether even a closed machine must hear of it now. Device lists can wait until it is opened.
    pub(crate) fn is_urgent(&self) -> bool {
        !self.to_device.is_empty()
            || self
                .one_time_keys
                .is_some_and(|count| count < ONE_TIME_KEYS_LOW)
    }
}

/// A room key that came: events that waited for it can be decrypted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoomKey {
    /// The puppet that has it.
    pub user_id: OwnedUserId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// The Megolm session.
    pub session_id: String,
}

impl Puppet {
    /// Takes in what the homeserver said, and commits it. What has to be sent in answer is sent in the background.
    ///
    /// Idempotent: to-device messages come twice by design, once in a transaction and once by sync.
    ///
    /// # Errors
    ///
    /// Nothing was taken in if there is one; call again.
    pub async fn receive(
        self: &Arc<Self>,
        updates: KeyUpdates,
    ) -> Result<Vec<NewRoomKey>, PuppetError> {
        self.usable()?;
        let mut updates = updates;
        if !updates.device_lists.is_empty() {
            let tracked = self.tracked_users().await?;
            let changed = &mut updates.device_lists.changed;
            changed.retain(|user| tracked.contains(user));
            if !changed.is_empty() {
                self.devices_changed();
            }
        }
        if !updates.is_urgent()
            && updates.device_lists.changed.is_empty()
            && updates.next_batch.is_none()
        {
            // The machine would save its whole account for nothing.
            return Ok(Vec::new());
        }
        let low = updates
            .one_time_keys
            .filter(|count| *count < ONE_TIME_KEYS_LOW);
        let counts: BTreeMap<_, _> = low
            .map(|count| (OneTimeKeyAlgorithm::SignedCurve25519, told(count)))
            .into_iter()
            .collect();
        let changes = EncryptionSyncChanges {
            to_device_events: updates.to_device,
            changed_devices: &updates.device_lists,
            one_time_keys_counts: &counts,
            unused_fallback_keys: updates.unused_fallback_keys.as_deref(),
            next_batch_token: updates.next_batch,
        };
        let (events, keys) = self
            .machine
            .receive_sync_changes(changes, &SETTINGS)
            .await?;
        let strangers = self.strangers(&events).await?;
        self.machine
            .update_tracked_users(strangers.iter().map(AsRef::as_ref))
            .await?;
        failpoints::around!("machine.commit", self.commit().await)?;
        // In the background also where devices of strangers are asked for: their homeserver may take its time, and others' keys
        // wait behind these. The keys are in all the same.
        self.pump_soon();
        Ok(keys
            .into_iter()
            .map(|key| NewRoomKey {
                user_id: self.user.clone(),
                room_id: key.room_id,
                session_id: key.session_id,
            })
            .collect())
    }

    /// Users who sent a room key and whose devices are not known yet. Without their cross-signing keys the trust in their
    /// messages could not be told.
    async fn strangers(
        &self,
        events: &[ProcessedToDeviceEvent],
    ) -> Result<Vec<OwnedUserId>, PuppetError> {
        let mut senders: Vec<OwnedUserId> = events
            .iter()
            .filter_map(|event| match event {
                ProcessedToDeviceEvent::Decrypted { raw, .. } => raw.get_field("sender").ok()?,
                _ => None,
            })
            .collect();
        if !senders.is_empty() {
            let tracked = self.tracked_users().await?;
            senders.retain(|sender| !tracked.contains(sender));
        }
        Ok(senders)
    }

    /// Reads the device's inbox at the homeserver until it is empty, and thereby empties it.
    ///
    /// To-device messages that could not be delivered while the bridge was away are only there; so are device-list
    /// changes since the last sweep.
    ///
    /// # Errors
    ///
    /// What was read before the error is committed; call again.
    pub async fn sweep(self: &Arc<Self>) -> Result<Vec<NewRoomKey>, PuppetError> {
        self.usable()?;
        let since = crypto(self.crypto.next_batch_token().await)?;
        if since.is_none() {
            // The first answer will not say what changed before it.
            self.machine.mark_all_tracked_users_as_dirty().await?;
            self.devices_changed();
        }
        let mut answer = self.sync(since).await?;
        let mut keys = Vec::new();
        loop {
            // The homeserver drops what it has handed out when it is asked for what follows.
            let since = answer.next_batch.clone();
            let empty = answer.to_device.events.is_empty();
            if empty && !matters(&answer) {
                let changes = Changes {
                    next_batch_token: Some(since.clone()),
                    ..Changes::default()
                };
                crypto(self.crypto.save_changes(changes).await)?;
                failpoints::around!("sweep.commit", self.commit().await)?;
            } else {
                keys.extend(self.receive(updates(answer)).await?);
            }
            if empty {
                debug!(user = %self.log_id(), keys = keys.len(), "swept");
                return Ok(keys);
            }
            answer = self.sync(Some(since)).await?;
        }
    }

    pub(crate) fn crypto_store(&self) -> &SqlCryptoStore {
        &self.crypto
    }

    pub(crate) async fn tracked_users(&self) -> Result<HashSet<OwnedUserId>, PuppetError> {
        Ok(self.machine.tracked_users().await?)
    }

    async fn sync(&self, since: Option<String>) -> Result<Response, HttpError> {
        sync(
            &self.homeserver,
            Identity::device(&self.user, &self.device),
            since,
        )
        .await
    }
}

fn updates(answer: Response) -> KeyUpdates {
    let count = answer
        .device_one_time_keys_count
        .get(&OneTimeKeyAlgorithm::SignedCurve25519);
    KeyUpdates {
        one_time_keys: count.map(|count| u64::from(*count)),
        to_device: answer.to_device.events,
        device_lists: answer.device_lists,
        unused_fallback_keys: answer.device_unused_fallback_key_types,
        next_batch: Some(answer.next_batch),
    }
}
