//! What a phone shows: its chats, message by message.

use std::collections::{HashMap, VecDeque};

use gatekeeper::signal::EncKind;
use serde::{Deserialize, Serialize};

/// How far a message has come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The server has it: one tick.
    Sent,
    /// The other side's device has it: two ticks.
    Delivered,
    /// The other side has seen it: blue ticks.
    Read,
    /// The other side has listened to it or opened it.
    Played,
}

/// Which kind of Signal message carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encrypted {
    /// The first messages of a session.
    Pkmsg,
    /// All others between two.
    Msg,
    /// A group's.
    Skmsg,
}

impl From<EncKind> for Encrypted {
    fn from(kind: EncKind) -> Self {
        match kind {
            EncKind::PkMsg => Self::Pkmsg,
            EncKind::Msg => Self::Msg,
        }
    }
}

/// Somebody's reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// Who: a phone number with `+`, or a partner user's identifier.
    pub from: String,
    /// The emoji.
    pub emoji: String,
}

/// One message as `GET …/messages` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Stanza id.
    pub id: String,
    /// Whether the phone's owner wrote it.
    pub from_me: bool,
    /// `text`, `image`, ..., or `unknown`.
    pub kind: String,
    /// The text of a text message.
    pub text: Option<String>,
    /// The text under a file.
    pub caption: Option<String>,
    /// Type of a file.
    pub mimetype: Option<String>,
    /// Name of a file.
    pub file_name: Option<String>,
    /// Bytes of a file, decrypted.
    pub size: Option<u64>,
    /// SHA-256 of a file, decrypted, in hexadecimal.
    pub sha256: Option<String>,
    /// Id of the message that this one answers.
    pub reply_to: Option<String>,
    /// Reactions, one per person.
    pub reactions: Vec<Reaction>,
    /// How far it has come: one from the other side is `delivered` once it is shown, `read` once a
    /// read receipt was sent for it.
    pub status: Status,
    /// Whether its text was replaced.
    pub edited: bool,
    /// Whether it was taken back; what it said is gone then.
    pub revoked: bool,
    /// Whether it could not be decrypted (yet): its sender was asked to send it again.
    pub undecryptable: bool,
    /// Which kind of Signal message carried it; nothing while undecryptable.
    pub encrypted: Option<Encrypted>,
    /// Unix time in milliseconds, by the sandbox's clock.
    pub ts: u64,
}

impl Entry {
    /// A message of this kind with nothing in it yet.
    pub fn new(id: String, from_me: bool, kind: impl Into<String>, ts: u64) -> Self {
        Self {
            id,
            from_me,
            kind: kind.into(),
            text: None,
            caption: None,
            mimetype: None,
            file_name: None,
            size: None,
            sha256: None,
            reply_to: None,
            reactions: Vec::new(),
            status: Status::Sent,
            edited: false,
            revoked: false,
            undecryptable: false,
            encrypted: None,
            ts,
        }
    }

    /// Moves the status forward, never back. Returns whether it moved.
    pub fn advance(&mut self, status: Status) -> bool {
        let moved = status > self.status;
        self.status = self.status.max(status);
        moved
    }

    /// Sets or (with an empty emoji) takes back one person's reaction.
    pub fn react(&mut self, from: &str, emoji: &str) {
        self.reactions.retain(|reaction| reaction.from != from);
        if !emoji.is_empty() {
            self.reactions.push(Reaction {
                from: from.to_owned(),
                emoji: emoji.to_owned(),
            });
        }
    }

    /// Takes back what it says.
    pub fn revoke(&mut self) {
        self.revoked = true;
        self.text = None;
        self.caption = None;
        self.reactions.clear();
    }
}

/// The messages of one chat, in the order in which the phone saw them, with a limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct Log {
    entries: VecDeque<Entry>,
    by_id: HashMap<String, u64>,
    dropped: u64,
}

impl Log {
    /// Appends a message; the oldest goes when there are more than `limit`.
    pub fn push(&mut self, entry: Entry, limit: Option<usize>) {
        let number = self.dropped + self.entries.len() as u64;
        self.by_id.insert(entry.id.clone(), number);
        self.entries.push_back(entry);
        while limit.is_some_and(|limit| self.entries.len() > limit) {
            if let Some(oldest) = self.entries.pop_front() {
                self.dropped += 1;
                // An id that came twice belongs to the newer message.
                if self
                    .by_id
                    .get(&oldest.id)
                    .is_some_and(|number| *number < self.dropped)
                {
                    self.by_id.remove(&oldest.id);
                }
            }
        }
    }

    /// A message by its id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        let number = self.by_id.get(id)?.checked_sub(self.dropped)?;
        self.entries.get(usize::try_from(number).ok()?)
    }

    /// A message by its id, to change it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Entry> {
        let number = self.by_id.get(id)?.checked_sub(self.dropped)?;
        self.entries.get_mut(usize::try_from(number).ok()?)
    }

    /// All messages in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl From<Vec<Entry>> for Log {
    fn from(entries: Vec<Entry>) -> Self {
        let mut log = Self::default();
        for entry in entries {
            log.push(entry, None);
        }
        log
    }
}

impl From<Log> for Vec<Entry> {
    fn from(log: Log) -> Self {
        log.entries.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> Entry {
        Entry::new(id.to_owned(), false, "text", 0)
    }

    #[test]
    fn a_limited_log_forgets_the_oldest_and_finds_the_rest() {
        let mut log = Log::default();
        for id in ["A", "B", "C", "D"] {
            log.push(entry(id), Some(2));
        }
        assert_eq!(log.len(), 2);
        assert!(log.get("A").is_none() && log.get("B").is_none());
        assert_eq!(log.get("C").map(|entry| entry.id.as_str()), Some("C"));
        log.get_mut("D").unwrap().react("+49", "x");
        assert_eq!(log.get("D").unwrap().reactions.len(), 1);
        assert_eq!(log.by_id.len(), 2);
    }

    #[test]
    fn a_status_never_goes_back() {
        let mut entry = entry("A");
        assert!(entry.advance(Status::Read));
        assert!(!entry.advance(Status::Delivered));
        assert_eq!(entry.status, Status::Read);
    }

    #[test]
    fn one_reaction_per_person() {
        let mut entry = entry("A");
        entry.react("+1", "a");
        entry.react("+2", "b");
        entry.react("+1", "c");
        assert_eq!(entry.reactions.len(), 2);
        entry.react("+1", "");
        entry.react("+2", "");
        assert!(entry.reactions.is_empty());
    }
}
