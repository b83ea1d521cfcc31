//! Retry receipts: asking for a message that could not be decrypted, and answering when the other side asks (G 5.4).
//!
//! No plaintext is kept for it: the Matrix event is fetched again, decrypted again and encrypted anew.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gatekeeper::{
    message,
    signal::{RetryReason, SignalError},
    stanzas::{self, IncomingMessage, RetryReceipt, retry},
};
use store::{Batch, messages, outbox, portals};

use crate::{
    core::{Core, Wake},
    directory, keys,
    lanes::Lanes,
    later::backoff,
    logins, notices, outgoing,
    passes::{Hold, caught},
};

/// How often a message is asked for before it is given up, and how often we answer.
pub(crate) const LIMIT: u8 = retry::GIVE_UP;

/// A message to ask for again.
#[derive(Debug)]
pub(crate) struct Ask {
    message: IncomingMessage,
    count: u8,
    reason: RetryReason,
}

impl Ask {
    pub(crate) fn new(message: &IncomingMessage, count: u8, error: &SignalError) -> Self {
        let reason = error.retry_reason().unwrap_or(RetryReason::Unknown);
        Self {
            message: message.clone(),
            count,
            reason,
        }
    }
}

/// Sends a retry receipt. From the second on it carries keys, so that the sender can open a new session.
///
/// If it cannot be sent, the message comes again at the next connection, and it is asked for then.
pub(crate) async fn ask(core: &Arc<Core>, login: &str, ask: Ask) {
    let Some(running) = core.logins.get(login) else {
        return;
    };
    let receipt = async {
        let keys = if ask.count >= retry::WITH_KEYS {
            Some(keys::for_retry(core, login).await?)
        } else {
            None
        };
        let registration_id = keys::registration_id(core, login).await?;
        Ok::<_, Hold>(RetryReceipt::new(
            &ask.message,
            ask.count,
            ask.reason,
            registration_id,
            keys,
        ))
    };
    match receipt.await {
        Ok(receipt) => {
            // It stands for the ack too: an ack after it would take the message that comes anew out of the mailbox.
            let node = receipt.to_node(stanzas::Origin::Client);
            let _ = failpoints::around!("retry.ask", running.connection.send(node).await);
        }
        Err(hold) => {
            tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "a message cannot be asked for again");
        }
    }
}

/// Retry receipts of one contact that wait for their answer. The gatekeeper has them all and brings what does not fit again.
const WAITING: usize = 64;
/// Contacts that are answered at the same time: an answer reads an event and encrypts it anew.
const AT_ONCE: usize = 4;

/// A login and a contact.
type Chat = (String, String);

/// Answers to retry receipts: of one contact one after the other, and of one message not more often than [`LIMIT`], whatever
/// count the receipts say.
#[derive(Debug)]
pub(crate) struct Answers {
    waiting: Mutex<HashMap<Chat, Queue>>,
    /// How often a message was encrypted anew.
    given: moka::sync::Cache<(Chat, String), u8>,
    lanes: Lanes<Chat>,
}

/// Retry receipts of one contact.
#[derive(Debug, Default)]
struct Queue {
    receipts: VecDeque<Waiting>,
    /// Some did not fit, and are asked for again when these are answered.
    overflowed: bool,
    /// Failures in a row.
    attempts: u32,
}

/// A retry receipt that waits.
#[derive(Debug, Clone)]
struct Waiting {
    receipt: RetryReceipt,
    /// Tries that failed for a reason that lasts.
    tries: u32,
}

impl Queue {
    /// Takes a receipt if it fits. The newest for a message counts: the others are of an earlier connection, or of an earlier try.
    fn take(&mut self, receipt: RetryReceipt) {
        let same = |waiting: &&mut Waiting| waiting.receipt.id == receipt.id;
        if let Some(waiting) = self.receipts.iter_mut().find(same) {
            waiting.receipt = receipt;
        } else if self.receipts.len() < WAITING {
            self.receipts.push_back(Waiting { receipt, tries: 0 });
        } else {
            self.overflowed = true;
        }
    }

    /// Puts one back that could not be answered: behind the others, whose turn it is now. One that has come again meanwhile stands
    /// there already.
    fn put_back(&mut self, waiting: Waiting) {
        let same = |other: &Waiting| other.receipt.id == waiting.receipt.id;
        if !self.receipts.iter().any(same) {
            self.receipts.push_back(waiting);
        }
    }
}

/// What became of the answers to one contact.
enum Pass {
    /// All are given.
    Done,
    /// All that were here are given, and more is to be brought.
    More,
    /// Some wait.
    Later(Duration),
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            given: moka::sync::Cache::builder()
                .max_capacity(10_000)
                .time_to_idle(Duration::from_secs(24 * 3600))
                .build(),
            lanes: Lanes::new(AT_ONCE),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Chat, Queue>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a receipt from a connection. Does not wait.
    pub(crate) fn take(&self, core: &Arc<Core>, login: &str, receipt: RetryReceipt) {
        let from = receipt.participant.as_ref().unwrap_or(&receipt.peer);
        let chat = (login.to_owned(), core.peer_id(from));
        self.waiting()
            .entry(chat.clone())
            .or_default()
            .take(receipt);
        self.wake(core, chat);
    }

    /// Sees to it that a contact is answered.
    pub(crate) fn wake(&self, core: &Arc<Core>, chat: Chat) {
        let core = core.clone();
        self.lanes.wake(chat, move |chat| {
            let core = core.clone();
            async move {
                match pass(&core, &chat).await {
                    Pass::Done => {}
                    Pass::More => {
                        if let Some(login) = core.logins.get(&chat.0) {
                            tracing::warn!(login = %core.log_id(&chat.0), "a contact asked for too many messages at once; the rest is brought again");
                            login.connection.reconnect();
                        }
                    }
                    Pass::Later(pause) => {
                        core.later.wake_after(Wake::Answers(chat.0, chat.1), pause);
                    }
                }
            }
        });
    }

    fn next(&self, chat: &Chat) -> Option<Waiting> {
        self.waiting().get_mut(chat)?.receipts.pop_front()
    }

    fn len(&self, chat: &Chat) -> usize {
        self.waiting()
            .get(chat)
            .map_or(0, |queue| queue.receipts.len())
    }

    fn put_back(&self, chat: &Chat, waiting: Waiting) {
        self.waiting()
            .entry(chat.clone())
            .or_default()
            .put_back(waiting);
    }

    /// Ends a pass; says whether something waits, and how often in a row there was a failure before.
    fn close(&self, chat: &Chat, failed: bool) -> Pass {
        let mut waiting = self.waiting();
        let Some(queue) = waiting.get_mut(chat) else {
            return Pass::Done;
        };
        if failed {
            queue.attempts += 1;
            return Pass::Later(backoff(queue.attempts - 1));
        }
        let overflowed = queue.overflowed;
        if queue.receipts.is_empty() {
            waiting.remove(chat);
            return if overflowed { Pass::More } else { Pass::Done };
        }
        // They came during this pass.
        queue.attempts = 0;
        Pass::Later(Duration::ZERO)
    }
}

/// Answers each receipt of a contact once, as long as nothing is in the way.
async fn pass(core: &Arc<Core>, chat: &Chat) -> Pass {
    let mut failed = false;
    for _ in 0..core.answers.len(chat) {
        let Some(mut waiting) = core.answers.next(chat) else {
            break;
        };
        if core.logins.get(&chat.0).is_none() {
            // Its login has ended. The gatekeeper has them all.
            core.answers.waiting().remove(chat);
            return Pass::Done;
        }
        let answered = caught(Box::pin(answer(core, chat, &waiting.receipt))).await;
        let Err(hold) = answered else { continue };
        tracing::warn!(login = %core.log_id(&chat.0), reason = %hold.reason, "a retry receipt cannot be answered now");
        if hold.lasting {
            waiting.tries += 1;
            if waiting.tries >= core.config.limits.tries {
                let why = "the phone of your contact could not decrypt it, and the bridge could not encrypt it anew. Send it again";
                give_up(core, chat, &waiting.receipt, why).await;
                continue;
            }
        }
        failed = true;
        core.answers.put_back(chat, waiting);
        if !hold.lasting {
            // What is about a neighbour or the database is in the way of the others, too.
            break;
        }
    }
    core.answers.close(chat, failed)
}

/// The other side could not decrypt a message of ours: encrypts it anew.
///
/// # Errors
///
/// Why that is not possible now. The receipt is not acknowledged then.
async fn answer(core: &Arc<Core>, chat: &Chat, receipt: &RetryReceipt) -> Result<(), Hold> {
    let (login, peer) = chat;
    let key = (chat.clone(), receipt.id.clone());
    let given = core.answers.given.get(&key).unwrap_or_default();
    if given >= LIMIT || receipt.count > LIMIT {
        tracing::warn!(login = %core.log_id(login), "a message was asked for too often; it is given up");
    } else if try_answer(core, login, peer, receipt).await? {
        core.answers.given.insert(key, given + 1);
    }
    if receipt.count >= LIMIT || given + 1 == LIMIT {
        // The other side does not ask any more. Should it be able to read the last answer, this is taken back.
        let why = "the phone of your contact could not decrypt it, and has stopped asking for it. Send it again";
        give_up(core, chat, receipt, why).await;
    } else {
        acknowledge(core, login, receipt).await;
    }
    Ok(())
}

/// Tells the sender of a message that it cannot be read there, and has the gatekeeper forget the receipt.
async fn give_up(core: &Arc<Core>, chat: &Chat, receipt: &RetryReceipt, why: &str) {
    let (login, peer) = chat;
    if notices::unusable_there(core, login, peer, &receipt.id, why).await {
        acknowledge(core, login, receipt).await;
    } else {
        logins::bring_again(core, login);
    }
}

/// Not connected: the receipt comes again at the next connection.
async fn acknowledge(core: &Core, login: &str, receipt: &RetryReceipt) {
    if let Some(running) = core.logins.get(login) {
        let _ = failpoints::around!(
            "retry.ack",
            running.connection.send(receipt.ack().to_node()).await
        );
    }
}

/// Whether there was something to answer.
async fn try_answer(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    receipt: &RetryReceipt,
) -> Result<bool, Hold> {
    let Some(message) = messages::get(&core.store, login, peer, &receipt.id).await? else {
        // Not a message of ours, or long past.
        return Ok(false);
    };
    let (Some(event_id), messages::Direction::Out) = (&message.event_id, message.direction) else {
        return Ok(false);
    };
    let Some(portal) = portals::by_peer(&core.store, login, peer).await? else {
        return Ok(false);
    };
    let Some(body) = outgoing::read_again(core, &portal, &message).await? else {
        return Ok(false);
    };
    let content = message::encode(&body).map_err(|error| Hold::lasting(&error))?;
    renew(core, login, peer, receipt).await?;
    let mut session = outgoing::open_session(core, login, peer).await?;
    let ciphertext = session
        .encrypt(&content)
        .await
        .map_err(|error| Hold::failed(&error))?;
    let bytes = outgoing::stanza(core, peer, &receipt.id, &body, ciphertext, |stanza| {
        stanza.device_fanout = Some(false);
        let long = stanza.participants.iter_mut().flat_map(|one| &mut one.encs);
        for enc in stanza.encs.iter_mut().chain(long) {
            enc.count = receipt.count;
        }
    })?;
    let mut batch = Batch::new();
    outbox::replace(
        &mut batch,
        outbox::NewStanza {
            login: login.to_owned(),
            peer: peer.to_owned(),
            stanza_id: receipt.id.clone(),
            kind: outbox::Kind::Retry,
            stanza: bytes,
            event_id: Some(event_id.clone()),
        },
    );
    session.save(&mut batch, core.now());
    failpoints::around!("retry.commit", core.store.commit(batch).await)?;
    drop(session);
    if let Some(running) = core.logins.get(login) {
        running.deliver();
    }
    Ok(true)
}

/// Opens a new session where the receipt calls for one: from the keys in it, or from fetched ones when it is not the first.
async fn renew(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    receipt: &RetryReceipt,
) -> Result<(), Hold> {
    let bundle = match &receipt.keys {
        Some(bundle) => Some(*bundle),
        None if receipt.count > 1 => Some(directory::bundle(core, login, peer).await?),
        None => None,
    };
    let Some(bundle) = bundle else { return Ok(()) };
    let mut session = core
        .sessions
        .open(login, peer)
        .await
        .map_err(|error| Hold::failed(&error))?;
    match session.establish(&bundle).await {
        Ok(()) => {
            let mut batch = Batch::new();
            session.save(&mut batch, core.now());
            core.store.commit(batch).await?;
        }
        Err(error) => {
            tracing::warn!(login = %core.log_id(login), %error, "a session could not be renewed")
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
