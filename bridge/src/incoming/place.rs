//! Puts what was read into the room: messages, and what is about them.

mod about;

use gatekeeper::{message::Body, stanzas::IncomingMessage};
use serde_json::{Value, json};
use store::{
    fading::{self, Fading},
    messages::{self, Direction, Kind, Message},
    portals, quarantine, sends, undecryptable,
};

use super::write::Work;
use crate::{ids, media, passes::Hold, posting, translate};

/// Media that may be seen once goes after this long even if nobody reads it, in milliseconds.
const UNSEEN_MS: i64 = 14 * 24 * 3600 * 1000;

/// What stands under media that may be seen once.
const ONCE: &str = "(to be seen once: deleted here when you have read it)";

/// An event for the room.
pub(super) struct Placing<'a> {
    /// Its type.
    pub(super) event_type: &'a str,
    /// Its content.
    pub(super) content: &'a Value,
    /// Whether it goes in the clear, as a reaction does: clients and homeservers count reactions by what they see.
    pub(super) clear: bool,
    /// What the message is.
    pub(super) kind: Kind,
    /// Stanza id of the message that it is about.
    pub(super) target: Option<String>,
}

impl<'a> Placing<'a> {
    /// A message that stands for itself.
    pub(super) fn message(content: &'a Value) -> Self {
        Self {
            event_type: "m.room.message",
            content,
            clear: false,
            kind: Kind::Message,
            target: None,
        }
    }
}

impl Work<'_> {
    /// Puts a message into the room.
    pub(super) async fn event(
        &mut self,
        stanza: &IncomingMessage,
        body: &Body,
    ) -> Result<(), Hold> {
        if self.was_deleted(stanza).await? {
            self.record(stanza, Kind::Message, None, true);
            self.unplace(stanza)?;
        } else {
            match body {
                Body::Reaction { target, emoji, .. } => {
                    self.reaction(stanza, body, target, emoji).await?;
                }
                Body::Revoke { target } => self.revoke(stanza, body, target).await?,
                Body::Edit {
                    target, body: new, ..
                } => self.edit(stanza, body, target, new).await?,
                Body::Timer { seconds } => self.timer(stanza, *seconds).await?,
                _ => self.message(stanza, body).await?,
            }
        }
        if self.unread.contains_key(&stanza.id) {
            let (login, peer) = (&self.portal.login, &self.portal.peer);
            undecryptable::done(&mut self.batch, login, peer, &stanza.id);
            // It may have been set aside while it could not be read.
            quarantine::done(&mut self.batch, login, peer, &stanza.id);
        }
        self.placed.insert(stanza.id.clone());
        self.receipts.extend(self.core.profile.taken(stanza));
        Ok(())
    }

    /// Whether a message is in the room that the chat has now.
    fn is_here(&self, message: &Message) -> bool {
        message.room_id == self.room.as_str()
    }

    /// Whether the deletion of a message came before the message: that one was asked for again, or waited.
    async fn was_deleted(&self, stanza: &IncomingMessage) -> Result<bool, Hold> {
        let late = self.is_late
            || stanza.offline.is_some()
            || self.unread.contains_key(&stanza.id)
            || stanza.encs.iter().any(|enc| enc.count > 0);
        if !late {
            return Ok(false);
        }
        let (login, peer) = (&self.portal.login, &self.portal.peer);
        let about = messages::about(&self.core.store, login, peer, &stanza.id).await?;
        Ok(about
            .iter()
            .any(|row| row.kind == Kind::Revoke && row.direction == Direction::In))
    }

    /// A message that stands for itself, with what it answers.
    async fn message(&mut self, stanza: &IncomingMessage, body: &Body) -> Result<(), Hold> {
        let mut body = body.clone();
        let answered = self.answered(stanza, &mut body).await?;
        let expiration = body.context().and_then(|context| context.expiration);
        if let Some(seconds) = expiration {
            self.tell_timer(stanza, seconds).await?;
        }
        let (core, portal) = (self.core, self.portal);
        let mut content = media::content(core, portal, &stanza.id, &body, &mut self.batch)?
            .unwrap_or_else(|| translate::to_matrix(&body));
        if let Some(event_id) = answered {
            content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": event_id } });
        }
        let view_once = matches!(&body, Body::Media(media) if media.view_once);
        if view_once {
            translate::note_below(&mut content, ONCE);
        }
        self.send(stanza, "", Placing::message(&content)).await?;
        let now = self.core.now();
        let due_ts = match expiration {
            Some(seconds) if seconds > 0 => {
                now.saturating_add(i64::from(seconds).saturating_mul(1000))
            }
            _ if view_once => now.saturating_add(UNSEEN_MS),
            _ => return Ok(()),
        };
        fading::put(
            &mut self.batch,
            &Fading {
                login: self.portal.login.clone(),
                peer: self.portal.peer.clone(),
                stanza_id: stanza.id.clone(),
                room_id: self.room.to_string(),
                due_ts,
                when_read: view_once,
            },
        );
        self.fades = true;
        Ok(())
    }

    /// The event that a message answers. Where there is one, the quotation is taken out of the message.
    async fn answered(
        &mut self,
        stanza: &IncomingMessage,
        body: &mut Body,
    ) -> Result<Option<String>, Hold> {
        let stands_in = self.unread.get(&stanza.id);
        if stands_in.is_some_and(|row| row.placeholder.is_some()) {
            // What fills a placeholder is an edit, and that cannot answer: the quotation stays.
            return Ok(None);
        }
        let Some(context) = body.context_mut() else {
            return Ok(None);
        };
        let Some(quote) = &context.reply_to else {
            return Ok(None);
        };
        if quote.stanza_id == stanza.id {
            context.reply_to = None;
            return Ok(None);
        }
        let found = self.find(&quote.stanza_id).await?;
        let event = found
            .filter(|message| !message.gone && self.is_here(message))
            .and_then(|message| message.event_id);
        if event.is_some() {
            context.reply_to = None;
        }
        Ok(event)
    }

    /// The message of this chat with a stanza id. Waits while its event is on its way, because what is about it needs the
    /// event's id.
    async fn find(&self, stanza_id: &str) -> Result<Option<Message>, Hold> {
        if self.placed.contains(stanza_id) {
            // It is in this very commit: the next one sees it.
            return Err(Hold::after(std::time::Duration::ZERO));
        }
        let (login, peer) = (&self.portal.login, &self.portal.peer);
        let Some(message) = messages::get(&self.core.store, login, peer, stanza_id).await? else {
            return Ok(None);
        };
        if message.event_id.is_some() {
            return Ok(Some(message));
        }
        if self.is_on_its_way(&message).await? {
            return Err(Hold::until("what it is about is not in the room yet"));
        }
        // It may have arrived between the two looks.
        Ok(messages::get(&self.core.store, login, peer, stanza_id).await?)
    }

    async fn is_on_its_way(&self, message: &Message) -> Result<bool, Hold> {
        let store = &self.core.store;
        Ok(sends::holds(store, &message.room_id, &message.peer, &message.stanza_id).await?)
    }

    async fn timer(&mut self, stanza: &IncomingMessage, seconds: u32) -> Result<(), Hold> {
        if self.timer == seconds {
            self.record(stanza, Kind::Message, None, true);
            return self.unplace(stanza);
        }
        self.set_timer(seconds);
        let content = translate::to_matrix(&Body::Timer { seconds });
        self.send(stanza, "", Placing::message(&content)).await
    }

    /// Says once that messages of this chat disappear, if nobody has.
    async fn tell_timer(&mut self, stanza: &IncomingMessage, seconds: u32) -> Result<(), Hold> {
        if self.timer == seconds {
            return Ok(());
        }
        self.set_timer(seconds);
        let content = translate::to_matrix(&Body::Timer { seconds });
        self.post(stanza, "timer", &Placing::message(&content), false)
            .await
    }

    fn set_timer(&mut self, seconds: u32) {
        self.timer = seconds;
        portals::set_timer(&mut self.batch, self.portal.id, seconds);
    }

    /// Redacts what was shown while this message could not be read.
    fn unplace(&mut self, stanza: &IncomingMessage) -> Result<(), Hold> {
        let placeholder = self.unread.get(&stanza.id);
        let Some(event) = placeholder.and_then(|row| row.placeholder.clone()) else {
            return Ok(());
        };
        posting::redact(
            self.core,
            &mut self.batch,
            self.ghost,
            self.room,
            &event,
            "",
        );
        Ok(())
    }

    /// Remembers a message that has no event.
    fn record(&mut self, stanza: &IncomingMessage, kind: Kind, target: Option<String>, gone: bool) {
        self.write(stanza, None, kind, target, gone);
    }

    fn write(
        &mut self,
        stanza: &IncomingMessage,
        event_id: Option<String>,
        kind: Kind,
        target: Option<String>,
        gone: bool,
    ) {
        messages::put(
            &mut self.batch,
            &Message {
                login: self.portal.login.clone(),
                peer: self.portal.peer.clone(),
                stanza_id: stanza.id.clone(),
                event_id,
                room_id: self.room.to_string(),
                direction: Direction::In,
                status: messages::Status::Delivered,
                ts: self.core.arrival(),
                kind,
                target,
                gone,
            },
        );
    }

    /// Sends the event of a message and remembers it.
    pub(super) async fn send(
        &mut self,
        stanza: &IncomingMessage,
        part: &str,
        placing: Placing<'_>,
    ) -> Result<(), Hold> {
        let placeholder = self
            .unread
            .get(&stanza.id)
            .and_then(|row| row.placeholder.clone())
            .filter(|_| part.is_empty() && placing.event_type == "m.room.message");
        let filled = placeholder
            .as_deref()
            .map(|event| translate::edit(event, placing.content.clone()));
        let shown = Placing {
            content: filled.as_ref().unwrap_or(placing.content),
            target: None,
            ..placing
        };
        // The event is the message's, unless there is a placeholder for that.
        let owned = placeholder.is_none();
        self.post(stanza, part, &shown, owned).await?;
        // Whoever answers or reacts names the placeholder, not its edit.
        self.write(stanza, placeholder, placing.kind, placing.target, false);
        Ok(())
    }

    /// Puts an event among those to be sent; `owned` if its id becomes the message's.
    async fn post(
        &mut self,
        stanza: &IncomingMessage,
        part: &str,
        placing: &Placing<'_>,
        owned: bool,
    ) -> Result<(), Hold> {
        let (login, peer) = (&self.portal.login, &self.portal.peer);
        let (event_type, content) = if placing.clear {
            (placing.event_type, placing.content.to_string())
        } else {
            let raw = self
                .core
                .raw(&translate::bounded(placing.content.clone()))?;
            let encrypted = self
                .ghost
                .encrypt(self.room, placing.event_type, raw)
                .await?;
            ("m.room.encrypted", encrypted.json().get().to_owned())
        };
        let ts = i64::try_from(stanza.t.saturating_mul(1000)).unwrap_or(i64::MAX);
        let ts = if ts == 0 { self.core.now() } else { ts };
        let txn_id = ids::transaction_id(login, peer, &stanza.id, part);
        let owner = |id: &str| owned.then(|| id.to_owned());
        sends::put(
            &mut self.batch,
            sends::NewSend {
                login: owner(login),
                peer: owner(peer),
                stanza_id: owner(&stanza.id),
                ..posting::event(self.ghost, self.room, txn_id, event_type, &content, ts)
            },
        );
        Ok(())
    }
}
