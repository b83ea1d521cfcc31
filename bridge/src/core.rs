//! What all flows share, and how they are woken.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use gatekeeper::{
    connection::ConnectionConfig,
    profile::Profile,
    stanza::{EncodeOptions, Jid, Node},
};
use puppeting::{NewRoomKey, Puppet, PuppetError, Puppets};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId};
use serde_json::value::RawValue;
use store::{
    Batch, LogId, Millis, Store, inbox, logins as login_rows, messages, portals::Portal, sends,
};

use crate::{
    capabilities::Capabilities,
    config::{Config, Level},
    fading,
    gaps::Gaps,
    incoming::Incoming,
    known_portals::KnownPortals,
    lanes::{KeyedLocks, Lanes},
    later::{Later, backoff},
    logins::{self, Login, Logins},
    management,
    media::Media,
    notices,
    passes::Hold,
    receipts::{self, Receipts},
    retries::Answers,
    room_keys::{self, AfterKeys},
    sessions::Sessions,
    typing::{self, Typing},
};

/// Chats that are told of their messages at the same time. Few: messages themselves come first.
const BACKGROUND: usize = 4;
/// Receipts and typing that are handled at the same time.
const FLEETING: usize = 8;
/// Before a login that is being started is looked for again.
const STARTING: Duration = Duration::from_millis(500);
/// What stands at a login whose user was told that they may not use the bridge any more.
const BLOCKED: &str = "blocked by [permissions]";
/// What clients show as the bot's name.
const BOT_NAME: &str = "WhatsApp bridge";

/// Something that has work to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Wake {
    /// Events of a room in the inbox.
    Inbox(OwnedRoomId),
    /// Events of a room for the homeserver.
    Sends(OwnedRoomId),
    /// Messages of a login's contact.
    Chat(String, String),
    /// What a login's contact has asked for again.
    Answers(String, String),
    /// What came over a login's connection and could not be written down.
    Again(String),
    /// Messages of a login that were set aside and are to be tried again.
    BroughtBack(String),
    /// Room keys and device lists.
    Keys,
    /// Messages that disappear.
    Fading,
    /// The `/sync` inbox of a puppet.
    Sweep(String),
    /// What people are to be told of a login's contact; with an empty contact, of the login.
    Reports(String, String),
    /// What a login's contact has read.
    Seen(String, String),
    /// What the user of a room has read.
    Read(OwnedRoomId),
    /// Who types in a room.
    Typing(OwnedRoomId),
    /// Whether a login's contact types.
    ContactTypes(String, String),
    /// Hosted files that have ended.
    Media,
}

/// What all flows share.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) capabilities: Capabilities,
    pub(crate) store: Store,
    pub(crate) puppets: Puppets,
    pub(crate) profile: Arc<Profile>,
    pub(crate) http: reqwest::Client,
    pub(crate) media: Media,
    pub(crate) server: OwnedServerName,
    pub(crate) bot: OwnedUserId,
    pub(crate) sessions: Sessions,
    pub(crate) logins: Logins,
    pub(crate) incoming: Incoming,
    pub(crate) answers: Answers,
    /// Held while something is taken into the inbox, so that nothing gets there by two ways at once.
    pub(crate) intake: tokio::sync::Mutex<()>,
    pub(crate) gaps: Gaps,
    pub(crate) after_keys: AfterKeys,
    pub(crate) receipts: Receipts,
    pub(crate) typing: Typing,
    pub(crate) portal_locks: KeyedLocks<(String, String)>,
    pub(crate) key_locks: KeyedLocks<String>,
    pub(crate) later: Later<Wake>,
    known_portals: KnownPortals,
    held: Mutex<HashMap<OwnedRoomId, u32>>,
    /// Puppets that got to-device messages since their inboxes were read.
    unswept: Mutex<HashSet<String>>,
    /// Chats whose rooms wait because the outbox holds much for them.
    crowded: Mutex<HashMap<(String, String), OwnedRoomId>>,
    /// Since when an event waits, by a clock that does not jump.
    since: moka::sync::Cache<String, Instant>,
    /// How often in a row the homeserver was away when a room had something to send.
    pub(crate) unposted: moka::sync::Cache<OwnedRoomId, u32>,
    /// When the last message came.
    last_arrival: AtomicI64,
    lanes: Lanes<Wake>,
    /// What may wait behind messages.
    background: Lanes<Wake>,
    /// What is of no use later: receipts, typing.
    fleeting: Lanes<Wake>,
    this: std::sync::Weak<Core>,
}

impl Core {
    /// Puts the flows together over what is open already.
    #[must_use]
    pub fn new(
        config: Config,
        store: Store,
        puppets: Puppets,
        profile: Profile,
        http: reqwest::Client,
        media: Media,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this: &std::sync::Weak<Self>| {
            let waker = this.clone();
            let workers = config.limits.workers;
            Self {
                server: config.homeserver.server_name.clone(),
                bot: config.bot_id(),
                sessions: Sessions::new(store.clone()),
                logins: Logins::default(),
                incoming: Incoming::new(workers, config.limits.waiting_bytes),
                answers: Answers::new(),
                intake: tokio::sync::Mutex::default(),
                gaps: Gaps::default(),
                after_keys: AfterKeys::default(),
                receipts: Receipts::default(),
                typing: Typing::default(),
                portal_locks: KeyedLocks::default(),
                key_locks: KeyedLocks::default(),
                later: Later::start(move |wake| {
                    if let Some(core) = waker.upgrade() {
                        core.wake(wake);
                    }
                }),
                known_portals: KnownPortals::default(),
                held: Mutex::default(),
                unswept: Mutex::default(),
                crowded: Mutex::default(),
                since: moka::sync::Cache::builder()
                    .max_capacity(10_000)
                    .time_to_live(Duration::from_secs(3600))
                    .build(),
                unposted: moka::sync::Cache::new(10_000),
                last_arrival: AtomicI64::default(),
                lanes: Lanes::new(workers),
                background: Lanes::new(BACKGROUND),
                fleeting: Lanes::new(FLEETING),
                this: this.clone(),
                capabilities: config.capabilities(),
                config,
                store,
                puppets,
                profile: Arc::new(profile),
                http,
                media,
            }
        })
    }

    /// Sees to it that something is looked at.
    pub(crate) fn wake(&self, wake: Wake) {
        let Some(core) = self.this.upgrade() else {
            return;
        };
        let wake = match wake {
            Wake::Chat(login, peer) => return core.incoming.wake(&core, (login, peer)),
            Wake::Answers(login, peer) => return core.answers.wake(&core, (login, peer)),
            Wake::Again(login) => return logins::again(&core, &login),
            other => other,
        };
        let waker = core.clone();
        let lanes = match &wake {
            Wake::Reports(..) | Wake::Media | Wake::Fading => &self.background,
            Wake::Seen(..) | Wake::Read(_) | Wake::Typing(_) | Wake::ContactTypes(..) => {
                &self.fleeting
            }
            _ => &self.lanes,
        };
        let later = self.later.clone();
        lanes.wake(wake, move |wake| {
            let core = waker.clone();
            let (later, again) = (later.clone(), wake.clone());
            let work = async move {
                match wake {
                    Wake::Inbox(room) => crate::inbox::pass(&core, &room).await,
                    Wake::Sends(room) => crate::posting::pass(&core, &room).await,
                    Wake::Keys => room_keys::pass(&core).await,
                    Wake::Sweep(user) => core.sweep(&user).await,
                    Wake::Reports(login, peer) => {
                        crate::reports::pass(&core, &login, &peer).await;
                    }
                    Wake::Seen(login, peer) => receipts::seen(&core, &login, &peer).await,
                    Wake::Read(room) => receipts::read_pass(&core, &room).await,
                    Wake::Typing(room) => typing::room_pass(&core, &room).await,
                    Wake::ContactTypes(login, peer) => {
                        typing::contact_pass(&core, &login, &peer).await;
                    }
                    Wake::Media => crate::media::sweep(&core).await,
                    Wake::Fading => fading::pass(&core).await,
                    Wake::BroughtBack(login) => core.incoming.take_up(&core, &login).await,
                    Wake::Chat(..) | Wake::Answers(..) | Wake::Again(_) => {}
                }
            };
            async move {
                if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                    tracing::error!("work ended by a panic; it is done again");
                    later.wake_after(again, backoff(3));
                }
            }
        });
    }

    /// Wakes whatever the database holds work for: at start, and when the homeserver is back.
    pub(crate) async fn wake_all(&self) -> Result<(), store::Error> {
        self.wake(Wake::Keys);
        self.wake(Wake::Fading);
        for room in inbox::rooms(&self.store).await? {
            if let Ok(room) = RoomId::parse(room) {
                self.wake(Wake::Inbox(room));
            }
        }
        for room in sends::rooms(&self.store).await? {
            if let Ok(room) = RoomId::parse(room) {
                self.wake(Wake::Sends(room));
            }
        }
        crate::reports::wake_all(self).await
    }

    /// Starts all logins that are enlisted and allowed; says how many. The others are told that nothing goes on.
    pub(crate) async fn start_logins(self: &Arc<Self>) -> Result<usize, store::Error> {
        let active = login_rows::in_state(&self.store, login_rows::State::Active).await?;
        let (blocked, allowed): (Vec<_>, Vec<_>) = active
            .into_iter()
            .partition(|login| self.is_blocked(&login.mxid));
        for login in &allowed {
            self.logins.start(self, &login.mxid);
        }
        if !blocked.is_empty() {
            tracing::warn!(
                count = blocked.len(),
                "enlisted users who are blocked by [permissions] are not connected"
            );
        }
        let is_told = |login: &&login_rows::Login| login.last_error.as_deref() == Some(BLOCKED);
        let mut batch = Batch::new();
        // Who is let in again and blocked again hears of it again.
        for login in allowed.iter().filter(is_told) {
            login_rows::set_error(&mut batch, &login.mxid, None);
        }
        let news: Vec<_> = blocked.iter().filter(|login| !is_told(login)).collect();
        for login in &news {
            login_rows::set_error(&mut batch, &login.mxid, Some(BLOCKED));
            let id = format!("blocked {}", login.mxid);
            let text = management::MAY_LEAVE;
            notices::note(&mut batch, self.now(), &login.mxid, "", id, text);
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        for login in news {
            notices::wake(self, &login.mxid, "");
        }
        Ok(allowed.len())
    }

    /// Whether a user of whom there may be a registration may not use the bridge (any more).
    pub(crate) fn is_blocked(&self, mxid: &str) -> bool {
        UserId::parse(mxid).is_ok_and(|user| self.config.level_of(&user) < Level::User)
    }

    /// The handle of a login; nothing if its user is not enlisted, or may not use the bridge any more.
    ///
    /// # Errors
    ///
    /// A [`Hold`] while a login that is enlisted has not been started yet: the homeserver is served before all logins are.
    pub(crate) async fn login(&self, mxid: &str) -> Result<Option<Login>, Hold> {
        if let Some(login) = self.logins.get(mxid) {
            return Ok(Some(login));
        }
        match login_rows::get(&self.store, mxid).await? {
            Some(row) if row.state == login_rows::State::Active && !self.is_blocked(mxid) => {
                Err(Hold {
                    after: Some(STARTING),
                    ..Hold::until("the login is being started")
                })
            }
            _ => Ok(None),
        }
    }

    /// Wakes the rooms of a login that has been connected: they may wait for a contact's keys.
    pub(crate) async fn wake_rooms_of(&self, login: &str) {
        match inbox::rooms_of(&self.store, login).await {
            Ok(rooms) => {
                for room in rooms.iter().filter_map(|room| RoomId::parse(room).ok()) {
                    self.wake(Wake::Inbox(room));
                }
            }
            Err(error) => {
                tracing::warn!(login = %self.log_id(login), %error, "rooms could not be woken")
            }
        }
    }

    pub(crate) fn wake_sends(&self, room: &RoomId) {
        self.wake(Wake::Sends(room.to_owned()));
    }

    /// Reads a puppet's `/sync` inbox soon: a key may be there that came in no transaction.
    pub(crate) fn sweep_soon(&self, user: &str) {
        self.wake(Wake::Sweep(user.to_owned()));
    }

    async fn sweep(&self, user: &str) {
        let result = async {
            let keys = self.puppets.sweep(&self.user(user)?).await?;
            self.keys_arrived(&keys);
            Ok::<_, Hold>(())
        };
        if let Err(hold) = result.await {
            tracing::warn!(user = %self.log_id(user), reason = %hold.reason, "a device's inbox could not be read");
            self.later.wake_after(
                Wake::Sweep(user.to_owned()),
                hold.after.unwrap_or(Duration::from_secs(15)),
            );
        }
    }

    /// Room keys have come: events that waited for them are tried again.
    pub(crate) fn keys_arrived(&self, keys: &[NewRoomKey]) {
        let mut rooms: Vec<&RoomId> = keys.iter().map(|key| &*key.room_id).collect();
        rooms.sort_unstable();
        rooms.dedup();
        for room in rooms {
            self.wake(Wake::Inbox(room.to_owned()));
        }
    }

    /// Notes that a room's events had to wait; says how often in a row they had before.
    pub(crate) fn held(&self, room: &RoomId) -> u32 {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = held.entry(room.to_owned()).or_default();
        *attempts += 1;
        *attempts - 1
    }

    /// For how long an event has waited, in milliseconds, whatever jumps the wall clock makes: by it, and by a clock of its own
    /// that begins with the first call.
    pub(crate) fn waited(&self, event_id: &str, received_ts: Millis) -> Millis {
        let since = self.since.get_with_by_ref(event_id, Instant::now);
        let here = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.now().saturating_sub(received_ts).max(here)
    }

    /// Notes who got to-device messages.
    pub(crate) fn note_unswept(&self, users: impl Iterator<Item = String>) {
        let mut unswept = self.unswept.lock().unwrap_or_else(PoisonError::into_inner);
        unswept.extend(users);
    }

    /// Who got to-device messages since the last call.
    pub(crate) fn take_unswept(&self) -> HashSet<String> {
        std::mem::take(&mut *self.unswept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a room waits until its contact has taken some of what it has.
    pub(crate) fn crowds(&self, login: &str, peer: &str, room: OwnedRoomId) {
        let mut crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        crowded.insert((login.to_owned(), peer.to_owned()), room);
    }

    /// A contact has taken something: its room goes on, if it waited for that.
    pub(crate) fn thins(&self, login: &str, peer: &str) {
        let mut crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        let room = match crowded.is_empty() {
            true => None,
            false => crowded.remove(&(login.to_owned(), peer.to_owned())),
        };
        drop(crowded);
        if let Some(room) = room {
            self.wake(Wake::Inbox(room));
        }
    }

    /// Whether a room's events wait.
    pub(crate) fn is_held(&self, room: &RoomId) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.contains_key(room)
    }

    /// A room's events could be handled.
    pub(crate) fn went_on(&self, room: &RoomId) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(room);
    }

    /// Whether the database answers and takes writes, and there is a key with which users can be enlisted.
    pub(crate) async fn is_ready(&self) -> bool {
        self.store.trouble().is_none() && crate::tokens::is_ready(self).await
    }

    /// A puppet that exists.
    pub(crate) async fn puppet(&self, user: &str) -> Result<Arc<Puppet>, PuppetError> {
        let unknown = || PuppetError::Invalid("no puppet of the bridge".to_owned());
        let user = UserId::parse(user).map_err(|_| unknown())?;
        self.puppets.open(&user).await?.ok_or_else(unknown)
    }

    /// A puppet, if it is one of ours and made.
    pub(crate) async fn puppet_if_known(&self, user: &str) -> Result<Option<Arc<Puppet>>, Hold> {
        let Ok(user) = UserId::parse(user) else {
            return Ok(None);
        };
        if !self.config.is_own(&user) {
            return Ok(None);
        }
        Ok(self.puppets.open(&user).await?)
    }

    /// A portal's ghost.
    pub(crate) async fn ghost(&self, user: &str) -> Result<Arc<Puppet>, Hold> {
        Ok(self.puppet(user).await?)
    }

    /// The bot.
    pub(crate) async fn bot_puppet(&self) -> Result<Arc<Puppet>, Hold> {
        Ok(self.puppets.bot(Some(BOT_NAME)).await?)
    }

    /// The id of the ghost of a contact whose number is not told.
    pub(crate) fn numberless_ghost(&self, peer: &str) -> Result<OwnedUserId, Hold> {
        let id = crate::ids::portal_alias("", "", peer, 0);
        let localpart = format!("{}id-{id}", self.config.appservice.ghost_prefix);
        self.user(&format!("@{localpart}:{}", self.server))
    }

    /// The portal whose room this is, or was when what is in it was written.
    pub(crate) async fn portal_of(&self, room: &RoomId) -> Result<Option<Arc<Portal>>, Hold> {
        Ok(self.known_portals.of(&self.store, room).await?)
    }

    /// Forgets what is remembered of a room: it has become a portal, or is none any more.
    pub(crate) fn forget_portal(&self, room: &RoomId) {
        self.known_portals.forget(room);
    }

    /// Who reads what is sent into a portal.
    pub(crate) fn readers(&self, portal: &Portal) -> Result<Vec<OwnedUserId>, Hold> {
        Ok(vec![self.user(&portal.login)?])
    }

    pub(crate) fn user(&self, id: &str) -> Result<OwnedUserId, Hold> {
        UserId::parse(id).map_err(|_| Hold::damaged("a stored user id is damaged"))
    }

    pub(crate) fn room(&self, id: &str) -> Result<OwnedRoomId, Hold> {
        RoomId::parse(id).map_err(|_| Hold::damaged("a stored room id is damaged"))
    }

    /// A contact's address as the database keeps it: the person, whatever device was used.
    pub(crate) fn peer_id(&self, jid: &Jid) -> String {
        jid.without_device().to_string()
    }

    /// Content as the crypto machine takes it.
    pub(crate) fn raw(&self, content: &impl serde::Serialize) -> Result<Box<RawValue>, Hold> {
        serde_json::value::to_raw_value(content).map_err(|error| Hold::lasting(&error))
    }

    /// A stanza as the outbox keeps it.
    pub(crate) fn encode(&self, node: &Node) -> Result<Vec<u8>, Hold> {
        // The form that every decoder reads; the connection writes it the gatekeeper's way.
        gatekeeper::stanza::encode(node, &EncodeOptions::default())
            .map_err(|error| Hold::lasting(&error))
    }

    /// How logins connect.
    pub(crate) fn connection_config(&self, mxid: &str) -> ConnectionConfig {
        ConnectionConfig::new(
            self.config.gatekeeper.endpoint.clone(),
            self.profile.clone(),
            self.log_id(mxid).to_string(),
        )
    }

    /// What a log may hold instead of an id.
    pub(crate) fn log_id(&self, id: &str) -> LogId {
        LogId::of(id)
    }

    /// The time of a message that comes now: the present, but later than that of the one before.
    pub(crate) fn arrival(&self) -> Millis {
        self.arrivals(1)
    }

    /// The time of the first of so many messages that come now; each is a millisecond later than the one before it.
    pub(crate) fn arrivals(&self, count: usize) -> Millis {
        let now = self.now();
        let others = i64::try_from(count).map_or(0, |count| count.max(1) - 1);
        let first = |last: Millis| now.max(last.saturating_add(1));
        let before = self
            .last_arrival
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(first(last).saturating_add(others))
            })
            .unwrap_or_default();
        first(before)
    }

    /// Goes on behind what earlier runs recorded, should the clock have been set back since.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn resume_arrivals(&self) -> Result<(), store::Error> {
        if let Some(latest) = messages::latest(&self.store).await? {
            self.last_arrival.fetch_max(latest, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The present time.
    pub(crate) fn now(&self) -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }
}
