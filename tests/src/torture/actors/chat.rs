//! One chat: its script, and what has been done of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::Result;
use crate::error::Context as _;
use crate::sandbox::Phone;
use crate::torture::plan::{MessageId, Script};

/// One chat: its script, and what has been done of it.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) number: usize,
    pub(super) script: Script,
    pub(super) room: String,
    pub(super) ghost: String,
    pub(super) phone: Phone,
    control: String,
    /// Ids of written messages as their writer knows them, and the hashes of files.
    written: Mutex<HashMap<MessageId, Written>>,
    /// Hashes of the files in the room, by their events.
    files: Mutex<HashMap<String, String>>,
}

#[derive(Debug, Clone)]
struct Written {
    id: String,
    sha256: Option<String>,
    /// The reaction that is on it: the event that made it (Matrix alone has one).
    reaction: Option<String>,
}

/// A message as the phone's control API shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PhoneMessage {
    pub(super) id: String,
    pub(super) from_me: bool,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) sha256: Option<String>,
    /// Why its file cannot be shown.
    #[serde(default)]
    pub(super) media_error: Option<String>,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) revoked: bool,
    #[serde(default)]
    pub(super) undecryptable: bool,
    #[serde(default)]
    pub(super) reactions: Vec<PhoneReaction>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PhoneReaction {
    pub(super) from: String,
    pub(super) emoji: String,
}

impl Chat {
    pub(super) fn new(
        number: usize,
        script: Script,
        room: String,
        ghost: String,
        phone: &Phone,
        control: &str,
    ) -> Self {
        Self {
            number,
            script,
            room,
            ghost,
            phone: phone.clone(),
            control: control.to_owned(),
            written: Mutex::default(),
            files: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MessageId, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wrote(&self, message: MessageId, id: String, sha256: Option<String>) {
        let written = Written {
            id,
            sha256,
            reaction: None,
        };
        self.lock().insert(message, written);
    }

    pub(super) fn reacted(&self, message: MessageId, event: Option<String>) {
        if let Some(written) = self.lock().get_mut(&message) {
            written.reaction = event;
        }
    }

    pub(super) fn reaction_on(&self, message: MessageId) -> Option<String> {
        self.lock().get(&message)?.reaction.clone()
    }

    pub(super) fn id_of(&self, message: MessageId) -> Result<String> {
        let written = self.lock();
        let found = written.get(&message).map(|written| written.id.clone());
        found.context("it has not been written yet")
    }

    pub(super) fn sha256_of(&self, message: MessageId) -> Option<String> {
        self.lock().get(&message)?.sha256.clone()
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let path = format!("phones/{}/{path}", self.phone.number());
        crate::sandbox::request(&self.control, method, &path, body).await
    }

    /// The hash of an event's file, if it was looked at before.
    pub(super) fn known_file(&self, event: &str) -> Option<String> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(event).cloned()
    }

    pub(super) fn know_file(&self, event: &str, sha256: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(event.to_owned(), sha256.to_owned());
    }
}
