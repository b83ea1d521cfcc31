//! One identity that the bridge plays, with its open OlmMachine.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use matrix_sdk_crypto::OlmMachine;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedRoomId, OwnedUserId, UserId,
    api::{
        OutgoingRequest,
        auth_scheme::{AuthScheme, SendAccessToken},
    },
};
use store::{Batch, Fence, LogId, Pending, Store};

mod decrypt;
mod encrypt;
mod exchange;
mod media;
mod receive;
mod rooms;
pub(crate) mod stages;

use self::encrypt::PreparedRoom;
pub(crate) use self::exchange::ONE_TIME_KEYS_LOW;
pub use self::{
    decrypt::{DecryptedEvent, SenderTrust},
    encrypt::{KeySharing, RoomEncryption},
    receive::{KeyUpdates, NewRoomKey},
    rooms::{CreatedRoom, NewRoom, StateContent},
};
use crate::{
    Homeserver, HttpError, Identity, PuppetError, SqlCryptoStore, Staged, WriteMode,
    http::PathInput,
};

/// A ghost or the bot, ready to speak and to encrypt.
///
/// What the OlmMachine saves is staged; [`commit_with`](Self::commit_with) writes it together with the caller's rows. No
/// ciphertext is committed whose ratchet step was not, even when batches fail.
pub struct Puppet {
    user: OwnedUserId,
    device: OwnedDeviceId,
    homeserver: Homeserver,
    store: Store,
    machine: OlmMachine,
    crypto: SqlCryptoStore,
    sharing: KeySharing,
    /// The fence of the batches under way; its lock guards the order of taking staged changes and submitting them. Held for
    /// moments, never across an await.
    series: Arc<Mutex<Fence>>,
    /// One key exchange (query, claim) with the homeserver at a time, as the OlmMachine demands.
    exchange: tokio::sync::Mutex<()>,
    /// A pump is due or running.
    pumping: AtomicBool,
    /// One encryption at a time, so that a session's remaining messages are counted exactly.
    ratchet: tokio::sync::Mutex<()>,
    prepared: Mutex<HashMap<OwnedRoomId, PreparedRoom>>,
    /// Grows with each change of a tracked device list.
    devices_epoch: AtomicU64,
    /// The period of the log of device lists in which it was told what changed.
    pub(crate) told: Mutex<String>,
}

impl Puppet {
    /// Opens the OlmMachine of a device; makes its account (staged, not committed) if there is none.
    pub(crate) async fn load(
        homeserver: Homeserver,
        store: Store,
        user: OwnedUserId,
        device: OwnedDeviceId,
        sharing: KeySharing,
    ) -> Result<Arc<Self>, PuppetError> {
        let crypto = SqlCryptoStore::new(store.clone(), &user, &device, WriteMode::Staged);
        let machine = OlmMachine::with_store(&user, &device, crypto.clone(), None).await?;
        Ok(Arc::new(Self {
            user,
            device,
            homeserver,
            store,
            machine,
            crypto,
            sharing,
            series: Arc::default(),
            exchange: tokio::sync::Mutex::default(),
            pumping: AtomicBool::default(),
            ratchet: tokio::sync::Mutex::default(),
            prepared: Mutex::default(),
            devices_epoch: AtomicU64::default(),
            told: Mutex::default(),
        }))
    }

    /// The Matrix id.
    pub fn user_id(&self) -> &UserId {
        &self.user
    }

    /// The device.
    pub fn device_id(&self) -> &DeviceId {
        &self.device
    }

    /// The id as logs may show it.
    pub fn log_id(&self) -> LogId {
        LogId::of(&self.user)
    }

    /// Commits `batch` together with everything the OlmMachine has staged, after all earlier commits of this puppet.
    ///
    /// Batches may be under way at the same time. If one fails, those submitted after it fail too
    /// ([`store::Error::Fenced`], worth another try), because what they hold may follow from what it held; the keys stay
    /// staged and go with the next batch. The commit goes on when the future is dropped.
    ///
    /// # Errors
    ///
    /// The store's error: nothing of the batch is in the database.
    pub async fn commit_with(&self, mut batch: Batch) -> Result<(), PuppetError> {
        self.store.ready().await;
        let committing = {
            // Taking and submitting under one lock keeps the order of batches that of their changes.
            let series = lock(&self.series);
            self.usable()?;
            let staged = self.crypto.take_staged(&mut batch);
            if batch.is_empty() {
                return Ok(());
            }
            batch.fence(&series);
            Committing {
                staged,
                fence: series.clone(),
                pending: self.store.submit(batch),
            }
        };
        // In a task of its own: the outcome must be told to the crypto store even if the caller is cancelled.
        let settled = tokio::spawn(committing.settle(self.series.clone())).await;
        match settled {
            Ok(result) => Ok(result?),
            Err(_) => Err(PuppetError::Poisoned),
        }
    }

    /// Commits what is staged.
    pub(crate) async fn commit(&self) -> Result<(), PuppetError> {
        self.commit_with(Batch::new()).await
    }

    /// Gives this generation up: memory and database may disagree. [`Puppets::open`](crate::Puppets::open) reads it anew.
    pub fn poison(&self) {
        self.crypto.poison();
    }

    /// Whether this generation was given up.
    pub fn is_poisoned(&self) -> bool {
        self.crypto.is_poisoned()
    }

    /// Whether keys wait for a commit, or a commit for its end: the machine must not be closed then.
    pub(crate) fn is_busy(&self) -> bool {
        self.crypto.has_staged() || Arc::strong_count(&self.series) > 1
    }

    fn usable(&self) -> Result<(), PuppetError> {
        if self.is_poisoned() {
            Err(PuppetError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// Asks the homeserver as this user and device.
    async fn call<R>(&self, request: R) -> Result<R::IncomingResponse, HttpError>
    where
        R: OutgoingRequest,
        R::PathBuilder: PathInput,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
    {
        let identity = Identity::device(&self.user, &self.device);
        self.homeserver.call(Some(identity), request).await
    }

    fn devices_changed(&self) {
        self.devices_epoch.fetch_add(1, Ordering::SeqCst);
    }
}

/// A batch on its way, with the keys in it.
struct Committing {
    staged: Staged,
    fence: Fence,
    pending: Pending,
}

impl Committing {
    /// Waits for the outcome and tells it to the crypto store.
    async fn settle(self, series: Arc<Mutex<Fence>>) -> Result<(), store::Error> {
        let result = self.pending.await;
        let mut series = lock(&series);
        if result.is_ok() {
            self.staged.committed();
        } else {
            // First the keys go back, then a new series begins, so that its first batch has them.
            self.staged.rejected();
            if series.is(&self.fence) {
                *series = Fence::new();
            }
        }
        result
    }
}

impl fmt::Debug for Puppet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puppet")
            .field("user", &self.log_id())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves these maps whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
