//! The keys of the Matrix devices, in our own database.
//!
//! One [`SqlCryptoStore`] serves one device. In staged mode nothing that the OlmMachine saves is written at once: it is kept in an
//! overlay, where it can be read again, until the caller writes it in the same batch as its own rows
//! ([`SqlCryptoStore::commit_with`]). So a ratchet step and the ciphertext it made become durable together, and one disk
//! flush carries the messages of many devices.
//!
//! When a batch is refused, its keys stay staged and go with the next one: what the machine has in memory and what is (or will
//! be) in the database never part. An outcome that nobody waited for poisons the store instead; the machine must then be
//! dropped and opened anew from the database.

mod changes;
mod kind;
mod overlay;
mod read;
mod recent;
#[cfg(test)]
mod tests;
mod traits;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicU8, Ordering},
};

use matrix_sdk_crypto::{olm::StaticAccountData, store::CryptoStoreError};
use ruma::{DeviceId, UserId};
use store::{Batch, Store, crypto, crypto::Change};

use self::{overlay::Overlay, recent::Recent};

/// When changes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// At once, each save in a batch of its own.
    Immediate,
    /// With the batch that takes them.
    Staged,
}

/// The crypto store of one device. Clones share their state.
#[derive(Clone)]
pub struct SqlCryptoStore {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    account: String,
    mode: WriteMode,
    overlay: Mutex<Overlay>,
    /// Saves are taken one after the other: an object's older state must not be staged after its newer one.
    saving: tokio::sync::Mutex<()>,
    static_account: RwLock<Option<StaticAccountData>>,
    recent: Mutex<Recent>,
    condition: AtomicU8,
}

const USABLE: u8 = 0;
const CLOSED: u8 = 1;
const POISONED: u8 = 2;

/// Changes taken out for a batch. Whatever becomes of that batch must be told by [`Staged::committed`] or
/// [`Staged::rejected`]; dropping this without a word poisons the store.
#[derive(Debug)]
#[must_use = "dropping it poisons the crypto store"]
pub struct Staged {
    owner: SqlCryptoStore,
    generation: u64,
    settled: bool,
}

impl SqlCryptoStore {
    /// The crypto store of `user`'s `device` in `store`.
    pub fn new(store: Store, user: &UserId, device: &DeviceId, mode: WriteMode) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                account: account(user, device),
                mode,
                overlay: Mutex::default(),
                saving: tokio::sync::Mutex::default(),
                static_account: RwLock::default(),
                recent: Mutex::default(),
                condition: AtomicU8::new(USABLE),
            }),
        }
    }

    /// Moves everything staged into `batch`. It stays readable here until the outcome is told. Batches must be submitted in
    /// the order in which they took their changes; [`commit_with`](Self::commit_with) sees to that.
    pub fn take_staged(&self, batch: &mut Batch) -> Staged {
        self.take(&mut self.overlay(), batch)
    }

    /// Commits `batch` together with everything staged.
    ///
    /// # Errors
    /// Those of [`Store::commit`]. What was staged stays so and goes with the next batch.
    pub async fn commit_with(&self, mut batch: Batch) -> Result<(), store::Error> {
        self.inner.store.ready().await;
        let (pending, staged) = {
            // Taking and submitting under one lock keeps the order of batches that of their changes.
            let mut overlay = self.overlay();
            let staged = self.take(&mut overlay, &mut batch);
            (self.inner.store.submit(batch), staged)
        };
        let result = pending.await;
        match &result {
            Ok(()) => staged.committed(),
            Err(_) => staged.rejected(),
        }
        result
    }

    /// Commits what is staged, alone.
    ///
    /// # Errors
    /// Those of [`Store::commit`].
    pub async fn flush(&self) -> Result<(), store::Error> {
        self.commit_with(Batch::new()).await
    }

    /// Whether something waits to be committed.
    pub fn has_staged(&self) -> bool {
        self.overlay().has_staged()
    }

    /// Makes every further operation fail: memory and database may have parted. Drop the machine and open it again.
    pub fn poison(&self) {
        self.inner.condition.store(POISONED, Ordering::Release);
    }

    /// Whether the store was poisoned.
    pub fn is_poisoned(&self) -> bool {
        self.inner.condition.load(Ordering::Acquire) == POISONED
    }

    fn take(&self, overlay: &mut Overlay, batch: &mut Batch) -> Staged {
        let (generation, changes) = overlay.take();
        for change in changes {
            crypto::apply(batch, &self.inner.account, change);
        }
        Staged {
            owner: self.clone(),
            generation,
            settled: false,
        }
    }

    /// Stages `changes`, and writes them if that is the mode.
    async fn save(&self, changes: Vec<Change>) -> Result<(), CryptoStoreError> {
        self.usable()?;
        {
            let mut overlay = self.overlay();
            for change in changes {
                overlay.stage(change);
            }
        }
        match self.inner.mode {
            WriteMode::Immediate => self.flush().await.map_err(CryptoStoreError::backend),
            WriteMode::Staged => Ok(()),
        }
    }

    fn usable(&self) -> Result<(), CryptoStoreError> {
        match self.inner.condition.load(Ordering::Acquire) {
            USABLE => Ok(()),
            CLOSED => Err(CryptoStoreError::backend(Unusable::Closed)),
            _ => Err(CryptoStoreError::backend(Unusable::Poisoned)),
        }
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.inner
            .overlay
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.inner
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn static_account(&self) -> Option<StaticAccountData> {
        self.inner
            .static_account
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_static_account(&self, account: StaticAccountData) {
        *self
            .inner
            .static_account
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(account);
    }
}

/// The name under which a device's keys are stored.
pub fn account(user: &UserId, device: &DeviceId) -> String {
    format!("{user}|{device}")
}

/// Forgets room keys that came before `before`, of all devices: what was encrypted with them can no longer be read. `now` dates
/// those that came since the last call. Both in milliseconds since the Unix epoch.
pub fn prune_room_keys(batch: &mut Batch, now: store::Millis, before: store::Millis) {
    for kind in [kind::INBOUND, kind::WITHHELD] {
        crypto::date(batch, kind, now);
        crypto::prune_dated(batch, kind, before);
    }
}

/// Forgets hashes of Olm messages seen before `before` (milliseconds since the Unix epoch), of all devices. They only matter as long
/// as the homeserver could hand out the same message again.
pub fn prune_message_hashes(batch: &mut Batch, before: store::Millis) {
    crypto::prune(batch, kind::MESSAGE_HASH, before);
}

/// Forgets the Olm sessions with devices that are gone since before `before` (milliseconds since the Unix epoch), of all devices.
pub fn prune_sessions(batch: &mut Batch, before: store::Millis) {
    crypto::prune(batch, kind::SESSION, before);
}

impl Staged {
    /// The batch is durable.
    pub fn committed(mut self) {
        self.settled = true;
        self.owner.overlay().committed(self.generation);
    }

    /// The batch was refused: its changes are staged again, except those that have newer ones.
    pub fn rejected(mut self) {
        self.settled = true;
        self.owner.overlay().rejected(self.generation);
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.settled && self.owner.overlay().is_in_flight(self.generation) {
            self.owner.poison();
        }
    }
}

impl std::fmt::Debug for SqlCryptoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlCryptoStore")
            .field("mode", &self.inner.mode)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the crypto store is closed")]
    Closed,
    #[error("the crypto store's memory may differ from the database: open the device again")]
    Poisoned,
}
