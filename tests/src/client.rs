//! A real encrypting Matrix client: matrix-js-sdk with its Rust crypto, in a Node process of its own.
//!
//! `tests/clients/matrix-client.mjs` is driven over JSON lines. The client cross-signs its own device and, unless
//! told otherwise, excludes insecure devices: it gives no keys to unsigned devices and shows none of their messages.

mod attachments;
mod devices;
mod events;
mod types;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::driven::{self, Driven};
use crate::error::Context as _;
use crate::{Error, Result};

pub use types::{Download, Login, Room, TimelineEvent, Upload};

/// Installs the clients' npm packages, exactly those of the lock file, and gives the folder that holds them.
///
/// # Errors
///
/// When npm is missing or cannot fetch.
pub fn install() -> Result<PathBuf> {
    driven::packages("clients", &driven::scripts(), &[])
}

/// A logged-in Matrix client with its own device and keys.
#[derive(Debug)]
pub struct Client {
    user_id: String,
    device_id: String,
    driven: Driven,
}

impl Client {
    /// Starts a client that excludes insecure devices and logs in; `log` takes what it has to say.
    ///
    /// # Errors
    ///
    /// When Node or its packages are missing, or the homeserver refuses.
    pub async fn login(login: &Login<'_>, log: &Path) -> Result<Self> {
        Self::start(login, true, log).await
    }

    /// As [`Client::login`], but the user has no cross-signing keys and the device is signed by nobody: what a
    /// careful client must not trust.
    ///
    /// # Errors
    ///
    /// As [`Client::login`].
    pub async fn login_unsigned(login: &Login<'_>, log: &Path) -> Result<Self> {
        Self::start(login, false, log).await
    }

    async fn start(login: &Login<'_>, signed: bool, log: &Path) -> Result<Self> {
        let packages = install()?;
        let mut node = Command::new("node");
        node.arg(driven::scripts().join("matrix-client.mjs"))
            .env("GATEHOUSE_CLIENTS", packages);
        let mut client = Self {
            user_id: String::new(),
            device_id: String::new(),
            driven: Driven::start("matrix client", node, log)?,
        };
        let session = client
            .ask(
                "login",
                json!({
                    "homeserver": login.homeserver, "user": login.user, "password": login.password,
                    "exclude_insecure": !login.accepts_insecure, "cross_sign": signed,
                     "device_name": "test client",
                }),
            )
            .await?;
        let said = |name: &str| {
            let said = session[name].as_str().map(str::to_owned);
            said.context(format!("login gave no {name}"))
        };
        (client.user_id, client.device_id) = (said("user_id")?, said("device_id")?);
        client.driven.name.clone_from(&client.user_id);
        Ok(client)
    }

    /// The full Matrix id.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Opens an encrypted direct chat, encrypted from its first event, and gives its room id.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn direct_chat(&self, with: &str) -> Result<String> {
        self.create_room(json!({"invite": [with], "encrypted": true, "is_direct": true}))
            .await
    }

    /// Opens a room; the keys are those of the driver's `create_room`.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn create_room(&self, options: Value) -> Result<String> {
        let answer = self.ask("create_room", options).await?;
        Ok(answer["room_id"].as_str().context("no room id")?.to_owned())
    }

    /// Every room this client knows.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn rooms(&self) -> Result<Vec<Room>> {
        self.ask_for("rooms", json!({})).await
    }

    /// Joins a room it is invited to.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn join(&self, room: &str) -> Result<()> {
        self.ask("join", json!({"room_id": room})).await.map(drop)
    }

    /// Leaves a room.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.ask("leave", json!({"room_id": room})).await.map(drop)
    }

    /// Invites somebody into a room.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn invite(&self, room: &str, user: &str) -> Result<()> {
        self.change_membership(room, "invite", user).await
    }

    /// Removes somebody from a room, who may come back.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn remove(&self, room: &str, user: &str) -> Result<()> {
        self.change_membership(room, "kick", user).await
    }

    async fn change_membership(&self, room: &str, change: &str, user: &str) -> Result<()> {
        let path = format!("/_matrix/client/v3/rooms/{room}/{change}");
        let body = json!({ "user_id": user });
        self.request("POST", &path, json!({}), body).await.map(drop)
    }

    /// Sends a text, encrypted if the room is, and gives the event id. Sends to one room keep their order.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn send(&self, room: &str, text: &str) -> Result<String> {
        self.send_with(room, json!({"body": text})).await
    }

    /// Sends a text with its HTML form.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn send_html(&self, room: &str, text: &str, html: &str) -> Result<String> {
        self.send_with(room, json!({"body": text, "formatted_body": html}))
            .await
    }

    async fn send_with(&self, room: &str, mut message: Value) -> Result<String> {
        message["room_id"] = json!(room);
        let answer = self.ask("send", message).await?;
        Ok(answer["event_id"]
            .as_str()
            .context("no event id")?
            .to_owned())
    }

    /// Forgets the room's key: the next message comes with a new one.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn discard_session(&self, room: &str) -> Result<()> {
        self.ask("discard_session", json!({"room_id": room}))
            .await
            .map(drop)
    }

    /// What the room shows from the `from`-th event on, in the server's order, state events included.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn timeline_from(&self, room: &str, from: usize) -> Result<Vec<TimelineEvent>> {
        let mut answer = self
            .ask("timeline", json!({"room_id": room, "from": from}))
            .await?;
        Ok(serde_json::from_value(answer["events"].take())?)
    }

    /// The whole of [`Client::timeline_from`].
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn timeline(&self, room: &str) -> Result<Vec<TimelineEvent>> {
        self.timeline_from(room, 0).await
    }

    /// A client-server request as this user, for what has no function of its own.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        query: Value,
        body: Value,
    ) -> Result<Value> {
        let body = if body.is_null() {
            json!({})
        } else {
            json!({"body": body})
        };
        let mut ask = json!({"method": method, "path": path, "query": query});
        if let Some(body) = body.get("body") {
            ask["body"] = body.clone();
        }
        self.ask("request", ask).await
    }

    /// Looks at `probe` again whenever what the client shows has changed, until it gives `Some`.
    ///
    /// # Errors
    ///
    /// The probe's error, or a timeout that names `what` was waited for.
    pub async fn until<T, F, Fut>(&self, what: &str, deadline: Duration, probe: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        self.driven.until(what, deadline, probe).await
    }

    /// Waits for an event in the room that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with what the room shows instead.
    pub async fn wait_for(
        &self,
        room: &str,
        what: &str,
        accept: impl Fn(&TimelineEvent) -> bool,
    ) -> Result<TimelineEvent> {
        let accept = &accept;
        let found = self
            .until(what, crate::wait::PATIENCE, || async move {
                Ok(self.timeline(room).await?.into_iter().find(accept))
            })
            .await;
        match found {
            Ok(event) => Ok(event),
            Err(error) => {
                let shown = self.timeline(room).await?;
                let lines: Vec<String> = shown.iter().map(TimelineEvent::summary).collect();
                Err(Error::new(format!(
                    "{error}; the room shows\n{}",
                    lines.join("\n")
                )))
            }
        }
    }

    /// Waits for this text from this sender.
    ///
    /// # Errors
    ///
    /// A timeout, with what the room shows instead.
    pub async fn wait_for_text(
        &self,
        room: &str,
        sender: &str,
        text: &str,
    ) -> Result<TimelineEvent> {
        self.wait_for(room, &format!("{text:?} from {sender}"), |event| {
            event.sender == sender && event.body() == Some(text)
        })
        .await
    }

    /// Waits until it is invited by `inviter` and gives the room.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_for_invite(&self, inviter: &str) -> Result<Room> {
        self.until(
            &format!("an invitation from {inviter}"),
            crate::wait::PATIENCE,
            || async {
                let rooms = self.rooms().await?;
                Ok(rooms.into_iter().find(|room| {
                    room.membership == "invite" && room.inviter.as_deref() == Some(inviter)
                }))
            },
        )
        .await
    }

    /// Waits until `user` has joined the room.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_for_member(&self, room: &str, user: &str) -> Result<()> {
        self.until(
            &format!("{user} to join"),
            crate::wait::PATIENCE,
            || async {
                let rooms = self.rooms().await?;
                let found = rooms.into_iter().find(|each| each.room_id == room);
                Ok(found
                    .filter(|room| room.members.get(user).is_some_and(|is| is == "join"))
                    .map(drop))
            },
        )
        .await
    }

    async fn ask_for<T: DeserializeOwned>(&self, op: &str, arguments: Value) -> Result<T> {
        Ok(serde_json::from_value(self.ask(op, arguments).await?)?)
    }

    async fn ask(&self, op: &str, arguments: Value) -> Result<Value> {
        self.driven.ask(op, arguments).await
    }
}
