//! What people are told: how far a message has come, that one waits, failed or cannot be read, who has read and who types.

mod keys;
mod logins;
mod outcomes;
mod receipts;

use std::time::Duration;

use serde_json::{Value, json};
use tests::chat::Chat;
use tests::client::TimelineEvent;
use tests::plain::PlainUser;
use tests::sandbox::{Events, Phone};
use tests::stack::{Options, PASSWORD, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result, gatehouse, http};
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

/// What is looked at here besides messages.
trait Told {
    /// Waits until the ghost types, or types no more.
    async fn ghost_types(&self, types: bool) -> Result<()>;
    /// Waits for the status of a message that the contact's phone has.
    async fn wait_for_delivery(&self, event: &str) -> Result<Value>;
    /// What the bot has said in the room, redacted or not, without edits.
    async fn notices(&self) -> Result<Vec<TimelineEvent>>;
    /// Waits until the bot has said something with this in it, for longer than half a minute.
    async fn wait_for_notice(&self, part: &str) -> Result<TimelineEvent>;
    /// The statuses of the phone's own messages, by text.
    async fn ticks(&self) -> Result<Vec<(String, String)>>;
}

impl Told for Chat {
    async fn ghost_types(&self, types: bool) -> Result<()> {
        self.client
            .wait_for_typing(&self.room, &self.ghost, types)
            .await
    }

    async fn wait_for_delivery(&self, event: &str) -> Result<Value> {
        self.status(event, "the delivery of a message", |status| {
            status["delivered_to_users"] == json!([self.ghost])
        })
        .await
    }

    async fn notices(&self) -> Result<Vec<TimelineEvent>> {
        let timeline = self.client.timeline(&self.room).await?;
        Ok(timeline
            .into_iter()
            .filter(|each| each.sender == self.bot && each.relation["rel_type"] != "m.replace")
            .filter(|each| each.redacted || each.kind == "m.room.message")
            .collect())
    }

    async fn wait_for_notice(&self, part: &str) -> Result<TimelineEvent> {
        self.client
            .until(&format!("the bot to say {part:?}"), LONG, || async {
                let notices = self.notices().await?;
                Ok(notices
                    .into_iter()
                    .find(|each| each.body().is_some_and(|body| body.contains(part))))
            })
            .await
    }

    async fn ticks(&self) -> Result<Vec<(String, String)>> {
        let messages = self.phone.messages(&self.me).await?;
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
