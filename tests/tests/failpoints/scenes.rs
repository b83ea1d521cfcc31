//! What people do while gatehouse dies. Each scene passes certain failpoints in one direction.

mod keys;
mod people;
mod talk;
mod trouble;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tests::client::Client;
use tests::error::Context as _;
use tests::stack::Stack;
use tests::torture::model::Findings;
use tests::{Error, Result, gatehouse};
use tokio::sync::watch;

use crate::PATIENCE;
use crate::chat::Chat;

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
    /// The user deletes a file that the phone has.
    FileDeleted,
    /// What may be seen once is read.
    SeenOnce,
    /// A file is gone, and is there when it is asked for again.
    AskedAgain,
    /// Something that cannot go is told.
    Told,
    /// The gatekeeper takes a message only later.
    Delayed,
    /// A message is deleted before it has left.
    Withdrawn,
    /// An event from Matrix is set aside and brought back.
    AsideThere,
    /// A message from WhatsApp is.
    AsideHere,
    /// The homeserver refuses an event, which is set aside and brought back.
    RefusedHere,
    /// Somebody leaves WhatsApp.
    Leaving,
    /// Somebody has all erased.
    Erasure,
    /// The user leaves the room of a chat.
    RoomLeft,
    /// The user removes the bot from a chat with a contact, and brings it back.
    BotRemoved,
    /// The user leaves the chat with the bot.
    BotLeft,
    /// The user says whether read receipts are sent.
    Preference,
    /// gatehouse starts.
    Start,
    /// gatehouse starts, and a stanza is damaged.
    DamagedStanza,
    /// gatehouse starts, and an event from Matrix is damaged.
    DamagedEvent,
    /// gatehouse starts, and an event to Matrix is damaged.
    DamagedSend,
}

impl Scene {
    /// The direction, for the table.
    pub(crate) fn way(self) -> &'static str {
        match self {
            Self::TalkThere | Self::NewRoomKey | Self::FileThere | Self::ReadHere => "to WhatsApp",
            Self::FirstThere | Self::RetryThere => "to WhatsApp",
            Self::TalkHere | Self::FileHere | Self::ReadThere | Self::FirstHere => "to Matrix",
            Self::FileDeleted | Self::Told | Self::Delayed | Self::Withdrawn => "to WhatsApp",
            Self::AsideThere | Self::DamagedStanza | Self::DamagedEvent => "to WhatsApp",
            Self::RetryHere | Self::Placeholder => "to Matrix",
            Self::SeenOnce | Self::AskedAgain | Self::AsideHere => "to Matrix",
            Self::RefusedHere | Self::DamagedSend => "to Matrix",
            Self::Reinstall | Self::NewDevice => "both",
            Self::Enlistment | Self::Stranger | Self::Start => "both",
            Self::Leaving | Self::Erasure | Self::Preference => "both",
            Self::RoomLeft | Self::BotRemoved | Self::BotLeft => "both",
        }
    }

    /// Whether gatehouse does not run before it.
    pub(crate) fn begins_with_a_start(self) -> bool {
        matches!(
            self,
            Self::Start | Self::DamagedStanza | Self::DamagedEvent | Self::DamagedSend
        )
    }
}

const EMOJI: [&str; 4] = ["👍", "😂", "😮", "🙏"];

/// A gatekeeper that shows everything, a signed prekey that is replaced at every connection, and few tries.
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
            ("GATEHOUSE_LIMITS__TRIES".to_owned(), "2".to_owned()),
        ],
        ..gatehouse::Options::default()
    }
}

/// Somebody, and their chat with the bot.
#[derive(Clone, Debug, Default)]
struct Passing {
    name: String,
    id: String,
    room: String,
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
    /// What the scene is to delete: an event or a stanza.
    doomed: Mutex<String>,
    /// Who comes for one scene, or the user's own chat with the bot.
    passing: Mutex<Passing>,
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
            doomed: Mutex::default(),
            passing: Mutex::default(),
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

    /// A chat goes on in another room.
    fn replace(&self, old: &Arc<Chat>, new: &Arc<Chat>) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|chat| !Arc::ptr_eq(chat, old));
        drop(others);
        self.add(new);
    }

    fn doomed(&self) -> String {
        self.doomed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn passing(&self) -> Passing {
        self.passing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn passes(&self, passing: Passing) {
        *self.passing.lock().unwrap_or_else(PoisonError::into_inner) = passing;
    }

    /// Whatever a scene has broken that failed in the middle is whole again.
    pub(crate) async fn mend(&self) -> Result<()> {
        self.stack.between()?.to_homeserver.heal();
        let sandbox = &self.stack.sandbox;
        if !sandbox.is_running() {
            sandbox.go_on().await?;
        }
        sandbox
            .faults(json!({"reset": true, "media": "none"}))
            .await?;
        self.talk.phone.options(json!({"online": true})).await
    }

    /// What must be before the scene.
    pub(crate) async fn prepare(&self, scene: Scene) -> Result<()> {
        self.plays_in(&self.talk);
        match scene {
            Scene::Start => self.stack.gatehouse.stop().await.map(drop),
            Scene::DamagedStanza => self.damage_stanza(self.next()).await,
            Scene::DamagedEvent => self.damage_event(self.next()).await,
            Scene::DamagedSend => self.damage_send(self.next()).await,
            Scene::RetryHere | Scene::Placeholder => {
                // A phone that has an answer sends short messages: the damage hits what is encrypted, not the keys before it.
                let text = format!("[{}] answered", self.next());
                self.talk.write(&text).await?;
                self.on_phone(&text).await
            }
            Scene::TalkThere | Scene::FileDeleted => {
                let (talk, n) = (&self.talk, self.next());
                let event = match scene {
                    Scene::FileDeleted => {
                        let event = self.send_file(n).await?;
                        let shown = |each: &Value| each["sha256"].is_string();
                        let me = talk.me();
                        talk.phone.wait_for(me, "the file", shown).await?;
                        event
                    }
                    _ => {
                        let text = format!("[{n}] too much");
                        let event = talk.write(&text).await?;
                        self.on_phone(&text).await?;
                        event
                    }
                };
                self.dooms(event);
                Ok(())
            }
            Scene::TalkHere => {
                let text = format!("[{}] too much", self.next());
                let stanza = self.talk.say(&text).await?;
                self.talk.event_of(&text).await?;
                self.dooms(stanza);
                Ok(())
            }
            Scene::Leaving | Scene::Erasure => self.somebody(self.next()).await,
            Scene::BotLeft | Scene::Preference => self.with_the_bot().await,
            Scene::RoomLeft => {
                self.first_there(self.next()).await?;
                let (_, details) = self.chat().settle(PATIENCE).await?;
                match details.as_slice() {
                    [] => Ok(()),
                    _ => Err(Error::new(details.join("; "))),
                }
            }
            _ => Ok(()),
        }
    }

    fn dooms(&self, id: String) {
        *self.doomed.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    async fn on_phone(&self, text: &str) -> Result<()> {
        let talk = &self.talk;
        talk.phone.wait_for_text(talk.me(), text).await.map(drop)
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
            Scene::FileDeleted => self.file_deleted(n).await,
            Scene::SeenOnce => self.seen_once(n).await,
            Scene::AskedAgain => self.asked_again(n).await,
            Scene::Told => self.told(n).await,
            Scene::Delayed => self.delayed(n).await,
            Scene::Withdrawn => self.withdrawn(n).await,
            Scene::AsideThere => self.aside_there(n).await,
            Scene::AsideHere => self.aside_here(n).await,
            Scene::RefusedHere => self.refused_here(n).await,
            Scene::Leaving => {
                let answers = ["You have left WhatsApp", "You are not joined"];
                self.leaving("disable", answers).await
            }
            Scene::Erasure => self.leaving("erase everything", ["is erased"; 2]).await,
            Scene::RoomLeft => self.room_left(n).await,
            Scene::BotRemoved => self.bot_removed(n).await,
            Scene::BotLeft => self.bot_left().await,
            Scene::Preference => self.preference().await,
            Scene::Start => {
                self.risen().await?;
                self.both(n).await
            }
            Scene::DamagedStanza | Scene::DamagedSend => self.after_damage(n, true).await,
            Scene::DamagedEvent => self.after_damage(n, false).await,
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
