//! Room keys and device lists out of the inbox, handed to the devices they are for.
//!
//! A device that cannot take what is for it, because its keys are damaged for example, keeps nobody else's from them. What a
//! device could not take is still in its inbox at the homeserver, where a sweep finds it.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use puppeting::{Received, ToDevice, TransactionKeys};
use ruma::{OwnedRoomId, UserId, serde::Raw};
use store::{Batch, inbox};

use crate::{
    core::{Core, Wake},
    devices,
    later::backoff,
    passes::Hold,
};

/// To-device messages that are handled together.
const TO_DEVICE: u32 = 500;
/// Changes of device lists that are read together.
const CHANGES: u32 = 100;

/// Rooms that have events in a transaction whose keys are still to be read, and what is in the way of the keys.
#[derive(Debug)]
pub(crate) struct AfterKeys {
    rooms: Mutex<Vec<OwnedRoomId>>,
    /// Passes in a row that left something.
    held: AtomicU32,
    /// Tries of devices that cannot take what is for them, by their users.
    tries: moka::sync::Cache<String, u32>,
}

impl Default for AfterKeys {
    fn default() -> Self {
        Self {
            rooms: Mutex::default(),
            held: AtomicU32::default(),
            tries: moka::sync::Cache::new(10_000),
        }
    }
}

impl AfterKeys {
    /// Has these rooms worked on after the next pass over the keys.
    pub(crate) fn add(&self, rooms: Vec<OwnedRoomId>) {
        self.lock().extend(rooms);
    }

    fn take(&self) -> Vec<OwnedRoomId> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<OwnedRoomId>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands on all that there is, then wakes the rooms that came with it.
pub(crate) async fn pass(core: &Arc<Core>) {
    let after = &core.after_keys;
    loop {
        let rooms = after.take();
        match hand_on(core).await {
            Ok(()) => after.held.store(0, Ordering::Relaxed),
            Err(hold) => {
                let attempts = after.held.fetch_add(1, Ordering::Relaxed);
                let delay = hold.after.unwrap_or_else(|| backoff(attempts));
                tracing::warn!(reason = %hold.reason, ?delay, "room keys wait");
                core.later.wake_after(Wake::Keys, delay);
            }
        }
        if rooms.is_empty() {
            return;
        }
        for room in rooms {
            core.wake(Wake::Inbox(room));
        }
    }
}

async fn hand_on(core: &Arc<Core>) -> Result<(), Hold> {
    let lists = device_lists(core).await;
    lists.and(messages(core).await)
}

/// Device lists and counts of one-time keys.
async fn device_lists(core: &Arc<Core>) -> Result<(), Hold> {
    let mut after = 0;
    let mut left = Ok(());
    loop {
        let rows = inbox::device_changes::next(&core.store, after, CHANGES).await?;
        let Some(last) = rows.last() else {
            return left;
        };
        after = last.seq;
        for row in rows {
            let keys = devices::transaction_keys(&row.body);
            let Received { keys, failed } = core.puppets.receive(&keys, Vec::new()).await?;
            core.keys_arrived(&keys);
            let mut keep = false;
            for (user, error) in failed {
                tracing::warn!(user = %core.log_id(user.as_str()), %error, "a device cannot take changes of device lists");
                if error.is_retryable() {
                    keep = true;
                    left = Err(error.into());
                }
            }
            if keep {
                continue;
            }
            let mut done = Batch::new();
            inbox::device_changes::done(&mut done, row.seq);
            failpoints::around!("devices.done", core.store.commit(done).await)?;
        }
    }
}

/// Messages to devices.
async fn messages(core: &Arc<Core>) -> Result<(), Hold> {
    let mut after = 0;
    let mut left = Ok(());
    loop {
        let rows = inbox::to_device::next(&core.store, after, TO_DEVICE).await?;
        let Some(last) = rows.last() else {
            return left;
        };
        after = last.seq;
        failpoints::pass!("todevice.take");
        core.note_unswept(rows.iter().map(|row| row.user_id.clone()));
        let messages = rows.iter().filter_map(|row| message(core, row)).collect();
        let nothing = TransactionKeys::default();
        let Received { keys, failed } = core.puppets.receive(&nothing, messages).await?;
        core.keys_arrived(&keys);
        let mut keep = HashSet::new();
        for (user, error) in failed {
            let (name, user) = (core.log_id(user.as_str()), user.to_string());
            if !error.is_retryable() {
                let tries = core.after_keys.tries.get(&user).unwrap_or_default() + 1;
                if tries >= core.config.limits.tries {
                    tracing::error!(user = %name, %error, "a device cannot take the room keys that are for it; they stay at the homeserver");
                    continue;
                }
                core.after_keys.tries.insert(user.clone(), tries);
            }
            tracing::warn!(user = %name, %error, "a device cannot take the room keys that are for it now");
            keep.insert(user);
            left = Err(error.into());
        }
        let mut done = Batch::new();
        for row in rows.iter().filter(|row| !keep.contains(&row.user_id)) {
            core.after_keys.tries.invalidate(&row.user_id);
            inbox::to_device::done(&mut done, row.seq);
        }
        // The rows go after the keys in them are durable; a crash in between hands them over once more, which does no harm.
        failpoints::around!("todevice.done", core.store.commit(done).await)?;
    }
}

/// A message, unless its row is damaged.
fn message(core: &Core, row: &inbox::to_device::Message) -> Option<ToDevice> {
    let user = UserId::parse(&row.user_id).ok()?;
    let Some(body) = &row.body else {
        tracing::error!(user = %core.log_id(&row.user_id), "a stored room key is damaged; it stays at the homeserver");
        core.sweep_soon(&row.user_id);
        return None;
    };
    Some(ToDevice {
        user,
        device: row.device_id.as_str().into(),
        event: serde_json::from_str(body).map(Raw::from_json).ok()?,
    })
}
