//! Signs that the homeserver may have forgotten what it had to tell, or tells it in another order.
//!
//! From such a sign on nothing that comes is handed to its room: it is held in the inbox until the rooms have been looked
//! through (`catch_up`), which is done at once. So what the homeserver forgot still comes before what was said after it.
//! What had come before the sign goes on: the homeserver tells in order, so nothing is missing before that.
//!
//! The signs are: the start; a homeserver that was away, or got no answer that it wanted; transactions whose numbers begin anew,
//! which is a restart of the homeserver, or come again; and a number that is left out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// So often a number that was left out may prove to be nothing; then other application services take numbers too, and
/// it is no sign any more.
const IN_VAIN: u32 = 3;

/// What was seen of them.
#[derive(Debug)]
pub(crate) struct Gaps {
    state: Mutex<State>,
    sign: Notify,
    aftermath: Notify,
}

#[derive(Debug)]
struct State {
    /// How many signs there were.
    signs: u64,
    /// How many of them the last look through the rooms came after.
    answered: u64,
    /// Number of the last transaction.
    last: Option<u64>,
    /// The transaction that was turned away for the gap before it, and the last one then.
    turned_away: Option<(u64, u64)>,
    /// How often one was turned away and nothing came before it.
    in_vain: u32,
    /// Whether the homeserver says in transactions how many keys there are.
    counts_keys: bool,
}

impl Default for Gaps {
    fn default() -> Self {
        let gaps = Self {
            state: Mutex::new(State {
                signs: 0,
                answered: 0,
                last: None,
                turned_away: None,
                in_vain: 0,
                counts_keys: false,
            }),
            sign: Notify::new(),
            aftermath: Notify::new(),
        };
        gaps.likely();
        gaps
    }
}

impl Gaps {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There was a sign.
    pub(crate) fn likely(&self) {
        self.lock().signs += 1;
        self.sign.notify_one();
        self.aftermath.notify_one();
    }

    /// Ends when there was a sign that nobody has waited for yet.
    pub(crate) async fn sign(&self) {
        self.sign.notified().await;
    }

    /// Ends when there was something after which the rooms must be looked through once more when the homeserver has got over it.
    pub(crate) async fn aftermath(&self) {
        self.aftermath.notified().await;
    }

    /// How many signs there were.
    pub(crate) fn signs(&self) -> u64 {
        self.lock().signs
    }

    /// The rooms were looked through after so many signs.
    pub(crate) fn answered(&self, signs: u64) {
        self.lock().answered = signs;
    }

    /// Whether something may be missing that was said before what comes now.
    pub(crate) fn is_possible(&self) -> bool {
        let state = self.lock();
        state.signs != state.answered
    }

    /// What was the last transaction before the bridge was started.
    pub(crate) fn remember(&self, number: Option<u64>) {
        self.lock().last = number;
    }

    /// A transaction with this number is there. Whether to turn it away, because one before it has not come.
    ///
    /// While Synapse ends its recovery from a failed transaction, it may write one down that it then neither sends nor tries
    /// again before the next failure; those after it overtake it. When one of those is turned away, all come again in their order.
    /// Other application services take numbers too, so a gap proves nothing: a transaction that comes again is taken.
    pub(crate) fn turns_away(&self, number: Option<u64>) -> bool {
        let Some(number) = number else { return false };
        let mut state = self.lock();
        let last = state.last.unwrap_or(number.saturating_sub(1));
        let away = state.turned_away;
        let is_gap = number > last.saturating_add(1);
        if is_gap {
            let again = away.is_some_and(|(turned_away, _)| turned_away == number);
            if !again && state.in_vain < IN_VAIN {
                state.turned_away = Some((number, last));
                drop(state);
                self.likely();
                return true;
            }
            if away == Some((number, last)) {
                state.in_vain += 1;
            }
        } else if away.is_some_and(|(turned_away, _)| number < turned_away) {
            // There was something before it.
            state.in_vain = 0;
        }
        state.last = Some(number);
        drop(state);
        if number <= last {
            self.likely();
        }
        false
    }

    /// A transaction is there; whether it says how many keys there are.
    ///
    /// Synapse says so in each, but for those that it sends again after one failed or after a restart, of which it keeps only
    /// the events: one that had brought a room key alone comes empty. Receipts of the time in between it has dropped.
    pub(crate) fn counted_keys(&self, counted: bool) {
        let mut state = self.lock();
        let again = !counted && state.counts_keys;
        state.counts_keys |= counted;
        let is_possible = state.signs != state.answered;
        drop(state);
        if again && !is_possible {
            self.likely();
        } else if again {
            // They come one after the other: a look that is under way need not begin anew for each.
            self.aftermath.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn looked_through(gaps: &Gaps) {
        gaps.answered(gaps.signs());
        assert!(!gaps.is_possible());
    }

    #[test]
    fn something_may_be_missing_until_the_rooms_were_looked_through() {
        let gaps = Gaps::default();
        assert!(gaps.is_possible(), "at the start");
        let before = gaps.signs();
        gaps.likely();
        gaps.answered(before);
        assert!(gaps.is_possible(), "the look came before the sign");
        looked_through(&gaps);
        assert!(gaps.sign().now_or_never().is_some());
        assert!(gaps.sign().now_or_never().is_none());
        assert!(gaps.aftermath().now_or_never().is_some());
    }

    #[test]
    fn numbers_that_go_on_are_no_sign() {
        let gaps = Gaps::default();
        looked_through(&gaps);
        for number in [7, 8, 9] {
            assert!(!gaps.turns_away(Some(number)));
        }
        assert!(!gaps.turns_away(None));
        assert!(!gaps.is_possible());
        // It comes again: its answer was lost.
        assert!(!gaps.turns_away(Some(9)));
        assert!(gaps.is_possible());
        looked_through(&gaps);
        // The homeserver begins anew.
        assert!(!gaps.turns_away(Some(1)));
        assert!(gaps.is_possible());
        looked_through(&gaps);
        assert!(!gaps.turns_away(Some(2)));
        assert!(!gaps.is_possible());
    }

    #[test]
    fn what_overtook_another_is_turned_away_once() {
        let gaps = Gaps::default();
        gaps.remember(Some(8));
        looked_through(&gaps);
        assert!(gaps.turns_away(Some(10)));
        assert!(gaps.is_possible());
        // The one before it comes.
        assert!(!gaps.turns_away(Some(9)));
        assert!(!gaps.turns_away(Some(10)));
        // Nothing comes before these: others take numbers too.
        for number in [20, 30, 40] {
            assert!(gaps.turns_away(Some(number)));
            assert!(!gaps.turns_away(Some(number)));
        }
        looked_through(&gaps);
        assert!(!gaps.turns_away(Some(50)));
        assert!(!gaps.is_possible());
    }

    #[test]
    fn what_comes_again_without_its_keys_is_a_sign() {
        let gaps = Gaps::default();
        let has_aftermath = || gaps.aftermath().now_or_never().is_some();
        assert!(has_aftermath(), "the start");
        looked_through(&gaps);
        gaps.counted_keys(false);
        assert!(!gaps.is_possible(), "this homeserver never says");
        gaps.counted_keys(true);
        assert!(!gaps.is_possible() && !has_aftermath());
        gaps.counted_keys(false);
        assert!(gaps.is_possible() && has_aftermath());
        let signs = gaps.signs();
        gaps.counted_keys(false);
        assert_eq!(gaps.signs(), signs, "the look under way is good for it");
        assert!(has_aftermath());
        looked_through(&gaps);
        gaps.counted_keys(false);
        assert!(gaps.is_possible());
    }
}
