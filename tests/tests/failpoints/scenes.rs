//! What people do while gatehouse dies. Each scene passes certain failpoints in one direction.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tests::client::{Client, Login};
use tests::error::Context as _;
use tests::stack::{PASSWORD, Stack, enlist};
use tests::torture::model::{Findings, Seen};
use tests::{Result, gatehouse, wait};
use tokio::sync::watch;

use crate::PATIENCE;
use crate::chat::{Chat, stubborn};

/// A scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scene {
    /// The user writes, changes what is written, reacts.
    TalkThere,
    /// The phone does.
    TalkHere,
    /// The user writes under a new room key.
    NewRoomKey,
    /// The user sends a file.
    FileThere,
    /// The phone does.
    FileHere,
    /// The user reads a message.
    ReadHere,
    /// The phone's owner does.
    ReadThere,
    /// The user opens the chat with a new contact.
    FirstThere,
    /// A new contact writes.
    FirstHere,
    /// A phone cannot read a message and asks for it again.
    RetryThere,
    /// A message from a phone comes damaged, again and again.
    RetryHere,
    /// A message from a phone comes damaged, and the phone is gone.
    Placeholder,
    /// A phone gets a new identity.
    Reinstall,
    /// The user logs in with one more device.
    NewDevice,
    /// Somebody joins.
    Enlistment,
    /// Somebody who has not joined invites a contact, and the bot says why that does not work.
    Stranger,
    /// gatehouse starts.
    Start,
}

impl Scene {
    /// The direction, for the table.
    pub(crate) fn way(self) -> &'static str {
        match self {
            Self::TalkThere | Self::NewRoomKey | Self::FileThere | Self::ReadHere => "to WhatsApp",
            Self::FirstThere | Self::RetryThere => "to WhatsApp",
            Self::TalkHere | Self::FileHere | Self::ReadThere | Self::FirstHere => "to Matrix",
            Self::RetryHere | Self::Placeholder => "to Matrix",
            Self::Reinstall | Self::NewDevice => "both",
            Self::Enlistment | Self::Stranger | Self::Start => "both",
        }
    }
}

const EMOJI: [&str; 4] = ["👍", "😂", "😮", "🙏"];

/// A gatekeeper that shows everything, and a signed prekey that is replaced at every connection.
pub(crate) fn settings() -> gatehouse::Options {
    let set = |key: &str, value: &str| {
        (
            format!("GATEHOUSE_GATEKEEPER__PROFILE__{key}"),
            value.to_owned(),
        )
    };
    gatehouse::Options {
        failpoints: true,
        environment: vec![
            set(
                "MESSAGE__ACCEPTED",
                r#"["text","image","video","audio","document","reaction","reply","edit","revoke","location"]"#,
            ),
            set("KEYS__ROTATE_SIGNED_DAYS", "0"),
        ],
        ..gatehouse::Options::default()
    }
}

/// The stack, its people and their chats.
pub(crate) struct Stage {
    pub(crate) stack: Arc<Stack>,
    client: Arc<Client>,
    /// The chat in which most happens.
    talk: Arc<Chat>,
    /// A message of the phone in it and one of the user: event and stanza.
    theirs: (String, String),
    ours: (String, String),
    /// Chats that are over and must stay as they are.
    others: Mutex<Vec<Arc<Chat>>>,
    /// The chat that is looked at after the scene.
    playing: Mutex<Arc<Chat>>,
    count: AtomicUsize,
    risen: watch::Sender<bool>,
}

impl Stage {
    pub(crate) async fn open(stack: Arc<Stack>) -> Result<Self> {
        let client = Arc::new(stack.enlisted_client("anna").await?);
        client.be_stubborn(true).await?;
        let (talk, theirs, ours) = talk(&stack, &client, 0).await?;
        Ok(Self {
            stack,
            client,
            playing: Mutex::new(talk.clone()),
            talk,
            theirs,
            ours,
            others: Mutex::default(),
            count: AtomicUsize::new(1),
            risen: watch::Sender::new(true),
        })
    }

    /// Goes on in a new chat.
    pub(crate) async fn renew(&mut self) -> Result<()> {
        (self.talk, self.theirs, self.ours) = talk(&self.stack, &self.client, self.next()).await?;
        Ok(())
    }

    fn next(&self) -> usize {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    fn emoji(&self) -> &'static str {
        let count = self.count.load(Ordering::Relaxed);
        EMOJI.get(count % EMOJI.len()).copied().unwrap_or_default()
    }

    /// gatehouse runs again after its death, or is about to die.
    pub(crate) fn rises(&self, risen: bool) {
        self.risen.send_replace(risen);
    }

    async fn risen(&self) -> Result<()> {
        let mut risen = self.risen.subscribe();
        let waiting = risen.wait_for(|risen| *risen);
        tokio::time::timeout(PATIENCE * 2, waiting)
            .await
            .ok()
            .and_then(std::result::Result::ok)
            .map(drop)
            .context("gatehouse does not come back")
    }

    fn plays_in(&self, chat: &Arc<Chat>) {
        *self.playing.lock().unwrap_or_else(PoisonError::into_inner) = chat.clone();
    }

    fn chat(&self) -> Arc<Chat> {
        self.playing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, chat: &Arc<Chat>) {
        self.others
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(chat.clone());
        self.plays_in(chat);
    }

    /// What must be before the scene.
    pub(crate) async fn prepare(&self, scene: Scene) -> Result<()> {
        self.plays_in(&self.talk);
        match scene {
            Scene::Start => self.stack.gatehouse.stop().await.map(drop),
            Scene::RetryHere | Scene::Placeholder => {
                // A phone that has an answer sends short messages: the damage hits what is encrypted, not the keys before it.
                let text = format!("[{}] answered", self.next());
                self.talk.write(&text).await?;
                let me = self.talk.me();
                self.talk.phone.wait_for_text(me, &text).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Plays a scene. Whatever fails because gatehouse is dead is tried again.
    pub(crate) async fn act(&self, scene: Scene) -> Result<()> {
        let n = self.next();
        match scene {
            Scene::TalkThere => self.talk_there(n).await,
            Scene::TalkHere => self.talk_here(n).await,
            Scene::NewRoomKey => {
                let talk = &self.talk;
                talk.client.discard_session(&talk.room).await?;
                talk.write(&format!("[{n}] under a new key"))
                    .await
                    .map(drop)
            }
            Scene::FileThere => self.file_there(n).await,
            Scene::FileHere => self.file_here(n).await,
            Scene::ReadHere => self.read_here(n).await,
            Scene::ReadThere => self.read_there(n).await,
            Scene::FirstThere => self.first_there(n).await,
            Scene::FirstHere => self.first_here(n).await,
            Scene::RetryThere => self.retry_there(n).await,
            Scene::RetryHere => self.retry_here(n).await,
            Scene::Placeholder => self.placeholder(n).await,
            Scene::Reinstall => {
                self.talk.phone.reinstall().await?;
                self.risen().await?;
                self.both(n).await
            }
            Scene::NewDevice => self.new_device(n).await,
            Scene::Enlistment => self.enlistment(n).await,
            Scene::Stranger => self.stranger(n).await,
            Scene::Start => {
                self.risen().await?;
                self.both(n).await
            }
        }
    }

    /// Waits until the chat of the scene is as it must be; says what is wrong if it does not become so.
    pub(crate) async fn settle(&self, patience: Duration) -> Result<(Findings, Vec<String>)> {
        self.chat().settle(patience).await
    }

    /// Looks at everything that was ever said once more.
    pub(crate) async fn settle_all(&self) -> Result<(Findings, Vec<String>)> {
        self.both(self.next()).await?;
        let (mut findings, mut details) = self.talk.settle(PATIENCE).await?;
        let mut chats = self
            .others
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        chats.push(self.talk.clone());
        for chat in chats {
            let (found, words) = chat.look(true).await?;
            findings += found;
            details.extend(words);
        }
        Ok((findings, details))
    }

    /// A text each way.
    async fn both(&self, n: usize) -> Result<()> {
        self.talk.write(&format!("[{n}] there")).await?;
        self.talk.say(&format!("[{n}] here")).await.map(drop)
    }

    async fn talk_there(&self, n: usize) -> Result<()> {
        let (talk, on) = (&self.talk, (self.theirs.0.as_str(), self.theirs.1.as_str()));
        let event = talk.write(&format!("[{n}] as written")).await?;
        let words = format!("[{n}] changed");
        talk.change_and_react(&event, &words, on, self.emoji())
            .await?;
        talk.write(&format!("[{n}b] after it")).await.map(drop)
    }

    async fn talk_here(&self, n: usize) -> Result<()> {
        let (talk, on) = (&self.talk, (self.ours.0.as_str(), self.ours.1.as_str()));
        let stanza = talk.say(&format!("[{n}] as written")).await?;
        let words = format!("[{n}] changed");
        talk.be_changed_and_reacted(&stanza, &words, on, self.emoji())
            .await?;
        let after = talk.say(&format!("[{n}b] after it")).await?;
        for stanza in [&stanza, &after] {
            talk.wait_for_tick(stanza, &["delivered", "read"]).await?;
        }
        Ok(())
    }

    async fn file_there(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let upload = talk.client.upload_generated(70_000, &n.to_string()).await?;
        talk.expect_there(Seen::File(upload.sha256.clone()));
        let content = json!({
            "msgtype": "m.file", "body": "file.bin", "filename": "file.bin", "file": upload.file,
            "info": {"size": upload.size, "mimetype": "application/octet-stream"},
        });
        talk.client.send_message(&talk.room, content).await?;
        talk.write(&format!("[{n}] after the file")).await.map(drop)
    }

    async fn file_here(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let bytes: Vec<u8> = (0..70_000_usize)
            .map(|at| u8::try_from((at * (2 * n + 1) / 7 + n) % 256).unwrap_or_default())
            .collect();
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        talk.expect_here(Seen::File(hex::encode(sum)));
        let message = json!({
            "kind": "document", "file_name": "file.bin", "mimetype": "application/octet-stream",
            "data_base64": STANDARD.encode(&bytes),
        });
        let stanza = talk.phone.say(talk.me(), message).await?;
        talk.say(&format!("[{n}] after the file")).await?;
        talk.wait_for_tick(&stanza, &["delivered", "read"]).await
    }

    /// A receipt of the user's may be lost with the bridge; the next one makes up for it.
    async fn read_here(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let mut stanzas = Vec::new();
        for words in ["read in vain", "read"] {
            let text = format!("[{n}] {words}");
            stanzas.push(talk.say(&text).await?);
            let event = talk.event_of(&text).await?;
            talk.client.mark_read(&talk.room, &event.event_id).await?;
            self.risen().await?;
        }
        for stanza in &stanzas {
            talk.wait_for_tick(stanza, &["read"]).await?;
        }
        Ok(())
    }

    /// As [`Self::read_here`].
    async fn read_there(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let mut event = String::new();
        for words in ["read in vain", "read"] {
            let text = format!("[{n}] {words}");
            event = talk.write(&text).await?;
            let shown = talk.phone.wait_for_text(talk.me(), &text).await?;
            talk.phone.receipt(talk.me(), "read", &[&shown.id]).await?;
            self.risen().await?;
        }
        talk.client
            .wait_for_read(&talk.room, &talk.ghost, &event)
            .await
    }

    async fn first_there(&self, n: usize) -> Result<()> {
        let number = format!("+49151700{n:05}");
        let phone = self.stack.sandbox.phone(&number, "Cem").await?;
        let ghost = self.stack.ghost(&phone);
        let room = stubborn("a new chat", || self.client.direct_chat(&ghost)).await?;
        let chat = Arc::new(Chat::new(self.client.clone(), phone, ghost, room));
        self.add(&chat);
        chat.client.wait_for_member(&chat.room, &chat.ghost).await?;
        chat.write("[1] hello").await?;
        chat.write("[2] there").await?;
        // A phone that writes before it has read opens the session from its own side.
        chat.phone.wait_for_text(chat.me(), "[1] hello").await?;
        chat.say("[3] and back").await.map(drop)
    }

    async fn first_here(&self, n: usize) -> Result<()> {
        let number = format!("+49151800{n:05}");
        let phone = self.stack.sandbox.phone(&number, "Dilek").await?;
        let ghost = self.stack.ghost(&phone);
        phone.send(self.client.user_id(), "[1] hello").await?;
        let stanza = phone.send(self.client.user_id(), "[2] there").await?;
        let room = self.client.wait_for_invite(&ghost).await?.room_id;
        self.client.join(&room).await?;
        let chat = Arc::new(Chat::new(self.client.clone(), phone, ghost, room));
        chat.expect_here(Seen::Text("[1] hello".to_owned()));
        chat.expect_here(Seen::Text("[2] there".to_owned()));
        self.add(&chat);
        chat.wait_for_tick(&stanza, &["delivered", "read"]).await?;
        chat.write("[3] and back").await?;
        let rooms = self.client.rooms().await?;
        let with = rooms
            .iter()
            .filter(|room| room.members.contains_key(&chat.ghost));
        match with.count() {
            1 => Ok(()),
            count => Err(tests::Error::new(format!(
                "{count} rooms with the same contact"
            ))),
        }
    }

    /// What was sent to a phone that was off is encrypted for an identity that it has no more.
    async fn retry_there(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        talk.phone.options(json!({"online": false})).await?;
        let event = talk.write(&format!("[{n}] for the old phone")).await?;
        let told = |each: &tests::client::TimelineEvent| {
            each.kind == "com.beeper.message_send_status"
                && each.content["m.relates_to"]["event_id"] == event.as_str()
        };
        talk.client
            .wait_for(&talk.room, "it to be sent", told)
            .await?;
        talk.phone.reinstall().await?;
        talk.phone.options(json!({"online": true})).await?;
        self.risen().await?;
        talk.say(&format!("[{n}] from the new phone"))
            .await
            .map(drop)
    }

    async fn retry_here(&self, n: usize) -> Result<()> {
        let sandbox = &self.stack.sandbox;
        sandbox.faults(json!({"corrupt": 1.0})).await?;
        let damaged = format!("[{n}] damaged");
        let said = self.talk.say(&damaged).await;
        let risen = self.risen().await;
        sandbox.faults(json!({"reset": true})).await?;
        said.and(risen.map(|()| String::new()))?;
        // What has to be asked for again may come after what was written later.
        self.talk.event_of(&damaged).await?;
        self.talk.say(&format!("[{n}b] whole")).await.map(drop)
    }

    async fn placeholder(&self, n: usize) -> Result<()> {
        let (sandbox, talk) = (&self.stack.sandbox, &self.talk);
        // Late enough that the phone is off when it is asked.
        sandbox
            .faults(json!({"corrupt": 1.0, "delay_ms": 1500}))
            .await?;
        talk.say(&format!("[{n}] damaged")).await?;
        talk.phone.options(json!({"online": false})).await?;
        sandbox.faults(json!({"reset": true})).await?;
        let risen = self.risen().await;
        talk.phone.options(json!({"online": true})).await?;
        risen?;
        talk.say(&format!("[{n}b] whole")).await.map(drop)
    }

    async fn new_device(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let login = Login {
            homeserver: self.stack.synapse.url(),
            user: "anna",
            password: PASSWORD,
            accepts_insecure: true,
        };
        let log = self.stack.folder().join("client-anna-2.log");
        let device = Client::login_unsigned(&login, &log).await?;
        self.risen().await?;
        let text = format!("[{n}] for both devices");
        talk.say(&text).await?;
        device
            .wait_for_text(&talk.room, &talk.ghost, &text)
            .await
            .map(drop)
    }

    async fn stranger(&self, n: usize) -> Result<()> {
        let stranger = self.stack.client(&format!("stranger{n}")).await?;
        let (ghost, bot) = (self.stack.ghost_of("+4915190000000"), self.stack.bot());
        stubborn("a chat", || stranger.direct_chat(&ghost)).await?;
        let room = stranger.wait_for_invite(&bot).await?.room_id;
        stranger.join(&room).await?;
        let refusal = |event: &tests::client::TimelineEvent| {
            event.sender == bot
                && event
                    .body()
                    .is_some_and(|body| body.contains("cannot be opened"))
        };
        stranger.wait_for(&room, "a refusal", refusal).await?;
        self.risen().await?;
        self.both(n).await?;
        let rooms = stranger.rooms().await?;
        let with = rooms.iter().filter(|room| room.members.contains_key(&bot));
        let told = stranger.timeline(&room).await?;
        let told = told.iter().filter(|event| refusal(event)).count();
        match (with.count(), told) {
            (1, 1) => Ok(()),
            (rooms, told) => Err(tests::Error::new(format!(
                "{rooms} rooms with the bot, told {told} times"
            ))),
        }
    }

    async fn enlistment(&self, n: usize) -> Result<()> {
        let (synapse, phone) = (&self.stack.synapse, &self.talk.phone);
        let user = format!("user{n}");
        let user_id = synapse.register(&user, PASSWORD).await?;
        enlist(synapse.url(), &user, PASSWORD, &self.stack.bot()).await?;
        self.risen().await?;
        let stanza = phone.send(&user_id, "welcome").await?;
        wait::until("the new user to have a message", PATIENCE, || async {
            let shown = phone.messages(&user_id).await?;
            let there = |status: &str| matches!(status, "delivered" | "read");
            Ok(shown
                .iter()
                .any(|each| each.id == stanza && there(&each.status))
                .then_some(()))
        })
        .await
    }
}

/// Opens a chat in which both have written.
async fn talk(
    stack: &Stack,
    client: &Arc<Client>,
    n: usize,
) -> Result<(Arc<Chat>, (String, String), (String, String))> {
    let phone = stack
        .sandbox
        .phone(&format!("+49151600{n:05}"), "Bea")
        .await?;
    let ghost = stack.ghost(&phone);
    let room = client.direct_chat(&ghost).await?;
    client.wait_for_member(&room, &ghost).await?;
    let chat = Chat::new(client.clone(), phone, ghost, room);
    let event = chat.write("[first] there").await?;
    let shown = chat.phone.wait_for_text(chat.me(), "[first] there").await?;
    let stanza = chat.say("[first] here").await?;
    let seen = chat.event_of("[first] here").await?;
    Ok((Arc::new(chat), (seen.event_id, stanza), (event, shown.id)))
}
