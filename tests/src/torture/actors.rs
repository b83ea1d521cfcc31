//! The people of a run: each does its part of the scripts, and in the end says what it sees.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::{Findings, Seen, compare, expected, tag, words};
use super::plan::{Act, MessageId, Script, Side};
use super::probe::Probe;
use crate::client::{Client, TimelineEvent};
use crate::error::Context as _;
use crate::sandbox::Phone;
use crate::stack::Stack;
use crate::{Error, Result, wait};

/// How long somebody tries to do something while the servers are away.
const PERSISTENCE: Duration = Duration::from_secs(900);

/// All chats of a run.
#[derive(Debug)]
pub struct Actors {
    users: Vec<Client>,
    chats: Vec<Chat>,
    acted: AtomicUsize,
    done: AtomicBool,
}

/// One chat: its script, and what has been done of it.
#[derive(Debug)]
struct Chat {
    number: usize,
    script: Script,
    room: String,
    ghost: String,
    phone: Phone,
    control: String,
    /// Ids of written messages as their writer knows them, and the hashes of files.
    written: Mutex<HashMap<MessageId, Written>>,
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
struct PhoneMessage {
    id: String,
    from_me: bool,
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    revoked: bool,
    #[serde(default)]
    undecryptable: bool,
    #[serde(default)]
    reactions: Vec<PhoneReaction>,
}

#[derive(Debug, Clone, Deserialize)]
struct PhoneReaction {
    from: String,
    emoji: String,
}

impl Actors {
    /// Enlists the users, opens their chats with all contacts, and has a first message go each way.
    ///
    /// # Errors
    ///
    /// When something does not open.
    pub async fn open(
        stack: &Stack,
        scripts: Vec<Script>,
        users: usize,
        contacts: usize,
    ) -> Result<Self> {
        let mut clients = Vec::new();
        for user in 0..users {
            let client = stack.enlisted_client(&format!("user{user}")).await?;
            // Its own outbox must not be what loses or doubles messages.
            client.be_stubborn(true).await?;
            clients.push(client);
        }
        let mut phones = Vec::new();
        for contact in 0..contacts {
            let number = format!("+491510000{contact:03}");
            phones.push(stack.sandbox.phone(&number, "Bea").await?);
        }
        let mut chats = Vec::new();
        for (number, script) in scripts.into_iter().enumerate() {
            let client = clients.get(script.user).context("a user for each script")?;
            let phone = phones
                .get(script.contact)
                .context("a contact for each script")?;
            let ghost = stack.ghost(phone);
            let room = client.direct_chat(&ghost).await?;
            client.wait_for_member(&room, &ghost).await?;
            chats.push(Chat {
                number,
                script,
                room,
                ghost,
                phone: phone.clone(),
                control: stack.sandbox.addresses().control.clone(),
                written: Mutex::default(),
            });
        }
        Ok(Self {
            users: clients,
            chats,
            acted: AtomicUsize::new(0),
            done: AtomicBool::new(false),
        })
    }

    /// How many acts there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.chats.iter().map(|chat| chat.script.acts.len()).sum()
    }

    fn client(&self, chat: &Chat) -> Result<&Client> {
        self.users
            .get(chat.script.user)
            .context("a user for each chat")
    }

    /// Does everything; between two acts of one side of a chat there is `pause` times the number of sides.
    ///
    /// # Errors
    ///
    /// When an act cannot be done for a quarter of an hour.
    pub async fn act(&self, pause: Option<Duration>) -> Result<()> {
        let sides = u32::try_from(self.chats.len() * 2).unwrap_or(u32::MAX);
        let pause = pause.map(|pause| pause * sides);
        let all = self.chats.iter().flat_map(|chat| {
            [Side::Matrix, Side::Phone].map(|side| async move {
                for act in chat.script.acts.iter().filter(|act| act.actor() == side) {
                    self.one(chat, act).await?;
                    self.acted.fetch_add(1, Ordering::Relaxed);
                    if let Some(pause) = pause {
                        tokio::time::sleep(pause).await;
                    }
                }
                Ok::<_, Error>(())
            })
        });
        let result = futures_util::future::try_join_all(all).await;
        self.done.store(true, Ordering::Relaxed);
        result.map(drop)
    }

    /// Whether nobody acts any more.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// How far they are, in words.
    #[must_use]
    pub fn progress(&self) -> String {
        let acted = self.acted.load(Ordering::Relaxed);
        format!("{acted} of {} acts done", self.total())
    }

    /// Opens a chat of the first user that no script uses.
    ///
    /// # Errors
    ///
    /// When it does not open.
    pub async fn probe(&self, stack: &Stack) -> Result<Probe<'_>> {
        let client = self.users.first().context("at least one user")?;
        let phone = stack.sandbox.phone("+491519999999", "Probe").await?;
        let ghost = stack.ghost(&phone);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        Ok(Probe::new(client, phone, room, ghost))
    }

    /// Does one act, again until the server of the one who acts has taken it.
    async fn one(&self, chat: &Chat, act: &Act) -> Result<()> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(200);
        loop {
            let result = match act.actor() {
                Side::Matrix => self.in_matrix(chat, act).await,
                Side::Phone => self.on_phone(chat, act).await,
            };
            match result {
                Ok(()) => return Ok(()),
                Err(error) if begin.elapsed() > PERSISTENCE => {
                    return Err(Error::new(format!(
                        "chat {}: {act:?}: {error}",
                        chat.number
                    )));
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn in_matrix(&self, chat: &Chat, act: &Act) -> Result<()> {
        let client = self.client(chat)?;
        let room = &chat.room;
        match act {
            Act::Text(id) => {
                let event = client.send(room, &words(chat.number, *id, 0)).await?;
                chat.wrote(*id, event, None);
            }
            Act::File(id, size) => {
                let upload = client
                    .upload_generated(*size, &tag(chat.number, *id))
                    .await?;
                let content = json!({
                    "msgtype": "m.file", "body": "file.bin", "filename": "file.bin", "file": upload.file,
                    "info": {"size": upload.size, "mimetype": "application/octet-stream"},
                });
                let event = client.send_message(room, content).await?;
                chat.wrote(*id, event, Some(upload.sha256));
            }
            Act::Edit(id, version) => {
                let event = chat.id_of(*id)?;
                let words = words(chat.number, *id, *version);
                client.edit(room, &event, &words).await?;
            }
            Act::Delete(id) => {
                client.redact(room, &chat.id_of(*id)?).await?;
            }
            Act::React(id, emoji) => {
                let target = self.in_room(chat, *id).await?;
                let earlier = chat.reaction_on(*id);
                let event = client.react(room, &target, emoji).await?;
                chat.reacted(*id, Some(event));
                // What a client does that lets people change their reaction.
                if let Some(earlier) = earlier {
                    client.redact(room, &earlier).await?;
                }
            }
            Act::TakeBack(id) => {
                if let Some(event) = chat.reaction_on(*id) {
                    client.redact(room, &event).await?;
                    chat.reacted(*id, None);
                }
            }
        }
        Ok(())
    }

    /// The event of a message of the phone, as soon as the room shows it.
    async fn in_room(&self, chat: &Chat, id: MessageId) -> Result<String> {
        let client = self.client(chat)?;
        let what = tag(chat.number, id);
        let file = chat.sha256_of(id);
        client
            .until(&what, PERSISTENCE, || async {
                for event in client.timeline(&chat.room).await? {
                    if event.sender != chat.ghost {
                        continue;
                    }
                    let text = event.body().is_some_and(|body| body.contains(&what));
                    if text || (file.is_some() && self.sha256(chat, &event).await == file) {
                        return Ok(Some(event.event_id));
                    }
                }
                Ok(None)
            })
            .await
    }

    /// The hash of an event's file; nothing if there is none or it cannot be had.
    async fn sha256(&self, chat: &Chat, event: &TimelineEvent) -> Option<String> {
        let file = event.content.get("file")?;
        let client = self.client(chat).ok()?;
        Some(client.download(file, None).await.ok()?.sha256)
    }

    async fn on_phone(&self, chat: &Chat, act: &Act) -> Result<()> {
        let to = self.client(chat)?.user_id();
        match act {
            Act::Text(id) => {
                let stanza = chat.phone.send(to, &words(chat.number, *id, 0)).await?;
                chat.wrote(*id, stanza, None);
            }
            Act::File(id, size) => {
                let bytes = noise(&tag(chat.number, *id), *size);
                let sha256 = hex::encode(aws_lc_rs::digest::digest(
                    &aws_lc_rs::digest::SHA256,
                    &bytes,
                ));
                let body = json!({
                    "to": to, "kind": "document", "file_name": "file.bin",
                    "mimetype": "application/octet-stream", "data_base64": STANDARD.encode(&bytes),
                });
                let answer = chat.post("messages", body).await?;
                let stanza = answer["id"].as_str().context("an id of the message")?;
                chat.wrote(*id, stanza.to_owned(), Some(sha256));
            }
            Act::Edit(id, version) => {
                let words = words(chat.number, *id, *version);
                let body = json!({"to": to, "message": chat.id_of(*id)?, "text": words});
                chat.post("edits", body).await?;
            }
            Act::Delete(id) => {
                let body = json!({"to": to, "message": chat.id_of(*id)?});
                chat.post("revokes", body).await?;
            }
            Act::React(id, emoji) => {
                let message = self.arrived_on_phone(chat, *id).await?;
                let body = json!({"to": to, "message": message, "emoji": emoji});
                chat.post("reactions", body).await?;
            }
            Act::TakeBack(id) => {
                let message = self.arrived_on_phone(chat, *id).await?;
                let body = json!({"to": to, "message": message, "emoji": ""});
                chat.post("reactions", body).await?;
            }
        }
        Ok(())
    }

    /// The stanza id of a message of the user, as soon as the phone shows it.
    async fn arrived_on_phone(&self, chat: &Chat, id: MessageId) -> Result<String> {
        let what = tag(chat.number, id);
        wait::until(&what, PERSISTENCE, || async {
            let shown = self.phone_shows(chat).await.unwrap_or_default();
            let file = chat.sha256_of(id);
            Ok(shown
                .into_iter()
                .find(|each| {
                    let text = each
                        .text
                        .as_deref()
                        .is_some_and(|text| text.contains(&what));
                    !each.from_me && (text || (file.is_some() && each.sha256 == file))
                })
                .map(|each| each.id))
        })
        .await
    }

    async fn phone_shows(&self, chat: &Chat) -> Result<Vec<PhoneMessage>> {
        let path = format!("messages?with={}", self.client(chat)?.user_id());
        Ok(serde_json::from_value(
            chat.ask(Method::GET, &path, None).await?,
        )?)
    }

    /// Waits until everything has arrived as it must, at most for `patience`; then says what is wrong.
    ///
    /// # Errors
    ///
    /// When a client or the sandbox cannot be asked.
    pub async fn settle(&self, patience: Duration) -> Result<(Findings, Vec<String>)> {
        let mut findings = Findings::default();
        let mut details = Vec::new();
        let end = Instant::now() + patience;
        for chat in &self.chats {
            let (found, words) = loop {
                let (found, words) = self.check(chat).await?;
                if found.is_clean() || Instant::now() > end {
                    break (found, words);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            };
            findings += found;
            details.extend(words);
        }
        Ok((findings, details))
    }

    async fn check(&self, chat: &Chat) -> Result<(Findings, Vec<String>)> {
        let mut findings = Findings::default();
        let mut details = Vec::new();
        for side in [Side::Matrix, Side::Phone] {
            let expected = expected(chat.number, &chat.script, side, |id, _| {
                chat.sha256_of(id).unwrap_or_default()
            });
            let came = match side {
                Side::Matrix => self.came_to_phone(chat).await?,
                Side::Phone => self.came_to_room(chat).await?,
            };
            let seen: Vec<Seen> = expected.iter().map(|entry| entry.seen.clone()).collect();
            let mut found = compare(&came, &seen);
            if !found.is_clean() {
                details.push(format!(
                    "chat {}, written by {side:?}: {found}; {}",
                    chat.number,
                    difference(&came, &seen)
                ));
            }
            for (n, entry) in expected.iter().enumerate() {
                let id = MessageId { side, n };
                let shown = self.reactions(chat, id).await?;
                if shown != entry.reactions {
                    found.wrong += 1;
                    details.push(format!(
                        "{}: reactions {shown:?} instead of {:?}",
                        tag(chat.number, id),
                        entry.reactions
                    ));
                }
            }
            findings += found;
        }
        Ok((findings, details))
    }

    async fn came_to_phone(&self, chat: &Chat) -> Result<Vec<Seen>> {
        let shown = self.phone_shows(chat).await?;
        Ok(shown
            .into_iter()
            .filter(|each| !each.from_me)
            .map(|each| match (each.text, each.sha256) {
                _ if each.revoked => Seen::Deleted,
                _ if each.undecryptable => Seen::Unreadable,
                (_, Some(sha256)) => Seen::File(sha256),
                (Some(text), None) => Seen::Text(text),
                (None, None) => Seen::Strange(each.kind),
            })
            .collect())
    }

    async fn came_to_room(&self, chat: &Chat) -> Result<Vec<Seen>> {
        let timeline = self.client(chat)?.timeline(&chat.room).await?;
        let mut came = Vec::new();
        for event in timeline {
            let message = matches!(event.kind.as_str(), "m.room.message" | "m.room.encrypted");
            if event.sender != chat.ghost
                || !message
                || event.relation["rel_type"] == "m.replace"
                || event.state_key.is_some()
            {
                continue;
            }
            came.push(if event.redacted {
                Seen::Deleted
            } else if !event.is_clean() {
                Seen::Unreadable
            } else if event.content.get("file").is_some() {
                match self.sha256(chat, &event).await {
                    Some(sha256) => Seen::File(sha256),
                    None => Seen::Strange("a file that cannot be had".to_owned()),
                }
            } else {
                Seen::Text(event.body().unwrap_or_default().to_owned())
            });
        }
        Ok(came)
    }

    /// The reactions of the other side that a message's writer sees on it.
    async fn reactions(&self, chat: &Chat, id: MessageId) -> Result<Vec<String>> {
        let Ok(message) = chat.id_of(id) else {
            return Ok(Vec::new());
        };
        match id.side {
            Side::Matrix => {
                let timeline = self.client(chat)?.timeline(&chat.room).await?;
                Ok(timeline
                    .iter()
                    .filter(|event| event.sender == chat.ghost)
                    .filter_map(|event| event.reaction_to(&message))
                    .map(str::to_owned)
                    .collect())
            }
            Side::Phone => {
                let own = chat.phone.number();
                let shown = self.phone_shows(chat).await?;
                let found = shown.into_iter().find(|each| each.id == message);
                Ok(found
                    .map(|each| each.reactions)
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|reaction| reaction.from != own && !reaction.emoji.is_empty())
                    .map(|reaction| reaction.emoji)
                    .collect())
            }
        }
    }
}

impl Chat {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MessageId, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, message: MessageId, id: String, sha256: Option<String>) {
        let written = Written {
            id,
            sha256,
            reaction: None,
        };
        self.lock().insert(message, written);
    }

    fn reacted(&self, message: MessageId, event: Option<String>) {
        if let Some(written) = self.lock().get_mut(&message) {
            written.reaction = event;
        }
    }

    fn reaction_on(&self, message: MessageId) -> Option<String> {
        self.lock().get(&message)?.reaction.clone()
    }

    fn id_of(&self, message: MessageId) -> Result<String> {
        let written = self.lock();
        let found = written.get(&message).map(|written| written.id.clone());
        found.context("it has not been written yet")
    }

    fn sha256_of(&self, message: MessageId) -> Option<String> {
        self.lock().get(&message)?.sha256.clone()
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let path = format!("phones/{}/{path}", self.phone.number());
        crate::sandbox::request(&self.control, method, &path, body).await
    }
}

/// Bytes that look random, the same for the same name.
fn noise(name: &str, size: u64) -> Vec<u8> {
    let seed = name.bytes().fold(0u64, |seed, byte| {
        seed.wrapping_mul(131).wrapping_add(byte.into())
    });
    let mut dice = SmallRng::seed_from_u64(seed);
    (0..size).map(|_| dice.random()).collect()
}

/// What is on one side only, shortened.
fn difference(came: &[Seen], expected: &[Seen]) -> String {
    let only = |these: &[Seen], those: &[Seen]| {
        let only: Vec<_> = these.iter().filter(|seen| !those.contains(seen)).collect();
        format!("{:?}", only.iter().take(5).collect::<Vec<_>>())
    };
    format!(
        "missing {}, unexpected {}",
        only(expected, came),
        only(came, expected)
    )
}
