//! All identities of the bridge: who exists, who is open.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use matrix_sdk_crypto::store::CryptoStore as _;
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId, api::client::appservice::request_ping,
    events::AnyToDeviceEvent, serde::Raw,
};
use store::{
    Batch, LogId, Store,
    ghosts::{self, Ghost, Stage},
};
use tracing::{debug, warn};

use crate::{
    Homeserver, HomeserverConfig, HttpError, Identity, KeySharing, KeyUpdates, NewRoomKey, Puppet,
    PuppetError, SqlCryptoStore, ToDevice, TransactionKeys, WriteMode,
    device_lists::DeviceListLog,
    error::crypto,
    puppet::{lock, stages},
    sync::{matters, sync},
};

/// Ghosts read from the database at a time when all are swept.
const PAGE: u32 = 500;

/// How many machines stay open, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct PuppetOptions {
    /// Open OlmMachines at most, besides those in use; each costs about 100 KiB.
    pub open_machines: usize,
    /// A machine that is not used for this long is closed.
    pub idle_close: Duration,
    /// Ghosts swept, or told of a change, at a time.
    pub concurrency: usize,
    /// Which devices get room keys.
    pub sharing: KeySharing,
}

impl Default for PuppetOptions {
    fn default() -> Self {
        Self {
            open_machines: 1000,
            idle_close: Duration::from_secs(15 * 60),
            concurrency: 8,
            sharing: KeySharing::default(),
        }
    }
}

/// What a ghost shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GhostProfile {
    /// The phone number it stands for, with `+`; the bot has none.
    pub phone: Option<String>,
    /// The WhatsApp JID it stands for, if known yet.
    pub peer: Option<String>,
    /// The shown name.
    pub display_name: Option<String>,
}

/// The bot and the ghosts. Clones share everything.
#[derive(Clone)]
pub struct Puppets {
    inner: Arc<Inner>,
}

struct Inner {
    homeserver: Homeserver,
    store: Store,
    options: PuppetOptions,
    device_lists: DeviceListLog,
    slots: Mutex<HashMap<OwnedUserId, Slot>>,
}

/// One user's place. The lock is held while the user is registered or opened, so that nobody has two machines.
#[derive(Clone)]
struct Slot {
    puppet: Arc<tokio::sync::Mutex<Option<Arc<Puppet>>>>,
    used: Instant,
}

impl Puppets {
    /// Nothing is opened and no request is sent yet.
    ///
    /// # Errors
    ///
    /// [`HttpError::Request`] if no HTTP client can be made.
    pub fn new(
        config: HomeserverConfig,
        store: Store,
        options: PuppetOptions,
    ) -> Result<Self, HttpError> {
        let device_lists = DeviceListLog::new(&store, &config.bot);
        let homeserver = Homeserver::new(config)?;
        let slots = Mutex::default();
        Ok(Self {
            inner: Arc::new(Inner {
                homeserver,
                store,
                options,
                device_lists,
                slots,
            }),
        })
    }

    /// The homeserver.
    pub fn homeserver(&self) -> &Homeserver {
        &self.inner.homeserver
    }

    /// Asks the homeserver to ping the bridge, and so to deliver at once what it has held back while the bridge was
    /// away. Returns the time it took, as the homeserver saw it.
    ///
    /// # Errors
    ///
    /// `M_CONNECTION_FAILED`, `M_CONNECTION_TIMEOUT` or `M_BAD_STATUS` if it does not reach the bridge.
    pub async fn ping(&self, txn_id: Option<&ruma::TransactionId>) -> Result<Duration, HttpError> {
        let id = self.inner.homeserver.config().appservice_id.clone();
        let mut request = request_ping::v1::Request::new(id);
        request.transaction_id = txn_id.map(ToOwned::to_owned);
        Ok(self.inner.homeserver.call(None, request).await?.duration)
    }

    /// The bot, registered and with keys.
    ///
    /// # Errors
    ///
    /// See [`PuppetError`]; a retryable one goes on from the stage reached.
    pub async fn bot(&self, display_name: Option<&str>) -> Result<Arc<Puppet>, PuppetError> {
        let bot = self.inner.homeserver.config().bot.clone();
        let display_name = display_name.map(str::to_owned);
        self.ensure(
            &bot,
            GhostProfile {
                display_name,
                ..GhostProfile::default()
            },
        )
        .await
    }

    /// Makes sure that a ghost exists, with a cross-signed device and its display name, and opens it.
    ///
    /// Every stage is durable; after a crash or an error the next call goes on from there.
    ///
    /// # Errors
    ///
    /// See [`PuppetError`].
    pub async fn ensure(
        &self,
        user: &UserId,
        profile: GhostProfile,
    ) -> Result<Arc<Puppet>, PuppetError> {
        if user.server_name() != self.inner.homeserver.config().server_name {
            return Err(PuppetError::Invalid(
                "a ghost of another homeserver".to_owned(),
            ));
        }
        self.close_idle();
        let slot = self.slot(user);
        let mut place = slot.lock().await;
        let ghost = self.row(user, &profile).await?;
        let shown = ghost.display_name.clone();
        let puppet = self.open_in(&mut place, user, ghost).await?;
        if let Some(name) = profile
            .display_name
            .filter(|name| Some(name) != shown.as_ref())
        {
            puppet.set_display_name(&name).await?;
            let mut batch = Batch::new();
            ghosts::set_display_name(&mut batch, user.as_str(), Some(&name));
            self.inner.store.commit(batch).await?;
        }
        Ok(puppet)
    }

    /// Opens a known ghost or the bot, and finishes its keys if an earlier [`ensure`](Self::ensure) did not get that far.
    /// `None` if the bridge never made it.
    ///
    /// # Errors
    ///
    /// See [`PuppetError`].
    pub async fn open(&self, user: &UserId) -> Result<Option<Arc<Puppet>>, PuppetError> {
        self.close_idle();
        let slot = self.slot(user);
        let mut place = slot.lock().await;
        if let Some(puppet) = place.as_ref().filter(|puppet| !puppet.is_poisoned()) {
            return Ok(Some(puppet.clone()));
        }
        match ghosts::get(&self.inner.store, user.as_str()).await? {
            Some(ghost) => self.open_in(&mut place, user, ghost).await.map(Some),
            None => {
                drop(place);
                self.forget(user);
                Ok(None)
            }
        }
    }

    /// The puppets that are open now.
    pub async fn opened(&self) -> Vec<Arc<Puppet>> {
        let slots: Vec<_> = lock(&self.inner.slots).values().cloned().collect();
        let mut open = Vec::with_capacity(slots.len());
        for slot in slots {
            if let Ok(place) = slot.puppet.try_lock() {
                open.extend(place.clone());
            }
        }
        open
    }

    async fn open_in(
        &self,
        place: &mut Option<Arc<Puppet>>,
        user: &UserId,
        ghost: Ghost,
    ) -> Result<Arc<Puppet>, PuppetError> {
        if let Some(puppet) = place.as_ref().filter(|puppet| !puppet.is_poisoned()) {
            return Ok(puppet.clone());
        }
        let Inner {
            homeserver,
            store,
            options,
            device_lists,
            ..
        } = &*self.inner;
        let puppet = stages::complete(homeserver, store, user, ghost, options.sharing).await?;
        puppet.catch_up(device_lists).await?;
        *place = Some(puppet.clone());
        Ok(puppet)
    }

    /// The ghost's row, made or brought up to date.
    async fn row(&self, user: &UserId, profile: &GhostProfile) -> Result<Ghost, PuppetError> {
        let mut batch = Batch::new();
        let ghost = match ghosts::get(&self.inner.store, user.as_str()).await? {
            Some(mut ghost) => {
                if profile.peer.is_some() && profile.peer != ghost.peer {
                    ghost.peer.clone_from(&profile.peer);
                    ghosts::set_peer(&mut batch, user.as_str(), ghost.peer.as_deref());
                }
                ghost
            }
            None => {
                let ghost = new_ghost(user, profile);
                ghosts::put(&mut batch, &ghost);
                ghost
            }
        };
        self.inner.store.commit(batch).await?;
        Ok(ghost)
    }

    fn slot(&self, user: &UserId) -> Arc<tokio::sync::Mutex<Option<Arc<Puppet>>>> {
        let mut slots = lock(&self.inner.slots);
        let slot = slots.entry(user.to_owned()).or_insert_with(|| Slot {
            puppet: Arc::default(),
            used: Instant::now(),
        });
        slot.used = Instant::now();
        slot.puppet.clone()
    }

    /// Drops an empty slot that nobody waits for.
    fn forget(&self, user: &UserId) {
        let mut slots = lock(&self.inner.slots);
        let unused = slots.get(user).is_some_and(|slot| {
            Arc::strong_count(&slot.puppet) <= 2
                && slot.puppet.try_lock().is_ok_and(|place| place.is_none())
        });
        if unused {
            slots.remove(user);
        }
    }

    /// Closes machines that have been idle for long, and the longest idle ones beyond the limit. Runs by itself whenever
    /// a puppet is asked for; call it now and then so that memory goes back when nobody asks.
    pub fn close_idle(&self) {
        let options = &self.inner.options;
        let mut slots = lock(&self.inner.slots);
        let now = Instant::now();
        slots.retain(|_, slot| {
            now.duration_since(slot.used) < options.idle_close || in_use(slot) || !settled(slot)
        });
        if slots.len() <= options.open_machines {
            return;
        }
        let mut by_age: Vec<_> = slots
            .iter()
            .map(|(user, slot)| (slot.used, user.clone()))
            .collect();
        by_age.sort_unstable();
        let excess = slots.len() - options.open_machines;
        for (_, user) in by_age.into_iter().take(excess) {
            if slots
                .get(&user)
                .is_some_and(|slot| !in_use(slot) && settled(slot))
            {
                slots.remove(&user);
            }
        }
    }

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

    async fn device_of(&self, user: &UserId) -> Result<Option<OwnedDeviceId>, PuppetError> {
        let ghost = ghosts::get(&self.inner.store, user.as_str()).await?;
        Ok(ghost
            .filter(|ghost| ghost.stage == Stage::Signed)
            .map(|ghost| ghost.device_id.into()))
    }

    fn is_open(&self, user: &UserId) -> bool {
        lock(&self.inner.slots).contains_key(user)
    }

    /// Sweeps the inbox of one ghost. Opens its machine only if there is something in it.
    ///
    /// # Errors
    ///
    /// See [`PuppetError`].
    pub async fn sweep(&self, user: &UserId) -> Result<Vec<NewRoomKey>, PuppetError> {
        let Some(device) = self.device_of(user).await? else {
            return Ok(Vec::new());
        };
        if !self.is_open(user) {
            let store = SqlCryptoStore::new(
                self.inner.store.clone(),
                user,
                &device,
                WriteMode::Immediate,
            );
            if let Some(since) = crypto(store.next_batch_token().await)? {
                let identity = Identity::device(user, &device);
                let answer = sync(&self.inner.homeserver, identity, Some(since)).await?;
                if !matters(&answer) {
                    return Ok(Vec::new());
                }
            }
        }
        match self.open(user).await? {
            Some(puppet) => puppet.sweep().await,
            None => Ok(Vec::new()),
        }
    }

    /// Sweeps every ghost and the bot, a few at a time, and hands each new room key to `found`. To be done at each start
    /// and after any gap in the transactions. A ghost that fails is tried again later by the next sweep; its id is counted.
    ///
    /// # Errors
    ///
    /// If the list of ghosts cannot be read.
    pub async fn sweep_all(
        &self,
        mut found: impl FnMut(NewRoomKey),
    ) -> Result<SweepResult, PuppetError> {
        let mut result = SweepResult::default();
        let mut after = String::new();
        loop {
            let page = ghosts::list(&self.inner.store, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.mxid);
            self.sweep_page(page, &mut found, &mut result).await;
        }
        debug!(
            swept = result.swept,
            failed = result.failed.len(),
            "swept all"
        );
        Ok(result)
    }

    async fn sweep_page(
        &self,
        page: Vec<Ghost>,
        found: &mut impl FnMut(NewRoomKey),
        result: &mut SweepResult,
    ) {
        let signed = page
            .into_iter()
            .filter(|ghost| ghost.stage == Stage::Signed);
        let mut sweeps = stream::iter(signed.map(|ghost| ghost.mxid))
            .map(|user| async move {
                let swept = match <&UserId>::try_from(user.as_str()) {
                    Ok(user) => self.sweep(user).await,
                    Err(_) => Ok(Vec::new()),
                };
                (user, swept)
            })
            .buffer_unordered(self.inner.options.concurrency.max(1));
        while let Some((user, swept)) = sweeps.next().await {
            match swept {
                Ok(keys) => {
                    result.swept += 1;
                    result.keys += keys.len();
                    keys.into_iter().for_each(&mut *found);
                }
                Err(error) => {
                    warn!(user = %LogId::of(&user), %error, "sweep failed");
                    result.failed.push(user);
                }
            }
        }
    }
}

/// What [`Puppets::sweep_all`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// Inboxes emptied.
    pub swept: usize,
    /// Room keys found in them.
    pub keys: usize,
    /// Users whose inbox could not be read: sweep them again.
    pub failed: Vec<String>,
}

impl fmt::Debug for Puppets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puppets")
            .field("homeserver", &self.inner.homeserver)
            .field("open", &lock(&self.inner.slots).len())
            .finish_non_exhaustive()
    }
}

/// Whether somebody holds the puppet or waits for it.
fn in_use(slot: &Slot) -> bool {
    if Arc::strong_count(&slot.puppet) > 1 {
        return true;
    }
    match slot.puppet.try_lock() {
        Ok(place) => place
            .as_ref()
            .is_some_and(|puppet| Arc::strong_count(puppet) > 1),
        Err(_) => true,
    }
}

/// Whether everything of an unused puppet is in the database; begins to write it if not.
fn settled(slot: &Slot) -> bool {
    let Ok(place) = slot.puppet.try_lock() else {
        return false;
    };
    let Some(puppet) = place.as_ref().filter(|puppet| puppet.is_busy()) else {
        return true;
    };
    let puppet = puppet.clone();
    tokio::spawn(async move {
        if let Err(error) = puppet.commit().await {
            debug!(user = %puppet.log_id(), %error, "cannot be closed yet");
        }
    });
    false
}

fn new_ghost(user: &UserId, profile: &GhostProfile) -> Ghost {
    Ghost {
        mxid: user.to_string(),
        phone: profile.phone.clone(),
        peer: profile.peer.clone(),
        device_id: stages::new_device_id(),
        stage: Stage::New,
        display_name: None,
        created_ts: ruma::MilliSecondsSinceUnixEpoch::now().get().into(),
    }
}
