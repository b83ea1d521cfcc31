//! A Matrix user that encrypts, in this process: a real OlmMachine over plain HTTP. [`crate::client`] drives a whole client;
//! this one is for many users and thousands of messages, prepared before a clock starts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use matrix_sdk_crypto::types::requests::AnyOutgoingRequest;
use matrix_sdk_crypto::{
    DecryptionSettings, EncryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement,
};
use puppeting::{Homeserver, HomeserverConfig, Token};
use ruma::api::client::keys::get_keys;
use ruma::api::client::sync::sync_events::DeviceLists;
use ruma::api::client::to_device::send_event_to_device;
use ruma::events::{AnyMessageLikeEventContent, AnyToDeviceEvent};
use ruma::serde::Raw;
use ruma::{OneTimeKeyAlgorithm, OwnedUserId, RoomId, UInt, UserId};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::error::Context as _;
use crate::synapse::SERVER_NAME;
use crate::{Error, Result, http};

/// Messages that one room key may encrypt: nothing is shared anew while a clock runs.
const ROTATION: u64 = 100_000;
/// What a `/sync` tells: timelines, keys, nothing else.
const FILTER: &str = r#"{"presence":{"types":[]},"account_data":{"types":[]},"room":{"ephemeral":{"types":[]},"account_data":{"types":[]},"timeline":{"limit":5000},"state":{"types":["m.room.member"]}}}"#;

/// A logged-in user with a device of its own.
pub struct Encrypting {
    user_id: OwnedUserId,
    url: String,
    token: String,
    http: reqwest::Client,
    homeserver: Homeserver,
    machine: OlmMachine,
    since: Mutex<Option<String>>,
    /// Requests of the machine go out one after the other.
    exchange: tokio::sync::Mutex<()>,
}

/// An event of a joined room.
#[derive(Debug, Clone)]
pub struct RoomEvent {
    /// The room.
    pub room: String,
    /// Who sent it.
    pub sender: String,
    /// Its type.
    pub kind: String,
    /// The whole event.
    pub json: Box<RawValue>,
}

#[derive(Deserialize)]
struct Answer {
    next_batch: String,
    #[serde(default)]
    to_device: Events<Raw<AnyToDeviceEvent>>,
    #[serde(default)]
    device_lists: DeviceLists,
    #[serde(default)]
    device_one_time_keys_count: BTreeMap<OneTimeKeyAlgorithm, UInt>,
    device_unused_fallback_key_types: Option<Vec<OneTimeKeyAlgorithm>>,
    #[serde(default)]
    rooms: Rooms,
}

#[derive(Deserialize)]
struct Events<T> {
    events: Vec<T>,
}

impl<T> Default for Events<T> {
    fn default() -> Self {
        Self { events: Vec::new() }
    }
}

#[derive(Default, Deserialize)]
struct Rooms {
    #[serde(default)]
    join: BTreeMap<String, Joined>,
}

#[derive(Deserialize)]
struct Joined {
    #[serde(default)]
    timeline: Events<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sender: &'a str,
}

impl std::fmt::Debug for Encrypting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encrypting")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl Encrypting {
    /// Logs in with a password and publishes the keys of the new device.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn login(url: &str, user: &str, password: &str) -> Result<Self> {
        let http = http::pooled_client()?;
        let identifier = json!({"type": "m.id.user", "user": user});
        let body =
            json!({"type": "m.login.password", "identifier": identifier, "password": password});
        let answer: Value = http
            .post(format!("{url}/_matrix/client/v3/login"))
            .json(&body)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let field = |name: &str| {
            answer[name]
                .as_str()
                .context(format!("login gave no {name}"))
        };
        let (user_id, token) = (field("user_id")?, field("access_token")?);
        let user_id = UserId::parse(user_id).context("the user id")?;
        let device = field("device_id")?.into();
        // The bridge's own HTTP client serves: a token is a token.
        let homeserver = Homeserver::new(HomeserverConfig {
            url: url.to_owned(),
            server_name: SERVER_NAME.try_into().context("the server's name")?,
            appservice_id: String::new(),
            as_token: Token::new(token),
            bot: user_id.clone(),
        })
        .context("no HTTP client")?;
        let user = Self {
            url: url.to_owned(),
            token: token.to_owned(),
            http,
            homeserver,
            machine: OlmMachine::new(&user_id, device).await,
            user_id,
            since: Mutex::default(),
            exchange: tokio::sync::Mutex::default(),
        };
        user.exchange().await?;
        user.sync(Duration::ZERO).await?;
        Ok(user)
    }

    /// The full id.
    #[must_use]
    pub fn user_id(&self) -> &str {
        self.user_id.as_str()
    }

    /// Opens an encrypted chat.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn chat_with(&self, other: &str) -> Result<String> {
        let encryption = json!({"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}});
        let body = json!({"invite": [other], "is_direct": true, "preset": "private_chat", "initial_state": [encryption]});
        let answer = self
            .http
            .post(format!("{}/_matrix/client/v3/createRoom", self.url))
            .bearer_auth(&self.token)
            .json(&body)
            .send()
            .await?
            .error_for_status()?
            .json::<Value>()
            .await?;
        Ok(answer["room_id"].as_str().context("no room id")?.to_owned())
    }

    /// Who has joined a room.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn members(&self, room: &str) -> Result<Vec<String>> {
        let answer = self
            .http
            .get(format!(
                "{}/_matrix/client/v3/rooms/{room}/joined_members",
                self.url
            ))
            .bearer_auth(&self.token)
            .send()
            .await?
            .error_for_status()?
            .json::<Value>()
            .await?;
        let joined = answer["joined"].as_object().context("no members")?;
        Ok(joined.keys().cloned().collect())
    }

    /// Gives the room's key to the devices of `others`. Must come before [`Encrypting::encrypt`].
    ///
    /// # Errors
    ///
    /// When the homeserver refuses, or one of them has no device.
    pub async fn share_key(&self, room: &str, others: &[&str]) -> Result<()> {
        let room = room_id(room)?;
        let others: Vec<OwnedUserId> = others
            .iter()
            .map(|user| UserId::parse(*user).context("a user id"))
            .collect::<Result<_>>()?;
        let users = || others.iter().map(AsRef::as_ref);
        self.machine
            .update_tracked_users(users())
            .await
            .context("tracking users")?;
        self.exchange().await?;
        let _one = self.exchange.lock().await;
        let missing = self.machine.get_missing_sessions(users()).await;
        if let Some((id, request)) = missing.context("missing sessions")? {
            let answer = self.homeserver.call(None, request).await;
            self.machine
                .mark_request_as_sent(&id, &answer.context("claiming keys")?)
                .await
                .context("claimed keys")?;
        }
        let settings = EncryptionSettings {
            rotation_period_msgs: ROTATION,
            ..EncryptionSettings::default()
        };
        let requests = self.machine.share_room_key(room, users(), settings).await;
        let requests = requests.context("sharing a room key")?;
        for request in requests {
            let send = send_event_to_device::v3::Request::new_raw(
                request.event_type.clone(),
                request.txn_id.clone(),
                request.messages.clone(),
            );
            let answer = self.homeserver.call(None, send).await;
            self.machine
                .mark_request_as_sent(&request.txn_id, &answer.context("sending a room key")?)
                .await
                .context("sent a room key")?;
        }
        Ok(())
    }

    /// Encrypts a text for a room whose key is shared: the content of an `m.room.encrypted` event.
    ///
    /// # Errors
    ///
    /// When the key is not shared.
    pub async fn encrypt(&self, room: &str, text: &str) -> Result<Box<RawValue>> {
        let content = to_raw_value(&json!({"msgtype": "m.text", "body": text}))?;
        let content = Raw::<AnyMessageLikeEventContent>::from_json(content);
        let encrypted = self
            .machine
            .encrypt_room_event_raw(room_id(room)?, "m.room.message", &content)
            .await
            .context("encrypting")?;
        Ok(encrypted.content.into_json())
    }

    /// Sends what was encrypted.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn send(&self, room: &str, txn: &str, content: &RawValue) -> Result<()> {
        let path = format!("rooms/{room}/send/m.room.encrypted/{txn}");
        self.http
            .put(format!("{}/_matrix/client/v3/{path}", self.url))
            .bearer_auth(&self.token)
            .header("Content-Type", "application/json")
            .body(content.get().to_owned())
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        Ok(())
    }

    /// What has happened since the last call; waits up to `patience` for something.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses or its answer cannot be read.
    pub async fn sync(&self, patience: Duration) -> Result<Vec<RoomEvent>> {
        let since = self.lock().clone();
        let mut request = self
            .http
            .get(format!("{}/_matrix/client/v3/sync", self.url))
            .bearer_auth(&self.token)
            .query(&[("filter", FILTER)])
            .query(&[("timeout", patience.as_millis().to_string())]);
        if let Some(since) = &since {
            request = request.query(&[("since", since)]);
        }
        let body = request.send().await?.error_for_status()?.bytes().await?;
        let answer: Answer = serde_json::from_slice(&body)?;
        let changes = EncryptionSyncChanges {
            to_device_events: answer.to_device.events,
            changed_devices: &answer.device_lists,
            one_time_keys_counts: &answer.device_one_time_keys_count,
            unused_fallback_keys: answer.device_unused_fallback_key_types.as_deref(),
            next_batch_token: Some(answer.next_batch.clone()),
        };
        self.machine
            .receive_sync_changes(changes, &SETTINGS)
            .await
            .context("reading to-device messages")?;
        *self.lock() = Some(answer.next_batch);
        self.exchange().await?;
        let mut events = Vec::new();
        for (room, joined) in answer.rooms.join {
            for json in joined.timeline.events {
                let head: Head<'_> = serde_json::from_str(json.get())?;
                events.push(RoomEvent {
                    room: room.clone(),
                    sender: head.sender.to_owned(),
                    kind: head.kind.to_owned(),
                    json,
                });
            }
        }
        Ok(events)
    }

    /// The text of an encrypted event.
    ///
    /// # Errors
    ///
    /// When its key has not come, or it is no text.
    pub async fn decrypt(&self, event: &RoomEvent) -> Result<String> {
        let raw = Raw::from_json(event.json.clone());
        let decrypted = self
            .machine
            .decrypt_room_event(&raw, room_id(&event.room)?, &SETTINGS)
            .await
            .context("decrypting")?;
        let content: Value = decrypted
            .event
            .get_field("content")
            .ok()
            .flatten()
            .context("no content")?;
        Ok(content["body"].as_str().context("no text")?.to_owned())
    }

    /// Sends what the machine wants to send until it wants nothing.
    async fn exchange(&self) -> Result<()> {
        let _one = self.exchange.lock().await;
        loop {
            let requests = self.machine.outgoing_requests().await;
            let requests = requests.context("the machine's requests")?;
            if requests.is_empty() {
                return Ok(());
            }
            for request in requests {
                let id = request.request_id();
                let marked = match request.request() {
                    AnyOutgoingRequest::KeysUpload(keys) => {
                        let answer = self.homeserver.call(None, keys.clone()).await;
                        let answer = answer.context("uploading keys")?;
                        self.machine.mark_request_as_sent(id, &answer).await
                    }
                    AnyOutgoingRequest::KeysQuery(query) => {
                        let mut asked = get_keys::v3::Request::new();
                        asked.device_keys = query.device_keys.clone();
                        let answer = self.homeserver.call(None, asked).await;
                        let answer = answer.context("asking for keys")?;
                        self.machine.mark_request_as_sent(id, &answer).await
                    }
                    AnyOutgoingRequest::KeysClaim(claim) => {
                        let answer = self.homeserver.call(None, claim.clone()).await;
                        let answer = answer.context("claiming keys")?;
                        self.machine.mark_request_as_sent(id, &answer).await
                    }
                    AnyOutgoingRequest::ToDeviceRequest(send) => {
                        let send = send_event_to_device::v3::Request::new_raw(
                            send.event_type.clone(),
                            send.txn_id.clone(),
                            send.messages.clone(),
                        );
                        let answer = self.homeserver.call(None, send).await;
                        let answer = answer.context("sending to a device")?;
                        self.machine.mark_request_as_sent(id, &answer).await
                    }
                    other => return Err(Error::new(format!("an unexpected request: {other:?}"))),
                };
                marked.context("the machine did not take an answer")?;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SETTINGS: DecryptionSettings = DecryptionSettings {
    sender_device_trust_requirement: TrustRequirement::Untrusted,
};

fn room_id(room: &str) -> Result<&RoomId> {
    room.try_into().context("a room id")
}
