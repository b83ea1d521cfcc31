//! What each side must see in the end, and what is wrong with what it sees.

use std::collections::HashMap;
use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::plan::{Act, MessageId, Script, Side};

/// A message as somebody sees it who did not write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A text.
    Text(String),
    /// A file, by the SHA-256 of its content in hexadecimal.
    File(String),
    /// It was deleted.
    Deleted,
    /// It came, but cannot be read.
    Unreadable,
    /// Anything else, for a person to read.
    Strange(String),
}

/// An entry of somebody's chat: a message of the other side and what its reader put on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The message.
    pub seen: Seen,
    /// Emojis on it, as its *writer* sees them; filled in from the writer's view.
    pub reactions: Vec<String>,
}

/// What is wrong with a run. All must be 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Messages that did not come.
    pub lost: usize,
    /// Messages that came more than once.
    pub doubled: usize,
    /// Messages that came before one that was written earlier.
    pub reordered: usize,
    /// Messages that came and cannot be read.
    pub undecryptable: usize,
    /// Wrong text, file, deletion or reaction.
    pub wrong: usize,
    /// Messages of which something else is said than that they were delivered and read, and notices that say so.
    #[serde(rename = "wrong_status")]
    pub status: usize,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Findings {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.undecryptable += other.undecryptable;
        self.wrong += other.wrong;
        self.status += other.status;
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lost {}, doubled {}, reordered {}, undecryptable {}, wrong {}, wrong status {}",
            self.lost, self.doubled, self.reordered, self.undecryptable, self.wrong, self.status
        )
    }
}

/// The words by which a message is known, whatever becomes of it.
#[must_use]
pub fn tag(chat: usize, id: MessageId) -> String {
    let side = match id.side {
        Side::Matrix => "m",
        Side::Phone => "p",
    };
    format!("[{chat}{side}{}]", id.n)
}

/// A text's words after its `version`th change (0: as written).
#[must_use]
pub fn words(chat: usize, id: MessageId, version: usize) -> String {
    match version {
        0 => format!("{} as written", tag(chat, id)),
        version => format!("{} changed {version}", tag(chat, id)),
    }
}

/// What the other side must see in the end of what `side` wrote. `file` gives the SHA-256 of a file.
#[must_use]
pub fn expected(
    chat: usize,
    script: &Script,
    side: Side,
    file: impl Fn(MessageId, u64) -> String,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for act in &script.acts {
        let id = act.message();
        if id.side != side {
            continue;
        }
        let seen = match act {
            Act::Text(id) => Seen::Text(words(chat, *id, 0)),
            Act::File(id, size) => Seen::File(file(*id, *size)),
            Act::Edit(id, version) => Seen::Text(words(chat, *id, *version)),
            Act::Delete(_) => Seen::Deleted,
            Act::Read(_) => continue,
            Act::React(..) | Act::TakeBack(_) => {
                if let Some(entry) = entries.get_mut(id.n) {
                    entry.reactions = match act {
                        Act::React(_, emoji) => vec![(*emoji).to_owned()],
                        _ => Vec::new(),
                    };
                }
                continue;
            }
        };
        match entries.get_mut(id.n) {
            Some(entry) => entry.seen = seen,
            None => entries.push(Entry {
                seen,
                reactions: Vec::new(),
            }),
        }
    }
    entries
}

/// Compares what came with what should have come, in order.
#[must_use]
pub fn compare(came: &[Seen], expected: &[Seen]) -> Findings {
    let mut findings = Findings::default();
    let mut positions: HashMap<String, Vec<usize>> = HashMap::new();
    for (position, seen) in came.iter().enumerate() {
        match seen {
            Seen::Unreadable => findings.undecryptable += 1,
            Seen::Strange(_) => findings.wrong += 1,
            _ => positions.entry(key(seen)).or_default().push(position),
        }
    }
    let mut wanted: HashMap<String, usize> = HashMap::new();
    for seen in expected {
        *wanted.entry(key(seen)).or_default() += 1;
    }
    for (key, count) in &wanted {
        let there = positions.get(key).map_or(0, Vec::len);
        findings.lost += count.saturating_sub(there);
        findings.doubled += there.saturating_sub(*count);
    }
    for (key, there) in &positions {
        if !wanted.contains_key(key) {
            findings.wrong += there.len();
        }
    }
    // The first of each, in the order of writing: those outside the longest rising run came out of order. Deleted messages
    // look all the same, so nothing is known of theirs.
    let mut taken: HashMap<String, usize> = HashMap::new();
    let order: Vec<usize> = expected
        .iter()
        .filter(|seen| **seen != Seen::Deleted)
        .filter_map(|seen| {
            let key = key(seen);
            let nth = taken.entry(key.clone()).or_default();
            *nth += 1;
            positions.get(&key)?.get(*nth - 1).copied()
        })
        .collect();
    findings.reordered = order.len() - longest_rising(&order);
    findings.wrong += came
        .iter()
        .filter(|seen| {
            matches!(seen, Seen::Text(_) | Seen::File(_))
                && wanted.contains_key(&key(seen))
                && !expected.contains(seen)
        })
        .count();
    findings
}

/// By what a message is recognised, whichever version of it is seen.
fn key(seen: &Seen) -> String {
    match seen {
        Seen::Text(text) => text.split(']').next().unwrap_or(text).to_owned(),
        Seen::File(hash) => hash.clone(),
        Seen::Deleted => "deleted".to_owned(),
        Seen::Unreadable => "unreadable".to_owned(),
        Seen::Strange(what) => what.clone(),
    }
}

/// Length of the longest strictly rising subsequence.
fn longest_rising(values: &[usize]) -> usize {
    let mut tails: Vec<usize> = Vec::new();
    for &value in values {
        let place = tails.partition_point(|&tail| tail < value);
        match tails.get_mut(place) {
            Some(tail) => *tail = value,
            None => tails.push(value),
        }
    }
    tails.len()
}

#[cfg(test)]
mod unit {
    use super::{Findings, Seen, compare};

    fn texts(all: &[&str]) -> Vec<Seen> {
        all.iter()
            .map(|text| Seen::Text(format!("[{text}] as written")))
            .collect()
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let expected = texts(&["1", "2", "3", "4"]);
        let clean = Findings::default();
        assert_eq!(compare(&expected, &expected), clean);
        let cases: [(Vec<Seen>, Findings); 6] = [
            (texts(&["1", "2", "4"]), Findings { lost: 1, ..clean }),
            (
                texts(&["1", "2", "2", "3", "4"]),
                Findings {
                    doubled: 1,
                    ..clean
                },
            ),
            (
                texts(&["1", "4", "2", "3"]),
                Findings {
                    reordered: 1,
                    ..clean
                },
            ),
            (
                texts(&["1", "2", "3", "4", "5"]),
                Findings { wrong: 1, ..clean },
            ),
            (
                [texts(&["1", "2", "3", "4"]), vec![Seen::Unreadable]].concat(),
                Findings {
                    undecryptable: 1,
                    ..clean
                },
            ),
            (
                [
                    texts(&["1", "2", "3"]),
                    vec![Seen::Text("[4] changed 1".into())],
                ]
                .concat(),
                Findings { wrong: 1, ..clean },
            ),
        ];
        for (came, findings) in cases {
            assert_eq!(compare(&came, &expected), findings, "{came:?}");
        }
    }

    #[test]
    fn deleted_messages_count_by_their_number() {
        let expected = [texts(&["1"]), vec![Seen::Deleted, Seen::Deleted]].concat();
        let came = [texts(&["1"]), vec![Seen::Deleted]].concat();
        assert_eq!(compare(&came, &expected).lost, 1);
    }
}
