//! A stock WhatsApp client that nobody here wrote is the phone: everything crosses between it and an
//! encrypting Matrix client, through Synapse, gatehouse and the sandbox.

mod kinds;
mod media;
mod trouble;

use std::collections::HashMap;

use serde_json::{Value, json};
use tests::client::Client;
use tests::stack::{Options, Stack};
use tests::stock::{Alias, StockClient, said};
use tests::{Result, gatehouse};
use tokio::sync::OnceCell;

/// One stack for the tests of these files; each has its own users and phones.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| {
            let options = Options {
                gatehouse: gatehouse::Options::accepting_everything(),
                ..Options::default()
            };
            Stack::start("stock", options)
        })
        .await
}

/// A Matrix user, a stock client, and the room between them, in which both have written.
struct Chat {
    client: Client,
    phone: StockClient,
    alias: Alias,
    /// The one of its aliases under which the stock client sees the Matrix user.
    peer: String,
    ghost: String,
    room: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        Self::open_as(stack, user, number, false).await
    }

    /// The same with a client that knows the user by an opaque number, if `by_lid`.
    async fn open_as(stack: &Stack, user: &str, number: &str, by_lid: bool) -> Result<Self> {
        let client = stack.enlisted_client(user).await?;
        stack.sandbox.phone(number, "Bea").await?;
        let folder = stack.folder().join(format!("stock-{user}"));
        let more: &[&str] = if by_lid { &["--lid"] } else { &[] };
        let phone = StockClient::login_as(&stack.sandbox, number, &folder, more).await?;
        let alias = stack.sandbox.alias(client.user_id()).await?;
        let peer = if by_lid { &alias.lid } else { &alias.number }.clone();
        let ghost = stack.ghost_of(number);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let chat = Self {
            client,
            phone,
            alias,
            peer,
            ghost,
            room,
        };
        chat.sent("first from Matrix").await?;
        chat.received("first from the phone").await?;
        Ok(chat)
    }

    /// A text to the stock client: the event's id and the message's.
    async fn sent(&self, text: &str) -> Result<(String, String)> {
        let event = self.client.send(&self.room, text).await?;
        let message = self.phone.wait_for_text(text).await?;
        assert_eq!(message["key"]["remoteJid"], self.peer);
        Ok((event, id_of(&message)))
    }

    /// A text from the stock client: the event's id and the message's.
    async fn received(&self, text: &str) -> Result<(String, String)> {
        let content = json!({"text": text});
        let id = self.phone.send(&self.peer, content).await?;
        let seen = self
            .client
            .wait_for_text(&self.room, &self.ghost, text)
            .await?;
        assert!(seen.is_clean(), "a shield beside {}", seen.summary());
        Ok((seen.event_id, id))
    }
}

fn id_of(message: &Value) -> String {
    message["id"].as_str().unwrap_or_default().to_owned()
}

/// How often each text is shown, of those that begin with `prefix`.
fn counted<'a>(texts: impl Iterator<Item = &'a str>, prefix: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for text in texts.filter(|text| text.starts_with(prefix)) {
        *counts.entry(text.to_owned()).or_default() += 1;
    }
    counts
}
