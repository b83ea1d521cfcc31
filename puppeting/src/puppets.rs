//! All identities of the bridge: who exists, who is open.

mod catching_up;
mod receiving;
mod sweeping;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ruma::{OwnedDeviceId, OwnedUserId, UserId, api::client::appservice::request_ping};
use store::{
    Batch, Store,
    ghosts::{self, Ghost, Stage},
};
use tracing::debug;

pub use self::{
    catching_up::{Said, SaidIn},
    receiving::Received,
    sweeping::SweepResult,
};
use crate::{
    Homeserver, HomeserverConfig, HttpError, KeySharing, Puppet, PuppetError,
    device_lists::DeviceListLog,
    puppet::{lock, stages},
};

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
            failpoints::around!("ghost.name", puppet.set_display_name(&name).await)?;
            let mut batch = Batch::new();
            ghosts::set_display_name(&mut batch, user.as_str(), Some(&name));
            failpoints::around!("ghost.named.commit", self.inner.store.commit(batch).await)?;
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
            puppet.catch_up(&self.inner.device_lists).await?;
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
            puppet.catch_up(&self.inner.device_lists).await?;
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
        failpoints::around!("ghost.row.commit", self.inner.store.commit(batch).await)?;
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

    async fn device_of(&self, user: &UserId) -> Result<Option<OwnedDeviceId>, PuppetError> {
        let ghost = ghosts::get(&self.inner.store, user.as_str()).await?;
        Ok(ghost
            .filter(|ghost| ghost.stage == Stage::Signed)
            .map(|ghost| ghost.device_id.into()))
    }

    fn is_open(&self, user: &UserId) -> bool {
        lock(&self.inner.slots).contains_key(user)
    }
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
