//! What comes to a phone: messages with their decryption, receipts, retry receipts, typing.

use std::sync::Arc;

use gatekeeper::{
    assumed,
    message::{self, Body},
    padding::unpad,
    signal::{self, EncKind, IdentityChange, LocalKeys, SignalError},
    stanza::{Jid, Node},
    stanzas::{
        ChatState, Enc, EncType, Origin, OutgoingMessage, Receipt, ReceiptKind, RetryReceipt,
        Typing, retry,
    },
};
use serde_json::json;

use super::{
    Inner, Phone, Waiting,
    log::{Entry, MediaState, Status},
};
use crate::{account::Account, media::Fetch, world::World};

/// Messages that a phone may have asked for again and not got yet; the counts of all begin anew when
/// there are more.
const ASKED: usize = 4096;

impl Phone {
    /// Takes a stanza from a partner user, now or (while offline) when the phone is online again.
    /// Typing is lost while offline.
    pub(crate) fn arrive(&self, world: &World, from: &Arc<Account>, node: &Node) {
        let mut inner = self.lock();
        if inner.blocked.contains(&from.jid) {
            return;
        }
        if inner.forward(world, self, from, node) {
            return;
        }
        if inner.options.online {
            inner.handle(world, self, from, node);
        } else if !node.is("chatstate") {
            let queued_ms = world.clock.now_ms();
            inner.waiting.push_back(Waiting {
                from: Arc::clone(from),
                node: node.clone(),
                queued_ms,
            });
        }
        world.touch();
    }

    /// Handles what the server kept while the phone was offline.
    pub(crate) fn catch_up(&self, world: &World) {
        let mut inner = self.lock();
        while inner.options.online
            && let Some(Waiting { from, node, .. }) = inner.waiting.pop_front()
        {
            inner.handle(world, self, &from, &node);
        }
        world.touch();
    }

    /// A partner user has other keys than before: the phone forgets the session and says so.
    pub(crate) fn identity_changed(&self, world: &World, account: &Account) {
        let mut inner = self.lock();
        if let Some(peer) = inner.peers.get_mut(&account.jid) {
            peer.forget_session();
            inner.forward_identity_change(world, account);
            note_identity(world, self, account);
        }
    }
}

pub(crate) fn typing_word(typing: Typing) -> &'static str {
    match typing {
        Typing::Composing => "composing",
        Typing::Recording => "recording",
        Typing::Paused => "paused",
    }
}

/// Tells the sender that messages of this kind are not shown here.
fn refuse(
    world: &World,
    phone: &Phone,
    from: &Arc<Account>,
    stanza: &OutgoingMessage,
    body: &Body,
) {
    world.events.emit("refused", || {
        json!({"phone": phone.number.to_string(), "with": from.identifier,
               "message": stanza.id, "kind": body.word()})
    });
    let now = world.clock.now();
    if let Some(refusal) = assumed::unsupported(phone.jid.clone(), stanza.id.clone(), now) {
        from.deliver(world, refusal);
    }
}

fn note_identity(world: &World, phone: &Phone, account: &Account) {
    world.events.emit(
        "identity_changed",
        || json!({"phone": phone.number.to_string(), "with": account.identifier}),
    );
}

impl Inner {
    fn handle(&mut self, world: &World, phone: &Phone, from: &Arc<Account>, node: &Node) {
        match node.tag.as_str() {
            "message" => {
                if let Ok(stanza) = OutgoingMessage::parse(node) {
                    self.message(world, phone, from, &stanza);
                }
            }
            "receipt" if node.get("type").as_deref() == Some("retry") => {
                if let Ok(retry) = RetryReceipt::parse(node, Origin::Client) {
                    self.retry(world, phone, from, &retry);
                }
            }
            "receipt" => {
                if let Ok(receipt) = Receipt::parse(node, Origin::Client) {
                    self.ticks(world, phone, from, &receipt);
                }
            }
            "chatstate" => {
                if let Ok(chatstate) = ChatState::parse(node, Origin::Client) {
                    let now = world.clock.now_ms();
                    self.typing
                        .insert(from.jid.clone(), (chatstate.typing, now));
                    world.events.emit("typing", || {
                        json!({"phone": phone.number.to_string(), "with": from.identifier,
                               "state": typing_word(chatstate.typing)})
                    });
                }
            }
            _ => {}
        }
    }

    fn message(
        &mut self,
        world: &World,
        phone: &Phone,
        from: &Arc<Account>,
        stanza: &OutgoingMessage,
    ) {
        let known = self
            .chats
            .get(&from.jid)
            .and_then(|log| log.get(&stanza.id));
        if known.is_some_and(|entry| entry.from_me || !entry.undecryptable) {
            self.delivered(world, phone, from, &stanza.id);
            return;
        }
        let mut failure = SignalError::InvalidMessage;
        for enc in stanza.encs_for(&phone.jid) {
            match self.open(world, phone, from, enc) {
                Ok((kind, body)) => {
                    self.asked.remove(&(from.jid.clone(), stanza.id.clone()));
                    if self.options.refused.contains(body.word()) {
                        refuse(world, phone, from, stanza, &body);
                        return;
                    }
                    self.show(world, phone, from, stanza, kind, body);
                    self.delivered(world, phone, from, &stanza.id);
                    return;
                }
                Err(SignalError::Duplicate) => {
                    self.delivered(world, phone, from, &stanza.id);
                    return;
                }
                Err(error) => failure = error,
            }
        }
        self.ask_again(world, phone, from, stanza, failure);
    }

    /// Decrypts one ciphertext.
    fn open(
        &mut self,
        world: &World,
        phone: &Phone,
        from: &Account,
        enc: &Enc,
    ) -> Result<(EncKind, Body), SignalError> {
        let (kind, keys) = match enc.kind {
            EncType::Msg => (EncKind::Msg, LocalKeys::default()),
            EncType::PkMsg => {
                let ids = signal::prekey_ids(&enc.ciphertext)?;
                let signed = &self.keys.signed;
                let keys = LocalKeys {
                    prekey: ids.prekey.and_then(|id| self.keys.open.get(&id).cloned()),
                    signed: (signed.id() == ids.signed_prekey).then(|| signed.clone()),
                };
                (EncKind::PkMsg, keys)
            }
            EncType::SkMsg | EncType::Other(_) => return Err(SignalError::InvalidMessage),
        };
        let peer = self.peers.entry(from.jid.clone()).or_default();
        let identity = &self.keys.identity;
        let opened = signal::decrypt(
            identity,
            peer,
            kind,
            &enc.ciphertext,
            &keys,
            &mut rand::rng(),
        )?;
        if let Some(id) = opened.consumed_prekey {
            self.keys.open.remove(&id);
        }
        if opened.identity_change == IdentityChange::Changed {
            note_identity(world, phone, from);
        }
        let content = unpad(&opened.plaintext).map_err(|_| SignalError::InvalidMessage)?;
        let body = message::decode(content).map_err(|_| SignalError::InvalidMessage)?;
        Ok((kind, body))
    }

    /// Brings decrypted content into the chat.
    fn show(
        &mut self,
        world: &World,
        phone: &Phone,
        from: &Arc<Account>,
        stanza: &OutgoingMessage,
        kind: EncKind,
        body: Body,
    ) {
        let log = self.chats.entry(from.jid.clone()).or_default();
        let tell = |name: &'static str, target: &str| {
            world.events.emit(name, || {
                json!({"phone": phone.number.to_string(), "with": from.identifier,
                       "message": target})
            });
        };
        // Whoever has written something has stopped typing.
        self.typing.remove(&from.jid);
        match &body {
            Body::Reaction { target, emoji, .. } => {
                if let Some(entry) = log.get_mut(&target.id) {
                    entry.react(&from.identifier, emoji);
                }
                tell("reaction", &target.id);
                return;
            }
            Body::Edit { target, body, .. } => {
                if let Some(entry) = log.get_mut(&target.id).filter(|entry| !entry.from_me) {
                    match &**body {
                        Body::Text { text, .. } => entry.edit(Some(text.clone())),
                        Body::Media(media) => entry.edit(media.caption.clone()),
                        _ => {}
                    }
                }
                tell("edit", &target.id);
                return;
            }
            Body::Revoke { target } => {
                if let Some(entry) = log.get_mut(&target.id).filter(|entry| !entry.from_me) {
                    entry.revoke();
                    self.let_go(world, &from.jid, &target.id);
                }
                tell("revoke", &target.id);
                return;
            }
            Body::Timer { seconds } => {
                self.timers.insert(from.jid.clone(), *seconds);
            }
            _ => {}
        }
        let mut entry = Entry::new(stanza.id.clone(), false, "text", world.clock.now_ms());
        entry.say(&body);
        entry.encrypted = Some(kind.into());
        entry.status = Status::Delivered;
        let is_file = matches!(body, Body::Media(_));
        entry.media = is_file.then_some(MediaState::Fetching);
        self.hold(&from.jid, &stanza.id, &body, None);
        let log = self.chats.entry(from.jid.clone()).or_default();
        if let Some(placeholder) = log.get_mut(&stanza.id) {
            *placeholder = Entry {
                ts: placeholder.ts,
                ..entry
            };
            tell("decrypted", &stanza.id);
        } else {
            self.append(world, phone, from, entry);
        }
        if is_file {
            world.fetch(Fetch {
                phone: phone.number.clone(),
                with: from.jid.clone(),
                id: stanza.id.clone(),
            });
        }
    }

    /// Says that a message has arrived, and that it was read if the owner is looking at the chat.
    fn delivered(&mut self, world: &World, phone: &Phone, from: &Arc<Account>, id: &str) {
        if self.options.auto_receipts {
            self.receipt(
                world,
                phone,
                from,
                &ReceiptKind::Delivery,
                vec![id.to_owned()],
            );
        }
        if self.options.auto_read {
            self.receipt(world, phone, from, &ReceiptKind::Read, vec![id.to_owned()]);
        }
    }

    /// Shows that a message cannot be read and asks its sender for it again.
    fn ask_again(
        &mut self,
        world: &World,
        phone: &Phone,
        from: &Arc<Account>,
        stanza: &OutgoingMessage,
        failure: SignalError,
    ) {
        let hidden = stanza
            .encs_for(&phone.jid)
            .iter()
            .any(|enc| enc.decrypt_fail_hide);
        let shown = self
            .chats
            .get(&from.jid)
            .is_some_and(|log| log.get(&stanza.id).is_some());
        if !hidden && !shown {
            let mut entry = Entry::new(stanza.id.clone(), false, "unknown", world.clock.now_ms());
            entry.undecryptable = true;
            self.append(world, phone, from, entry);
        }
        if self.asked.len() >= ASKED {
            self.asked.clear();
        }
        let asked = self
            .asked
            .entry((from.jid.clone(), stanza.id.clone()))
            .or_default();
        if *asked >= retry::GIVE_UP {
            return;
        }
        *asked += 1;
        let count = *asked;
        // The first time the sender may mend it alone; after that it gets new keys to do so.
        let keys = if count >= retry::WITH_KEYS {
            self.keys.bundle(true).ok()
        } else {
            None
        };
        let receipt = RetryReceipt {
            peer: phone.jid.clone(),
            id: stanza.id.clone(),
            participant: None,
            recipient: None,
            count,
            t: world.clock.now(),
            reason: failure.retry_reason(),
            registration_id: self.keys.identity.registration_id(),
            keys,
            offline: None,
        };
        world.events.emit("retry_asked", || {
            json!({"phone": phone.number.to_string(), "with": from.identifier,
                   "message": stanza.id, "count": count})
        });
        from.deliver(world, receipt.to_node(Origin::Server));
    }

    /// Moves the ticks of what the phone sent.
    fn ticks(&mut self, world: &World, phone: &Phone, from: &Account, receipt: &Receipt) {
        let status = match receipt.kind {
            ReceiptKind::Delivery => Status::Delivered,
            ReceiptKind::Read if self.options.read_receipts => Status::Read,
            // Who hides what was read does not see what others have read.
            ReceiptKind::Read => Status::Delivered,
            ReceiptKind::Played => Status::Played,
            _ => return,
        };
        let Some(log) = self.chats.get_mut(&from.jid) else {
            return;
        };
        let mut moved = Vec::new();
        for id in &receipt.ids {
            if let Some(entry) = log.get_mut(id).filter(|entry| entry.from_me)
                && entry.advance(status)
            {
                moved.push(id.clone());
            }
        }
        if !moved.is_empty() {
            world.events.emit("receipt", || {
                json!({"phone": phone.number.to_string(), "with": from.identifier,
                       "from_me": false, "type": status, "ids": moved})
            });
        }
    }

    /// Answers a retry receipt: the same plaintext under the same id, encrypted anew.
    fn retry(&mut self, world: &World, phone: &Phone, from: &Arc<Account>, retry: &RetryReceipt) {
        let (to, id): (&Jid, &str) = (&from.jid, &retry.id);
        let Some(sent) = self.sent.get_mut(to, id) else {
            return;
        };
        if sent.retries >= retry::GIVE_UP {
            return;
        }
        sent.retries += 1;
        let again = sent.clone();
        let renewed = match &retry.keys {
            Some(bundle) => self.renew(from, bundle),
            None => {
                if retry.count > 1
                    && let Some(peer) = self.peers.get_mut(to)
                {
                    peer.forget_session();
                }
                Ok(())
            }
        };
        let result = renewed
            .map_err(super::SendError::from)
            .and_then(|()| self.transmit(world, phone, from, id, &again));
        world.events.emit("retry_answered", || {
            json!({"phone": phone.number.to_string(), "with": from.identifier, "message": id,
                   "count": again.retries, "error": result.err().map(|error| error.to_string())})
        });
    }
}
