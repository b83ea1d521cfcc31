//! Everything people send but files, in both directions through Synapse, with a real encrypting client and a phone: row
//! after row of the capability table, compared field by field. And what must be refused.

mod about;
mod bursts;
mod hostile;
mod rooms;
mod single;
mod waiting;

use serde_json::Value;
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::stack::{Options, Stack};
use tests::{Result, gatehouse};
use tokio::sync::OnceCell;

/// A bridge whose gatekeeper shows everything.
fn everything() -> gatehouse::Options {
    let mut options = gatehouse::Options::accepting_everything();
    // What is too long for WhatsApp shall still fit into an event.
    let limit = "GATEHOUSE_LIMITS__TEXT_CHARS".to_owned();
    options.environment.push((limit, "30000".to_owned()));
    options
}

/// One stack with such a bridge for the tests of these files; each has its own users and phones.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| {
            let options = Options {
                gatehouse: everything(),
                ..Options::default()
            };
            Stack::start("kinds", options)
        })
        .await
}

/// One stack with the profile as it is delivered: edits and deletions are not known to work.
async fn careful_stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| Stack::start("kinds-default", Options::default()))
        .await
}

/// A user, a phone, and the room between them, in which both have written.
struct Chat {
    client: Client,
    me: String,
    phone: Phone,
    ghost: String,
    bot: String,
    room: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let ghost = stack.ghost(&phone);
        let client = stack.enlisted_client(user).await?;
        let me = client.user_id().to_owned();
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let chat = Self {
            client,
            me,
            phone,
            ghost,
            bot: stack.bot(),
            room,
        };
        chat.sent("first").await?;
        chat.received("second").await?;
        Ok(chat)
    }

    /// A text to the phone: its event id and stanza id.
    async fn sent(&self, text: &str) -> Result<(String, String)> {
        let event = self.client.send(&self.room, text).await?;
        let shown = self.phone.wait_for_text(&self.me, text).await?;
        Ok((event, shown.id))
    }

    /// A text from the phone: its event id and stanza id.
    async fn received(&self, text: &str) -> Result<(String, String)> {
        let id = self.phone.send(&self.me, text).await?;
        let seen = self
            .client
            .wait_for_text(&self.room, &self.ghost, text)
            .await?;
        assert!(seen.is_clean(), "a shield beside {}", seen.summary());
        Ok((seen.event_id, id))
    }

    /// Waits until the phone shows a message as `wanted` says, field by field.
    async fn shown(&self, what: &str, wanted: &Value) -> Result<Value> {
        self.phone
            .wait_for(&self.me, what, |message| {
                message["from_me"] == false && differs(message, wanted).is_none()
            })
            .await
    }

    /// Waits for an event of the ghost's whose content holds what `wanted` says.
    async fn seen(&self, what: &str, wanted: &Value) -> Result<TimelineEvent> {
        let event = self
            .client
            .wait_for(&self.room, what, |event| {
                event.sender == self.ghost && differs(&event.content, wanted).is_none()
            })
            .await?;
        assert!(event.is_clean(), "a shield beside {}", event.summary());
        Ok(event)
    }

    /// Waits until the bot has said something with this in it.
    async fn told(&self, part: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for(&self.room, &format!("{part:?} from the bot"), |event| {
                event.sender == self.bot && event.body().is_some_and(|body| body.contains(part))
            })
            .await
    }

    /// Nothing of what was sent before a text that has arrived is still under way.
    async fn flush(&self, mark: &str) -> Result<()> {
        self.sent(&format!("{mark} there")).await?;
        self.received(&format!("{mark} back")).await.map(drop)
    }
}

/// The first place where `actual` is not what `wanted` says; keys that `wanted` does not name do not matter.
fn differs(actual: &Value, wanted: &Value) -> Option<String> {
    match wanted {
        Value::Object(fields) => fields.iter().find_map(|(key, wanted)| {
            differs(&actual[key], wanted).map(|difference| format!("{key}.{difference}"))
        }),
        _ => (actual != wanted).then(|| format!("{actual} is not {wanted}")),
    }
}
