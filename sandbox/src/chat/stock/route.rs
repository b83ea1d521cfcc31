//! From a stock client to a partner's user: the stanza as the gatekeeper would write it.

use std::sync::Arc;

use gatekeeper::{
    stanza::{Jid, Node},
    stanzas::{
        ChatState, ClientAck, Ib, IncomingMessage, Origin, OutgoingMessage, Participant, Receipt,
        ReceiptKind, RetryReceipt, ServerAck,
    },
};
use serde_json::json;
use tracing::debug;

use super::{super::session::Session, iq};
use crate::{
    account::Account,
    assumed,
    mailbox::Class,
    phone::Phone,
    stock::{Device, alias},
    world::World,
};

/// Handles one stanza of a device.
pub(in super::super) fn handle(
    world: &Arc<World>,
    phone: &Arc<Phone>,
    index: u16,
    session: &Session,
    node: &Node,
) {
    let client = Client {
        world,
        phone,
        index,
        session,
    };
    match node.tag.as_str() {
        "message" => client.message(node),
        "receipt" => client.receipt(node),
        "ack" => client.ack(node),
        "chatstate" => client.chatstate(node),
        "iq" => {
            if let Some(answer) = iq::answer(&client, node) {
                session.reply(answer);
            }
        }
        "ib" => {
            if let Ok(Ib::OfflineBatch(count)) = Ib::parse(node) {
                session.drain(|drain| drain.ask(count.into()));
                session.wake();
            }
        }
        // Partners' users learn nothing of who is online, and are never said to be.
        "presence" => {}
        tag => debug!(
            connection = session.number,
            tag, "a stanza of no known kind was ignored"
        ),
    }
}

/// A connected device.
pub(super) struct Client<'a> {
    pub(super) world: &'a Arc<World>,
    pub(super) phone: &'a Arc<Phone>,
    pub(super) index: u16,
    pub(super) session: &'a Session,
}

impl Client<'_> {
    /// Looks at or changes the device; nothing if it is another client's by now.
    pub(super) fn device<T>(&self, change: impl FnOnce(&mut Device) -> T) -> Option<T> {
        let mut inner = self.phone.lock();
        let device = inner.devices.get_mut(&self.index)?;
        device.is_on(self.session).then(|| change(device))
    }

    /// The device's address.
    fn jid(&self) -> Jid {
        self.phone.jid.clone().with_device(self.index)
    }

    /// Whether an address is the phone's own.
    pub(super) fn is_own(&self, jid: &Jid) -> bool {
        jid.same_user(&self.phone.jid) || jid.same_user(&alias::phone_lid(&self.phone.number))
    }

    /// Takes a message: once, however often it is sent, and acknowledges each time.
    fn message(&self, node: &Node) {
        let world = self.world;
        let Some(ack) = ServerAck::of(node, world.clock.now()) else {
            return;
        };
        let refuse = |code| self.session.reply(ack.clone().refusing(code).to_node());
        let Ok(message) = OutgoingMessage::parse(node) else {
            return refuse(assumed::INVALID_STANZA);
        };
        if self.is_own(&message.to) {
            // Among one's own devices, such as a question for the history: there is none.
            self.copies(&message, None);
            return self.session.reply(ack.to_node());
        }
        let Some(account) = world.account_behind(&message.to) else {
            return refuse(assumed::NO_SUCH_USER);
        };
        let (reachable, blocked) = {
            let inner = self.phone.lock();
            let blocked = inner.blocked.contains(&account.jid);
            (inner.options.third_party_chats, blocked)
        };
        if !reachable || blocked {
            return refuse(assumed::NOT_REACHABLE);
        }
        let mut encs = message.encs_for(&message.to).to_vec();
        if encs.is_empty() {
            return refuse(assumed::INVALID_STANZA);
        }
        let sealed: Vec<_> = encs
            .iter()
            .map(|enc| (enc.count, enc.ciphertext.clone()))
            .collect();
        let what = (&account.jid, &message.id, sealed);
        if self.device(|device| device.is_new(&what)) == Some(true) {
            if world.dice.strikes(world.faults().corrupt)
                && let Some(last) = encs.first_mut().and_then(|enc| enc.ciphertext.last_mut())
            {
                *last ^= 0x55;
            }
            let sent = IncomingMessage {
                from: self.jid(),
                id: message.id.clone(),
                t: world.clock.now(),
                kind: message.kind.clone(),
                participant: None,
                recipient: None,
                notify: None,
                offline: None,
                edit: message.edit,
                encs,
                unavailable: false,
            };
            self.tell(&account, node);
            account.deliver(world, sent.to_node());
            self.copies(&message, Some(&account));
        }
        if !world.dice.strikes(world.faults().lose_acks) {
            self.session.reply(ack.to_node());
        }
    }

    /// Hands the phone's other devices their copies of a message.
    fn copies(&self, message: &OutgoingMessage, to: Option<&Account>) {
        let own = |one: &&Participant| self.is_own(&one.jid) && one.jid.device != self.index;
        for copy in message.participants.iter().filter(own) {
            let mut inner = self.phone.lock();
            let Some(device) = inner.devices.get_mut(&copy.jid.device) else {
                continue;
            };
            let sent = IncomingMessage {
                from: self.jid(),
                id: message.id.clone(),
                t: self.world.clock.now(),
                kind: message.kind.clone(),
                participant: None,
                recipient: to.map(|to| device.sees(to)),
                notify: None,
                offline: None,
                edit: message.edit,
                encs: copy.encs.clone(),
                unavailable: false,
            };
            device.deliver(self.world, sent.to_node());
        }
    }

    /// Takes a receipt: what it is for leaves the mailbox, and the partner's user learns of it.
    fn receipt(&self, node: &Node) {
        let world = self.world;
        let Some(ack) = ServerAck::of(node, world.clock.now()) else {
            return;
        };
        let Ok(receipt) = Receipt::parse(node, Origin::Client) else {
            let ack = ack.refusing(assumed::INVALID_STANZA);
            return self.session.reply(ack.to_node());
        };
        self.device(|device| {
            for id in &receipt.ids {
                for from in self.names(&receipt.peer) {
                    device.mailbox.settle(Class::Message, &from, id, None);
                }
            }
        });
        world.touch();
        if let Some(account) = world.account_behind(&receipt.peer)
            && let Some(forwarded) = self.forwarded(&account, receipt, node)
        {
            self.tell(&account, node);
            account.deliver(world, forwarded);
        }
        if !world.dice.strikes(world.faults().lose_acks) {
            self.session.reply(ack.to_node());
        }
    }

    /// A receipt as the partner's user gets it, if it does.
    fn forwarded(&self, account: &Account, receipt: Receipt, node: &Node) -> Option<Node> {
        match receipt.kind {
            ReceiptKind::Retry => {
                let mut retry = RetryReceipt::parse(node, Origin::Client).ok()?;
                retry.peer = self.jid();
                Some(retry.to_node(Origin::Server))
            }
            ReceiptKind::Delivery | ReceiptKind::Inactive => {
                let told = Receipt {
                    peer: self.jid(),
                    t: receipt.t.or_else(|| Some(self.world.clock.now())),
                    ..receipt
                };
                Some(told.to_node(Origin::Server))
            }
            ReceiptKind::Read | ReceiptKind::Played => {
                let inner = self.phone.lock();
                let hidden = receipt.kind == ReceiptKind::Read && !inner.options.read_receipts;
                drop(inner);
                if hidden || !account.lock().read_receipts {
                    return None;
                }
                let told = Receipt {
                    peer: self.jid(),
                    t: receipt.t.or_else(|| Some(self.world.clock.now())),
                    ..receipt
                };
                Some(told.to_node(Origin::Server))
            }
            // What is for one's own devices, or of no kind that partners know.
            _ => None,
        }
    }

    /// Takes an acknowledgement: what it is for leaves the mailbox.
    fn ack(&self, node: &Node) {
        let Ok(ack) = ClientAck::parse(node) else {
            return;
        };
        let Some(class) = Class::of(&ack.class) else {
            return;
        };
        self.device(|device| {
            for from in self.names(&ack.to) {
                device
                    .mailbox
                    .settle(class, &from, &ack.id, ack.kind.as_deref());
            }
        });
        self.world.touch();
        if let Some(error) = ack.error {
            self.world.events.emit("nack", || {
                json!({"phone": self.phone.number.to_string(), "device": self.index,
                       "class": ack.class, "id": ack.id, "code": error.code()})
            });
        }
    }

    fn chatstate(&self, node: &Node) {
        let Ok(mut chatstate) = ChatState::parse(node, Origin::Client) else {
            return;
        };
        if let Some(account) = self.world.account_behind(&chatstate.peer) {
            chatstate.peer = self.jid();
            account.deliver_transient(chatstate.to_node(Origin::Server));
        }
    }

    /// All addresses of whom one names: a client may answer a number under its opaque one.
    fn names(&self, jid: &Jid) -> Vec<Jid> {
        match self.world.account_behind(jid) {
            Some(account) => vec![alias::number(&account.jid), alias::lid(&account.jid)],
            None => vec![jid.clone()],
        }
    }

    fn tell(&self, account: &Account, node: &Node) {
        // Whom to tell when the phone's keys change.
        let mut inner = self.phone.lock();
        inner.peers.entry(account.jid.clone()).or_default();
        drop(inner);
        self.world.events.emit("accepted", || {
            json!({"phone": self.phone.number.to_string(), "device": self.index,
                   "with": account.identifier, "stanza": node.tag,
                   "type": node.get("type"), "id": node.get("id")})
        });
    }
}
