//! Messages that are deleted before they were sent: they are taken out of the outbox, and nobody ever sees them.
//!
//! Only a message that has certainly not left may be withdrawn. What an earlier run of the program may have sent counts as
//! sent.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use store::{Batch, messages, messages::Message, outbox};

use crate::{core::Core, passes::Hold};

/// What has left, and what must not, of one login's outbox.
#[derive(Debug, Default)]
pub(crate) struct Withdrawals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last row that may have been sent; unknown before the outbox was looked at.
    sent: Option<i64>,
    /// Few: people seldom delete what has not even left.
    withdrawn: HashSet<i64>,
}

impl Withdrawals {
    /// Begins: rows up to `last` may have been sent before.
    pub(crate) fn begin(&self, last: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sent = Some(state.sent.map_or(last, |sent| sent.max(last)));
    }

    /// Whether a row may be sent; if so, it cannot be withdrawn any more.
    pub(crate) fn may_send(&self, seq: i64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.withdrawn.contains(&seq) {
            return false;
        }
        if let Some(sent) = &mut state.sent {
            *sent = seq.max(*sent);
        }
        true
    }

    /// Withdraws a row, unless it may have been sent.
    fn withdraw(&self, seq: i64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.withdrawn.contains(&seq) {
            // By an attempt that could not be written down.
            return true;
        }
        let unsent = state.sent.is_some_and(|sent| sent < seq);
        if unsent {
            state.withdrawn.insert(seq);
        }
        unsent
    }
}

/// Takes a message out of the outbox if it has not left; says whether it has.
pub(crate) async fn take(core: &Arc<Core>, message: &Message) -> Result<bool, Hold> {
    let Some(login) = core.logins.get(&message.login) else {
        return Ok(false);
    };
    let rows = outbox::by_stanza(&core.store, &message.login, &message.stanza_id).await?;
    let Some(row) = rows
        .iter()
        .find(|row| row.kind == outbox::Kind::Message && row.peer == message.peer)
    else {
        return Ok(false);
    };
    if !login.withdrawals.withdraw(row.seq) {
        return Ok(false);
    }
    let mut batch = Batch::new();
    outbox::done(&mut batch, row.seq);
    messages::set_gone(
        &mut batch,
        &message.login,
        &message.peer,
        &message.stanza_id,
    );
    failpoints::around!("withdraw.commit", core.store.commit(batch).await)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_left_cannot_be_withdrawn() {
        let withdrawals = Withdrawals::default();
        assert!(!withdrawals.withdraw(9), "nothing is known yet");
        withdrawals.begin(3);
        assert!(!withdrawals.withdraw(3), "an earlier run may have sent it");
        assert!(withdrawals.may_send(4));
        assert!(!withdrawals.withdraw(4));
        assert!(withdrawals.withdraw(6));
        assert!(!withdrawals.may_send(6));
        assert!(withdrawals.may_send(5));
        assert!(withdrawals.may_send(7) && !withdrawals.may_send(6));
        assert!(withdrawals.withdraw(6), "once more, when others went");
    }
}
