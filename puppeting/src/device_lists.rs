//! Changes of device lists, remembered for the machines that are closed.
//!
//! The homeserver tells once that a user's devices changed; thousands of ghosts may track that user. Opening them all
//! to tell them would cost far more than the change. Instead the latest change of each user is marked once, and a machine
//! compares the marks with those it saw last when it is opened.
//!
//! What changed while the bridge was down the homeserver tells when it tries again, which can be seconds after the first message
//! goes. So a machine that is asked for the first time since the start takes everybody for changed, and so does one that is asked for
//! the first time since the homeserver may have forgotten to tell, whether it is open or not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use matrix_sdk_crypto::store::CryptoStore as _;
use ruma::{OwnedUserId, TransactionId, UserId, api::client::sync::sync_events::DeviceLists};
use serde::{Deserialize, Serialize};
use store::Store;

use crate::{
    KeyUpdates, Puppet, PuppetError, SqlCryptoStore, WriteMode, error::crypto, puppet::lock,
};

/// The pseudo device of the bot whose custom values are the marks.
const MARKS: &str = "DEVICE-LISTS";
/// The custom value of a machine that holds what it has [`Seen`].
const SEEN: &str = "gatehouse.device_lists_seen";

/// The marks.
pub(crate) struct DeviceListLog {
    marks: SqlCryptoStore,
    /// Stands for the time since the start of the bridge, or since the homeserver may last have forgotten something.
    period: Mutex<String>,
}

/// What a machine has been told.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// The period of the log in which it was told last.
    period: String,
    /// The marks of the users that it tracked then.
    marks: BTreeMap<OwnedUserId, String>,
}

impl DeviceListLog {
    pub(crate) fn new(store: &Store, bot: &UserId) -> Self {
        Self {
            marks: SqlCryptoStore::new(store.clone(), bot, MARKS.into(), WriteMode::Immediate),
            period: Mutex::new(unique()),
        }
    }

    /// Every machine takes everybody for changed when it is asked for next.
    pub(crate) fn begin_anew(&self) {
        *lock(&self.period) = unique();
    }

    /// Marks users as changed, durably.
    pub(crate) async fn record(&self, changed: &[OwnedUserId]) -> Result<(), PuppetError> {
        for user in changed {
            let mark = unique().into_bytes();
            crypto(self.marks.set_custom_value(user.as_str(), mark).await)?;
        }
        Ok(())
    }

    async fn mark(&self, user: &UserId) -> Result<Option<String>, PuppetError> {
        let mark = crypto(self.marks.get_custom_value(user.as_str()).await)?;
        Ok(mark.map(|mark| String::from_utf8_lossy(&mark).into_owned()))
    }
}

impl Puppet {
    /// Tells a machine what changed, or may have, while it was closed or the homeserver forgot to tell. Does nothing for one that has been
    /// told since.
    pub(crate) async fn catch_up(self: &Arc<Self>, log: &DeviceListLog) -> Result<(), PuppetError> {
        let period = lock(&log.period).clone();
        if *lock(&self.told) == period {
            return Ok(());
        }
        let store = self.crypto_store();
        let seen = crypto(store.get_custom_value(SEEN).await)?;
        let seen: Seen = seen
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        let tracked = self.tracked_users().await?;
        let mut now = Seen {
            period: period.clone(),
            marks: BTreeMap::new(),
        };
        for user in &tracked {
            if let Some(mark) = log.mark(user).await? {
                now.marks.insert(user.clone(), mark);
            }
        }
        let is_changed = |user: &OwnedUserId| {
            now.period != seen.period || now.marks.get(user) != seen.marks.get(user)
        };
        let mut device_lists = DeviceLists::new();
        device_lists.changed = tracked.into_iter().filter(is_changed).collect();
        if !device_lists.changed.is_empty() {
            let json = serde_json::to_vec(&now).map_err(|e| PuppetError::Crypto(e.to_string()))?;
            crypto(store.set_custom_value(SEEN, json).await)?;
            self.receive(KeyUpdates {
                device_lists,
                ..KeyUpdates::default()
            })
            .await?;
        }
        *lock(&self.told) = period;
        Ok(())
    }
}

/// A value that never was there before.
fn unique() -> String {
    TransactionId::new().to_string()
}
