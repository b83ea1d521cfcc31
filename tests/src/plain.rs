//! A Matrix user without encryption, over plain HTTP: enough to talk to the bot, and nothing to install.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::error::Context as _;
use crate::{Error, Result, http, wait};

/// A logged-in user.
pub struct PlainUser {
    homeserver: String,
    user_id: String,
    token: String,
}

impl std::fmt::Debug for PlainUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlainUser")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl PlainUser {
    /// Logs in with a password.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn login(homeserver: &str, user: &str, password: &str) -> Result<Self> {
        let mut plain = Self {
            homeserver: homeserver.to_owned(),
            user_id: String::new(),
            token: String::new(),
        };
        let identifier = json!({"type": "m.id.user", "user": user});
        let body =
            json!({"type": "m.login.password", "identifier": identifier, "password": password});
        let answer = plain.request(Method::POST, "v3/login", Some(body)).await?;
        plain.user_id = answer["user_id"]
            .as_str()
            .context("login gave no user id")?
            .to_owned();
        plain.token = answer["access_token"]
            .as_str()
            .context("login gave no token")?
            .to_owned();
        Ok(plain)
    }

    /// Its user id.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Logs out, so that no device without keys is left behind.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn logout(self) -> Result<()> {
        self.request(Method::POST, "v3/logout", Some(json!({})))
            .await
            .map(drop)
    }

    /// Opens a chat without encryption.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn chat_with(&self, other: &str) -> Result<String> {
        let body = json!({"invite": [other], "is_direct": true, "preset": "trusted_private_chat"});
        let answer = self
            .request(Method::POST, "v3/createRoom", Some(body))
            .await?;
        let room = answer["room_id"].as_str().context("no room id")?.to_owned();
        wait::until(&format!("{other} to join"), wait::PATIENCE, || async {
            let members = self
                .request(
                    Method::GET,
                    &format!("v3/rooms/{room}/joined_members"),
                    None,
                )
                .await?;
            Ok(members["joined"].get(other).map(drop))
        })
        .await?;
        Ok(room)
    }

    /// Writes a text and gives the event id.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn say(&self, room: &str, text: &str) -> Result<String> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Error::new(format!("random: {error}")))?;
        let path = format!(
            "v3/rooms/{room}/send/m.room.message/{}",
            hex::encode(random)
        );
        let sent = self
            .request(
                Method::PUT,
                &path,
                Some(json!({"msgtype": "m.text", "body": text})),
            )
            .await?;
        Ok(sent["event_id"].as_str().context("no event id")?.to_owned())
    }

    /// Writes a text and waits for an answer of somebody else that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with what was said instead.
    pub async fn ask(
        &self,
        room: &str,
        text: &str,
        accept: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let sent = self.say(room, text).await?;
        let accept = &accept;
        let answered = wait::until(
            &format!("an answer to {text:?}"),
            Duration::from_secs(90),
            || async {
                Ok(self
                    .said_after(room, &sent)
                    .await?
                    .into_iter()
                    .find(|said| accept(said)))
            },
        )
        .await;
        match answered {
            Ok(answer) => Ok(answer),
            Err(error) => Err(Error::new(format!(
                "{error}; was told {:?}",
                self.said_after(room, &sent).await?
            ))),
        }
    }

    /// The last fifty texts of others, the newest first.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn said(&self, room: &str) -> Result<Vec<String>> {
        self.said_after(room, "").await
    }

    async fn said_after(&self, room: &str, event_id: &str) -> Result<Vec<String>> {
        let path = format!("v3/rooms/{room}/messages?dir=b&limit=50");
        let page = self.request(Method::GET, &path, None).await?;
        let events = page["chunk"].as_array().context("no messages")?;
        Ok(events
            .iter()
            .take_while(|event| event["event_id"] != event_id)
            .filter(|event| event["sender"] != self.user_id.as_str())
            .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
            .collect())
    }

    /// A client-server request; the path begins with the version.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request =
            http::client()?.request(method, format!("{}/_matrix/client/{path}", self.homeserver));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let value: Value = answer.json().await?;
        if status.is_success() {
            Ok(value)
        } else {
            Err(Error::new(format!("{path} answered {status}: {value}")))
        }
    }
}
