//! A partner's user as the gatekeeper knows it: keys, mailbox, blocklist, and the one connection.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use gatekeeper::{
    enlist::EnlistForm,
    signal::{Bundle, PreKeyPublic, SignedPreKeyPublic},
    stanza::{Jid, Node},
    stanzas::{Notification, NotificationKind, StreamError, chat_server},
};

use crate::{
    chat::Session,
    mailbox::{Class, Mailbox},
    partner::Partner,
    world::World,
};

/// One-time prekeys below which the gatekeeper tells the user to upload more.
pub(crate) const LOW_PREKEYS: usize = 5;

/// Ids of accepted stanzas that are remembered to recognise what is sent again.
const REMEMBERED: usize = 16 * 1024;

/// What enlistment stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Static Noise key that every login must have.
    pub authkey: [u8; 32],
    /// Signal registration id.
    pub registration_id: u32,
    /// Signal identity key.
    pub identity: [u8; 32],
    /// The signed prekey.
    pub signed: SignedPreKeyPublic,
}

/// An enlisted user.
#[derive(Debug)]
pub(crate) struct Account {
    /// The internal identifier, `{integrator}-{user}@interop`.
    pub jid: Jid,
    /// The user-visible identifier, as the token names it.
    pub identifier: String,
    /// The service that the user belongs to.
    pub partner: Arc<Partner>,
    inner: Mutex<Inner>,
}

/// The part of an account that changes. Its lock is never held over anything that waits, and while it
/// is held no phone's lock is taken (the other way round is allowed).
#[derive(Debug)]
pub(crate) struct Inner {
    /// See [`Keys`].
    pub keys: Keys,
    /// One-time prekeys not yet given out, oldest first.
    pub prekeys: VecDeque<PreKeyPublic>,
    /// What waits for the user.
    pub mailbox: Mailbox,
    /// The connection, if there is one.
    pub session: Option<Arc<Session>>,
    /// When the user was last connected or enlisted, by the sandbox's clock, in Unix milliseconds.
    pub last_seen_ms: u64,
    /// WhatsApp users whose messages are not let through.
    pub blocked: BTreeSet<Jid>,
    /// Whether read receipts pass in either direction, as the last login asked.
    pub read_receipts: bool,
    /// Un-enlisted: after thirty days away, or on the user's request.
    pub gone: bool,
    /// Whether a push for this user is being delivered.
    pub pushing: bool,
    /// Whether something came in while a push was being delivered.
    pub push_again: bool,
    accepted: Remembered,
    told_low: bool,
}

impl Keys {
    /// The keys of an enlistment; nothing if the signature over the signed prekey is not the
    /// identity's.
    pub(crate) fn of(form: &EnlistForm) -> Option<Self> {
        form.verify().ok()?;
        Some(Self {
            authkey: form.authkey,
            registration_id: form.registration_id,
            identity: form.identity,
            signed: form.signed_prekey,
        })
    }
}

impl Account {
    /// A newly enlisted user.
    pub(crate) fn new(
        jid: Jid,
        identifier: String,
        partner: Arc<Partner>,
        keys: Keys,
        now_ms: u64,
    ) -> Self {
        Self {
            jid,
            identifier,
            partner,
            inner: Mutex::new(Inner {
                keys,
                prekeys: VecDeque::new(),
                mailbox: Mailbox::default(),
                session: None,
                last_seen_ms: now_ms,
                blocked: BTreeSet::new(),
                read_receipts: true,
                gone: false,
                pushing: false,
                push_again: false,
                accepted: Remembered::default(),
                told_low: false,
            }),
        }
    }

    /// The changing part.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        crate::lock(&self.inner)
    }

    /// Puts a stanza into the mailbox and sees to it that the user gets it: at once over the
    /// connection, or after a push. Messages of blocked senders vanish, as they do on WhatsApp.
    pub(crate) fn deliver(self: &Arc<Self>, world: &World, node: Node) {
        let faults = world.faults();
        let delay = Duration::from_millis(faults.delay_ms);
        let mut inner = self.lock();
        let from = node.jid("from").map(|from| from.without_device());
        let is_message = Class::of(&node.tag) == Some(Class::Message);
        if inner.gone || (is_message && from.is_some_and(|from| inner.blocked.contains(&from))) {
            return;
        }
        inner
            .mailbox
            .push(Arc::new(node), world.clock.now_ms(), Instant::now() + delay);
        world.touch();
        if let Some(session) = &inner.session {
            session.wake();
        } else if inner.pushing {
            inner.push_again = true;
        } else {
            inner.pushing = true;
            world.push(Arc::clone(self));
        }
    }

    /// Hands a stanza that may be lost (typing) to the connection, if there is one.
    pub(crate) fn deliver_transient(&self, node: Node) {
        let inner = self.lock();
        if let Some(session) = &inner.session
            && !node
                .jid("from")
                .is_some_and(|from| inner.blocked.contains(&from.without_device()))
        {
            session.reply_if_room(node);
        }
    }

    /// Gives the user's keys out, with a one-time prekey if there is one (and `with_prekey`), and
    /// tells the user when few are left.
    pub(crate) fn take_bundle(self: &Arc<Self>, world: &World, with_prekey: bool) -> Bundle {
        let mut inner = self.lock();
        let prekey = if with_prekey {
            inner.prekeys.pop_front()
        } else {
            None
        };
        let bundle = Bundle {
            registration_id: inner.keys.registration_id,
            identity: inner.keys.identity,
            signed_prekey: inner.keys.signed,
            prekey,
        };
        let left = inner.prekeys.len();
        let tell = prekey.is_some() && left < LOW_PREKEYS && !inner.told_low;
        inner.told_low |= tell;
        drop(inner);
        world.touch();
        if tell {
            let kind = NotificationKind::LowPreKeys {
                count: u32::try_from(left).unwrap_or(0),
            };
            let note = Notification::new(chat_server(), world.fresh_id(), world.clock.now(), kind);
            self.deliver(world, note.to_node());
        }
        bundle
    }

    /// Adds uploaded one-time prekeys; an id that waits already is replaced.
    pub(crate) fn add_prekeys(&self, keys: Vec<PreKeyPublic>) {
        let mut inner = self.lock();
        let ids: HashSet<u32> = keys.iter().map(|key| key.id).collect();
        inner.prekeys.retain(|key| !ids.contains(&key.id));
        inner.prekeys.extend(keys);
        inner.told_low = inner.prekeys.len() < LOW_PREKEYS;
    }

    /// Makes `session` the user's connection; the one before it is told that it was replaced.
    pub(crate) fn connect(&self, session: &Arc<Session>, read_receipts: bool, now_ms: u64) {
        let mut inner = self.lock();
        let before = inner.session.replace(Arc::clone(session));
        inner.read_receipts = read_receipts;
        inner.last_seen_ms = now_ms;
        drop(inner);
        if let Some(before) = before {
            before.end(StreamError::replaced().to_node());
        }
    }

    /// Forgets `session` if it is still the user's connection.
    pub(crate) fn disconnect(self: &Arc<Self>, world: &World, session: &Arc<Session>) {
        let mut inner = self.lock();
        if !inner
            .session
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, session))
        {
            return;
        }
        inner.session = None;
        inner.last_seen_ms = world.clock.now_ms();
        // What came in during the connection and was not fetched still needs somebody to fetch it.
        if !inner.mailbox.is_empty() && !inner.pushing && !inner.gone {
            inner.pushing = true;
            world.push(Arc::clone(self));
        }
    }

    /// Replaces all keys, as a new enlistment does. Returns whether the Signal identity is another one;
    /// the prekeys of the old one are gone then.
    pub(crate) fn re_enlist(&self, keys: Keys, now_ms: u64) -> bool {
        let mut inner = self.lock();
        let changed = inner.keys.identity != keys.identity;
        let login_changed = inner.keys.authkey != keys.authkey;
        if changed {
            inner.prekeys.clear();
        }
        inner.keys = keys;
        inner.gone = false;
        inner.last_seen_ms = now_ms;
        let ended = if changed || login_changed {
            inner.session.take()
        } else {
            None
        };
        drop(inner);
        if let Some(session) = ended {
            session.end(device_removed());
        }
        changed
    }

    /// Un-enlists the user: nothing is kept but the number, so that it is not given to another.
    pub(crate) fn remove(&self) {
        let mut inner = self.lock();
        inner.gone = true;
        inner.mailbox.clear();
        inner.prekeys.clear();
        inner.blocked.clear();
        if let Some(session) = inner.session.take() {
            drop(inner);
            session.end(device_removed());
        }
    }

    /// Whether a stanza is new. The same one again (`what` names it) is not.
    pub(crate) fn is_new(&self, what: &(impl Hash + ?Sized)) -> bool {
        self.lock().accepted.is_new(what)
    }
}

/// The end of a connection whose keys are not the user's any more.
pub(crate) fn device_removed() -> Node {
    StreamError {
        code: Some(401),
        conflict: Some("device_removed".to_owned()),
    }
    .to_node()
}

/// The newest of a stream of hashes.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Remembered {
    /// Whether `what` has not been seen yet.
    pub(crate) fn is_new(&mut self, what: &(impl Hash + ?Sized)) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.insert(hasher.finish())
    }

    fn insert(&mut self, hash: u64) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ids_are_remembered() {
        let mut remembered = Remembered::default();
        assert!(remembered.insert(0));
        assert!(!remembered.insert(0));
        for hash in 1..=REMEMBERED as u64 {
            assert!(remembered.insert(hash));
        }
        assert!(remembered.insert(0), "the oldest is forgotten");
        assert_eq!(remembered.known.len(), remembered.order.len());
        assert_eq!(remembered.order.len(), REMEMBERED);
    }
}
