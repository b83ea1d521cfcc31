//! What cannot go, goes later, or is set aside and brought back.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::between::{Fate, HttpProxy, sends_of};
use tests::database::{count, execute};
use tests::torture::model::Seen;
use tests::{Error, Result, wait};

use super::Stage;
use crate::PATIENCE;
use crate::chat::{Chat, stubborn};

impl Stage {
    /// What comes from a user and becomes nothing there: one notice says so.
    pub(super) async fn told(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        let kind = "org.matrix.msc3381.poll.start";
        let poll = json!({kind: {
            "question": {"body": "Tea?"}, "kind": "org.matrix.msc3381.poll.disclosed",
            "max_selections": 1, "answers": [{"id": "y", "org.matrix.msc1767.text": "yes"}],
        }});
        talk.is_told();
        talk.client.send_event(&talk.room, kind, poll).await?;
        talk.write(&format!("[{n}] after the poll")).await.map(drop)
    }

    /// The gatekeeper does not take a message now; a notice says so until it does.
    pub(super) async fn delayed(&self, n: usize) -> Result<()> {
        let (sandbox, talk) = (&self.stack.sandbox, &self.talk);
        sandbox.faults(json!({"refuse": 429})).await?;
        let known = talk.client.timeline(&talk.room).await?.len();
        talk.write(&format!("[{n}] too much")).await?;
        let told = talk
            .client
            .until("a notice that it waits", PATIENCE, || async {
                let new = talk.client.timeline_from(&talk.room, known).await?;
                let bot = self.stack.bot();
                let says = |body: &str| body.contains("code 429");
                Ok(new
                    .into_iter()
                    .find(|event| event.sender == bot && event.body().is_some_and(says)))
            })
            .await;
        sandbox.faults(json!({"reset": true})).await?;
        told?;
        talk.write(&format!("[{n}b] after it")).await.map(drop)
    }

    /// A message is deleted before it has left.
    pub(super) async fn withdrawn(&self, n: usize) -> Result<()> {
        let (sandbox, talk) = (&self.stack.sandbox, &self.talk);
        sandbox.stop().await?;
        let event = talk.write(&format!("[{n}] never said")).await?;
        self.waits("outbox").await?;
        talk.withdraw(&event).await?;
        let risen = self.risen().await;
        sandbox.go_on().await?;
        risen?;
        talk.write(&format!("[{n}b] after it")).await.map(drop)
    }

    /// An invitation cannot be accepted, is set aside, and brought back.
    pub(super) async fn aside_there(&self, n: usize) -> Result<()> {
        let homeserver = &self.stack.between()?.to_homeserver;
        let phone = self
            .stack
            .sandbox
            .phone(&format!("+49151710{n:05}"), "Elif")
            .await?;
        let ghost = self.stack.ghost(&phone);
        homeserver.rule("POST", "/join", Fate::Refused(403));
        let room = stubborn("a new chat", || self.client.direct_chat(&ghost)).await?;
        let listed = self.set_aside("room", &room).await;
        homeserver.heal();
        listed?;
        self.bring_back().await?;
        let chat = Arc::new(Chat::new(self.client.clone(), phone, ghost, room));
        self.add(&chat);
        chat.client.wait_for_member(&chat.room, &chat.ghost).await?;
        chat.write("[1] hello").await?;
        chat.write("[2] there").await.map(drop)
    }

    /// No room can be made for a contact: its messages are kept, and brought back.
    pub(super) async fn aside_here(&self, n: usize) -> Result<()> {
        let homeserver = &self.stack.between()?.to_homeserver;
        let phone = self
            .stack
            .sandbox
            .phone(&format!("+49151810{n:05}"), "Finn")
            .await?;
        let (ghost, me) = (self.stack.ghost(&phone), self.client.user_id());
        homeserver.rule("POST", "/createRoom", Fate::Refused(400));
        let stanza = phone.send(me, "[1] hello").await?;
        let listed = self.set_aside("way", "from_whatsapp").await;
        homeserver.heal();
        listed?;
        self.bring_back().await?;
        let room = self.client.wait_for_invite(&ghost).await?.room_id;
        self.client.join(&room).await?;
        let chat = Arc::new(Chat::new(self.client.clone(), phone, ghost, room));
        chat.expect_here(Seen::Text("[1] hello".to_owned()));
        chat.said(&stanza);
        self.add(&chat);
        chat.say("[2] there").await.map(drop)
    }

    /// The homeserver does not take an event now, then not at all; then it is brought back.
    pub(super) async fn refused_here(&self, n: usize) -> Result<()> {
        let (homeserver, talk) = (&self.stack.between()?.to_homeserver, &self.talk);
        let sends = sends_of(&talk.ghost, &talk.room);
        let result = async {
            homeserver.rule("PUT", &sends, Fate::Page(502));
            let refused = homeserver.struck();
            talk.say(&format!("[{n}] not taken")).await?;
            until_struck(homeserver, refused).await?;
            homeserver.heal();
            homeserver.rule("PUT", &sends, Fate::Refused(413));
            self.set_aside("way", "to_matrix").await
        }
        .await;
        homeserver.heal();
        result?;
        let bot = self.stack.bot();
        talk.is_told();
        talk.client
            .until("a word about it", PATIENCE, || async {
                let said = talk
                    .client
                    .timeline_from(&talk.room, talk.settled())
                    .await?;
                let about = |body: &str| body.contains("could not be put here");
                Ok(said
                    .into_iter()
                    .find(|event| event.sender == bot && event.body().is_some_and(about)))
            })
            .await?;
        self.bring_back().await?;
        talk.event_of(&format!("[{n}] not taken")).await?;
        talk.say(&format!("[{n}b] taken")).await.map(drop)
    }

    /// A stanza waits on the disk, and is damaged there before gatehouse starts.
    pub(super) async fn damage_stanza(&self, n: usize) -> Result<()> {
        let talk = &self.talk;
        self.stack.sandbox.stop().await?;
        let text = format!("[{n}] damaged");
        let event = talk.client.send(&talk.room, &text).await?;
        self.waits("outbox").await?;
        self.stack.gatehouse.kill();
        self.damage("outbox", "stanza", "event_id", &event).await
    }

    /// An event waits on the disk for a contact's keys, and is damaged there before gatehouse starts.
    pub(super) async fn damage_event(&self, n: usize) -> Result<()> {
        let phone = self
            .stack
            .sandbox
            .phone(&format!("+49151720{n:05}"), "Gül")
            .await?;
        let ghost = self.stack.ghost(&phone);
        let room = self.client.direct_chat(&ghost).await?;
        self.client.wait_for_member(&room, &ghost).await?;
        self.stack.sandbox.stop().await?;
        let chat = Arc::new(Chat::new(self.client.clone(), phone, ghost, room));
        self.add(&chat);
        let event = chat.write("[1] damaged").await?;
        self.holds("inbox", "event_id", &event).await?;
        self.stack.gatehouse.kill();
        self.damage("inbox", "body", "event_id", &event).await
    }

    /// An event for the homeserver waits on the disk, and is damaged there before gatehouse starts.
    pub(super) async fn damage_send(&self, n: usize) -> Result<()> {
        let (homeserver, talk) = (&self.stack.between()?.to_homeserver, &self.talk);
        let sends = sends_of(&talk.ghost, &talk.room);
        homeserver.rule("PUT", &sends, Fate::Page(502));
        let stanza = talk
            .phone
            .send(talk.me(), &format!("[{n}] damaged"))
            .await?;
        self.holds("sends", "stanza_id", &stanza).await?;
        self.stack.gatehouse.kill();
        homeserver.heal();
        self.damage("sends", "content", "stanza_id", &stanza).await
    }

    /// What is damaged is told, or mended; what comes after it goes.
    pub(super) async fn after_damage(&self, n: usize, is_told: bool) -> Result<()> {
        self.mend().await?;
        if is_told {
            self.talk.is_told();
        }
        self.risen().await?;
        self.both(n).await
    }

    /// Waits until a table of the bridge has a row about something.
    async fn holds(&self, table: &str, key: &str, value: &str) -> Result<()> {
        let url = self.stack.gatehouse.database_url();
        stubborn(&format!("{value} in the {table}"), || async {
            match count(url, table, &format!("{key} = '{value}'")).await? {
                0 => Err(Error::new("it is not there")),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn damage(&self, table: &str, column: &str, key: &str, value: &str) -> Result<()> {
        let url = self.stack.gatehouse.database_url();
        let nonsense = match url.starts_with("sqlite:") {
            true => "x'ff'",
            false => "decode('ff', 'hex')",
        };
        let sql = format!("UPDATE {table} SET {column} = {nonsense} WHERE {key} = '{value}'");
        execute(url, &sql).await
    }

    /// Waits until something of this kind waits in the bridge.
    async fn waits(&self, kind: &str) -> Result<()> {
        stubborn(&format!("something in the {kind}"), || async {
            let status = self.stack.gatehouse.run(&["status", "--json"])?;
            let status: Value = serde_json::from_str(&status)?;
            match status[kind].as_i64() {
                Some(1..) => Ok(()),
                _ => Err(Error::new(status.to_string())),
            }
        })
        .await
    }

    /// Waits until something with this mark is set aside.
    async fn set_aside(&self, key: &str, value: &str) -> Result<()> {
        stubborn(&format!("{value} to be set aside"), || async {
            let listed = self.stack.gatehouse.run(&["replay", "--list", "--json"])?;
            let listed: Vec<Value> = serde_json::from_str(&listed)?;
            match listed.iter().any(|each| each[key] == value) {
                true => Ok(()),
                false => Err(Error::new(format!("there is {listed:?}"))),
            }
        })
        .await
    }

    async fn bring_back(&self) -> Result<()> {
        stubborn("what is set aside to be brought back", || async {
            self.stack.gatehouse.run(&["replay", "--all"]).map(drop)
        })
        .await
    }
}

/// Waits until a rule has struck once more.
async fn until_struck(proxy: &HttpProxy, before: u64) -> Result<()> {
    wait::until("a request to be refused", PATIENCE, || async {
        Ok((proxy.struck() > before).then_some(()))
    })
    .await
}
