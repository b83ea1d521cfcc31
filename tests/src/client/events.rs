//! Events of any kind, receipts, typing and state.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Client, TimelineEvent};
use crate::error::Context as _;
use crate::{Result, wait};

impl Client {
    /// Sends an event of any type as the library would: encrypted if the room is, but a reaction in the clear.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn send_event(&self, room: &str, kind: &str, content: Value) -> Result<String> {
        self.send_by("send_event", room, kind, content).await
    }

    /// Sends an event of any type in the clear, whatever the room says.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn send_plain(&self, room: &str, kind: &str, content: Value) -> Result<String> {
        self.send_by("send_plain", room, kind, content).await
    }

    /// Sends an event of any type encrypted, also what the library would send in the clear.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn send_encrypted(&self, room: &str, kind: &str, content: Value) -> Result<String> {
        self.send_by("send_encrypted", room, kind, content).await
    }

    async fn send_by(&self, op: &str, room: &str, kind: &str, content: Value) -> Result<String> {
        let event = json!({"room_id": room, "type": kind, "content": content});
        event_id(&self.ask(op, event).await?)
    }

    /// Sends a message of any kind, encrypted: `content` is the whole content.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn send_message(&self, room: &str, content: Value) -> Result<String> {
        self.send_event(room, "m.room.message", content).await
    }

    /// Answers an event with a text.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn reply(&self, room: &str, to: &str, text: &str) -> Result<String> {
        let content = json!({
            "msgtype": "m.text",
            "body": text,
            "m.relates_to": {"m.in_reply_to": {"event_id": to}},
        });
        self.send_message(room, content).await
    }

    /// Reacts to an event, in the clear as most clients do.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn react(&self, room: &str, to: &str, emoji: &str) -> Result<String> {
        self.send_event(room, "m.reaction", annotation(to, emoji))
            .await
    }

    /// Reacts to an event with an encrypted reaction.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn react_encrypted(&self, room: &str, to: &str, emoji: &str) -> Result<String> {
        self.send_encrypted(room, "m.reaction", annotation(to, emoji))
            .await
    }

    /// Replaces the text of an event.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn edit(&self, room: &str, event: &str, text: &str) -> Result<String> {
        let content = json!({
            "msgtype": "m.text",
            "body": format!("* {text}"),
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event},
        });
        self.send_message(room, content).await
    }

    /// Redacts an event and gives the redaction's id.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn redact(&self, room: &str, event: &str) -> Result<String> {
        let answer = self
            .ask("redact", json!({"room_id": room, "event_id": event}))
            .await?;
        event_id(&answer)
    }

    /// Whether to go on for ever, without doubling anything, with what an outage of the homeserver keeps from being sent.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn be_stubborn(&self, on: bool) -> Result<()> {
        self.ask("stubborn", json!({"on": on})).await.map(drop)
    }

    /// The content of a state event; `None` if there is none.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn state(&self, room: &str, kind: &str, key: &str) -> Result<Option<Value>> {
        let mut answer = self
            .ask(
                "state",
                json!({"room_id": room, "type": kind, "state_key": key}),
            )
            .await?;
        Ok(Some(answer["content"].take()).filter(|content| !content.is_null()))
    }

    /// For each member, the last event it has read.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn read_markers(&self, room: &str) -> Result<HashMap<String, String>> {
        let mut answer = self.ask("receipts", json!({"room_id": room})).await?;
        Ok(serde_json::from_value(answer["read"].take())?)
    }

    /// Sends a read receipt.
    ///
    /// # Errors
    ///
    /// When the event is not in the timeline or the homeserver refuses.
    pub async fn mark_read(&self, room: &str, event_id: &str) -> Result<()> {
        self.ask("read", json!({"room_id": room, "event_id": event_id}))
            .await
            .map(drop)
    }

    /// Sends a read receipt that other users must not see.
    ///
    /// # Errors
    ///
    /// As [`Client::mark_read`].
    pub async fn mark_read_privately(&self, room: &str, event_id: &str) -> Result<()> {
        let receipt = json!({"room_id": room, "event_id": event_id, "is_private": true});
        self.ask("read", receipt).await.map(drop)
    }

    /// Waits until `user` has read as far as `event_id`.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_for_read(&self, room: &str, user: &str, event_id: &str) -> Result<()> {
        self.until(
            &format!("{user} to read {event_id}"),
            wait::PATIENCE,
            || async {
                let read = self.read_markers(room).await?;
                Ok((read.get(user).map(String::as_str) == Some(event_id)).then_some(()))
            },
        )
        .await
    }

    /// Keeps the room keys that this client sends from now on, as if they were lost or late.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn hold_keys(&self) -> Result<()> {
        self.ask("hold_keys", json!({})).await.map(drop)
    }

    /// Lets the room keys through that this client sends from now on; the kept ones stay kept.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn pass_later_keys(&self) -> Result<()> {
        self.ask("pass_later_keys", json!({})).await.map(drop)
    }

    /// Sends the kept room keys and says how many they were.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn release_keys(&self) -> Result<u64> {
        let answer = self.ask("release_keys", json!({})).await?;
        answer["released"].as_u64().context("no count")
    }

    /// Says that the user types, or has stopped.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn typing(&self, room: &str, typing: bool) -> Result<()> {
        self.ask("typing", json!({"room_id": room, "typing": typing}))
            .await
            .map(drop)
    }

    /// Who types in the room now.
    ///
    /// # Errors
    ///
    /// When the client does not know the room.
    pub async fn who_types(&self, room: &str) -> Result<Vec<String>> {
        let mut answer = self.ask("who_types", json!({"room_id": room})).await?;
        Ok(serde_json::from_value(answer["user_ids"].take())?)
    }

    /// Waits until `user` types, or types no more.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_for_typing(&self, room: &str, user: &str, typing: bool) -> Result<()> {
        self.until(
            &format!("typing={typing} of {user}"),
            wait::PATIENCE,
            || async {
                let types = self.who_types(room).await?.iter().any(|each| each == user);
                Ok((types == typing).then_some(()))
            },
        )
        .await
    }

    /// Waits until an event shows exactly these reactions: sender and emoji, oldest first.
    ///
    /// # Errors
    ///
    /// A timeout, with what it shows instead.
    pub async fn wait_for_reactions(
        &self,
        room: &str,
        event: &str,
        wanted: &[(&str, &str)],
    ) -> Result<()> {
        let shown = || async {
            let timeline = self.timeline(room).await?;
            let shown: Vec<(String, String)> = timeline
                .iter()
                .filter_map(|each| Some((each.sender.clone(), each.reaction_to(event)?.to_owned())))
                .collect();
            Ok::<_, crate::Error>(shown)
        };
        let same = |shown: &[(String, String)]| {
            shown.len() == wanted.len()
                && shown
                    .iter()
                    .zip(wanted)
                    .all(|(is, want)| is.0 == want.0 && is.1 == want.1)
        };
        let found = self
            .until(
                &format!("the reactions {wanted:?}"),
                wait::PATIENCE,
                || async { Ok(same(&shown().await?).then_some(())) },
            )
            .await;
        match found {
            Ok(()) => Ok(()),
            Err(error) => Err(crate::Error::new(format!(
                "{error}; it shows {:?}",
                shown().await?
            ))),
        }
    }

    /// Waits until the event has been redacted.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_for_redaction(&self, room: &str, event: &str) -> Result<TimelineEvent> {
        self.wait_for(room, &format!("{event} to be redacted"), |each| {
            each.event_id == event && each.redacted
        })
        .await
    }
}

fn event_id(answer: &Value) -> Result<String> {
    Ok(answer["event_id"]
        .as_str()
        .context("no event id")?
        .to_owned())
}

fn annotation(to: &str, emoji: &str) -> Value {
    json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": to, "key": emoji}})
}
