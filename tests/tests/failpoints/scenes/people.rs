//! Who comes, and who goes.

use std::sync::Arc;

use tests::client::{Client, Login, TimelineEvent};
use tests::plain::PlainUser;
use tests::stack::{PASSWORD, enlist};
use tests::torture::model::Seen;
use tests::{Error, Result, wait};

use super::{Passing, Stage};
use crate::PATIENCE;
use crate::chat::{Chat, stubborn};

impl Stage {
    pub(super) async fn first_there(&self, n: usize) -> Result<()> {
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

    pub(super) async fn first_here(&self, n: usize) -> Result<()> {
        let number = format!("+49151800{n:05}");
        let phone = self.stack.sandbox.phone(&number, "Dilek").await?;
        let ghost = self.stack.ghost(&phone);
        let first = phone.send(self.client.user_id(), "[1] hello").await?;
        let stanza = phone.send(self.client.user_id(), "[2] there").await?;
        let room = self.client.wait_for_invite(&ghost).await?.room_id;
        self.client.join(&room).await?;
        let chat = Arc::new(Chat::new(self.client.clone(), phone, ghost, room));
        for (text, stanza) in [("[1] hello", &first), ("[2] there", &stanza)] {
            chat.expect_here(Seen::Text(text.to_owned()));
            chat.said(stanza);
        }
        self.add(&chat);
        chat.wait_for_tick(&stanza, &["delivered", "read"]).await?;
        chat.write("[3] and back").await?;
        let rooms = self.client.rooms().await?;
        let with = rooms
            .iter()
            .filter(|room| room.members.contains_key(&chat.ghost));
        match with.count() {
            1 => Ok(()),
            count => Err(Error::new(format!("{count} rooms with the same contact"))),
        }
    }

    pub(super) async fn new_device(&self, n: usize) -> Result<()> {
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

    pub(super) async fn stranger(&self, n: usize) -> Result<()> {
        let stranger = self.stack.client(&format!("stranger{n}")).await?;
        let (ghost, bot) = (self.stack.ghost_of("+4915190000000"), self.stack.bot());
        stubborn("a chat", || stranger.direct_chat(&ghost)).await?;
        let room = stranger.wait_for_invite(&bot).await?.room_id;
        stranger.join(&room).await?;
        let refusal = |event: &TimelineEvent| {
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
            (rooms, told) => Err(Error::new(format!(
                "{rooms} rooms with the bot, told {told} times"
            ))),
        }
    }

    pub(super) async fn enlistment(&self, n: usize) -> Result<()> {
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

    /// Somebody is enlisted, and has a chat.
    pub(super) async fn somebody(&self, n: usize) -> Result<()> {
        let (synapse, phone) = (&self.stack.synapse, &self.talk.phone);
        let name = format!("guest{n}");
        let id = synapse.register(&name, PASSWORD).await?;
        enlist(synapse.url(), &name, PASSWORD, &self.stack.bot()).await?;
        let plain = PlainUser::login(synapse.url(), &name, PASSWORD).await?;
        let room = plain.chat_with(&self.stack.bot()).await?;
        plain.logout().await?;
        let stanza = phone.send(&id, "welcome").await?;
        phone.wait_for_status(&id, &stanza, "delivered").await?;
        self.passes(Passing { name, id, room });
        Ok(())
    }

    /// The user has a chat with the bot.
    pub(super) async fn with_the_bot(&self) -> Result<()> {
        let bot = self.stack.bot();
        let room = self.client.direct_chat(&bot).await?;
        self.client.wait_for_member(&room, &bot).await?;
        self.passes(Passing {
            name: "anna".to_owned(),
            id: self.client.user_id().to_owned(),
            room: room.clone(),
        });
        self.asks(&room, "version", "gatehouse").await
    }

    /// Somebody who is enlisted says `word` to the bot, which ends it.
    pub(super) async fn leaving(&self, word: &str, answers: [&str; 2]) -> Result<()> {
        let user = self.passing();
        // A login that the gatekeeper has ended already may be told as well, when gatehouse died before it wrote that down.
        let is_answer = |said: &&String| {
            !said.starts_with('⚠') && answers.iter().any(|answer| said.contains(answer))
        };
        let plain = PlainUser::login(self.stack.synapse.url(), &user.name, PASSWORD).await?;
        plain.say(&user.room, word).await?;
        wait::until("the end of an enlistment", PATIENCE, || async {
            let there = self.stack.sandbox.partner_user(&user.id).await?;
            let ended = there.is_none_or(|there| there["enlisted"] != true);
            let said = plain.said(&user.room).await.unwrap_or_default();
            let said = said.iter().filter(is_answer).count();
            Ok((ended && said > 0).then_some(()))
        })
        .await?;
        self.risen().await?;
        // What belongs to others goes on; and by then a second answer would be there.
        self.both(self.next()).await?;
        let talk = &self.talk;
        talk.settle(PATIENCE).await?;
        let said = plain.said(&user.room).await?;
        let said: Vec<_> = said.iter().filter(is_answer).collect();
        plain.logout().await?;
        match said.len() {
            1 => Ok(()),
            _ => Err(Error::new(format!("the bot said {said:?}"))),
        }
    }

    /// The user leaves the room of a chat; what its contact writes comes in another one.
    pub(super) async fn room_left(&self, n: usize) -> Result<()> {
        let old = self.chat();
        self.client.leave(&old.room).await?;
        self.risen().await?;
        // What the phone writes before the bridge knows of it goes where nobody is.
        stubborn("all to be handled", || async {
            match self.stack.gatehouse.waiting()? {
                0 => Ok(()),
                count => Err(Error::new(format!("{count} wait"))),
            }
        })
        .await?;
        let text = format!("[{n}] where are you?");
        let stanza = old.phone.send(old.me(), &text).await?;
        let room = self.client.wait_for_invite(&old.ghost).await?.room_id;
        self.client.join(&room).await?;
        let (phone, ghost) = (old.phone.clone(), old.ghost.clone());
        let chat = Arc::new(Chat::new(self.client.clone(), phone, ghost, room));
        chat.expect_here(Seen::Text(text));
        chat.said(&stanza);
        // What the phone shows began in the other room.
        chat.begins_after(&old).await?;
        self.replace(&old, &chat);
        chat.write(&format!("[{n}] here")).await.map(drop)
    }

    /// The user removes the bot from the chat with a contact, and invites it again.
    pub(super) async fn bot_removed(&self, n: usize) -> Result<()> {
        let (talk, bot) = (&self.talk, self.stack.bot());
        talk.client.remove(&talk.room, &bot).await?;
        talk.write(&format!("[{n}] without the bot")).await?;
        self.risen().await?;
        stubborn("an invitation", || talk.client.invite(&talk.room, &bot)).await?;
        talk.client.wait_for_member(&talk.room, &bot).await?;
        talk.write(&format!("[{n}b] with it")).await.map(drop)
    }

    /// The user leaves the chat with the bot, and opens another one.
    pub(super) async fn bot_left(&self) -> Result<()> {
        let bot = self.stack.bot();
        self.client.leave(&self.passing().room).await?;
        self.risen().await?;
        let room = stubborn("a chat with the bot", || self.client.direct_chat(&bot)).await?;
        self.client.wait_for_member(&room, &bot).await?;
        self.asks(&room, "version", "gatehouse").await
    }

    /// The user does not want read receipts sent, then does again.
    pub(super) async fn preference(&self) -> Result<()> {
        let room = self.passing().room;
        self.asks(&room, "read-receipts off", "receipts").await?;
        self.asks(&room, "read-receipts on", "receipts").await
    }

    /// A command to the bot is answered once.
    async fn asks(&self, room: &str, command: &str, part: &str) -> Result<()> {
        let bot = self.stack.bot();
        let known = self.client.timeline(room).await?.len();
        self.client.send(room, command).await?;
        let answers = || async {
            let new = self.client.timeline_from(room, known).await?;
            let count = new
                .iter()
                .filter(|event| event.sender == bot)
                .filter(|event| event.body().is_some_and(|body| body.contains(part)))
                .count();
            Ok((count > 0).then_some(count))
        };
        let what = format!("an answer to {command}");
        let count = self.client.until(&what, PATIENCE, answers).await?;
        match count {
            1 => Ok(()),
            _ => Err(Error::new(format!("{count} answers to {command}"))),
        }
    }
}
