//! What becomes of a stanza from a partner user.

use std::sync::Arc;

use gatekeeper::{
    stanza::{Jid, Node},
    stanzas::{ClientAck, Ib, Origin, OutgoingMessage, Receipt, ReceiptKind, ServerAck},
};
use serde_json::json;
use tracing::debug;

use super::{iq, session::Session};
use crate::{account::Account, assumed, mailbox::Class, world::World};

/// Handles one stanza; answers go to the session, the rest to phones and mailboxes.
pub(super) fn handle(world: &Arc<World>, account: &Arc<Account>, session: &Session, node: &Node) {
    match node.tag.as_str() {
        "message" => message(world, account, session, node),
        "receipt" => receipt(world, account, session, node),
        "ack" => ack(world, account, node),
        "iq" => {
            if let Some(answer) = iq::answer(world, account, session, node) {
                session.reply(answer);
            }
        }
        "ib" => {
            if let Ok(Ib::OfflineBatch(count)) = Ib::parse(node) {
                session.drain(|drain| drain.ask(count.into()));
                session.wake();
            }
        }
        "chatstate" => {
            if let Some(to) = node.jid("to")
                && let Some(phone) = world.phone_by_jid(&to)
                && !account.lock().blocked.contains(&phone.jid)
            {
                phone.arrive(world, account, node);
            }
        }
        // Nobody is shown it, but whoever watches shall know that it was told.
        "presence" => world
            .events
            .emit("presence", || json!({"with": account.identifier})),
        tag => debug!(
            connection = session.number,
            tag, "a stanza of no known kind was ignored"
        ),
    }
}

/// Takes a message for a phone: once, however often it is sent, and acknowledges each time.
fn message(world: &World, account: &Arc<Account>, session: &Session, node: &Node) {
    let Some(ack) = ServerAck::of(node, world.clock.now()) else {
        // Without an id there is nothing to acknowledge.
        return;
    };
    let Ok(message) = OutgoingMessage::parse(node) else {
        return session.reply(ack.refusing(assumed::INVALID_STANZA).to_node());
    };
    let refuse = world.faults().refuse;
    if refuse != 0 {
        return session.reply(ack.refusing(refuse).to_node());
    }
    let Some(phone) = world.phone_by_jid(&message.to) else {
        return session.reply(ack.refusing(assumed::NO_SUCH_USER).to_node());
    };
    if !phone.lock().options.third_party_chats {
        return session.reply(ack.refusing(assumed::NOT_REACHABLE).to_node());
    }
    // Whoever fans out and leaves the phone out would hear nothing of it.
    let fanned_out = message
        .participants
        .iter()
        .any(|one| one.jid.same_user(&message.to) && !one.encs.is_empty());
    if message.encs.is_empty() && !fanned_out {
        return session.reply(ack.refusing(assumed::INVALID_STANZA).to_node());
    }
    // The same stanza again, because its ack was lost. The same id with another ciphertext is an
    // answer to a retry receipt: the phone decides what to make of it.
    let sealed: Vec<_> = message
        .encs_for(&message.to)
        .iter()
        .map(|enc| (enc.count, &enc.ciphertext))
        .collect();
    if account.is_new(&(&message.to, &message.id, sealed)) {
        phone.arrive(world, account, node);
    }
    if !world.dice.strikes(world.faults().lose_acks) {
        session.reply(ack.to_node());
    }
}

/// Takes a receipt: what it is for leaves the mailbox, and the phone learns of it.
fn receipt(world: &World, account: &Arc<Account>, session: &Session, node: &Node) {
    let Some(ack) = ServerAck::of(node, world.clock.now()) else {
        return;
    };
    let Ok(receipt) = Receipt::parse(node, Origin::Client) else {
        return session.reply(ack.refusing(assumed::INVALID_STANZA).to_node());
    };
    let ignored = world.dice.strikes(world.faults().ignore_acks);
    let mut inner = account.lock();
    for id in receipt.ids.iter().filter(|_| !ignored) {
        inner
            .mailbox
            .settle(Class::Message, &receipt.peer, id, None);
    }
    let hidden =
        matches!(receipt.kind, ReceiptKind::Read | ReceiptKind::Played) && !inner.read_receipts;
    drop(inner);
    world.touch();
    if !hidden && let Some(phone) = world.phone_by_jid(&receipt.peer) {
        phone.arrive(world, account, node);
    }
    if !world.dice.strikes(world.faults().lose_acks) {
        session.reply(ack.to_node());
    }
}

/// Takes an acknowledgement: what it is for leaves the mailbox.
fn ack(world: &World, account: &Account, node: &Node) {
    let Ok(ack) = ClientAck::parse(node) else {
        return;
    };
    let Some(class) = Class::of(&ack.class) else {
        return;
    };
    let from: &Jid = &ack.to;
    if !world.dice.strikes(world.faults().ignore_acks) {
        account
            .lock()
            .mailbox
            .settle(class, from, &ack.id, ack.kind.as_deref());
    }
    world.touch();
    if let Some(error) = ack.error {
        world.events.emit("nack", || {
            serde_json::json!({"user": account.identifier, "class": ack.class, "id": ack.id,
                               "code": error.code()})
        });
    }
}
