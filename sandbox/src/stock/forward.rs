//! From a partner's user to a stock client: the stanza as the client's own server would write it.

use std::sync::Arc;

use gatekeeper::{
    stanza::{Jid, Node},
    stanzas::{
        ChatState, Enc, IncomingMessage, Notification, NotificationKind, Origin, OutgoingMessage,
        Receipt, RetryReceipt,
    },
};
use serde_json::json;

use super::{Addressing, Device, alias};
use crate::{
    account::Account,
    phone::{Inner, Phone},
    world::World,
};

impl Device {
    /// How this client sees a partner's user.
    pub(crate) fn sees(&self, user: &Account) -> Jid {
        match self.addressing {
            Addressing::Pn => alias::number(&user.jid),
            Addressing::Lid => alias::lid(&user.jid),
        }
    }

    /// A message of a partner's user.
    fn message(&self, stanza: &OutgoingMessage, encs: &[Enc], from: &Account, t: u64) -> Node {
        let message = IncomingMessage {
            from: self.sees(from),
            id: stanza.id.clone(),
            t,
            kind: stanza.kind.clone(),
            participant: None,
            recipient: None,
            notify: Some(from.identifier.clone()),
            offline: None,
            edit: stanza.edit,
            encs: encs.to_vec(),
            unavailable: false,
        };
        let node = message.to_node();
        match self.addressing {
            Addressing::Pn => node.attr("sender_lid", alias::lid(&from.jid)),
            Addressing::Lid => node
                .attr("addressing_mode", "lid")
                .attr("sender_pn", alias::number(&from.jid)),
        }
    }
}

/// What a device gets of a stanza that a partner's user wrote to its phone: nothing if it is for
/// another device, or of no kind that a client knows.
pub(super) fn for_device(
    node: &Node,
    phone: &Phone,
    index: u16,
    from: &Account,
    device: &Device,
    t: u64,
) -> Option<Node> {
    let own = phone.jid.clone().with_device(index);
    let addressed = node.jid("to").is_some_and(|to| to.device == index);
    match node.tag.as_str() {
        "message" => {
            let stanza = OutgoingMessage::parse(node).ok()?;
            let encs = stanza.encs_for(&own);
            let copied = stanza.participants.iter().any(|one| one.jid == own);
            (!encs.is_empty() && (copied || addressed))
                .then(|| device.message(&stanza, encs, from, t))
        }
        _ if !addressed => None,
        "receipt" if node.get("type").as_deref() == Some("retry") => {
            let mut retry = RetryReceipt::parse(node, Origin::Client).ok()?;
            retry.peer = device.sees(from);
            Some(retry.to_node(Origin::Server))
        }
        "receipt" => {
            let mut receipt = Receipt::parse(node, Origin::Client).ok()?;
            receipt.peer = device.sees(from);
            receipt.t = receipt.t.or(Some(t));
            Some(receipt.to_node(Origin::Server))
        }
        "chatstate" => {
            let mut chatstate = ChatState::parse(node, Origin::Client).ok()?;
            chatstate.peer = device.sees(from);
            Some(chatstate.to_node(Origin::Server))
        }
        _ => None,
    }
}

impl Inner {
    /// Hands a stanza of a partner's user to the devices that it is for. Returns whether the phone
    /// itself is a stock client, so that nobody here can read it.
    pub(crate) fn forward(
        &mut self,
        world: &World,
        phone: &Phone,
        from: &Arc<Account>,
        node: &Node,
    ) -> bool {
        for (index, device) in &mut self.devices {
            let t = world.clock.now();
            let Some(node) = for_device(node, phone, *index, from, device, t) else {
                continue;
            };
            if node.is("chatstate") {
                if let Some(session) = &device.session {
                    session.reply_if_room(node);
                }
                continue;
            }
            world.events.emit("forwarded", || {
                json!({"phone": phone.number.to_string(), "device": index,
                       "with": from.identifier, "stanza": node.tag,
                       "type": node.get("type"), "id": node.get("id")})
            });
            device.deliver(world, node);
        }
        let played = self.devices.contains_key(&0);
        if played {
            // Whom to tell when the phone's keys change.
            self.peers.entry(from.jid.clone()).or_default();
        }
        let to = node.jid("to").map_or(0, |to| to.device);
        played || to != 0
    }

    /// Tells the stock clients that a partner's user has other keys than before.
    pub(crate) fn forward_identity_change(&mut self, world: &World, account: &Account) {
        for device in self.devices.values_mut() {
            let kind = NotificationKind::IdentityChanged;
            let (id, now) = (world.fresh_id(), world.clock.now());
            let note = Notification::new(device.sees(account), id, now, kind).to_node();
            device.deliver(world, note);
        }
    }
}
