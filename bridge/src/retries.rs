//! Retry receipts: asking for a message that could not be decrypted, and answering when the other side asks (G 5.4).
//!
//! No plaintext is kept for it: the Matrix event is fetched again, decrypted again and encrypted anew.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gatekeeper::{
    message,
    signal::{RetryReason, SignalError},
    stanzas::{self, IncomingMessage, RetryReceipt, retry},
};
use store::{Batch, messages, outbox, portals};

use crate::{core::Core, directory, keys, lanes::Lanes, notices, outgoing, passes::Hold};

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

/// Retry receipts of one contact that wait for their answer. The gatekeeper has them all and brings what does not fit at the
/// next connection.
const WAITING: usize = 64;
/// Contacts that are answered at the same time: an answer reads an event and encrypts it anew.
const AT_ONCE: usize = 4;

/// A login and a contact.
type Chat = (String, String);

/// Answers to retry receipts: of one contact one after the other, and of one message not more often than [`LIMIT`], whatever
/// count the receipts say.
#[derive(Debug)]
pub(crate) struct Answers {
    waiting: Mutex<HashMap<Chat, VecDeque<RetryReceipt>>>,
    /// How often a message was encrypted anew.
    given: moka::sync::Cache<(Chat, String), u8>,
    lanes: Lanes<Chat>,
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

    /// Takes a receipt from a connection. Does not wait.
    pub(crate) fn take(&self, core: &Arc<Core>, login: &str, receipt: RetryReceipt) {
        let from = receipt.participant.as_ref().unwrap_or(&receipt.peer);
        let chat = (login.to_owned(), core.peer_id(from));
        if !self.push(&chat, receipt) {
            tracing::warn!(login = %core.log_id(login), "a contact asks for too many messages at once");
            return;
        }
        let core = core.clone();
        self.lanes.wake(chat, move |chat| {
            let core = core.clone();
            async move {
                while let Some(receipt) = core.answers.next(&chat) {
                    answer(&core, &chat, receipt).await;
                }
            }
        });
    }

    /// False if there is no room for it.
    fn push(&self, chat: &Chat, receipt: RetryReceipt) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = waiting.entry(chat.clone()).or_default();
        let fits = queue.len() < WAITING;
        if fits {
            queue.push_back(receipt);
        }
        fits
    }

    fn next(&self, chat: &Chat) -> Option<RetryReceipt> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.get_mut(chat).and_then(VecDeque::pop_front);
        if next.is_none() {
            waiting.remove(chat);
        }
        next
    }
}

/// The other side could not decrypt a message of ours: encrypts it anew.
async fn answer(core: &Arc<Core>, chat: &Chat, receipt: RetryReceipt) {
    let (login, peer) = chat;
    let key = (chat.clone(), receipt.id.clone());
    let given = core.answers.given.get(&key).unwrap_or_default();
    if given >= LIMIT || receipt.count > LIMIT {
        tracing::warn!(login = %core.log_id(login), "a message was asked for too often; it is given up");
    } else {
        match try_answer(core, login, peer, &receipt).await {
            Ok(true) => core.answers.given.insert(key, given + 1),
            Ok(false) => {}
            Err(hold) => {
                tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "a retry receipt could not be answered");
                return;
            }
        }
    }
    if receipt.count >= LIMIT || given + 1 == LIMIT {
        // The other side does not ask any more. Should it be able to read the last answer, this is taken back.
        let why = "the phone of your contact could not decrypt it, and has stopped asking for it. Send it again";
        notices::unusable_there(core, login, peer, &receipt.id, why).await;
    }
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
    let content = message::encode(&body).map_err(|error| Hold::failed(&error))?;
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
