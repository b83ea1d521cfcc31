//! WhatsApp to Matrix: from a `<message>` stanza to an event in the table of sends.
//!
//! Messages of one contact are taken in order, those of different contacts side by side. Decrypt, translate, encrypt to
//! the room, and one commit: Signal ratchet, Megolm ratchet, event to send, message row. Only then goes the delivery
//! receipt, which takes the message out of the gatekeeper's mailbox. Whatever fails before leaves the message there.

mod aside;
mod handle;
mod order;
mod place;
mod queue;
mod write;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gatekeeper::{
    signal::{Position, Span},
    stanzas::IncomingMessage,
};
use store::quarantine as store_quarantine;

use self::{
    handle::{Handled, Source, handle},
    order::PassedOver,
    queue::{Wait, Waiting},
};
use crate::{
    core::{Core, Wake},
    lanes::Lanes,
    later::backoff,
    passes::{Hold, caught},
    placeholders,
};

/// Messages of one contact that share a commit.
const AT_ONCE: usize = 32;
/// When what was brought back is looked for again after the database could not be read.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// A login and a contact.
type Chat = (String, String);

/// Messages that have come and are not in the database yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    waiting: Mutex<Waiting>,
    passed_over: Mutex<PassedOver>,
    /// Chats with a message that stays unreadable and nothing in the room that says so.
    unannounced: Mutex<HashSet<Chat>>,
    /// Chats with messages that were set aside and are to be tried again; how often that had to wait.
    brought_back: Mutex<HashMap<Chat, u32>>,
    lanes: Lanes<Chat>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Incoming {
    /// Works on `at_once` chats at the same time, and holds about `bytes` of each login's messages.
    pub(crate) fn new(at_once: usize, bytes: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting::new(bytes)),
            passed_over: Mutex::default(),
            unannounced: Mutex::default(),
            brought_back: Mutex::default(),
            lanes: Lanes::new(at_once),
        }
    }

    /// Has a placeholder put into a chat for each message that could not be read yet, in its turn.
    pub(crate) fn announce(&self, core: &Arc<Core>, chat: Chat) {
        locked(&self.unannounced).insert(chat.clone());
        self.wake(core, chat);
    }

    /// Has messages that were set aside tried again.
    pub(crate) async fn take_up(&self, core: &Arc<Core>, login: &str) {
        let peers = match store_quarantine::due_peers(&core.store, login).await {
            Ok(peers) => peers,
            Err(error) => {
                tracing::warn!(login = %core.log_id(login), %error, "what was brought back cannot be read; it is tried again");
                let wake = Wake::BroughtBack(login.to_owned());
                core.later.wake_after(wake, LOOK_AGAIN);
                return;
            }
        };
        for peer in peers {
            let chat = (login.to_owned(), peer);
            locked(&self.brought_back).insert(chat.clone(), 0);
            self.wake(core, chat);
        }
    }

    /// How often what was brought back in a chat has had to wait, if there is something.
    fn is_brought_back(&self, chat: &Chat) -> Option<u32> {
        locked(&self.brought_back).remove(chat)
    }

    /// What was brought back has to wait (again).
    fn bring_back_later(&self, chat: &Chat, attempts: u32) {
        let mut brought_back = locked(&self.brought_back);
        brought_back.entry(chat.clone()).or_insert(attempts + 1);
    }

    fn is_unannounced(&self, chat: &Chat) -> bool {
        locked(&self.unannounced).remove(chat)
    }

    /// Takes a message from a connection. Does not wait.
    pub(crate) fn take(&self, core: &Arc<Core>, login: &str, message: IncomingMessage) {
        let chat = (login.to_owned(), core.peer_id(message.sender()));
        if locked(&self.waiting).take(&chat, message, Instant::now()) {
            self.wake(core, chat);
        }
    }

    /// A connection of a login begins: what follows is in order again.
    pub(crate) fn connected(&self, login: &str) {
        locked(&self.waiting).connected(login);
    }

    /// Sees to it that a chat is looked at, if anything waits in it.
    pub(crate) fn nudge(&self, core: &Arc<Core>, login: &str, peer: &str) {
        if self.holds(login, peer) {
            self.wake(core, (login.to_owned(), peer.to_owned()));
        }
    }

    /// Whether anything of a contact waits.
    pub(crate) fn holds(&self, login: &str, peer: &str) -> bool {
        locked(&self.waiting).holds(login, peer)
    }

    /// Sees to it that a chat is looked at.
    pub(crate) fn wake(&self, core: &Arc<Core>, chat: Chat) {
        let core = core.clone();
        self.lanes.wake(chat, move |chat| {
            let core = core.clone();
            async move { pass(&core, chat).await }
        });
    }

    /// Nobody waits for this message of a chat any more: what comes after it goes on.
    fn pass_over(&self, chat: &Chat, position: &Position) {
        locked(&self.passed_over).add(chat, Span::at(position));
    }

    /// Which of the messages that are missing in a chat are worth waiting for.
    fn missing(&self, chat: &Chat, missing: Vec<Span>) -> Vec<Span> {
        locked(&self.passed_over).without(chat, missing)
    }

    /// Says for how long the first message of a chat has to wait for those before it, if it has to.
    fn wait(&self, core: &Core, chat: &Chat) -> Option<Duration> {
        let wait =
            locked(&self.waiting).wait(chat, Instant::now(), core.profile.message.order_wait());
        match wait {
            Wait::Over => None,
            Wait::For(left) => Some(left),
            Wait::GivenUp(missing) => {
                tracing::warn!(
                    login = %core.log_id(&chat.0), peer = %core.log_id(&chat.1),
                    "messages of a contact have not come, and later ones go on without them"
                );
                let mut passed_over = locked(&self.passed_over);
                for span in missing {
                    passed_over.add(chat, span);
                }
                None
            }
        }
    }
}

/// Works on one chat until nothing waits or something is in the way.
async fn pass(core: &Arc<Core>, chat: Chat) {
    let incoming = &core.incoming;
    if incoming.is_unannounced(&chat) {
        // What fails here is looked for again before long.
        placeholders::put(core, &chat.0, &chat.1).await;
    }
    if let Some(attempts) = incoming.is_brought_back(&chat)
        && let Err(hold) = caught(Box::pin(aside::again(core, &chat))).await
    {
        incoming.bring_back_later(&chat, attempts);
        later(core, &chat, &hold, attempts, "what was set aside waits");
    }
    let mut size = AT_ONCE;
    loop {
        if core.logins.get(&chat.0).is_none() {
            // Its login has ended. Whatever is left is still in the mailbox.
            locked(&incoming.waiting).forget(&chat);
            return;
        }
        if let Some(left) = incoming.wait(core, &chat) {
            // A message that comes meanwhile wakes the chat, too.
            core.later.wake_after(Wake::Chat(chat.0, chat.1), left);
            return;
        }
        let messages = locked(&incoming.waiting).front(&chat, size);
        if messages.is_empty() {
            let more = locked(&incoming.waiting).close(&chat);
            if more && let Some(login) = core.logins.get(&chat.0) {
                // The mailbox is drained at each connection: this brings what did not fit.
                login.connection.reconnect();
            }
            return;
        }
        let first = messages.first().cloned();
        let alone = messages.len() == 1;
        // Boxed, because it is large.
        match caught(Box::pin(handle(core, &chat, messages, Source::Gatekeeper))).await {
            Ok(Handled::Done(count)) => locked(&incoming.waiting).finished(&chat, count),
            Ok(Handled::Early(missing)) => locked(&incoming.waiting).miss(&chat, missing),
            // One of them fails and takes the others with it: one at a time shows which.
            Err(hold) if hold.lasting && !alone => size = 1,
            Err(hold) => {
                if hold.lasting
                    && locked(&incoming.waiting).tried(&chat) >= core.config.limits.tries
                    && let Some(first) = &first
                    && aside::set_aside(core, &chat, first, &hold.reason).await
                {
                    locked(&incoming.waiting).finished(&chat, 1);
                    size = AT_ONCE;
                    continue;
                }
                let attempts = locked(&incoming.waiting).failed(&chat);
                later(core, &chat, &hold, attempts, "messages from WhatsApp wait");
                return;
            }
        }
    }
}

/// Has a chat looked at again after a pause that grows with each attempt.
fn later(core: &Core, chat: &Chat, hold: &Hold, attempts: u32, what: &str) {
    let delay = hold.after.unwrap_or_else(|| backoff(attempts));
    if !hold.is_usual() {
        tracing::warn!(
            login = %core.log_id(&chat.0), peer = %core.log_id(&chat.1), reason = %hold.reason, ?delay, "{what}"
        );
    }
    let wake = Wake::Chat(chat.0.clone(), chat.1.clone());
    core.later.wake_after(wake, delay);
}

#[cfg(test)]
mod tests;
