//! A phone: a simulated WhatsApp user with Signal keys of its own.
//!
//! Phones live in the server's process and have no task: what a partner user sends them is handled
//! at once by the task of that user's connection, and what they send goes straight into mailboxes.
//! Nothing but ciphertext passes between a phone and the rest, as it would on a wire.

pub(crate) mod log;
mod receive;
mod send;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use gatekeeper::{
    signal::{
        Bundle, Identity, MAX_PREKEY_ID, Peer, PreKey, SignalError, SignedPreKey, next_prekey_id,
    },
    stanza::{Jid, Node},
};
use serde::{Deserialize, Serialize};

use self::log::Log;
pub(crate) use self::send::SendError;
use crate::account::Account;

/// One-time prekeys that a phone has given out and not yet seen used.
const OPEN_PREKEYS: usize = 1024;

/// Sent messages that a phone keeps to answer retry receipts.
const SENT: usize = 2048;

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

/// How a phone behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Sends a delivery receipt for what it decrypts.
    pub auto_receipts: bool,
    /// Sends a read receipt as well, as if its owner were looking at the chat.
    pub auto_read: bool,
    /// Is connected. While it is not, the server keeps what is for it.
    pub online: bool,
    /// Its owner has turned third-party chats on. While they are off, partner users cannot find it
    /// and what they send is refused.
    pub third_party_chats: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auto_receipts: true,
            auto_read: false,
            online: true,
            third_party_chats: true,
        }
    }
}

/// A change of [`Options`]: what is named is set.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptionsChange {
    /// See [`Options::auto_receipts`].
    pub auto_receipts: Option<bool>,
    /// See [`Options::auto_read`].
    pub auto_read: Option<bool>,
    /// See [`Options::online`].
    pub online: Option<bool>,
    /// See [`Options::third_party_chats`].
    pub third_party_chats: Option<bool>,
}

impl Options {
    /// These options with `change` applied.
    pub(crate) fn changed(self, change: OptionsChange) -> Self {
        Self {
            auto_receipts: change.auto_receipts.unwrap_or(self.auto_receipts),
            auto_read: change.auto_read.unwrap_or(self.auto_read),
            online: change.online.unwrap_or(self.online),
            third_party_chats: change.third_party_chats.unwrap_or(self.third_party_chats),
        }
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

/// What a phone sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    order: VecDeque<(Jid, String)>,
    messages: HashMap<(Jid, String), SentMessage>,
}

/// One sent message, as it was before encryption.
#[derive(Clone, Debug)]
pub(crate) struct SentMessage {
    /// The padded protobuf.
    pub plaintext: Vec<u8>,
    /// The stanza's `type`.
    pub kind: String,
    /// The stanza's `edit`.
    pub edit: Option<u8>,
    /// Whether a receiver who cannot decrypt it should show nothing.
    pub hidden: bool,
    /// How often it was sent again.
    pub retries: u8,
}

impl Sent {
    /// Keeps a message; the oldest goes when there are too many.
    pub(crate) fn keep(&mut self, to: Jid, id: String, message: SentMessage) {
        let key = (to, id);
        if self.messages.insert(key.clone(), message).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > SENT {
            if let Some(oldest) = self.order.pop_front() {
                self.messages.remove(&oldest);
            }
        }
    }

    /// A message that was sent to somebody, to send it again.
    pub(crate) fn get_mut(&mut self, to: &Jid, id: &str) -> Option<&mut SentMessage> {
        self.messages.get_mut(&(to.clone(), id.to_owned()))
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&(Jid, String), &SentMessage)> {
        self.order
            .iter()
            .filter_map(|key| self.messages.get_key_value(key))
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
