//! Events that have come and do not fit into the channel yet.

use std::collections::VecDeque;

use super::Event;

/// Most events.
const EVENTS: usize = 2048;

/// Most bytes of the stanzas behind them, unless a single one has more.
const BYTES: usize = 8 * 1024 * 1024;

/// Above this many events nobody is told who is typing.
const BUSY: usize = 64;

/// Events that wait, and whether some had to be let go.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    shedding: bool,
}

impl Queue {
    /// Whether a stanza of this size fits. Once one did not, none does any more: what comes later
    /// must not overtake it.
    pub(super) fn admits(&mut self, bytes: usize) -> bool {
        let full = self.events.len() >= EVENTS
            || (!self.events.is_empty() && self.bytes.saturating_add(bytes) > BYTES);
        self.shedding |= full;
        !self.shedding
    }

    /// Appends an event for a stanza of this size.
    pub(super) fn push(&mut self, event: Event, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.events.push_back((event, bytes));
    }

    /// Takes the oldest event.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let (event, bytes) = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(event)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether what may be dropped should be.
    pub(super) fn is_busy(&self) -> bool {
        self.events.len() > BUSY
    }

    /// Whether stanzas were let go and all before them have been taken: time to have them sent again.
    pub(super) fn is_spent(&self) -> bool {
        self.shedding && self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_what_did_not_fit() {
        let mut queue = Queue::default();
        for count in 0..EVENTS {
            assert!(queue.admits(10), "{count}");
            queue.push(Event::LowPrekeys(u32::try_from(count).unwrap()), 10);
        }
        assert!(!queue.admits(10));
        assert_eq!(queue.pop(), Some(Event::LowPrekeys(0)));
        assert!(!queue.admits(10), "there is room again, but one was let go");
        assert!(!queue.is_spent());
        while queue.pop().is_some() {}
        assert!(queue.is_spent());
    }

    #[test]
    fn size_counts_too_and_a_single_stanza_always_fits() {
        let mut queue = Queue::default();
        assert!(queue.admits(BYTES * 2));
        queue.push(Event::LowPrekeys(0), BYTES * 2);
        assert!(!queue.admits(1));

        let mut queue = Queue::default();
        assert!(queue.admits(BYTES / 2));
        queue.push(Event::LowPrekeys(0), BYTES / 2);
        assert!(queue.admits(BYTES / 2));
        queue.push(Event::LowPrekeys(1), BYTES / 2);
        queue.pop();
        assert!(queue.admits(BYTES / 2));
        assert!(!queue.is_busy());
    }
}
