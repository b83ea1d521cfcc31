//! What transactions bring for the puppets' devices, handed to each.

use std::{collections::BTreeMap, panic::AssertUnwindSafe};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use ruma::{OwnedDeviceId, OwnedUserId, UserId, events::AnyToDeviceEvent, serde::Raw};
use store::{LogId, ghosts};
use tracing::debug;

use super::Puppets;
use crate::{KeyUpdates, NewRoomKey, PuppetError, ToDevice, TransactionKeys, puppet::lock};

/// What became of what a transaction says about keys.
#[derive(Debug, Default)]
pub struct Received {
    /// Room keys that came.
    pub keys: Vec<NewRoomKey>,
    /// Who could not take in what was for them, and why. All others have, and for them it is durable.
    pub failed: Vec<(OwnedUserId, PuppetError)>,
}

impl Puppets {
    /// Takes in what a transaction says about keys: for the ghosts it names, and the device lists for all of them. Idempotent.
    ///
    /// # Errors
    ///
    /// Nothing was taken in. Call again with the same.
    pub async fn receive(
        &self,
        keys: &TransactionKeys,
        to_device: Vec<ToDevice>,
    ) -> Result<Received, PuppetError> {
        let mut messages: BTreeMap<OwnedUserId, Vec<(OwnedDeviceId, Raw<AnyToDeviceEvent>)>> =
            BTreeMap::new();
        for message in to_device {
            messages
                .entry(message.user)
                .or_default()
                .push((message.device, message.event));
        }
        for user in keys.users() {
            messages.entry(user.to_owned()).or_default();
        }
        if !keys.device_lists().is_empty() {
            self.record_device_lists(keys).await?;
            for user in lock(&self.inner.slots).keys() {
                messages.entry(user.clone()).or_default();
            }
        }
        let results = stream::iter(messages)
            .map(|(user, messages)| async move {
                let result = self.receive_safely(&user, keys, messages).await;
                (user, result)
            })
            .buffer_unordered(self.inner.options.concurrency.max(1))
            .collect::<Vec<_>>()
            .await;
        let mut received = Received::default();
        for (user, result) in results {
            match result {
                Ok(keys) => received.keys.extend(keys),
                Err(error) => received.failed.push((user, error)),
            }
        }
        Ok(received)
    }

    /// A panic over what somebody sent is the failure of one puppet, which is opened anew.
    async fn receive_safely(
        &self,
        user: &UserId,
        keys: &TransactionKeys,
        messages: Vec<(OwnedDeviceId, Raw<AnyToDeviceEvent>)>,
    ) -> Result<Vec<NewRoomKey>, PuppetError> {
        let receiving = AssertUnwindSafe(self.receive_one(user, keys, messages));
        match receiving.catch_unwind().await {
            Ok(result) => result,
            Err(_) => {
                if let Ok(Some(puppet)) = self.open(user).await {
                    puppet.crypto_store().poison();
                }
                Err(PuppetError::Crypto("a panic".to_owned()))
            }
        }
    }

    async fn receive_one(
        &self,
        user: &UserId,
        keys: &TransactionKeys,
        messages: Vec<(OwnedDeviceId, Raw<AnyToDeviceEvent>)>,
    ) -> Result<Vec<NewRoomKey>, PuppetError> {
        let Some(device) = self.device_of(user).await? else {
            return Ok(Vec::new());
        };
        let updates = KeyUpdates {
            one_time_keys: keys.one_time_keys(user, &device),
            unused_fallback_keys: keys.unused_fallback_keys(user, &device),
            device_lists: keys.device_lists().clone(),
            to_device: messages
                .into_iter()
                .filter(|(to, _)| *to == device)
                .map(|(_, event)| event)
                .collect(),
            next_batch: None,
        };
        if !updates.is_urgent() && !self.is_open(user) {
            return Ok(Vec::new());
        }
        match self.open(user).await {
            Ok(Some(puppet)) => puppet.receive(updates).await,
            Ok(None) => Ok(Vec::new()),
            Err(error) if updates.to_device.is_empty() => {
                // Whoever is opened reads what has changed, and counts come again.
                debug!(user = %LogId::of(user.as_str()), %error, "a puppet cannot be opened");
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// To be called when the homeserver may have told of a change of devices and nobody heard it: everybody's are asked for again, by
    /// each ghost before its next message. The new ones of a user could read nothing otherwise.
    pub fn doubt_devices(&self) {
        self.inner.device_lists.begin_anew();
    }

    /// Remembers changes for the machines that are closed.
    async fn record_device_lists(&self, keys: &TransactionKeys) -> Result<(), PuppetError> {
        let mut changed = Vec::new();
        for user in &keys.device_lists().changed {
            // Ghosts hear of their own devices only, and make the changes themselves.
            let bot = *user == self.inner.homeserver.config().bot;
            if bot
                || ghosts::get(&self.inner.store, user.as_str())
                    .await?
                    .is_none()
            {
                changed.push(user.clone());
            }
        }
        self.inner.device_lists.record(&changed).await
    }
}
