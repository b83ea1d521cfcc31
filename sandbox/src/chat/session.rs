//! One connection as the rest of the sandbox sees it.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gatekeeper::stanza::Node;
use tokio::sync::Notify;

use super::offline::Drain;

/// Queued stanzas above which those that may be lost are.
const TRANSIENT: usize = 256;

/// A connection: what waits to be sent on it besides the mailbox, and how far it is.
#[derive(Debug)]
pub(crate) struct Session {
    /// Number of the connection in this run of the sandbox.
    pub number: u64,
    out: Mutex<Out>,
    bell: Notify,
    space: Notify,
    counted: AtomicU64,
    opened: Instant,
    heard: AtomicU64,
}

#[derive(Debug)]
struct Out {
    replies: VecDeque<Node>,
    end: Option<Node>,
    drain: Drain,
}

impl Session {
    /// A new connection; an inactive one gets nothing from the mailbox until it says so.
    pub(crate) fn new(number: u64, active: bool) -> Self {
        Self {
            number,
            out: Mutex::new(Out {
                replies: VecDeque::new(),
                end: None,
                drain: Drain::new(active),
            }),
            bell: Notify::new(),
            space: Notify::new(),
            counted: AtomicU64::new(0),
            opened: Instant::now(),
            heard: AtomicU64::new(0),
        }
    }

    /// Queues a stanza that is sent once, on this connection or never.
    pub(crate) fn reply(&self, node: Node) {
        crate::lock(&self.out).replies.push_back(node);
        self.bell.notify_one();
    }

    /// Queues a stanza that may be lost: it is, when many are queued already.
    pub(crate) fn reply_if_room(&self, node: Node) {
        let mut out = crate::lock(&self.out);
        if out.replies.len() < TRANSIENT {
            out.replies.push_back(node);
            self.bell.notify_one();
        }
    }

    /// Something waits in the mailbox.
    pub(crate) fn wake(&self) {
        self.bell.notify_one();
    }

    /// Ends the connection with a last stanza; the first one to say how is heard.
    pub(crate) fn end(&self, last: Node) {
        crate::lock(&self.out).end.get_or_insert(last);
        self.bell.notify_one();
    }

    /// The last stanza, if the connection was ended.
    pub(crate) fn ended(&self) -> Option<Node> {
        crate::lock(&self.out).end.clone()
    }

    /// Waits until something is to be sent, at most this long.
    pub(super) async fn rung(&self, at_most: Duration) {
        // Running out of time is one of the two things waited for.
        let _ = tokio::time::timeout(at_most, self.bell.notified()).await;
    }

    /// Takes the queued stanzas.
    pub(super) fn take_replies(&self) -> VecDeque<Node> {
        let replies = std::mem::take(&mut crate::lock(&self.out).replies);
        self.space.notify_one();
        replies
    }

    /// Waits until fewer than `limit` stanzas are queued.
    pub(super) async fn room(&self, limit: usize) {
        while crate::lock(&self.out).replies.len() >= limit {
            self.space.notified().await;
        }
    }

    /// Looks at or changes how the mailbox is sent.
    pub(super) fn drain<T>(&self, change: impl FnOnce(&mut Drain) -> T) -> T {
        change(&mut crate::lock(&self.out).drain)
    }

    /// Counts a stanza; true for every `every`th.
    pub(super) fn count(&self, every: u64) -> bool {
        let counted = self.counted.fetch_add(1, Ordering::Relaxed) + 1;
        every > 0 && counted >= every
    }

    /// Notes that the client was heard.
    pub(super) fn hear(&self) {
        self.heard.store(self.age_ms(), Ordering::Relaxed);
    }

    /// How long nothing was heard.
    pub(super) fn silence(&self) -> Duration {
        Duration::from_millis(
            self.age_ms()
                .saturating_sub(self.heard.load(Ordering::Relaxed)),
        )
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
