//! Whose connection it is: a partner's user, or a stock client that is a device of a phone.

use std::sync::Arc;

use gatekeeper::stanza::Node;
use serde_json::{Value, json};

use super::{route, session::Session, stock};
use crate::{account::Account, mailbox::Mailbox, phone::Phone, world::World};

/// Who has logged in.
#[derive(Clone, Debug)]
pub(super) enum Party {
    /// A partner's user; whether read receipts pass, as the login asked.
    User(Arc<Account>, bool),
    /// A device of a phone.
    Device(Arc<Phone>, u16),
}

impl Party {
    /// Makes `session` the connection; the one before it is told that it was replaced.
    pub(super) fn connect(&self, world: &World, session: &Arc<Session>) {
        match self {
            Self::User(account, read_receipts) => {
                account.connect(session, *read_receipts, world.clock.now_ms());
            }
            Self::Device(phone, index) => stock::connect(phone, *index, session),
        }
    }

    /// Forgets `session`, if it is still the connection.
    pub(super) fn disconnect(&self, world: &World, session: &Arc<Session>) {
        match self {
            Self::User(account, _) => account.disconnect(world, session),
            Self::Device(phone, index) => {
                let mut inner = phone.lock();
                if let Some(device) = inner.devices.get_mut(index)
                    && device.is_on(session)
                {
                    device.session = None;
                }
            }
        }
    }

    /// Looks into the mailbox. A device that is not this connection's any more has an empty one.
    pub(super) fn mailbox<T>(&self, session: &Session, look: impl FnOnce(&Mailbox) -> T) -> T {
        match self {
            Self::User(account, _) => look(&account.lock().mailbox),
            Self::Device(phone, index) => {
                let inner = phone.lock();
                let device = inner.devices.get(index);
                match device.filter(|device| device.is_on(session)) {
                    Some(device) => look(&device.mailbox),
                    None => look(&Mailbox::default()),
                }
            }
        }
    }

    /// Handles a stanza.
    pub(super) fn handle(&self, world: &Arc<World>, session: &Session, node: &Node) {
        match self {
            Self::User(account, _) => route::handle(world, account, session, node),
            Self::Device(phone, index) => {
                stock::route::handle(world, phone, *index, session, node);
            }
        }
    }

    /// What observers are told, with what else there is to tell.
    pub(super) fn told(&self, more: Value) -> Value {
        let mut told = match self {
            Self::User(account, _) => json!({"user": account.identifier, "jid": account.jid}),
            Self::Device(phone, index) => {
                json!({"phone": phone.number.to_string(), "device": index})
            }
        };
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
}
