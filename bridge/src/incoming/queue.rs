//! What waits in memory before it is handled: bounded for each contact and for each login, in the order in which it came.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use gatekeeper::{
    signal::{Position, Span},
    stanzas::IncomingMessage,
};

use super::{Chat, order};

/// Messages of one contact that are kept here while they wait. The gatekeeper has them all; what does not fit is asked for
/// again.
const WAITING: usize = 256;
/// What a message takes besides its ciphertexts, in bytes.
const OVERHEAD: usize = 1024;

/// Messages that have come and are not in the database yet.
#[derive(Debug)]
pub(super) struct Waiting {
    logins: HashMap<String, OfLogin>,
    /// Bytes of one login's messages. One message of each contact may be kept all the same.
    budget: usize,
}

#[derive(Debug, Default)]
struct OfLogin {
    chats: HashMap<String, Queue>,
    bytes: usize,
}

/// What waits in one chat.
#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Held>,
    bytes: usize,
    /// Some did not fit. None after them may be handled before they have come again, or their order is lost: nothing is taken
    /// before the next connection begins.
    overflowed: bool,
    /// Whether that connection has been asked for.
    asked: bool,
    attempts: u32,
    /// Tries of the first one that failed for a reason that lasts.
    tries: u32,
    gap: Option<Gap>,
}

/// A message that waits.
#[derive(Debug)]
struct Held {
    message: IncomingMessage,
    position: Option<Position>,
    arrived: Instant,
    bytes: usize,
}

/// Messages that belong before the first one and have not come.
#[derive(Debug)]
struct Gap {
    /// Stanza id of the first one.
    before: String,
    missing: Vec<Span>,
}

/// Whether the first message of a chat may be handled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing is in its way.
    Over,
    /// What is missing before it has not come in time, and is waited for no longer.
    GivenUp(Vec<Span>),
    /// It waits this long at most for what is missing before it.
    For(Duration),
}

impl Queue {
    fn pop_back(&mut self) -> usize {
        self.messages.pop_back().map_or(0, |held| {
            self.bytes -= held.bytes;
            held.bytes
        })
    }

    /// Puts what fills the gap before everything else; says whether there was any. The first one has waited since `since`, and waits no
    /// longer for what may be missing before those.
    fn fill(&mut self, missing: &[Span], since: Instant) -> bool {
        let (mut found, rest): (Vec<Held>, Vec<Held>) = self
            .messages
            .drain(..)
            .partition(|held| held.place_in(missing).is_some());
        let any = !found.is_empty();
        for held in &mut found {
            held.arrived = held.arrived.min(since);
        }
        found.sort_by_key(|held| held.place_in(missing));
        self.messages = found.into_iter().chain(rest).collect();
        any
    }
}

impl Held {
    /// Which of the missing messages this is, in their order.
    fn place_in(&self, missing: &[Span]) -> Option<(usize, u32)> {
        let position = self.position.as_ref()?;
        let span = missing.iter().position(|span| span.contains(position))?;
        Some((span, position.counter))
    }
}

impl Waiting {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            logins: HashMap::new(),
            budget,
        }
    }

    fn queue(&mut self, chat: &Chat) -> Option<&mut Queue> {
        self.logins.get_mut(&chat.0)?.chats.get_mut(&chat.1)
    }

    /// Takes a message if it fits; says whether it did, or was here already. Where a login has too much, its longest queue gives way, so
    /// that a contact whose messages cannot be handled leaves room for the others.
    pub(super) fn take(&mut self, chat: &Chat, message: IncomingMessage, now: Instant) -> bool {
        let budget = self.budget;
        let of_login = self.logins.entry(chat.0.clone()).or_default();
        let queue = of_login.chats.entry(chat.1.clone()).or_default();
        if queue.overflowed {
            return false;
        }
        let is_here =
            |held: &Held| held.message.id == message.id && held.message.encs == message.encs;
        if queue.messages.iter().any(is_here) {
            // It comes again because the connection is a new one.
            return true;
        }
        let ciphertexts = message.encs.iter().map(|enc| enc.ciphertext.len());
        let bytes = OVERHEAD + ciphertexts.sum::<usize>();
        let own = queue.bytes + bytes;
        let mut fits = queue.messages.len() < WAITING;
        while fits && !of_login.has_room(bytes, budget) {
            fits = of_login.shorten_longest(own);
        }
        let queue = of_login.chats.entry(chat.1.clone()).or_default();
        if !fits && !queue.messages.is_empty() {
            queue.overflowed = true;
            return false;
        }
        queue.bytes += bytes;
        queue.messages.push_back(Held {
            position: order::position(&message),
            message,
            arrived: now,
            bytes,
        });
        of_login.bytes += bytes;
        true
    }

    pub(super) fn holds(&self, login: &str, peer: &str) -> bool {
        let of_login = self.logins.get(login);
        of_login.is_some_and(|of_login| of_login.chats.contains_key(peer))
    }

    /// The first messages of a chat.
    pub(super) fn front(&mut self, chat: &Chat, count: usize) -> Vec<IncomingMessage> {
        let Some(queue) = self.queue(chat) else {
            return Vec::new();
        };
        let first = queue.messages.iter().take(count);
        first.map(|held| held.message.clone()).collect()
    }

    /// The first `count` messages of a chat are done.
    pub(super) fn finished(&mut self, chat: &Chat, count: usize) {
        let Some(of_login) = self.logins.get_mut(&chat.0) else {
            return;
        };
        let Some(queue) = of_login.chats.get_mut(&chat.1) else {
            return;
        };
        let count = count.min(queue.messages.len());
        let freed: usize = queue.messages.drain(..count).map(|held| held.bytes).sum();
        queue.bytes -= freed;
        queue.attempts = 0;
        queue.tries = 0;
        of_login.bytes -= freed;
    }

    /// Counts a try of the first message; says how many there were.
    pub(super) fn tried(&mut self, chat: &Chat) -> u32 {
        self.queue(chat).map_or(0, |queue| {
            queue.tries += 1;
            queue.tries
        })
    }

    /// Notes a failure; says how many there were in a row.
    pub(super) fn failed(&mut self, chat: &Chat) -> u32 {
        self.queue(chat).map_or(0, |queue| {
            queue.attempts += 1;
            queue.attempts - 1
        })
    }

    /// Notes what belongs before the first message.
    pub(super) fn miss(&mut self, chat: &Chat, missing: Vec<Span>) {
        if let Some(queue) = self.queue(chat)
            && let Some(first) = queue.messages.front()
        {
            let before = first.message.id.clone();
            queue.gap = Some(Gap { before, missing });
        }
    }

    /// Whether the first message of a chat may be handled; what belongs before it and has come goes to the front.
    pub(super) fn wait(&mut self, chat: &Chat, now: Instant, patience: Duration) -> Wait {
        let Some(queue) = self.queue(chat) else {
            return Wait::Over;
        };
        let Some(gap) = queue.gap.take() else {
            return Wait::Over;
        };
        let Some(first) = queue.messages.front() else {
            return Wait::Over;
        };
        let since = first.arrived;
        if first.message.id != gap.before || queue.fill(&gap.missing, since) {
            return Wait::Over;
        }
        let left = patience.saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() {
            return Wait::GivenUp(gap.missing);
        }
        queue.gap = Some(gap);
        Wait::For(left)
    }

    /// Drops what waits in a chat.
    pub(super) fn forget(&mut self, chat: &Chat) {
        if let Some(of_login) = self.logins.get_mut(&chat.0)
            && let Some(queue) = of_login.chats.remove(&chat.1)
        {
            of_login.bytes -= queue.bytes;
            if of_login.chats.is_empty() {
                self.logins.remove(&chat.0);
            }
        }
    }

    /// Forgets an empty queue; true if messages were left with the gatekeeper, and a new connection has to bring them. Then it is
    /// kept until that begins.
    pub(super) fn close(&mut self, chat: &Chat) -> bool {
        let Some(queue) = self.queue(chat) else {
            return false;
        };
        if !queue.messages.is_empty() {
            return false;
        }
        if queue.overflowed {
            return !std::mem::replace(&mut queue.asked, true);
        }
        self.forget(chat);
        false
    }

    /// A connection of a login begins: what was left with the gatekeeper comes now, in order.
    pub(super) fn connected(&mut self, login: &str) {
        let Some(of_login) = self.logins.get_mut(login) else {
            return;
        };
        of_login.chats.retain(|_, queue| {
            queue.overflowed = false;
            queue.asked = false;
            !queue.messages.is_empty()
        });
        if of_login.chats.is_empty() {
            self.logins.remove(login);
        }
    }
}

impl OfLogin {
    fn has_room(&self, bytes: usize, budget: usize) -> bool {
        self.bytes.saturating_add(bytes) <= budget
    }

    /// Leaves the last message of the longest queue with the gatekeeper; says whether there is one with more than `bytes`.
    fn shorten_longest(&mut self, bytes: usize) -> bool {
        let longest = self
            .chats
            .values_mut()
            .filter(|queue| queue.messages.len() > 1)
            .max_by_key(|queue| queue.bytes)
            .filter(|queue| queue.bytes > bytes);
        let Some(longest) = longest else {
            return false;
        };
        longest.overflowed = true;
        self.bytes -= longest.pop_back();
        true
    }
}

#[cfg(test)]
mod tests {
    use gatekeeper::{
        stanza::Jid,
        stanzas::{Enc, EncType},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn chat(peer: &str) -> Chat {
        ("@anna:localhost".to_owned(), peer.to_owned())
    }

    fn message(id: &str, bytes: usize) -> IncomingMessage {
        let enc = Enc::new(EncType::Msg, vec![0; bytes]);
        IncomingMessage::text(Jid::phone("4915100000001"), id, 0, enc)
    }

    fn ids(waiting: &mut Waiting, chat: &Chat) -> Vec<String> {
        let messages = waiting.front(chat, usize::MAX);
        messages.into_iter().map(|message| message.id).collect()
    }

    fn take(waiting: &mut Waiting, chat: &Chat, id: &str, bytes: usize) -> bool {
        waiting.take(chat, message(id, bytes), Instant::now())
    }

    /// Puts a position beside a message, as if its ciphertext said so.
    fn place(waiting: &mut Waiting, chat: &Chat, id: &str, counter: u32) {
        let queue = waiting.queue(chat).expect("a queue");
        let mut held = queue.messages.iter_mut();
        let held = held.find(|held| held.message.id == id).expect("a message");
        held.position = Some(Position::new([1; 32], counter));
    }

    fn span(from: u32, to: u32) -> Span {
        let chain = [1; 32];
        Span { chain, from, to }
    }

    #[test]
    fn what_did_not_fit_is_not_overtaken_before_the_next_connection() {
        let (mut waiting, bea) = (Waiting::new(usize::MAX), chat("bea"));
        for count in 0..WAITING {
            assert!(take(&mut waiting, &bea, &count.to_string(), 1), "{count}");
        }
        assert!(!take(&mut waiting, &bea, "too many", 1));
        assert!(!waiting.close(&bea), "there is something in it");
        waiting.finished(&bea, WAITING);
        assert!(waiting.close(&bea), "the rest has to be brought");
        assert!(!waiting.close(&bea), "that is asked for once");
        assert!(
            !take(&mut waiting, &bea, "of the old connection", 1),
            "it would be before those that did not fit"
        );
        waiting.connected("@anna:localhost");
        assert!(waiting.logins.is_empty());
        assert!(take(&mut waiting, &bea, "too many", 1));
        waiting.finished(&bea, 1);
        assert!(!waiting.close(&bea));
        assert!(waiting.logins.is_empty(), "nothing is left");
    }

    #[test]
    fn what_comes_again_while_it_waits_is_kept_once() {
        let (mut waiting, bea) = (Waiting::new(usize::MAX), chat("bea"));
        assert!(take(&mut waiting, &bea, "1", 1));
        waiting.connected("@anna:localhost");
        assert!(take(&mut waiting, &bea, "1", 1));
        assert!(take(&mut waiting, &bea, "2", 1));
        assert!(take(&mut waiting, &bea, "1", 9), "encrypted anew");
        assert_eq!(ids(&mut waiting, &bea), ["1", "2", "1"]);
    }

    #[test]
    fn the_longest_queue_of_a_login_gives_way() {
        let budget = 10 * (OVERHEAD + 1000);
        let (mut waiting, bea, cem) = (Waiting::new(budget), chat("bea"), chat("cem"));
        for count in 0..10 {
            assert!(take(&mut waiting, &bea, &count.to_string(), 1000));
        }
        assert!(!take(&mut waiting, &bea, "10", 1000), "bytes count too");
        for count in 0..5 {
            assert!(
                take(&mut waiting, &cem, &count.to_string(), 1000),
                "{count}"
            );
        }
        assert!(!take(&mut waiting, &cem, "5", 1000), "both have as much");
        assert_eq!(ids(&mut waiting, &bea), ["0", "1", "2", "3", "4"]);
        assert_eq!(waiting.logins["@anna:localhost"].bytes, budget);
        // Whatever its size, and however full it is, one of each contact is taken.
        let dora = chat("dora");
        assert!(take(&mut waiting, &dora, "0", 2 * budget));
        for chat in [&bea, &cem, &dora] {
            waiting.finished(chat, usize::MAX);
        }
        assert_eq!(waiting.logins["@anna:localhost"].bytes, 0);
    }

    #[test]
    fn what_was_overtaken_goes_to_the_front() {
        let (mut waiting, bea) = (Waiting::new(usize::MAX), chat("bea"));
        for (id, counter) in [("3", 3), ("5", 5), ("2", 2), ("1", 1)] {
            take(&mut waiting, &bea, id, 1);
            place(&mut waiting, &bea, id, counter);
        }
        assert_eq!(waiting.wait(&bea, Instant::now(), PATIENCE), Wait::Over);
        waiting.miss(&bea, vec![span(1, 3)]);
        assert_eq!(waiting.wait(&bea, Instant::now(), PATIENCE), Wait::Over);
        assert_eq!(ids(&mut waiting, &bea), ["1", "2", "3", "5"]);
    }

    #[test]
    fn what_never_comes_is_given_up_after_the_patience() {
        let (mut waiting, bea) = (Waiting::new(usize::MAX), chat("bea"));
        let came = Instant::now();
        waiting.take(&bea, message("3", 1), came);
        waiting.miss(&bea, vec![span(1, 3)]);
        let half = came + PATIENCE / 2;
        assert_eq!(waiting.wait(&bea, half, PATIENCE), Wait::For(PATIENCE / 2));
        // One of them comes, the other does not: no new wait begins.
        waiting.take(&bea, message("2", 1), half);
        place(&mut waiting, &bea, "2", 2);
        assert_eq!(waiting.wait(&bea, half, PATIENCE), Wait::Over);
        assert_eq!(ids(&mut waiting, &bea), ["2", "3"]);
        waiting.miss(&bea, vec![span(1, 2)]);
        let end = came + PATIENCE;
        let given_up = Wait::GivenUp(vec![span(1, 2)]);
        assert_eq!(waiting.wait(&bea, end, PATIENCE), given_up);
        assert_eq!(waiting.wait(&bea, end, PATIENCE), Wait::Over);
    }
}
