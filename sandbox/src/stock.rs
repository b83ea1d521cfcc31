//! Stock clients: programs that others wrote for WhatsApp, logged in as one of the phones.
//!
//! A phone whose first device is a stock client is played by it, and no more by the sandbox: the
//! private keys are the client's, and what passes between it and a partner's user is ciphertext here.
//! Further devices are companions of a phone, whoever plays the phone itself.
//!
//! Such clients know WhatsApp users alone. So they see a partner's user under an [`alias`], and their
//! stanzas are rewritten on the way; what is inside of the ciphertext stays as it was written.

pub(crate) mod alias;
pub(crate) mod credentials;
mod forward;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use gatekeeper::{
    signal::{Bundle, PreKeyPublic},
    stanza::{Jid, Node},
    stanzas::{Notification, NotificationKind, chat_server},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    account::{Account, Keys, LOW_PREKEYS, Remembered, device_removed},
    chat::Session,
    mailbox::Mailbox,
    phone::{Phone, PhoneKeys},
    world::World,
};

/// Devices that a phone may have, the first one included.
pub(crate) const DEVICES: usize = 5;

/// One-time prekeys that are kept of a device.
const PREKEYS: usize = 4096;

/// Under which kind of address a client sees a partner's user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Addressing {
    /// A phone number.
    #[default]
    Pn,
    /// An opaque number.
    Lid,
}

/// A stock client that may log in.
#[derive(Debug)]
pub(crate) struct Device {
    /// Its public keys.
    pub keys: Keys,
    /// One-time prekeys not yet given out, oldest first.
    pub prekeys: VecDeque<PreKeyPublic>,
    /// What waits for it.
    pub mailbox: Mailbox,
    /// Its connection, if there is one.
    pub session: Option<Arc<Session>>,
    /// How it sees partners' users.
    pub addressing: Addressing,
    accepted: Remembered,
    told_low: bool,
}

impl Device {
    /// A device that has not logged in yet.
    pub(crate) fn new(keys: Keys, addressing: Addressing) -> Self {
        Self {
            keys,
            prekeys: VecDeque::new(),
            mailbox: Mailbox::default(),
            session: None,
            addressing,
            accepted: Remembered::default(),
            told_low: false,
        }
    }

    /// Whether this is its connection.
    pub(crate) fn is_on(&self, session: &Session) -> bool {
        let current = self.session.as_deref();
        current.is_some_and(|current| std::ptr::eq(current, session))
    }

    /// Whether a stanza is new; the same one again is not.
    pub(crate) fn is_new(&mut self, what: &(impl std::hash::Hash + ?Sized)) -> bool {
        self.accepted.is_new(what)
    }

    /// Puts a stanza into the mailbox and wakes the connection.
    pub(crate) fn deliver(&mut self, world: &World, node: Node) {
        let delay = Duration::from_millis(world.faults().delay_ms);
        self.mailbox
            .push(Arc::new(node), world.clock.now_ms(), Instant::now() + delay);
        world.touch();
        if let Some(session) = &self.session {
            session.wake();
        }
    }

    /// Gives its keys out, and tells the client when few one-time prekeys are left.
    pub(crate) fn take_bundle(&mut self, world: &World) -> Bundle {
        let prekey = if world.faults().prekeys_exhausted {
            None
        } else {
            self.prekeys.pop_front()
        };
        let left = self.prekeys.len();
        if prekey.is_some() && left < LOW_PREKEYS && !self.told_low {
            self.told_low = true;
            let count = u32::try_from(left).unwrap_or(0);
            let kind = NotificationKind::LowPreKeys { count };
            let (id, now) = (world.fresh_id(), world.clock.now());
            self.deliver(
                world,
                Notification::new(chat_server(), id, now, kind).to_node(),
            );
        }
        world.touch();
        Bundle {
            registration_id: self.keys.registration_id,
            identity: self.keys.identity,
            signed_prekey: self.keys.signed,
            prekey,
        }
    }

    /// Adds uploaded one-time prekeys; an id that waits already is replaced.
    pub(crate) fn add_prekeys(&mut self, keys: Vec<PreKeyPublic>) {
        let fresh = |key: &PreKeyPublic| !keys.iter().any(|new| new.id == key.id);
        self.prekeys.retain(fresh);
        self.prekeys.extend(keys);
        let excess = self.prekeys.len().saturating_sub(PREKEYS);
        self.prekeys.drain(..excess);
        self.told_low = self.prekeys.len() < LOW_PREKEYS;
    }

    /// Ends its connection: it is no device any more.
    pub(crate) fn end(&self) {
        if let Some(session) = &self.session {
            session.end(device_removed());
        }
    }
}

/// Why a phone gets no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// Too many devices.
    #[error("a phone has at most {DEVICES} devices, numbered from 0 to 99")]
    Devices,
    /// The keys cannot be made.
    #[error("the keys cannot be made: {0}")]
    Signal(#[from] gatekeeper::signal::SignalError),
}

impl World {
    /// Makes keys for a device of a phone and forgets the private ones: whoever holds what this
    /// returns is the device from now on. For the first device it is as a reinstallation.
    pub(crate) fn make_credentials(
        &self,
        phone: &Phone,
        index: u16,
        addressing: Addressing,
    ) -> Result<credentials::Credentials, CredentialsError> {
        let made = {
            let inner = phone.lock();
            let known = inner.devices.contains_key(&index) || index == 0;
            if index > 99 || (!known && inner.devices.len() >= DEVICES) {
                return Err(CredentialsError::Devices);
            }
            credentials::Credentials::generate(phone, &inner, index, self.clock.now())?
        };
        if index == 0 {
            self.change_identity(phone)?;
        }
        let mut inner = phone.lock();
        let mut device = Device::new(made.public_keys(), addressing);
        if index == 0 {
            // What the server kept for the phone goes to whoever is the phone now.
            for waiting in std::mem::take(&mut inner.waiting) {
                let (node, from, t) = (&waiting.node, &waiting.from, self.clock.now());
                if let Some(node) = forward::for_device(node, phone, index, from, &device, t) {
                    device.deliver(self, node);
                }
            }
        }
        if let Some(before) = inner.devices.insert(index, device) {
            before.end();
        }
        drop(inner);
        self.touch();
        self.events.emit(
            "credentials",
            || json!({"phone": phone.number.to_string(), "device": index}),
        );
        Ok(made)
    }

    /// The partner's user behind an alias.
    pub(crate) fn account_behind(&self, jid: &Jid) -> Option<Arc<Account>> {
        self.account(alias::user_of(jid)?)
            .filter(|account| !account.lock().gone)
    }

    /// The phone that an address names, by its number or by an opaque one.
    pub(crate) fn phone_behind(&self, jid: &Jid) -> Option<Arc<Phone>> {
        self.phone_by_jid(jid).or_else(|| {
            let number = alias::number_of(jid)?;
            self.phone(&number)
        })
    }

    /// The keys of a device of a phone, whoever holds the private ones.
    pub(crate) fn phone_bundle(&self, phone: &Phone, index: u16) -> Result<Bundle, u16> {
        let mut inner = phone.lock();
        if let Some(device) = inner.devices.get_mut(&index) {
            return Ok(device.take_bundle(self));
        }
        if index != 0 {
            return Err(404);
        }
        self.touch();
        let keys: &mut PhoneKeys = &mut inner.keys;
        keys.bundle(!self.faults().prekeys_exhausted)
            .map_err(|_| 500)
    }
}
