//! The people of a run: each does its part of the scripts, and in the end says what it sees.

mod acts;
mod chat;
mod devices;
mod views;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::chat::Chat;
use super::plan::{Act, Script, Side};
use super::probe::Probe;
use crate::client::Client;
use crate::error::Context as _;
use crate::stack::Stack;
use crate::{Error, Result};

/// How long somebody tries to do something while the servers are away.
const PERSISTENCE: Duration = Duration::from_secs(3600);

/// All chats of a run.
#[derive(Debug)]
pub struct Actors {
    users: Vec<Client>,
    chats: Vec<Chat>,
    bot: String,
    acted: AtomicUsize,
    done: AtomicBool,
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
            let control = &stack.sandbox.addresses().control;
            chats.push(Chat::new(number, script, room, ghost, phone, control));
        }
        Ok(Self {
            users: clients,
            chats,
            bot: stack.bot(),
            acted: AtomicUsize::new(0),
            done: AtomicBool::new(false),
        })
    }

    /// How many acts there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.chats.iter().map(|chat| chat.script.acts.len()).sum()
    }

    /// Has all clients forget the keys of their rooms: the next message of each comes with a new one.
    ///
    /// # Errors
    ///
    /// When a client is gone.
    pub async fn forget_room_keys(&self) -> Result<()> {
        for chat in &self.chats {
            self.client(chat)?.discard_session(&chat.room).await?;
        }
        Ok(())
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
    /// When an act cannot be done for an hour.
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
        let client = self.first()?;
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

    /// The user whose devices and keys change, and whose chat tells whether messages go.
    pub(super) fn first(&self) -> Result<&Client> {
        self.users.first().context("at least one user")
    }
}
