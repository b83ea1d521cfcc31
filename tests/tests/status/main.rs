//! What people are told: how far a message has come, that one waits, failed or cannot be read, who has read and who types.

mod keys;
mod logins;
mod outcomes;
mod receipts;

use std::time::Duration;

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::plain::PlainUser;
use tests::sandbox::{Events, Phone};
use tests::stack::{Options, PASSWORD, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result, http};
use tokio::sync::OnceCell;

/// The type of a status event.
const STATUS: &str = "com.beeper.message_send_status";
/// Longer than the half minute after which the user hears that something waits.
const LONG: Duration = Duration::from_secs(90);

/// One stack for the tests that leave its parts alone; each has its own users and phones.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| Stack::start("status", Options::default()))
        .await
}

/// A Matrix user and a phone with a chat in which both have written.
struct Chat {
    client: Client,
    phone: Phone,
    ghost: String,
    room: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let client = stack.enlisted_client(user).await?;
        let ghost = stack.ghost(&phone);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let chat = Self {
            client,
            phone,
            ghost,
            room,
        };
        chat.client.send(&chat.room, "hello").await?;
        chat.phone.wait_for_text(chat.me(), "hello").await?;
        chat.phone.send(chat.me(), "hello to you").await?;
        chat.seen("hello to you").await?;
        Ok(chat)
    }

    fn me(&self) -> &str {
        self.client.user_id()
    }

    async fn seen(&self, text: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for_text(&self.room, &self.ghost, text)
            .await
    }

    async fn ghost_types(&self, types: bool) -> Result<()> {
        self.client
            .wait_for_typing(&self.room, &self.ghost, types)
            .await
    }

    /// The contents of the status events about a message, in order.
    async fn statuses(&self, event: &str) -> Result<Vec<Value>> {
        let timeline = self.client.timeline(&self.room).await?;
        Ok(timeline
            .into_iter()
            .filter(|each| each.kind == STATUS && each.relates("m.reference", event))
            .map(|each| {
                assert!(!each.encrypted, "clients expect it in the clear");
                each.content
            })
            .collect())
    }

    async fn wait_for_status(
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

    async fn wait_for_delivery(&self, event: &str) -> Result<Value> {
        self.wait_for_status(event, "the delivery of a message", |status| {
            status["delivered_to_users"] == json!([self.ghost])
        })
        .await
    }

    /// What the bot has said in the room, redacted or not, without edits.
    async fn notices(&self, bot: &str) -> Result<Vec<TimelineEvent>> {
        let timeline = self.client.timeline(&self.room).await?;
        Ok(timeline
            .into_iter()
            .filter(|each| each.sender == bot && each.relation["rel_type"] != "m.replace")
            .filter(|each| each.redacted || each.kind == "m.room.message")
            .collect())
    }

    async fn wait_for_notice(&self, bot: &str, part: &str) -> Result<TimelineEvent> {
        self.client
            .until(&format!("the bot to say {part:?}"), LONG, || async {
                let notices = self.notices(bot).await?;
                Ok(notices
                    .into_iter()
                    .find(|each| each.body().is_some_and(|body| body.contains(part))))
            })
            .await
    }

    /// The statuses of the phone's own messages, by text.
    async fn ticks(&self) -> Result<Vec<(String, String)>> {
        let messages = self.phone.messages(self.me()).await?;
        Ok(messages
            .into_iter()
            .filter(|message| message.from_me)
            .map(|message| (message.text.unwrap_or_default(), message.status))
            .collect())
    }
}

/// SIGKILL, and a new start.
async fn crash(stack: &Stack) -> Result<()> {
    stack.gatehouse.kill();
    stack.gatehouse.start().await
}
