//! What has been saved and is not known to be in the database yet.
//!
//! Every object is here at most once, in its latest state, marked with the generation that will carry or carries it. Taking
//! the staged ones closes a generation. Objects are dropped when their generation is committed, unless they have changed since;
//! so the overlay is as large as what is under way.

use std::collections::{BTreeMap, HashMap};

use store::crypto::{Change, Object};

type Key = (&'static str, String, String);

#[derive(Default)]
pub(super) struct Overlay {
    entries: BTreeMap<Key, Entry>,
    /// Keys of the open generation.
    staged: Vec<Key>,
    in_flight: HashMap<u64, Vec<Key>>,
    generation: u64,
}

struct Entry {
    generation: u64,
    /// `None`: deleted.
    object: Option<Object>,
}

impl Overlay {
    pub(super) fn stage(&mut self, change: Change) {
        let (key, object) = match change {
            Change::Put { kind, object } => {
                ((kind, object.k1.clone(), object.k2.clone()), Some(object))
            }
            Change::Delete { kind, k1, k2 } => ((kind, k1, k2), None),
        };
        let entry = Entry {
            generation: self.generation,
            object,
        };
        let before = self.entries.insert(key.clone(), entry);
        if before.is_none_or(|before| before.generation != self.generation) {
            self.staged.push(key);
        }
    }

    /// Closes the open generation and gives its changes.
    pub(super) fn take(&mut self) -> (u64, Vec<Change>) {
        let generation = self.generation;
        if self.staged.is_empty() {
            return (generation, Vec::new());
        }
        let keys = std::mem::take(&mut self.staged);
        let changes = keys
            .iter()
            .filter_map(|key| {
                let (kind, k1, k2) = key.clone();
                Some(match &self.entries.get(key)?.object {
                    Some(object) => Change::Put {
                        kind,
                        object: object.clone(),
                    },
                    None => Change::Delete { kind, k1, k2 },
                })
            })
            .collect();
        self.in_flight.insert(generation, keys);
        self.generation += 1;
        (generation, changes)
    }

    pub(super) fn committed(&mut self, generation: u64) {
        for key in self.in_flight.remove(&generation).unwrap_or_default() {
            if self
                .entries
                .get(&key)
                .is_some_and(|entry| entry.generation == generation)
            {
                self.entries.remove(&key);
            }
        }
    }

    pub(super) fn rejected(&mut self, generation: u64) {
        for key in self.in_flight.remove(&generation).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(&key)
                && entry.generation == generation
            {
                entry.generation = self.generation;
                self.staged.push(key);
            }
        }
    }

    pub(super) fn is_in_flight(&self, generation: u64) -> bool {
        self.in_flight.contains_key(&generation)
    }

    pub(super) fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// `None`: ask the database. `Some(None)`: deleted.
    pub(super) fn get(&self, kind: &'static str, k1: &str, k2: &str) -> Option<Option<Object>> {
        if self.entries.is_empty() {
            return None;
        }
        let key = (kind, k1.to_owned(), k2.to_owned());
        self.entries.get(&key).map(|entry| entry.object.clone())
    }

    /// The entries of a kind, by names.
    pub(super) fn of_kind(&self, kind: &'static str) -> BTreeMap<(String, String), Option<Object>> {
        self.entries
            .range((kind, String::new(), String::new())..)
            .take_while(|((of, ..), _)| *of == kind)
            .map(|((_, k1, k2), entry)| ((k1.clone(), k2.clone()), entry.object.clone()))
            .collect()
    }

    /// The entries of a kind with this first name, by names.
    pub(super) fn under(
        &self,
        kind: &'static str,
        k1: &str,
    ) -> BTreeMap<(String, String), Option<Object>> {
        self.entries
            .range((kind, k1.to_owned(), String::new())..)
            .take_while(|((of, first, _), _)| *of == kind && first == k1)
            .map(|((_, k1, k2), entry)| ((k1.clone(), k2.clone()), entry.object.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use store::Secret;

    use super::*;

    fn put(k1: &str, value: u8) -> Change {
        Change::Put {
            kind: "kind",
            object: Object {
                k1: k1.to_owned(),
                k2: String::new(),
                value: Secret::new(vec![value]),
                tag: String::new(),
                flag: 0,
            },
        }
    }

    fn delete(k1: &str) -> Change {
        Change::Delete {
            kind: "kind",
            k1: k1.to_owned(),
            k2: String::new(),
        }
    }

    fn value(overlay: &Overlay, k1: &str) -> Option<Option<u8>> {
        overlay
            .get("kind", k1, "")
            .map(|object| object.map(|object| object.value[0]))
    }

    #[test]
    fn keeps_what_is_under_way_and_drops_what_is_committed() {
        let mut overlay = Overlay::default();
        overlay.stage(put("a", 1));
        overlay.stage(put("a", 2));
        overlay.stage(put("b", 1));
        overlay.stage(delete("c"));
        let (first, changes) = overlay.take();
        assert_eq!(changes.len(), 3, "a has one state");
        assert!(!overlay.has_staged());

        overlay.stage(put("a", 3));
        let (second, changes) = overlay.take();
        assert_eq!(changes.len(), 1);
        overlay.committed(first);
        assert_eq!(value(&overlay, "a"), Some(Some(3)));
        assert_eq!(value(&overlay, "b"), None, "in the database now");
        assert_eq!(value(&overlay, "c"), None);
        overlay.committed(second);
        assert_eq!(value(&overlay, "a"), None);
        assert!(overlay.entries.is_empty() && overlay.in_flight.is_empty());
    }

    #[test]
    fn what_was_rejected_is_staged_again_unless_newer() {
        let mut overlay = Overlay::default();
        overlay.stage(put("a", 1));
        overlay.stage(put("b", 1));
        overlay.stage(delete("c"));
        let (first, _) = overlay.take();
        overlay.stage(put("a", 2));
        let (second, _) = overlay.take();
        overlay.rejected(first);
        assert!(overlay.has_staged());
        overlay.stage(put("b", 2));
        let (third, changes) = overlay.take();
        assert_eq!(changes.len(), 2, "b in its newest state and c, but not a");
        overlay.committed(second);
        overlay.committed(third);
        assert!(overlay.entries.is_empty() && overlay.in_flight.is_empty());
    }

    /// The answer of an earlier batch may be heard after that of a later one.
    #[test]
    fn outcomes_may_come_in_any_order() {
        let mut overlay = Overlay::default();
        overlay.stage(put("a", 1));
        overlay.stage(put("b", 1));
        let (first, _) = overlay.take();
        overlay.stage(put("a", 2));
        let (second, _) = overlay.take();
        overlay.committed(second);
        assert_eq!(value(&overlay, "a"), None);
        overlay.rejected(first);
        let (_, changes) = overlay.take();
        assert_eq!(changes.len(), 1, "only b is missing in the database");
    }

    #[test]
    fn taking_nothing_opens_no_generation() {
        let mut overlay = Overlay::default();
        let (first, _) = overlay.take();
        let (second, _) = overlay.take();
        assert_eq!(first, second);
        assert!(!overlay.is_in_flight(first));
    }

    #[test]
    fn ranges_keep_to_their_kind_and_name() {
        let mut overlay = Overlay::default();
        for k1 in ["a", "ab", "b"] {
            overlay.stage(put(k1, 0));
        }
        overlay.stage(Change::Delete {
            kind: "later",
            k1: "a".to_owned(),
            k2: String::new(),
        });
        assert_eq!(overlay.of_kind("kind").len(), 3);
        assert_eq!(overlay.under("kind", "a").len(), 1);
        assert_eq!(overlay.of_kind("later").len(), 1);
    }
}
