//! What a phone sends: messages with their encryption, receipts, typing.

use std::sync::Arc;

use gatekeeper::{
    message::{self, Body, Context, MessageKey, Quote},
    padding::pad,
    signal::{self, Bundle, Ciphertext, EncKind, SignalError},
    stanza::Node,
    stanzas::{ChatState, Enc, EncType, IncomingMessage, Origin, Receipt, ReceiptKind, Typing},
};
use serde_json::json;

use super::{
    Inner, Phone, SentMessage,
    log::{Entry, Status},
};
use crate::{account::Account, world::World};

/// Why a phone cannot send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The partner user is not enlisted any more.
    #[error("this user is not enlisted any more: the user must enlist again")]
    Gone,
    /// The phone's owner keeps third-party chats off.
    #[error("this phone has third-party chats off: set its option `third_party_chats` to true")]
    ThirdPartyChatsOff,
    /// A stock client is the phone.
    #[error(
        "this phone is played by a stock client: use that client, or give the phone new keys with \
         POST …/identity"
    )]
    Played,
    /// The phone is offline.
    #[error("this phone is offline: set its option `online` to true")]
    Offline,
    /// The phone has blocked the user.
    #[error("this phone has blocked the user: unblock the user first")]
    Blocked,
    /// No message of this id in the chat.
    #[error("there is no message `{0}` in this chat")]
    NoMessage(String),
    /// Another message of the chat has this id.
    #[error("there is a message `{0}` in this chat already: leave the id out, or take another")]
    IdTaken(String),
    /// The message is not the phone's own.
    #[error("message `{0}` is not this phone's own")]
    NotOwn(String),
    /// The message has no text that could be another one.
    #[error("message `{0}` has no text")]
    NoText(String),
    /// The encryption failed, e.g. on a bundle with a bad signature.
    #[error("the message cannot be encrypted: {0}")]
    Signal(#[from] SignalError),
    /// The content has no form on the wire.
    #[error("the message cannot be written: {0}")]
    Content(#[from] message::Unsendable),
}

impl Phone {
    /// Whether it can send to `account` now.
    pub(super) fn check(&self, inner: &Inner, account: &Account) -> Result<(), SendError> {
        if account.lock().gone {
            return Err(SendError::Gone);
        }
        if !inner.options.third_party_chats {
            return Err(SendError::ThirdPartyChatsOff);
        }
        if inner.devices.contains_key(&0) {
            return Err(SendError::Played);
        }
        if !inner.options.online {
            return Err(SendError::Offline);
        }
        if inner.blocked.contains(&account.jid) {
            return Err(SendError::Blocked);
        }
        Ok(())
    }

    /// Reacts to a message; an empty emoji takes the reaction back. Returns the stanza's id.
    pub(crate) fn react(
        &self,
        world: &World,
        account: &Arc<Account>,
        target: &str,
        emoji: &str,
    ) -> Result<String, SendError> {
        let mut inner = self.lock();
        self.check(&inner, account)?;
        let own = inner.entry(account, target)?.from_me;
        let body = Body::Reaction {
            target: key(target, own, account),
            emoji: emoji.to_owned(),
            timestamp_ms: timestamp(world),
        };
        let id = world.fresh_id();
        inner.say(world, self, account, &id, &body)?;
        inner
            .entry(account, target)?
            .react(&self.number.to_string(), emoji);
        world.touch();
        world.events.emit("reaction", || {
            json!({"phone": self.number.to_string(), "with": account.identifier,
                   "message": target, "from": self.number.to_string(), "emoji": emoji})
        });
        Ok(id)
    }

    /// Replaces the text of one of its own messages, or the text under its file. Returns the stanza's id.
    pub(crate) fn edit(
        &self,
        world: &World,
        account: &Arc<Account>,
        target: &str,
        text: &str,
    ) -> Result<String, SendError> {
        let mut inner = self.lock();
        self.check(&inner, account)?;
        let entry = inner.entry(account, target)?;
        if !entry.from_me {
            return Err(SendError::NotOwn(target.to_owned()));
        }
        let is_text = entry.text.is_some();
        let new = match inner.held_body(&account.jid, target) {
            Some(Body::Media(mut media)) if media.kind.carries_caption() => {
                media.caption = Some(text.to_owned());
                media.context = Context::default();
                Body::Media(media)
            }
            None if is_text => Body::text(text),
            _ => return Err(SendError::NoText(target.to_owned())),
        };
        let body = Body::Edit {
            target: key(target, true, account),
            body: Box::new(new.clone()),
            timestamp_ms: timestamp(world),
        };
        let id = world.fresh_id();
        inner.say(world, self, account, &id, &body)?;
        inner.entry(account, target)?.edit(Some(text.to_owned()));
        let held = inner
            .held
            .get_mut(&(account.jid.clone(), target.to_owned()));
        if let Some(held) = held {
            held.body = message::encode(&new)?;
        }
        world.touch();
        world.events.emit("edit", || {
            json!({"phone": self.number.to_string(), "with": account.identifier, "message": target})
        });
        Ok(id)
    }

    /// Takes one of its own messages back. Returns the stanza's id.
    pub(crate) fn revoke(
        &self,
        world: &World,
        account: &Arc<Account>,
        target: &str,
    ) -> Result<String, SendError> {
        let mut inner = self.lock();
        self.check(&inner, account)?;
        if !inner.entry(account, target)?.from_me {
            return Err(SendError::NotOwn(target.to_owned()));
        }
        let body = Body::Revoke {
            target: key(target, true, account),
        };
        let id = world.fresh_id();
        inner.say(world, self, account, &id, &body)?;
        inner.entry(account, target)?.revoke();
        inner.let_go(world, &account.jid, target);
        world.touch();
        world.events.emit("revoke", || {
            json!({"phone": self.number.to_string(), "with": account.identifier, "message": target})
        });
        Ok(id)
    }

    /// Sends a receipt for messages of `account`; with `unchecked` for whatever the ids name.
    pub(crate) fn send_receipt(
        &self,
        world: &World,
        account: &Arc<Account>,
        kind: &ReceiptKind,
        ids: Vec<String>,
        unchecked: bool,
    ) -> Result<(), SendError> {
        let mut inner = self.lock();
        self.check(&inner, account)?;
        for id in ids.iter().filter(|_| !unchecked) {
            if inner.entry(account, id)?.from_me {
                return Err(SendError::NoMessage(id.clone()));
            }
        }
        inner.receipt(world, self, account, kind, ids);
        Ok(())
    }

    /// Tells `account` that the phone's owner types, records or has stopped.
    pub(crate) fn send_typing(&self, account: &Account, state: Typing) -> Result<(), SendError> {
        let inner = self.lock();
        self.check(&inner, account)?;
        let chatstate = ChatState {
            peer: self.jid.clone(),
            participant: None,
            typing: state,
        };
        account.deliver_transient(chatstate.to_node(Origin::Server));
        Ok(())
    }
}

impl Inner {
    /// A message of the chat with `account`.
    fn entry(&mut self, account: &Account, id: &str) -> Result<&mut Entry, SendError> {
        self.chats
            .get_mut(&account.jid)
            .and_then(|log| log.get_mut(id))
            .ok_or_else(|| SendError::NoMessage(id.to_owned()))
    }

    /// Whether the chat with `account` has a message of this id.
    pub(super) fn has(&self, account: &Account, id: &str) -> bool {
        self.chats
            .get(&account.jid)
            .is_some_and(|log| log.get(id).is_some())
    }

    /// Appends to the chat with `account` and tells the observers.
    pub(super) fn append(&mut self, world: &World, phone: &Phone, account: &Account, entry: Entry) {
        world.events.emit("message", || {
            json!({"phone": phone.number.to_string(), "with": account.identifier, "message": entry})
        });
        let log = self.chats.entry(account.jid.clone()).or_default();
        for id in log.push(entry, world.log_limit) {
            self.let_go(world, &account.jid, &id);
        }
        world.touch();
    }

    /// Encrypts and sends; keeps the plaintext for a retry receipt. Returns how it was encrypted.
    pub(super) fn say(
        &mut self,
        world: &World,
        phone: &Phone,
        account: &Arc<Account>,
        id: &str,
        body: &Body,
    ) -> Result<EncKind, SendError> {
        let message = SentMessage {
            plaintext: pad(message::encode(body)?, rand::random()),
            kind: body.stanza_type().to_owned(),
            media_type: body.media_type().map(str::to_owned),
            edit: body.stanza_edit().and_then(|edit| edit.parse().ok()),
            hidden: body.hidden_when_undecryptable(),
            retries: 0,
        };
        self.dispatch(world, phone, account, id, message)
    }

    /// As [`Self::say`], of what is written already.
    pub(super) fn dispatch(
        &mut self,
        world: &World,
        phone: &Phone,
        account: &Arc<Account>,
        id: &str,
        message: SentMessage,
    ) -> Result<EncKind, SendError> {
        let kind = self.transmit(world, phone, account, id, &message)?;
        self.sent.keep(account.jid.clone(), id.to_owned(), message);
        Ok(kind)
    }

    /// Encrypts a message for `account` as it stands and hands it to the server.
    pub(super) fn transmit(
        &mut self,
        world: &World,
        phone: &Phone,
        account: &Arc<Account>,
        id: &str,
        message: &SentMessage,
    ) -> Result<EncKind, SendError> {
        let Ciphertext { kind, mut bytes } = self.encrypt(world, account, &message.plaintext)?;
        if world.dice.strikes(world.faults().corrupt)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 0x55;
        }
        let mut enc = Enc::new(
            match kind {
                EncKind::Msg => EncType::Msg,
                EncKind::PkMsg => EncType::PkMsg,
            },
            bytes,
        );
        enc.count = message.retries;
        enc.decrypt_fail_hide = message.hidden;
        enc.media_type.clone_from(&message.media_type);
        let mut stanza = IncomingMessage::text(phone.jid.clone(), id, world.clock.now(), enc);
        stanza.kind.clone_from(&message.kind);
        stanza.edit = message.edit;
        let mut node = stanza.to_node();
        if world.dice.strikes(world.faults().unknown_extras) {
            node = node
                .attr("sandbox", "1")
                .child(Node::new("sandbox").attr("unknown", "1"));
        }
        account.deliver(world, node);
        Ok(kind)
    }

    /// Encrypts for `account`, opening a session when there is none that the user could read.
    fn encrypt(
        &mut self,
        world: &World,
        account: &Arc<Account>,
        plaintext: &[u8],
    ) -> Result<Ciphertext, SignalError> {
        let identity = &self.keys.identity;
        let peer = self.peers.entry(account.jid.clone()).or_default();
        if peer.has_session() {
            match signal::encrypt(identity, peer, plaintext) {
                Err(SignalError::NoSession) => peer.forget_session(),
                done => return done,
            }
        }
        let bundle = account.take_bundle(world, !world.faults().prekeys_exhausted);
        signal::establish(identity, peer, &bundle, &mut rand::rng())?;
        signal::encrypt(identity, peer, plaintext)
    }

    /// Opens a session from keys that came with a retry receipt.
    pub(super) fn renew(&mut self, account: &Account, bundle: &Bundle) -> Result<(), SignalError> {
        let peer = self.peers.entry(account.jid.clone()).or_default();
        peer.forget_session();
        signal::establish(&self.keys.identity, peer, bundle, &mut rand::rng())?;
        Ok(())
    }

    /// Sends a receipt and marks the messages. Read receipts go out only while the phone's owner has them
    /// on, and the server lets them through only for users who have them on too.
    pub(super) fn receipt(
        &mut self,
        world: &World,
        phone: &Phone,
        account: &Arc<Account>,
        kind: &ReceiptKind,
        ids: Vec<String>,
    ) {
        let status = match kind {
            ReceiptKind::Read => Status::Read,
            ReceiptKind::Played => Status::Played,
            _ => Status::Delivered,
        };
        if let Some(log) = self.chats.get_mut(&account.jid) {
            for id in &ids {
                if let Some(entry) = log.get_mut(id).filter(|entry| !entry.from_me) {
                    entry.advance(status);
                }
            }
        }
        world.events.emit("receipt", || {
            json!({"phone": phone.number.to_string(), "with": account.identifier,
                   "from_me": true, "type": status, "ids": ids})
        });
        let hidden = status == Status::Read && !self.options.read_receipts;
        if hidden || (status > Status::Delivered && !account.lock().read_receipts) {
            return;
        }
        let receipt = Receipt::new(
            phone.jid.clone(),
            kind.clone(),
            ids,
            Some(world.clock.now()),
        );
        if let Some(receipt) = receipt {
            account.deliver(world, receipt.to_node(Origin::Server));
        }
    }
}

/// What names a message of the chat with `account` inside of another one.
fn key(id: &str, own: bool, account: &Account) -> MessageKey {
    MessageKey {
        id: id.to_owned(),
        from_me: own,
        remote_jid: Some(account.jid.to_string()),
        participant: None,
    }
}

/// The phone's time as content carries it.
fn timestamp(world: &World) -> i64 {
    i64::try_from(world.clock.now_ms()).unwrap_or(i64::MAX)
}

impl Inner {
    /// What a reply shows of the message that it answers.
    pub(super) fn quote(
        &mut self,
        phone: &Phone,
        account: &Account,
        id: &str,
    ) -> Result<Quote, SendError> {
        let held = self.held_body(&account.jid, id);
        let entry = self.entry(account, id)?;
        let author = if entry.from_me {
            &phone.jid
        } else {
            &account.jid
        };
        let body = held.or_else(|| entry.text.as_deref().map(Body::text));
        Ok(Quote {
            stanza_id: entry.id.clone(),
            participant: Some(author.to_string()),
            body: body.map(Box::new),
        })
    }
}
