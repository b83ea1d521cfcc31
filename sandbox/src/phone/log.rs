//! A chat as a phone shows it, message by message.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use super::entry::{Card, Encrypted, Entry, MediaState, Place, Reaction, Status};

/// The messages of one chat, in the order in which the phone saw them, with a limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct Log {
    entries: VecDeque<Entry>,
    by_id: HashMap<String, u64>,
    dropped: u64,
}

impl Log {
    /// Appends a message; the oldest goes when there are more than `limit`. Returns the ids of those
    /// that went.
    pub fn push(&mut self, entry: Entry, limit: Option<usize>) -> Vec<String> {
        let mut gone = Vec::new();
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
                gone.push(oldest.id);
            }
        }
        gone
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

    /// All messages in order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
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
}
