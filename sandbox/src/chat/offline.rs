//! How the mailbox is sent to a new connection (G 2.6).
//!
//! What waited is announced with its count; the client asks for a number of stanzas and, once it
//! has taken them, for more; an end mark follows the last one, and from then on stanzas go out as
//! they come. Clients that never ask exist: after a moment without a request everything is sent.

use std::time::{Duration, Instant};

/// How long a client may take to ask for the next stanzas.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a connection is with the mailbox.
#[derive(Debug)]
pub(crate) struct Drain {
    active: bool,
    stage: Stage,
    /// Stanzas that the client has asked for and that are not yet sent; no limit if nothing.
    credit: Option<u64>,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unannounced,
    Offline { last: u64, sent: u32 },
    Live,
}

/// What the writer shall do next with the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: the client has not said that it wants anything.
    Wait,
    /// Announce what lies there.
    Announce,
    /// Send at most this many stanzas, up to this number, as ones that waited.
    Offline {
        /// Number of the last stanza that waited when the connection began.
        last: u64,
        /// How many the client wants.
        at_most: u64,
    },
    /// Send whatever is there.
    Live,
}

impl Drain {
    pub(super) fn new(active: bool) -> Self {
        Self {
            active,
            stage: Stage::Unannounced,
            credit: Some(0),
            since: Instant::now(),
        }
    }

    /// The client wants to be sent messages, or not.
    pub(super) fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    /// The client asks for a number of stanzas.
    pub(super) fn ask(&mut self, count: u64) {
        self.credit = self.credit.map(|credit| credit.saturating_add(count));
        self.since = Instant::now();
    }

    /// Announced: what lies there goes up to stanza `last`.
    pub(super) fn announced(&mut self, last: u64) {
        self.stage = Stage::Offline { last, sent: 0 };
        self.since = Instant::now();
    }

    /// A number of stanzas that waited was sent.
    pub(super) fn sent(&mut self, count: u32) {
        if let Stage::Offline { sent, .. } = &mut self.stage {
            *sent += count;
        }
        self.credit = self
            .credit
            .map(|credit| credit.saturating_sub(count.into()));
        if count > 0 {
            self.since = Instant::now();
        }
    }

    /// All that waited was sent: returns how many stanzas that were.
    pub(super) fn done(&mut self) -> u32 {
        let sent = match self.stage {
            Stage::Offline { sent, .. } => sent,
            Stage::Unannounced | Stage::Live => 0,
        };
        self.stage = Stage::Live;
        sent
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Next {
        match self.stage {
            _ if !self.active => Next::Wait,
            Stage::Unannounced => Next::Announce,
            Stage::Live => Next::Live,
            Stage::Offline { last, .. } => {
                if self.credit == Some(0) && self.since.elapsed() >= PATIENCE {
                    self.credit = None;
                }
                Next::Offline {
                    last,
                    at_most: self.credit.unwrap_or(u64::MAX),
                }
            }
        }
    }

    /// When [`Drain::next`] may answer otherwise without anything having happened.
    pub(super) fn wait(&self) -> Option<Duration> {
        let waiting = matches!(self.stage, Stage::Offline { .. }) && self.credit == Some(0);
        (self.active && waiting).then(|| PATIENCE.saturating_sub(self.since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mailbox_is_sent_as_the_client_asks() {
        let mut drain = Drain::new(false);
        assert_eq!(drain.next(), Next::Wait);
        drain.set_active(true);
        assert_eq!(drain.next(), Next::Announce);
        drain.announced(250);
        assert_eq!(
            drain.next(),
            Next::Offline {
                last: 250,
                at_most: 0
            }
        );
        assert!(drain.wait().is_some());
        drain.ask(100);
        assert_eq!(
            drain.next(),
            Next::Offline {
                last: 250,
                at_most: 100
            }
        );
        drain.sent(60);
        assert_eq!(
            drain.next(),
            Next::Offline {
                last: 250,
                at_most: 40
            }
        );
        assert_eq!(drain.done(), 60);
        assert_eq!(drain.next(), Next::Live);
    }

    #[test]
    fn a_client_that_never_asks_gets_everything_after_a_moment() {
        let mut drain = Drain::new(true);
        drain.announced(9);
        drain.since = Instant::now().checked_sub(PATIENCE).unwrap();
        assert_eq!(
            drain.next(),
            Next::Offline {
                last: 9,
                at_most: u64::MAX
            }
        );
        assert_eq!(drain.wait(), None);
    }
}
