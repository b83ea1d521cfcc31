//! A Matrix user and a phone who talk to each other.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, TimelineEvent};
use crate::sandbox::Phone;
use crate::stack::Stack;
use crate::{Error, Result};

/// Longer than the half minute after which it is told that something waits.
const LONG: Duration = Duration::from_secs(120);

/// A user, a phone, and the room between them.
#[derive(Debug)]
pub struct Chat {
    /// The user's client.
    pub client: Client,
    /// The user's Matrix id.
    pub me: String,
    /// The contact's phone.
    pub phone: Phone,
    /// The contact's Matrix id.
    pub ghost: String,
    /// The bridge's bot, which tells what does not cross.
    pub bot: String,
    /// The room.
    pub room: String,
}

impl Chat {
    /// Enlists a new user, opens a room with a new phone, and has both write.
    ///
    /// # Errors
    ///
    /// When one of them cannot be made or does not hear the other.
    pub async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let options = json!({"encrypted": true, "is_direct": true});
        let chat = Self::open_with(stack, user, number, options).await?;
        chat.sent("hello").await?;
        chat.received("hello to you").await?;
        Ok(chat)
    }

    /// As [`Chat::open`], in a room as the driver's `create_room` makes it with these options; nobody has written yet.
    ///
    /// # Errors
    ///
    /// When one of them cannot be made.
    pub async fn open_with(
        stack: &Stack,
        user: &str,
        number: &str,
        mut options: Value,
    ) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let ghost = stack.ghost(&phone);
        let client = stack.enlisted_client(user).await?;
        options["invite"] = json!([ghost]);
        let room = client.create_room(options).await?;
        client.wait_for_member(&room, &ghost).await?;
        Ok(Self {
            me: client.user_id().to_owned(),
            client,
            phone,
            ghost,
            bot: stack.bot(),
            room,
        })
    }

    /// A text to the phone: its event id and stanza id.
    ///
    /// # Errors
    ///
    /// When it does not arrive.
    pub async fn sent(&self, text: &str) -> Result<(String, String)> {
        let event = self.client.send(&self.room, text).await?;
        let shown = self.phone.wait_for_text(&self.me, text).await?;
        Ok((event, shown.id))
    }

    /// A text from the phone: its event id and stanza id.
    ///
    /// # Errors
    ///
    /// When it does not arrive, or with a shield beside it.
    pub async fn received(&self, text: &str) -> Result<(String, String)> {
        let id = self.phone.send(&self.me, text).await?;
        let seen = self.seen(text, &json!({ "body": text })).await?;
        Ok((seen.event_id, id))
    }

    /// Waits until the phone shows a message from the user that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with what it shows instead.
    pub async fn on_phone(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        self.phone
            .wait_for(&self.me, what, |message| {
                message["from_me"] == false && accept(message)
            })
            .await
    }

    /// Waits until the phone shows a message as `wanted` says, field by field.
    ///
    /// # Errors
    ///
    /// A timeout, with what it shows instead.
    pub async fn shown(&self, what: &str, wanted: &Value) -> Result<Value> {
        self.on_phone(what, |message| differs(message, wanted).is_none())
            .await
    }

    /// Waits until the phone has fetched the file of a message that is as `wanted` says, and compares the file with its sum.
    ///
    /// # Errors
    ///
    /// A timeout, or a file that cannot be fetched or is another one.
    pub async fn file_shown(&self, what: &str, wanted: &Value) -> Result<Value> {
        let shown = self
            .on_phone(what, |message| {
                differs(message, wanted).is_none() && message["media"] != "fetching"
            })
            .await?;
        if shown["media"] != "ready" {
            return Err(Error::new(format!("{what} was not fetched: {shown:#}")));
        }
        let id = shown["id"].as_str().unwrap_or_default();
        let file = self.phone.file(id).await?;
        if shown["sha256"] != file.sha256 || shown["size"] != file.size {
            return Err(Error::new(format!("{what} is {file:?} and not {shown:#}")));
        }
        Ok(shown)
    }

    /// Waits for an event of the ghost's that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, or a shield beside it.
    pub async fn in_room(
        &self,
        what: &str,
        accept: impl Fn(&TimelineEvent) -> bool,
    ) -> Result<TimelineEvent> {
        let event = self
            .client
            .wait_for(&self.room, what, |event| {
                event.sender == self.ghost && accept(event)
            })
            .await?;
        match event.is_clean() {
            true => Ok(event),
            false => Err(Error::new(format!("a shield beside {}", event.summary()))),
        }
    }

    /// Waits for an event of the ghost's whose content holds what `wanted` says.
    ///
    /// # Errors
    ///
    /// As [`Chat::in_room`].
    pub async fn seen(&self, what: &str, wanted: &Value) -> Result<TimelineEvent> {
        self.in_room(what, |event| differs(&event.content, wanted).is_none())
            .await
    }

    /// Waits until the bot has said something with this in it.
    ///
    /// # Errors
    ///
    /// A timeout, with what the room shows instead.
    pub async fn told(&self, part: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for(&self.room, &format!("{part:?} from the bot"), |event| {
                event.sender == self.bot && event.body().is_some_and(|body| body.contains(part))
            })
            .await
    }

    /// Waits until the bot has said something with this in it about an event.
    ///
    /// # Errors
    ///
    /// A timeout, with what the room shows instead.
    pub async fn told_about(&self, event: &str, part: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for(&self.room, &format!("{part:?} about {event}"), |each| {
                each.sender == self.bot
                    && each.answers() == Some(event)
                    && each.body().is_some_and(|body| body.contains(part))
            })
            .await
    }

    /// The contents of the `com.beeper.message_send_status` events about an event, in order.
    ///
    /// # Errors
    ///
    /// When the client is gone, or one of them is encrypted: clients expect them in the clear.
    pub async fn statuses(&self, event: &str) -> Result<Vec<Value>> {
        let timeline = self.client.timeline(&self.room).await?;
        timeline
            .into_iter()
            .filter(|each| each.kind == "com.beeper.message_send_status")
            .filter(|each| each.relates("m.reference", event))
            .map(|each| match each.encrypted {
                true => Err(Error::new("a status is encrypted")),
                false => Ok(each.content),
            })
            .collect()
    }

    /// Waits for a status of an event that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with the statuses that came instead.
    pub async fn status(
        &self,
        event: &str,
        what: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let accept = &accept;
        let found = self
            .client
            .until(what, LONG, || async {
                Ok(self.statuses(event).await?.into_iter().find(accept))
            })
            .await;
        match found {
            Ok(status) => Ok(status),
            Err(error) => Err(Error::new(format!(
                "{error}; its statuses are {:#?}",
                self.statuses(event).await?
            ))),
        }
    }

    /// Waits until an event shows exactly these reactions on the phone: who and emoji, oldest first.
    ///
    /// # Errors
    ///
    /// A timeout, with what it shows instead.
    pub async fn reactions_there(&self, id: &str, wanted: &[(&str, &str)]) -> Result<()> {
        let wanted: Value = wanted
            .iter()
            .map(|(from, emoji)| json!({"from": from, "emoji": emoji}))
            .collect();
        self.phone
            .wait_for(&self.me, &format!("the reactions {wanted}"), |message| {
                message["id"] == id && message["reactions"] == wanted
            })
            .await
            .map(drop)
    }

    /// Nothing of what was sent before a text that has arrived is still under way.
    ///
    /// # Errors
    ///
    /// When the text does not arrive.
    pub async fn flush(&self, mark: &str) -> Result<()> {
        self.sent(&format!("{mark} there")).await?;
        self.received(&format!("{mark} back")).await.map(drop)
    }
}

/// The first place where `actual` is not what `wanted` says; keys that `wanted` does not name do not matter.
#[must_use]
pub fn differs(actual: &Value, wanted: &Value) -> Option<String> {
    match wanted {
        Value::Object(fields) => fields.iter().find_map(|(key, wanted)| {
            differs(&actual[key], wanted).map(|difference| format!("{key}.{difference}"))
        }),
        _ => (actual != wanted).then(|| format!("{actual} is not {wanted}")),
    }
}
