//! Everything that the sandbox knows: partners, their users, phones, time, faults.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use gatekeeper::{
    enlist::EnlistForm,
    signal::SignalError,
    stanza::{Jid, Server},
    stanzas::{Notification, NotificationKind, StreamError},
};
use rand::RngExt;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    account::{Account, Keys},
    assumed::EnlistFailure,
    clock::{Clock, LIMIT_MS},
    config::Config,
    events::Events,
    faults::{Dice, Faults, FaultsChange, NotAProbability},
    keys::ServerKeys,
    media::{Fetch, Files, Uploads},
    partner::{Partner, TokenRefused},
    phone::{Number, Phone},
    record::Recorder,
    tls::Certificate,
};

/// The sandbox's state, shared by all its listeners and connections.
///
/// Order of locks: a phone's before an account's, never two of a kind, none over anything that waits.
#[derive(Debug)]
pub(crate) struct World {
    /// The services that may enlist users.
    pub partners: Vec<Arc<Partner>>,
    /// The sandbox's own keys.
    pub keys: ServerKeys,
    /// Its time.
    pub clock: Clock,
    /// Its observers.
    pub events: Events,
    /// Decides when a fault strikes.
    pub dice: Dice,
    /// What partners sent, if it is recorded.
    pub recorder: Recorder,
    /// Seed of dice and variety.
    pub seed: u64,
    /// Whether the bytes on the wire vary.
    pub variety: bool,
    /// Messages that a phone's log keeps per chat.
    pub log_limit: Option<usize>,
    /// Places of connections that have not logged in yet.
    pub half_open: Semaphore,
    /// Time that a client of the chat has for its handshake.
    pub handshake: Duration,
    /// Ends everything.
    pub stopping: CancellationToken,
    /// For JWKS fetches and pushes.
    pub http: reqwest::Client,
    /// For files: patient, and following nobody elsewhere.
    pub media_http: reqwest::Client,
    /// The folder of encrypted files.
    pub files: Files,
    /// Files that wait for the message that names them.
    pub uploads: Uploads,
    /// What phones shall fetch goes in here.
    pub fetches: mpsc::UnboundedSender<Fetch>,
    /// What stock clients show when they upload a file.
    pub media_auth: String,
    /// The certificate of the side over TLS.
    pub certificate: Certificate,
    http_base: OnceLock<String>,
    https_base: OnceLock<String>,
    faults: RwLock<Faults>,
    accounts: RwLock<Accounts>,
    phones: RwLock<BTreeMap<String, Arc<Phone>>>,
    pushes: mpsc::UnboundedSender<Arc<Account>>,
    connections: AtomicU64,
    changed: AtomicBool,
    stream_error: AtomicU16,
    enlisting: Mutex<()>,
}

/// What a world is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub keys: ServerKeys,
    pub clock: Clock,
    pub recorder: Recorder,
    pub http: reqwest::Client,
    pub media_http: reqwest::Client,
    pub files: Files,
    pub certificate: Certificate,
}

/// What a world gives its workers to do.
#[derive(Debug)]
pub(crate) struct Work {
    /// Users that need a push.
    pub pushed: mpsc::UnboundedReceiver<Arc<Account>>,
    /// Files that phones shall fetch.
    pub wanted: mpsc::UnboundedReceiver<Fetch>,
}

#[derive(Debug, Default)]
struct Accounts {
    by_user: HashMap<u64, Arc<Account>>,
    by_identifier: BTreeMap<(u16, String), Arc<Account>>,
}

/// Why a phone cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PhoneError {
    /// The number is taken.
    #[error("there is a phone with this number already")]
    Exists,
    /// Its keys could not be made.
    #[error("the phone's keys cannot be made: {0}")]
    Signal(#[from] SignalError),
}

impl World {
    /// A world without users and phones.
    pub(crate) fn new(config: &Config, parts: Parts) -> (Self, Work) {
        let (pushes, pushed) = mpsc::unbounded_channel();
        let (fetches, wanted) = mpsc::unbounded_channel();
        let Parts {
            keys,
            clock,
            recorder,
            http,
            media_http,
            files,
            certificate,
        } = parts;
        let partners = config
            .partners
            .iter()
            .cloned()
            .map(Partner::new)
            .map(Arc::new)
            .collect();
        let world = Self {
            partners,
            keys,
            clock,
            events: Events::default(),
            dice: Dice::new(config.seed),
            recorder,
            seed: config.seed,
            variety: config.variety,
            log_limit: config.log_limit,
            half_open: Semaphore::new(config.half_open),
            handshake: config.handshake,
            stopping: CancellationToken::new(),
            http,
            media_http,
            files,
            uploads: Uploads::default(),
            fetches,
            media_auth: hex::encode(rand::random::<[u8; 16]>()),
            certificate,
            http_base: OnceLock::new(),
            https_base: OnceLock::new(),
            faults: RwLock::new(Faults {
                seed: config.seed,
                ..Faults::default()
            }),
            accounts: RwLock::default(),
            phones: RwLock::default(),
            pushes,
            connections: AtomicU64::new(0),
            changed: AtomicBool::new(false),
            stream_error: AtomicU16::new(0),
            enlisting: Mutex::new(()),
        };
        (world, Work { pushed, wanted })
    }

    /// Base address of the gatekeeper's HTTP side; empty until it listens.
    pub(crate) fn http_base(&self) -> String {
        self.http_base.get().cloned().unwrap_or_default()
    }

    /// The same over TLS.
    pub(crate) fn https_base(&self) -> String {
        self.https_base.get().cloned().unwrap_or_default()
    }

    /// Notes where the gatekeeper's HTTP side listens.
    pub(crate) fn listens_at(&self, http_base: &str, https_base: &str) {
        // It listens once.
        let _ = self.http_base.set(http_base.to_owned());
        let _ = self.https_base.set(https_base.to_owned());
    }

    // ---- faults

    /// The faults that are on.
    pub(crate) fn faults(&self) -> Faults {
        *read(&self.faults)
    }

    /// Changes the faults; a stream error strikes at once.
    pub(crate) fn change_faults(&self, change: &FaultsChange) -> Result<Faults, NotAProbability> {
        let mut faults = self.faults.write().unwrap_or_else(PoisonError::into_inner);
        let next = faults.changed(change)?;
        *faults = next;
        drop(faults);
        if change.seed.is_some() || change.reset == Some(true) {
            self.dice.reseed(next.seed);
        }
        if let Some(code) = change.stream_error {
            self.strike_with_stream_error(code);
        }
        Ok(next)
    }

    fn strike_with_stream_error(&self, code: u16) {
        let mut struck = false;
        for account in self.accounts() {
            let session = account.lock().session.clone();
            if let Some(session) = session {
                session.end(StreamError::code(code).to_node());
                struck = true;
            }
        }
        for phone in self.phones() {
            for device in phone.lock().devices.values() {
                if let Some(session) = &device.session {
                    session.end(StreamError::code(code).to_node());
                    struck = true;
                }
            }
        }
        self.stream_error
            .store(if struck { 0 } else { code }, Ordering::Relaxed);
    }

    /// The stream error that waits for the next connection, if one does.
    pub(crate) fn take_waiting_stream_error(&self) -> Option<u16> {
        Some(self.stream_error.swap(0, Ordering::Relaxed)).filter(|code| *code > 0)
    }

    // ---- partner users

    /// A user by the number in the internal identifier.
    pub(crate) fn account(&self, user: u64) -> Option<Arc<Account>> {
        read(&self.accounts).by_user.get(&user).cloned()
    }

    /// A user by the user-visible identifier (of the first partner that has one of this name), or by
    /// the internal one.
    pub(crate) fn account_named(&self, name: &str) -> Option<Arc<Account>> {
        if let Ok(jid) = name.parse::<Jid>()
            && jid.server == Server::Interop
        {
            let account = self.account(jid.user.parse().ok()?)?;
            return (account.jid.integrator == jid.integrator).then_some(account);
        }
        let accounts = read(&self.accounts);
        self.partners.iter().find_map(|partner| {
            let key = (partner.config.integrator, name.to_owned());
            accounts.by_identifier.get(&key).cloned()
        })
    }

    /// All users, in the order of their identifiers.
    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        read(&self.accounts)
            .by_identifier
            .values()
            .cloned()
            .collect()
    }

    /// Adds a user as it was.
    pub(crate) fn restore_account(&self, account: Arc<Account>) {
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Ok(user) = account.jid.user.parse() {
            accounts.by_user.insert(user, Arc::clone(&account));
        }
        let key = (account.jid.integrator, account.identifier.clone());
        accounts.by_identifier.insert(key, account);
    }

    /// Enlists a user with these keys, anew or again, and returns the internal identifier.
    pub(crate) async fn enlist(&self, form: &EnlistForm) -> Result<Jid, EnlistFailure> {
        let (partner, identifier) = self.owner_of(&form.token).await?;
        let keys = Keys::of(form).ok_or(EnlistFailure::BadSignature)?;
        let now_ms = self.clock.now_ms();
        let (account, again, changed) = {
            let _one_at_a_time = crate::lock(&self.enlisting);
            let key = (partner.config.integrator, identifier.clone());
            let known = read(&self.accounts).by_identifier.get(&key).cloned();
            match known {
                Some(account) => {
                    let changed = account.re_enlist(keys, now_ms);
                    (account, true, changed)
                }
                None => {
                    let jid = Jid::interop(partner.config.integrator, self.free_user().to_string());
                    let account = Arc::new(Account::new(
                        jid,
                        identifier,
                        Arc::clone(&partner),
                        keys,
                        now_ms,
                    ));
                    self.restore_account(Arc::clone(&account));
                    (account, false, false)
                }
            }
        };
        if changed {
            for phone in self.phones() {
                phone.identity_changed(self, &account);
            }
        }
        self.touch();
        self.events.emit("enlisted", || {
            json!({"user": account.identifier, "jid": account.jid, "again": again,
                   "identity_changed": changed})
        });
        Ok(account.jid.clone())
    }

    /// Whose token this is.
    async fn owner_of(&self, token: &str) -> Result<(Arc<Partner>, String), EnlistFailure> {
        let mut failure = EnlistFailure::BadIntegrator;
        for partner in &self.partners {
            match partner.verify(self, token).await {
                Ok(identifier) => return Ok((Arc::clone(partner), identifier)),
                Err(TokenRefused::NotTheirs | TokenRefused::Unavailable) => {}
                Err(TokenRefused::Invalid) => failure = EnlistFailure::BadToken,
            }
        }
        Err(failure)
    }

    /// A user number that nobody has: fourteen digits, as in the published sample.
    fn free_user(&self) -> u64 {
        let accounts = read(&self.accounts);
        let mut rng = rand::rng();
        loop {
            let user = rng.random_range(10_000_000_000_000..100_000_000_000_000);
            if !accounts.by_user.contains_key(&user) {
                return user;
            }
        }
    }

    /// Un-enlists a user.
    pub(crate) fn remove(&self, account: &Account, cause: &'static str) {
        account.remove();
        self.touch();
        self.events.emit(
            "unenlisted",
            || json!({"user": account.identifier, "jid": account.jid, "cause": cause}),
        );
    }

    /// After a restart: wakes the users whose mailboxes are not empty.
    pub(crate) fn push_what_waits(&self) {
        for account in self.accounts() {
            let mut inner = account.lock();
            if !inner.gone && !inner.mailbox.is_empty() && !inner.pushing {
                inner.pushing = true;
                drop(inner);
                self.push(account);
            }
        }
    }

    /// Hands a user to the pusher.
    pub(crate) fn push(&self, account: Arc<Account>) {
        // The pusher lives as long as the sandbox; while it stops nobody needs a push.
        let _ = self.pushes.send(account);
    }

    // ---- phones

    /// Adds a phone.
    pub(crate) fn add_phone(&self, number: Number, name: String) -> Result<Arc<Phone>, PhoneError> {
        let phone = Arc::new(Phone::new(number, name)?);
        let digits = phone.number.digits().to_owned();
        let mut phones = self.phones.write().unwrap_or_else(PoisonError::into_inner);
        if phones.contains_key(&digits) {
            return Err(PhoneError::Exists);
        }
        phones.insert(digits, Arc::clone(&phone));
        drop(phones);
        self.touch();
        self.events
            .emit("phone", || json!({"number": phone.number.to_string()}));
        Ok(phone)
    }

    /// Adds a phone as it was.
    pub(crate) fn restore_phone(&self, phone: Phone) {
        let digits = phone.number.digits().to_owned();
        let mut phones = self.phones.write().unwrap_or_else(PoisonError::into_inner);
        phones.insert(digits, Arc::new(phone));
    }

    /// A phone by its number.
    pub(crate) fn phone(&self, number: &Number) -> Option<Arc<Phone>> {
        read(&self.phones).get(number.digits()).cloned()
    }

    /// A phone by its address.
    pub(crate) fn phone_by_jid(&self, jid: &Jid) -> Option<Arc<Phone>> {
        if jid.server != Server::Whatsapp {
            return None;
        }
        read(&self.phones).get(&jid.user).cloned()
    }

    /// All phones, in the order of their numbers.
    pub(crate) fn phones(&self) -> Vec<Arc<Phone>> {
        read(&self.phones).values().cloned().collect()
    }

    /// Gives a phone new keys, as after a reinstallation, and tells the partner users it has talked to.
    /// It is the sandbox's again, if a stock client was it, and has no companions any more.
    pub(crate) fn change_identity(&self, phone: &Phone) -> Result<(), SignalError> {
        let peers = {
            let mut inner = phone.lock();
            inner.keys = crate::phone::PhoneKeys::generate()?;
            let peers: Vec<Jid> = inner.peers.drain().map(|(jid, _)| jid).collect();
            inner.asked.clear();
            for device in std::mem::take(&mut inner.devices).into_values() {
                device.end();
            }
            peers
        };
        for jid in peers {
            if let Some(account) = self.account_named(&jid.to_string()) {
                let note = Notification::new(
                    phone.jid.clone(),
                    self.fresh_id(),
                    self.clock.now(),
                    NotificationKind::IdentityChanged,
                );
                account.deliver(self, note.to_node());
            }
        }
        self.touch();
        self.events
            .emit("identity", || json!({"phone": phone.number.to_string()}));
        Ok(())
    }

    // ---- time

    /// Moves the clock and lets happen what was due.
    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(seconds);
        self.sweep();
    }

    /// Drops what has waited thirty days, and un-enlists who was away for thirty days.
    pub(crate) fn sweep(&self) {
        let now_ms = self.clock.now_ms();
        for account in self.accounts() {
            let mut inner = account.lock();
            let expired = inner.mailbox.expire(now_ms);
            if inner.session.is_some() {
                inner.last_seen_ms = now_ms;
            }
            let away = !inner.gone && inner.last_seen_ms.saturating_add(LIMIT_MS) <= now_ms;
            drop(inner);
            if expired > 0 {
                self.touch();
                self.events.emit(
                    "expired",
                    || json!({"user": account.identifier, "stanzas": expired}),
                );
            }
            if away {
                self.remove(&account, "thirty days without a connection");
            }
        }
        for phone in self.phones() {
            let mut inner = phone.lock();
            for device in inner.devices.values_mut() {
                if device.mailbox.expire(now_ms) > 0 {
                    self.touch();
                }
            }
            inner
                .waiting
                .retain(|waiting| waiting.queued_ms.saturating_add(LIMIT_MS) > now_ms);
            if inner.disappear(self, &phone, now_ms) {
                self.touch();
            }
        }
        self.files.sweep(now_ms);
    }

    // ---- small things

    /// A stanza id that nobody has used.
    pub(crate) fn fresh_id(&self) -> String {
        hex::encode_upper(rand::random::<[u8; 16]>())
    }

    /// The number of a new connection, from 1.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes that something changed which a restart should find again.
    pub(crate) fn touch(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Whether something changed since the last question.
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
