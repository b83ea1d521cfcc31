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

/// A bridge whose gatekeeper shows everything.
fn everything() -> gatehouse::Options {
    let key = "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED";
    let words = r#"["text","image","video","audio","document","reaction","reply","edit","revoke","location","sticker"]"#;
    gatehouse::Options {
        environment: vec![(key.to_owned(), words.to_owned())],
        ..gatehouse::Options::default()
    }
}

/// One stack for the tests of these files; each has its own users and phones.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| {
            let options = Options {
                gatehouse: everything(),
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
    ghost: String,
    room: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let client = stack.enlisted_client(user).await?;
        stack.sandbox.phone(number, "Bea").await?;
        let folder = stack.folder().join(format!("stock-{user}"));
        let phone = StockClient::login(&stack.sandbox, number, &folder).await?;
        let alias = stack.sandbox.alias(client.user_id()).await?;
        let ghost = stack.ghost_of(number);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let chat = Self {
            client,
            phone,
            alias,
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
        assert_eq!(message["key"]["remoteJid"], self.alias.number);
        Ok((event, id_of(&message)))
    }

    /// A text from the stock client: the event's id and the message's.
    async fn received(&self, text: &str) -> Result<(String, String)> {
        let content = json!({"text": text});
        let id = self.phone.send(&self.alias.number, content).await?;
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
