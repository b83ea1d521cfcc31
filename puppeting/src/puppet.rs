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
use store::{Batch, Fence, LogId, Store};

mod decrypt;
mod encrypt;
mod exchange;
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
    Homeserver, HttpError, Identity, PuppetError,
    http::PathInput,
    temp_store::{SqlCryptoStore, Temp as _},
};

/// A ghost or the bot, ready to speak and to encrypt.
///
/// A puppet is one *generation*: after a failed commit it is [poisoned](Self::is_poisoned) and refuses everything that
/// touches keys; [`Puppets::open`](crate::Puppets::open) then gives the next generation, read from the database. So no
/// ciphertext can be committed whose ratchet step was not.
pub struct Puppet {
    user: OwnedUserId,
    device: OwnedDeviceId,
    homeserver: Homeserver,
    store: Store,
    machine: OlmMachine,
    crypto: Arc<SqlCryptoStore>,
    sharing: KeySharing,
    /// Guards the order of taking staged changes and submitting them. Held for moments, never across an await.
    order: Mutex<()>,
    /// Broken by the first commit that fails; every later batch of this generation then fails too.
    fence: Fence,
    /// One key exchange (query, claim) with the homeserver at a time, as the OlmMachine demands.
    exchange: tokio::sync::Mutex<()>,
    /// A pump is due or running.
    pumping: AtomicBool,
    /// One encryption at a time, so that a session's remaining messages are counted exactly.
    ratchet: tokio::sync::Mutex<()>,
    prepared: Mutex<HashMap<OwnedRoomId, PreparedRoom>>,
    /// Grows with each change of a tracked device list.
    devices_epoch: AtomicU64,
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
        let crypto = Arc::new(SqlCryptoStore::open(store.clone(), &user, &device));
        let machine = OlmMachine::with_store(&user, &device, crypto.clone(), None).await?;
        Ok(Arc::new(Self {
            user,
            device,
            homeserver,
            store,
            machine,
            crypto,
            sharing,
            order: Mutex::default(),
            fence: Fence::default(),
            exchange: tokio::sync::Mutex::default(),
            pumping: AtomicBool::default(),
            ratchet: tokio::sync::Mutex::default(),
            prepared: Mutex::default(),
            devices_epoch: AtomicU64::default(),
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
    /// The commit goes on when the future is dropped. A batch must not be refused for a reason of its own more often than
    /// it must: any failure poisons the puppet.
    ///
    /// # Errors
    ///
    /// The store's error, after which the puppet is poisoned; [`PuppetError::Poisoned`] if it was before.
    pub async fn commit_with(self: &Arc<Self>, mut batch: Batch) -> Result<(), PuppetError> {
        self.store.ready().await;
        let pending = {
            let _order = lock(&self.order);
            self.usable()?;
            batch.append(self.crypto.take_staged());
            if batch.is_empty() {
                return Ok(());
            }
            batch.fence(&self.fence);
            self.store.submit(batch)
        };
        // A task of its own, which holds the puppet: a caller that is cancelled must not let the registry forget a
        // machine whose last commit is still in the queue.
        let this = self.clone();
        let committed = tokio::spawn(async move {
            let result = pending.await;
            if result.is_err() {
                this.poison();
            }
            result
        });
        match committed.await {
            Ok(Ok(())) => Ok(()),
            // The batch was fine; one before it failed.
            Ok(Err(store::Error::Fenced)) => Err(PuppetError::Poisoned),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(PuppetError::Poisoned),
        }
    }

    /// Commits what is staged.
    pub(crate) async fn commit(self: &Arc<Self>) -> Result<(), PuppetError> {
        self.commit_with(Batch::new()).await
    }

    /// Gives this generation up: nothing of it can be committed any more.
    pub fn poison(&self) {
        self.fence.break_now();
    }

    /// Whether a commit failed.
    pub fn is_poisoned(&self) -> bool {
        self.fence.is_broken()
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
