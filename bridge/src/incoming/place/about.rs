//! What is about another message: reactions, edits, deletions.

use gatekeeper::{
    message::{Body, MessageKey},
    stanzas::IncomingMessage,
};
use serde_json::{Value, json};
use store::messages::{self, Direction, Kind, Message};

use super::{Placing, Work};
use crate::{media, passes::Hold, posting, translate};

fn notice(text: &str) -> Value {
    json!({ "msgtype": "m.notice", "body": text })
}

impl Work<'_> {
    /// [`Work::find`], for what can be reacted to, edited and deleted.
    async fn target(&mut self, key: &MessageKey) -> Result<Option<Message>, Hold> {
        let found = self.find(&key.id).await?;
        let target = found.filter(|message| {
            message.kind == Kind::Message && !message.gone && message.event_id.is_some()
        });
        // What comes next about it in this commit would not see what is done now.
        self.placed.insert(key.id.clone());
        Ok(target)
    }

    /// What an event of the room shows now; nothing if it is gone or unreadable.
    ///
    /// # Errors
    ///
    /// A [`Hold`] until it has been read.
    fn shown(&mut self, event_id: &str) -> Result<Option<&Value>, Hold> {
        match self.shown.get(event_id) {
            Some(shown) => Ok(shown.as_ref()),
            None => {
                self.wanted = Some(event_id.to_owned());
                Err(Hold::after(std::time::Duration::ZERO))
            }
        }
    }

    /// What a message from there is shown as when it is about something that is not here.
    async fn stray(
        &mut self,
        stanza: &IncomingMessage,
        body: &Body,
        kind: Kind,
        key: &MessageKey,
    ) -> Result<(), Hold> {
        let content = translate::to_matrix(body);
        self.told(stanza, &content, kind, key).await
    }

    async fn told(
        &mut self,
        stanza: &IncomingMessage,
        content: &Value,
        kind: Kind,
        key: &MessageKey,
    ) -> Result<(), Hold> {
        let placing = Placing {
            kind,
            target: Some(key.id.clone()),
            ..Placing::message(content)
        };
        self.send(stanza, "", placing).await
    }

    pub(super) async fn reaction(
        &mut self,
        stanza: &IncomingMessage,
        body: &Body,
        key: &MessageKey,
        emoji: &str,
    ) -> Result<(), Hold> {
        let limit = self.core.capabilities.limits().emoji_bytes;
        let Some(target) = self.target(key).await? else {
            return self.stray(stanza, body, Kind::Reaction, key).await;
        };
        if !emoji.is_empty() && !translate::is_emoji(emoji, limit) {
            return self.stray(stanza, body, Kind::Reaction, key).await;
        }
        for earlier in self.about(&target).await? {
            if earlier.kind == Kind::Reaction && !earlier.gone {
                self.take_out(&earlier, "")?;
            }
        }
        if emoji.is_empty() {
            self.record(stanza, Kind::Reaction, Some(target.stanza_id), true);
            return self.unplace(stanza);
        }
        if !self.is_here(&target) {
            return self.stray(stanza, body, Kind::Reaction, key).await;
        }
        let content = json!({
            "m.relates_to": { "rel_type": "m.annotation", "event_id": target.event_id, "key": emoji },
        });
        let placing = Placing {
            event_type: "m.reaction",
            content: &content,
            clear: true,
            kind: Kind::Reaction,
            target: Some(target.stanza_id),
        };
        self.send(stanza, "", placing).await?;
        self.unplace(stanza)
    }

    pub(super) async fn edit(
        &mut self,
        stanza: &IncomingMessage,
        body: &Body,
        key: &MessageKey,
        new: &Body,
    ) -> Result<(), Hold> {
        let Some(target) = self.target(key).await? else {
            return self.stray(stanza, body, Kind::Edit, key).await;
        };
        if target.direction == Direction::Out {
            let text = "An edit of a message that you wrote came from WhatsApp. Only you can edit it, so it stays as it was.";
            return self.told(stanza, &notice(text), Kind::Edit, key).await;
        }
        if !self.is_here(&target) {
            // It is in a room that the user has left: no edit of it is seen here.
            return self.stray(stanza, body, Kind::Edit, key).await;
        }
        let event_id = target.event_id.as_deref().unwrap_or_default();
        let caption = match new {
            Body::Media(media) => Body::text(media.caption.clone().unwrap_or_default()),
            other => other.clone(),
        };
        if matches!(&caption, Body::Text { text, .. } if !translate::fits(text, None)) {
            return self.long_edit(stanza, &caption, &target, event_id).await;
        }
        // A file stays what it is: what is written under it changes.
        let shown = self.shown(event_id)?;
        let original = shown.map(|event| &event["content"]);
        let file = original.filter(|content| {
            ["m.image", "m.video", "m.audio", "m.file"]
                .iter()
                .any(|kind| content["msgtype"] == *kind)
        });
        let content = translate::replacement(event_id, &caption, file);
        let placing = Placing {
            kind: Kind::Edit,
            target: Some(target.stanza_id),
            ..Placing::message(&content)
        };
        // Its event is the edit's own, whatever was shown while the edit could not be read.
        self.send(stanza, "edit", placing).await?;
        self.unplace(stanza)
    }

    /// An edit that fits into no event: its text comes as a file, beside the message that it changes.
    async fn long_edit(
        &mut self,
        stanza: &IncomingMessage,
        text: &Body,
        target: &Message,
        event_id: &str,
    ) -> Result<(), Hold> {
        let (core, portal) = (self.core, self.portal);
        let content = media::content(core, portal, &stanza.id, text, &mut self.batch)?;
        let mut content = content.unwrap_or_else(|| translate::to_matrix(text));
        content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": event_id } });
        let placing = Placing {
            kind: Kind::Edit,
            target: Some(target.stanza_id.clone()),
            ..Placing::message(&content)
        };
        self.send(stanza, "", placing).await
    }

    pub(super) async fn revoke(
        &mut self,
        stanza: &IncomingMessage,
        body: &Body,
        key: &MessageKey,
    ) -> Result<(), Hold> {
        let Some(target) = self.target(key).await? else {
            return self.stray(stanza, body, Kind::Revoke, key).await;
        };
        if target.direction == Direction::Out {
            let text = "A deletion of a message that you wrote came from WhatsApp. Only you can delete it, so it stays.";
            return self.told(stanza, &notice(text), Kind::Revoke, key).await;
        }
        for edit in self.about(&target).await? {
            if edit.kind == Kind::Edit && edit.direction == Direction::In {
                self.take_out(&edit, "")?;
            }
        }
        self.take_out(&target, "deleted on WhatsApp")?;
        self.record(stanza, Kind::Revoke, Some(target.stanza_id), false);
        self.unplace(stanza)
    }

    /// What the contact did about a message, with the events of all of it known.
    async fn about(&self, target: &Message) -> Result<Vec<Message>, Hold> {
        let (login, peer) = (&self.portal.login, &self.portal.peer);
        let store = &self.core.store;
        let mut about = messages::about(store, login, peer, &target.stanza_id).await?;
        about.retain(|row| row.direction == Direction::In);
        for row in &mut about {
            if row.event_id.is_some() {
                continue;
            }
            if self.is_on_its_way(row).await? {
                return Err(Hold::until("what it replaces is not in the room yet"));
            }
            // It may have arrived between the two looks.
            if let Some(now) = messages::get(store, login, peer, &row.stanza_id).await? {
                *row = now;
            }
        }
        Ok(about)
    }

    /// Redacts a message's event.
    fn take_out(&mut self, message: &Message, reason: &str) -> Result<(), Hold> {
        let (login, peer) = (&message.login, &message.peer);
        messages::set_gone(&mut self.batch, login, peer, &message.stanza_id);
        let Some(event_id) = message.event_id.as_deref() else {
            return Ok(());
        };
        let room = self.core.room(&message.room_id)?;
        posting::redact(
            self.core,
            &mut self.batch,
            self.ghost,
            &room,
            event_id,
            reason,
        );
        Ok(())
    }
}
