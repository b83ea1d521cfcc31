//! One simulated phone.

mod files;
mod kinds;

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::request;
use crate::error::Context as _;
use crate::{Error, Result, wait};

pub use files::PhoneUpload;

/// A message as the phone shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// Stanza id.
    pub id: String,
    /// Whether the phone's owner wrote it.
    pub from_me: bool,
    /// `text`, ...
    pub kind: String,
    /// The text.
    pub text: Option<String>,
    /// `sent`, `delivered`, `read` or `played`.
    pub status: String,
    /// Whether it could not be decrypted.
    pub undecryptable: bool,
    /// Whether it was deleted.
    #[serde(default)]
    pub revoked: bool,
    /// `pkmsg` or `msg`.
    pub encrypted: Option<String>,
}

/// A phone in the sandbox, moved over the control API.
#[derive(Debug, Clone)]
pub struct Phone {
    control: String,
    number: String,
}

/// The digits of a phone number: what a ghost's name holds.
#[must_use]
pub fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}

impl Phone {
    /// The phone with this number, which the sandbox at `control` has already.
    #[must_use]
    pub fn new(control: impl Into<String>, number: &str) -> Self {
        Self {
            control: control.into(),
            number: number.to_owned(),
        }
    }

    /// Its number, with `+`.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The page that shows it to a person.
    #[must_use]
    pub fn page(&self, addresses: &super::Addresses) -> String {
        format!("{}{}", addresses.phone_page, self.number)
    }

    /// Writes a text to an enlisted user and gives the stanza id.
    ///
    /// # Errors
    ///
    /// When nobody of that identifier is enlisted.
    pub async fn send(&self, to: &str, text: &str) -> Result<String> {
        let body = json!({"to": to, "kind": "text", "text": text});
        let answer = self.post("messages", body).await?;
        Ok(answer["id"]
            .as_str()
            .context("the sandbox gave no id")?
            .to_owned())
    }

    /// Its chat with a user, in order.
    ///
    /// # Errors
    ///
    /// When nobody of that identifier is enlisted.
    pub async fn messages(&self, with: &str) -> Result<Vec<Message>> {
        let path = format!("phones/{}/messages?with={with}", self.number);
        Ok(serde_json::from_value(
            request(&self.control, Method::GET, &path, None).await?,
        )?)
    }

    /// Switches what the phone does by itself: `auto_receipts`, `online`, `third_party_chats`.
    ///
    /// # Errors
    ///
    /// When the sandbox refuses.
    pub async fn options(&self, options: Value) -> Result<()> {
        self.post("options", options).await.map(drop)
    }

    /// Gives it a new identity key, as after a reinstall.
    ///
    /// # Errors
    ///
    /// When the sandbox refuses.
    pub async fn reinstall(&self) -> Result<()> {
        self.post("identity", json!({})).await.map(drop)
    }

    /// Sends a receipt (`delivery`, `read` or `played`) for messages that it has received.
    ///
    /// # Errors
    ///
    /// When it has no such messages.
    pub async fn receipt(&self, to: &str, kind: &str, ids: &[&str]) -> Result<()> {
        let body = json!({"to": to, "type": kind, "ids": ids});
        self.post("receipts", body).await.map(drop)
    }

    /// Says that its owner is `composing`, `recording` or has `paused`.
    ///
    /// # Errors
    ///
    /// When nobody of that identifier is enlisted.
    pub async fn typing(&self, to: &str, state: &str) -> Result<()> {
        self.post("typing", json!({"to": to, "state": state}))
            .await
            .map(drop)
    }

    /// Waits until its chat with `with` holds what `accept` gives.
    ///
    /// # Errors
    ///
    /// A timeout, with what the phone shows instead.
    pub async fn until<T>(
        &self,
        with: &str,
        what: &str,
        deadline: Duration,
        accept: impl Fn(&[Message]) -> Option<T>,
    ) -> Result<T> {
        let accept = &accept;
        let found = wait::until(what, deadline, || async move {
            // Before the first message the sandbox may not know the user yet.
            Ok(self
                .messages(with)
                .await
                .ok()
                .and_then(|messages| accept(&messages)))
        })
        .await;
        match found {
            Ok(value) => Ok(value),
            Err(error) => {
                let shown = self.messages(with).await;
                Err(Error::new(format!(
                    "{error}; the phone {} shows {shown:#?}",
                    self.number
                )))
            }
        }
    }

    /// Waits for a received text.
    ///
    /// # Errors
    ///
    /// A timeout, with what the phone shows instead.
    pub async fn wait_for_text(&self, from: &str, text: &str) -> Result<Message> {
        self.until(
            from,
            &format!("{text:?} on the phone"),
            wait::PATIENCE,
            |messages| {
                messages
                    .iter()
                    .find(|each| !each.from_me && each.text.as_deref() == Some(text))
                    .cloned()
            },
        )
        .await
    }

    /// Waits until a message that it has sent has come as far as `status`.
    ///
    /// # Errors
    ///
    /// A timeout, with what the phone shows instead.
    pub async fn wait_for_status(&self, with: &str, id: &str, status: &str) -> Result<Message> {
        self.until(
            with,
            &format!("{id} to be {status}"),
            wait::PATIENCE,
            |messages| {
                messages
                    .iter()
                    .find(|each| each.id == id && each.status == status)
                    .cloned()
            },
        )
        .await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        request(
            &self.control,
            Method::POST,
            &format!("phones/{}/{path}", self.number),
            Some(body),
        )
        .await
    }
}
