//! What waits for one user: stanzas that the user has not yet acknowledged.
//!
//! A stanza stays until it is acknowledged (messages also by a receipt), at most thirty days. Each
//! connection reads the mailbox from its beginning with a cursor of its own, so what an earlier
//! connection was sent and did not acknowledge is sent again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use gatekeeper::stanza::{Jid, Node};

use crate::clock::LIMIT_MS;

/// The kinds of stanza that must be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A `<message>`.
    Message,
    /// A `<receipt>`.
    Receipt,
    /// A `<notification>`.
    Notification,
}

impl Class {
    /// The class of a stanza, by its tag.
    pub(crate) fn of(tag: &str) -> Option<Self> {
        match tag {
            "message" => Some(Self::Message),
            "receipt" => Some(Self::Receipt),
            "notification" => Some(Self::Notification),
            _ => None,
        }
    }
}

/// One waiting stanza.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The stanza, without the `offline` attribute.
    pub node: Arc<Node>,
    /// When it came in, by the sandbox's clock, in Unix milliseconds.
    pub queued_ms: u64,
    /// Not to be sent before.
    pub due: Instant,
}

/// How many stanzas of each kind wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages.
    pub messages: usize,
    /// Receipts.
    pub receipts: usize,
    /// Notifications.
    pub notifications: usize,
}

impl Counts {
    /// All of them.
    pub(crate) fn total(self) -> usize {
        self.messages + self.receipts + self.notifications
    }
}

/// The stanzas of one user, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    entries: BTreeMap<u64, Entry>,
    by_id: HashMap<String, Vec<u64>>,
    last: u64,
}

impl Mailbox {
    /// Appends a stanza.
    pub(crate) fn push(&mut self, node: Arc<Node>, queued_ms: u64, due: Instant) {
        self.last += 1;
        let id = node.get("id").unwrap_or_default().into_owned();
        self.by_id.entry(id).or_default().push(self.last);
        self.entries.insert(
            self.last,
            Entry {
                node,
                queued_ms,
                due,
            },
        );
    }

    /// The first stanza behind `cursor` and its number.
    pub(crate) fn after(&self, cursor: u64) -> Option<(u64, &Entry)> {
        self.entries
            .range(cursor + 1..)
            .next()
            .map(|(number, entry)| (*number, entry))
    }

    /// Number of the newest stanza that ever came.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Takes out what `from` sent with this id: all messages, or what else has this class and exactly
    /// this type. A delivery receipt has none, and its acknowledgement must not take out the read
    /// receipt behind it. Returns the numbers of what was there.
    pub(crate) fn settle(
        &mut self,
        class: Class,
        from: &Jid,
        id: &str,
        kind: Option<&str>,
    ) -> Vec<u64> {
        let Some(numbers) = self.by_id.get_mut(id) else {
            return Vec::new();
        };
        let mut settled = Vec::new();
        numbers.retain(|number| {
            let Some(entry) = self.entries.get(number) else {
                return false;
            };
            let node = &entry.node;
            let matches = Class::of(&node.tag) == Some(class)
                && node
                    .jid("from")
                    .is_some_and(|sender| sender.same_user(from))
                && (class == Class::Message || node.get("type").as_deref() == kind);
            if matches {
                settled.push(*number);
            }
            !matches
        });
        if numbers.is_empty() {
            self.by_id.remove(id);
        }
        for number in &settled {
            self.entries.remove(number);
        }
        settled
    }

    /// Takes out what is older than thirty days; returns how many that were.
    pub(crate) fn expire(&mut self, now_ms: u64) -> usize {
        let old: Vec<u64> = self
            .entries
            .iter()
            .take_while(|(_, entry)| entry.queued_ms.saturating_add(LIMIT_MS) <= now_ms)
            .map(|(number, _)| *number)
            .collect();
        for number in &old {
            self.entries.remove(number);
        }
        if !old.is_empty() {
            let entries = &self.entries;
            self.by_id.retain(|_, numbers| {
                numbers.retain(|number| entries.contains_key(number));
                !numbers.is_empty()
            });
        }
        old.len()
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.by_id.clear();
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many stanzas wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of each kind wait.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.entries.values() {
            match Class::of(&entry.node.tag) {
                Some(Class::Message) => counts.messages += 1,
                Some(Class::Receipt) => counts.receipts += 1,
                Some(Class::Notification) => counts.notifications += 1,
                None => {}
            }
        }
        counts
    }

    /// All that waits, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(tag: &str, id: &str, kind: Option<&str>) -> Arc<Node> {
        let from = Jid::phone("4915112345678");
        Arc::new(
            Node::new(tag)
                .attr("id", id)
                .attr("from", from)
                .opt_attr("type", kind),
        )
    }

    #[test]
    fn a_stanza_stays_until_its_own_acknowledgement() {
        let (bea, dan) = (Jid::phone("4915112345678"), Jid::phone("4915187654321"));
        let mut mailbox = Mailbox::default();
        let due = Instant::now();
        mailbox.push(stanza("message", "A", None), 0, due);
        mailbox.push(stanza("receipt", "A", None), 0, due);
        mailbox.push(stanza("receipt", "A", Some("read")), 0, due);
        assert_eq!(
            mailbox.counts(),
            Counts {
                messages: 1,
                receipts: 2,
                notifications: 0
            }
        );

        assert!(mailbox.settle(Class::Message, &dan, "A", None).is_empty());
        assert!(mailbox.settle(Class::Message, &bea, "B", None).is_empty());
        assert_eq!(mailbox.settle(Class::Message, &bea, "A", None), [1]);
        assert_eq!(mailbox.settle(Class::Receipt, &bea, "A", None), [2]);
        assert_eq!(mailbox.len(), 1);
        assert_eq!(mailbox.settle(Class::Receipt, &bea, "A", Some("read")), [3]);
        assert!(mailbox.is_empty() && mailbox.by_id.is_empty());
    }

    #[test]
    fn a_cursor_reads_in_order_and_a_new_one_from_the_beginning() {
        let mut mailbox = Mailbox::default();
        for id in ["A", "B", "C"] {
            mailbox.push(stanza("message", id, None), 0, Instant::now());
        }
        mailbox.settle(Class::Message, &Jid::phone("4915112345678"), "B", None);
        let mut cursor = 0;
        let mut seen = Vec::new();
        while let Some((number, entry)) = mailbox.after(cursor) {
            cursor = number;
            seen.push(entry.node.get("id").unwrap_or_default().into_owned());
        }
        assert_eq!(seen, ["A", "C"]);
        assert!(mailbox.after(cursor).is_none());
        assert_eq!(mailbox.after(0).map(|(number, _)| number), Some(1));
    }

    #[test]
    fn after_thirty_days_a_stanza_is_gone() {
        let mut mailbox = Mailbox::default();
        mailbox.push(stanza("message", "A", None), 1_000, Instant::now());
        mailbox.push(stanza("message", "B", None), 2_000, Instant::now());
        assert_eq!(mailbox.expire(LIMIT_MS), 0);
        assert_eq!(mailbox.expire(LIMIT_MS + 1_000), 1);
        assert_eq!(mailbox.len(), 1);
        assert!(!mailbox.by_id.contains_key("A"));
    }
}
