//! Retry receipts: asking for a message that could not be decrypted, and answering when the other side asks (G 5.4).
//!
//! No plaintext is kept for it: the Matrix event is fetched again, decrypted again and encrypted anew.

use std::sync::Arc;

use gatekeeper::{
    message,
    signal::{RetryReason, SignalError},
    stanzas::{self, IncomingMessage, RetryReceipt, retry},
};
use store::{Batch, messages, outbox, portals};

use crate::{core::Core, directory, keys, notices, outgoing, passes::Hold};

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
            let _ = running
                .connection
                .send(receipt.to_node(stanzas::Origin::Client))
                .await;
        }
        Err(hold) => {
            tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "a message cannot be asked for again");
        }
    }
}

/// The other side could not decrypt messages of ours: encrypts them anew.
pub(crate) async fn answer(core: &Arc<Core>, login: &str, receipt: RetryReceipt) {
    if let Err(hold) = try_answer(core, login, &receipt).await {
        tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "a retry receipt could not be answered");
        return;
    }
    if receipt.count >= LIMIT {
        // The other side does not ask any more. Should it be able to read the last answer, this is taken back.
        let why = "the phone of your contact could not decrypt it, and has stopped asking for it. Send it again";
        notices::unusable_there(core, login, &receipt.id, why).await;
    }
    if let Some(running) = core.logins.get(login) {
        let _ = running.connection.send(receipt.ack().to_node()).await;
    }
}

async fn try_answer(core: &Arc<Core>, login: &str, receipt: &RetryReceipt) -> Result<(), Hold> {
    let peer = core.peer_id(receipt.participant.as_ref().unwrap_or(&receipt.peer));
    if receipt.count > LIMIT {
        tracing::warn!(login = %core.log_id(login), "a message was asked for too often; it is given up");
        return Ok(());
    }
    let Some(message) = messages::get(&core.store, login, &peer, &receipt.id).await? else {
        // Not a message of ours, or long past.
        return Ok(());
    };
    let (Some(event_id), messages::Direction::Out) = (&message.event_id, message.direction) else {
        return Ok(());
    };
    let Some(portal) = portals::by_peer(&core.store, login, &peer).await? else {
        return Ok(());
    };
    let Some(body) = outgoing::read_again(core, &portal, &message).await? else {
        return Ok(());
    };
    let content = message::encode(&body).map_err(|error| Hold::failed(&error))?;
    renew(core, login, &peer, receipt).await?;
    let mut session = outgoing::open_session(core, login, &peer).await?;
    let ciphertext = session
        .encrypt(&content)
        .await
        .map_err(|error| Hold::failed(&error))?;
    let bytes = outgoing::stanza(core, &peer, &receipt.id, &body, ciphertext, |stanza| {
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
            peer: peer.clone(),
            stanza_id: receipt.id.clone(),
            kind: outbox::Kind::Retry,
            stanza: bytes,
            event_id: Some(event_id.clone()),
        },
    );
    session.save(&mut batch, core.now());
    core.store.commit(batch).await?;
    drop(session);
    if let Some(running) = core.logins.get(login) {
        running.deliver();
    }
    Ok(())
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
