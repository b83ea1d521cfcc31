//! Messages of every kind: what the phone's owner does, and what the phone shows, field by field as the control API says it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use super::Phone;
use crate::error::Context as _;
use crate::sandbox::request;
use crate::{Error, Result, wait};

impl Phone {
    /// Sends a message of any kind and gives its stanza id; the keys are those of the control API, without `to`.
    ///
    /// # Errors
    ///
    /// When the sandbox refuses it.
    pub async fn say(&self, to: &str, mut message: Value) -> Result<String> {
        message["to"] = json!(to);
        let answer = self.post("messages", message).await?;
        Ok(answer["id"]
            .as_str()
            .context("the sandbox gave no id")?
            .to_owned())
    }

    /// Sends the bytes of a message protobuf as they are, under an id of the caller's choice if there is one; gives the id.
    ///
    /// # Errors
    ///
    /// When the sandbox refuses it, for instance because the chat has that id.
    pub async fn say_raw(&self, to: &str, id: Option<&str>, protobuf: &[u8]) -> Result<String> {
        let mut message = json!({"kind": "raw", "protobuf_base64": STANDARD.encode(protobuf)});
        if let Some(id) = id {
            message["id"] = json!(id);
        }
        self.say(to, message).await
    }

    /// Sends a receipt for ids of any kind, also of messages that never were.
    ///
    /// # Errors
    ///
    /// When nobody of that identifier is enlisted.
    pub async fn receipt_for_anything(&self, to: &str, kind: &str, ids: &[&str]) -> Result<()> {
        let body = json!({"to": to, "type": kind, "ids": ids, "unchecked": true});
        self.post("receipts", body).await.map(drop)
    }

    /// Reacts to a message; an empty emoji takes the reaction back.
    ///
    /// # Errors
    ///
    /// When it has no such message.
    pub async fn react(&self, to: &str, message: &str, emoji: &str) -> Result<()> {
        let body = json!({"to": to, "message": message, "emoji": emoji});
        self.post("reactions", body).await.map(drop)
    }

    /// Replaces the text of a message.
    ///
    /// # Errors
    ///
    /// When it has no such message.
    pub async fn edit(&self, to: &str, message: &str, text: &str) -> Result<()> {
        let body = json!({"to": to, "message": message, "text": text});
        self.post("edits", body).await.map(drop)
    }

    /// Deletes a message for everyone.
    ///
    /// # Errors
    ///
    /// When it has no such message.
    pub async fn revoke(&self, to: &str, message: &str) -> Result<()> {
        let body = json!({"to": to, "message": message});
        self.post("revokes", body).await.map(drop)
    }

    /// Its chat with a user, in order, each message as the control API shows it.
    ///
    /// # Errors
    ///
    /// When nobody of that identifier is enlisted.
    pub async fn shown(&self, with: &str) -> Result<Vec<Value>> {
        let path = format!("phones/{}/messages?with={with}", self.number);
        let answer = request(&self.control, Method::GET, &path, None).await?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Waits for a message that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with what the phone shows instead.
    pub async fn wait_for(
        &self,
        with: &str,
        what: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let accept = &accept;
        let found = wait::until(what, wait::PATIENCE, || async move {
            let shown = self.shown(with).await.unwrap_or_default();
            Ok(shown.into_iter().find(accept))
        })
        .await;
        match found {
            Ok(message) => Ok(message),
            Err(error) => Err(Error::new(format!(
                "{error}; the phone {} shows {:#?}",
                self.number,
                self.shown(with).await
            ))),
        }
    }
}
