//! What transactions bring for the puppets' devices, handed to each.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use ruma::{OwnedDeviceId, OwnedUserId, UserId, events::AnyToDeviceEvent, serde::Raw};
use store::ghosts;

use super::Puppets;
use crate::{KeyUpdates, NewRoomKey, PuppetError, ToDevice, TransactionKeys, puppet::lock};

impl Puppets {
    /// Takes in what a transaction says about keys: for the ghosts it names, and the device lists for all of them.
    ///
    /// When it returns without an error everything is durable and the rows it came from can go. Idempotent.
    ///
    /// # Errors
    ///
    /// The first error; what else could be taken in was. Call again with the same.
    pub async fn receive(
        &self,
        keys: &TransactionKeys,
        to_device: Vec<ToDevice>,
    ) -> Result<Vec<NewRoomKey>, PuppetError> {
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
            .map(|(user, messages)| async move { self.receive_one(&user, keys, messages).await })
            .buffer_unordered(self.inner.options.concurrency.max(1))
            .collect::<Vec<_>>()
            .await;
        let mut received = Vec::new();
        for result in results {
            received.extend(result?);
        }
        Ok(received)
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
        match self.open(user).await? {
            Some(puppet) => puppet.receive(updates).await,
            None => Ok(Vec::new()),
        }
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
