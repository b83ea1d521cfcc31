//! A phone: a simulated WhatsApp user with Signal keys of its own.
//!
//! Phones live in the server's process and have no task: what a partner user sends them is handled
//! at once by the task of that user's connection, and what they send goes straight into mailboxes.
//! Nothing but ciphertext passes between a phone and the rest, as it would on a wire.

pub(crate) mod content;
mod entry;
mod foreign;
pub(crate) mod held;
pub(crate) mod log;
pub(crate) mod options;
mod receive;
mod send;
mod sent;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use gatekeeper::{
    signal::{
        Bundle, Identity, MAX_PREKEY_ID, Peer, PreKey, SignalError, SignedPreKey, next_prekey_id,
    },
    stanza::{Jid, Node},
    stanzas::Typing,
};

use self::{held::Held, log::Log};
pub(crate) use self::{
    options::{Options, OptionsChange},
    receive::typing_word,
    send::SendError,
    sent::{Sent, SentMessage},
};
use crate::{account::Account, stock::Device};

/// One-time prekeys that a phone has given out and not yet seen used.
const OPEN_PREKEYS: usize = 1024;

/// A phone number in its canonical form: digits, without `+`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(String);

/// A text that is no phone number.
#[derive(Debug, thiserror::Error)]
#[error(
    "that is no phone number: write it with country code, `+` and 7 to 15 digits, e.g. +4915112345678"
)]
pub struct NotANumber;

impl Number {
    /// Reads a number as people write it: with or without `+`, with spaces, dashes or brackets.
    pub fn parse(text: &str) -> Result<Self, NotANumber> {
        let text = text.trim();
        let digits: String = text
            .strip_prefix('+')
            .unwrap_or(text)
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.' | '/'))
            .collect();
        let fits = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
        if fits && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(digits))
        } else {
            Err(NotANumber)
        }
    }

    /// The digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// A phone.
#[derive(Debug)]
pub(crate) struct Phone {
    /// Its number.
    pub number: Number,
    /// Its address.
    pub jid: Jid,
    inner: Mutex<Inner>,
}

/// The part of a phone that changes. An account's lock may be taken while it is held.
#[derive(Debug)]
pub(crate) struct Inner {
    /// The name that its owner gave it. Partners never learn it.
    pub name: String,
    /// How it behaves.
    pub options: Options,
    /// Its Signal keys.
    pub keys: PhoneKeys,
    /// Signal session with each partner user.
    pub peers: HashMap<Jid, Peer>,
    /// Chat with each partner user.
    pub chats: BTreeMap<Jid, Log>,
    /// Partner users that it has blocked.
    pub blocked: HashSet<Jid>,
    /// What the server keeps while the phone is offline: who sent it and what.
    pub waiting: VecDeque<Waiting>,
    /// What it sent, newest last, to answer retry receipts.
    pub sent: Sent,
    /// How often it asked for a message again, by sender and id.
    pub asked: HashMap<(Jid, String), u8>,
    /// What messages that are not text say, and where their files are, by chat and id.
    pub held: HashMap<(Jid, String), Held>,
    /// After how many seconds messages of a chat disappear.
    pub timers: BTreeMap<Jid, u32>,
    /// What a partner user was last seen doing, and when, in Unix milliseconds.
    pub typing: HashMap<Jid, (Typing, u64)>,
    /// Its stock clients, by the number of the device. The first one (0) plays the phone.
    pub devices: BTreeMap<u16, Device>,
}

/// A stanza that waits for a phone.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// Who sent it.
    pub from: Arc<Account>,
    /// The stanza as the partner user wrote it.
    pub node: Node,
    /// When it came, by the sandbox's clock, in Unix milliseconds.
    pub queued_ms: u64,
}

impl Phone {
    /// A phone with new keys.
    pub(crate) fn new(number: Number, name: String) -> Result<Self, SignalError> {
        let inner = Inner {
            name,
            options: Options::default(),
            keys: PhoneKeys::generate()?,
            peers: HashMap::new(),
            chats: BTreeMap::new(),
            blocked: HashSet::new(),
            waiting: VecDeque::new(),
            sent: Sent::default(),
            asked: HashMap::new(),
            held: HashMap::new(),
            timers: BTreeMap::new(),
            typing: HashMap::new(),
            devices: BTreeMap::new(),
        };
        Ok(Self::with(number, inner))
    }

    /// A phone as it was.
    pub(crate) fn with(number: Number, inner: Inner) -> Self {
        Self {
            jid: Jid::phone(number.digits()),
            number,
            inner: Mutex::new(inner),
        }
    }

    /// The changing part.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        crate::lock(&self.inner)
    }
}

/// The Signal keys of a phone.
#[derive(Debug)]
pub(crate) struct PhoneKeys {
    /// Identity key and registration id.
    pub identity: Identity,
    /// The signed prekey.
    pub signed: SignedPreKey,
    /// One-time prekeys that were given out and not yet used.
    pub open: BTreeMap<u32, PreKey>,
    /// Id of the next one-time prekey.
    pub next: u32,
}

impl PhoneKeys {
    /// New keys, as after an installation.
    pub(crate) fn generate() -> Result<Self, SignalError> {
        let mut rng = rand::rng();
        let identity = Identity::generate(&mut rng);
        let signed = SignedPreKey::generate(1, &identity, &mut rng)?;
        Ok(Self {
            identity,
            signed,
            open: BTreeMap::new(),
            next: 1,
        })
    }

    /// A bundle for one peer, with a one-time prekey if wanted. Prekeys are made when they are given
    /// out; of those that nobody uses the oldest are forgotten.
    pub(crate) fn bundle(&mut self, with_prekey: bool) -> Result<Bundle, SignalError> {
        let prekey = if with_prekey {
            let key = PreKey::generate(self.next.min(MAX_PREKEY_ID), &mut rand::rng())?;
            self.next = next_prekey_id(key.id());
            let public = key.public();
            self.open.insert(key.id(), key);
            while self.open.len() > OPEN_PREKEYS {
                self.open.pop_first();
            }
            Some(public)
        } else {
            None
        };
        Ok(Bundle {
            registration_id: self.identity.registration_id(),
            identity: self.identity.public(),
            signed_prekey: self.signed.public(),
            prekey,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in ["+49 151 12345678", "4915112345678", "+49 (151) 1234-5678"] {
            assert_eq!(Number::parse(text).unwrap().digits(), "4915112345678");
        }
        for text in [
            "",
            "+",
            "+0151123456",
            "alice",
            "+4915112345678901",
            "+49x15112345",
        ] {
            assert!(Number::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bundle_is_good_and_each_has_a_prekey_of_its_own() {
        let mut keys = PhoneKeys::generate().unwrap();
        let (first, second) = (keys.bundle(true).unwrap(), keys.bundle(true).unwrap());
        first.verify().unwrap();
        assert_ne!(first.prekey.unwrap().id, second.prekey.unwrap().id);
        assert_eq!(keys.open.len(), 2);
        assert!(keys.bundle(false).unwrap().prekey.is_none());
    }
}
