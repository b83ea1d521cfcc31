//! What a phone keeps of messages that are not text: all that they said, and where their files are.

use gatekeeper::{
    message::{self, Body, Media},
    stanza::Jid,
};

use serde_json::json;

use super::{Inner, Phone};
use crate::{media::Shelf, world::World};

/// What a phone keeps of a message.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The protobuf of what it said.
    pub body: Vec<u8>,
    /// Its file, once it is there: the shelf and the name.
    pub file: Option<(Shelf, String)>,
}

impl Inner {
    /// Keeps what a message said, if it is not text.
    pub(super) fn hold(
        &mut self,
        with: &Jid,
        id: &str,
        body: &Body,
        file: Option<(Shelf, String)>,
    ) {
        if matches!(
            body,
            Body::Media(_) | Body::Location(_) | Body::Contacts { .. }
        ) && let Ok(body) = message::encode(body)
        {
            let key = (with.clone(), id.to_owned());
            self.held.insert(key, Held { body, file });
        }
    }

    /// What a message said, if it is held.
    pub(super) fn held_body(&self, with: &Jid, id: &str) -> Option<Body> {
        let held = self.held.get(&(with.clone(), id.to_owned()))?;
        message::decode(&held.body).ok()
    }

    /// The file of a message.
    pub(crate) fn held_media(&self, with: &Jid, id: &str) -> Option<Media> {
        match self.held_body(with, id)? {
            Body::Media(media) => Some(*media),
            _ => None,
        }
    }

    /// Notes where a message's file is; returns whether there is such a message still.
    pub(crate) fn hold_file(&mut self, with: &Jid, id: &str, name: String) -> bool {
        let held = self.held.get_mut(&(with.clone(), id.to_owned()));
        held.map(|held| held.file = Some((Shelf::Received, name)))
            .is_some()
    }

    /// Forgets what a message said. The media server keeps its files for those who may still come.
    pub(super) fn let_go(&mut self, world: &World, with: &Jid, id: &str) {
        let held = self.held.remove(&(with.clone(), id.to_owned()));
        if let Some((Shelf::Received, name)) = held.and_then(|held| held.file) {
            world.files.remove(Shelf::Received, &name);
        }
    }

    /// Lets messages disappear whose time has come; returns whether there were any.
    pub(crate) fn disappear(&mut self, world: &World, phone: &Phone, now_ms: u64) -> bool {
        let mut gone = Vec::new();
        for (with, log) in &mut self.chats {
            for entry in log.iter_mut() {
                if entry.expire(now_ms) {
                    gone.push((with.clone(), entry.id.clone()));
                }
            }
        }
        for (with, id) in &gone {
            self.let_go(world, with, id);
            let with = world.account_named(&with.to_string());
            world.events.emit("expired", || {
                json!({"phone": phone.number.to_string(), "message": id,
                       "with": with.map(|account| account.identifier.clone())})
            });
        }
        !gone.is_empty()
    }
}
