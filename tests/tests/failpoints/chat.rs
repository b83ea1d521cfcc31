//! A chat, what must be in it, and what is in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::torture::model::{Findings, Seen, compare};
use tests::{Error, Result, wait};

/// One user's chat with one phone.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) client: Arc<Client>,
    pub(crate) phone: Phone,
    pub(crate) ghost: String,
    pub(crate) room: String,
    expected: Mutex<Expected>,
}

/// What must be there.
#[derive(Debug, Default)]
struct Expected {
    /// On the phone, of the user.
    there: Vec<Seen>,
    /// In the room, of the phone.
    here: Vec<Seen>,
    /// The emoji that the user has put on a message of the phone, and the one that the phone has put on an event.
    reaction_there: Option<(String, String)>,
    reaction_here: Option<(String, String)>,
    /// How much of the room and of the expectations has been looked at and found right.
    events: usize,
    settled_there: usize,
    settled_here: usize,
}

impl Chat {
    pub(crate) fn new(client: Arc<Client>, phone: Phone, ghost: String, room: String) -> Self {
        Self {
            client,
            phone,
            ghost,
            room,
            expected: Mutex::default(),
        }
    }

    pub(crate) fn me(&self) -> &str {
        self.client.user_id()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This must be on the phone, after all that was to be there before.
    pub(crate) fn expect_there(&self, seen: Seen) {
        self.lock().there.push(seen);
    }

    /// This must be in the room, after all that was to be there before.
    pub(crate) fn expect_here(&self, seen: Seen) {
        self.lock().here.push(seen);
    }

    /// A text to the phone: its event id.
    pub(crate) async fn write(&self, text: &str) -> Result<String> {
        self.expect_there(Seen::Text(text.to_owned()));
        self.client.send(&self.room, text).await
    }

    /// A text from the phone: its stanza id.
    pub(crate) async fn say(&self, text: &str) -> Result<String> {
        self.expect_here(Seen::Text(text.to_owned()));
        self.phone.send(self.me(), text).await
    }

    /// The event that shows a text of the phone.
    pub(crate) async fn event_of(&self, text: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for_text(&self.room, &self.ghost, text)
            .await
    }

    /// The user's text becomes another one while the phone's owner gets an emoji on `on`, a message of the phone.
    pub(crate) async fn change_and_react(
        &self,
        event: &str,
        text: &str,
        on: (&str, &str),
        emoji: &str,
    ) -> Result<()> {
        let (on_event, on_stanza) = on;
        {
            let mut expected = self.lock();
            expected.there.pop();
            expected.there.push(Seen::Text(text.to_owned()));
            expected.reaction_there = Some((on_stanza.to_owned(), emoji.to_owned()));
        }
        self.client.edit(&self.room, event, text).await?;
        self.client.react(&self.room, on_event, emoji).await?;
        Ok(())
    }

    /// The phone's text becomes another one, and the user's message `on` (its event and its stanza id) gets an emoji.
    pub(crate) async fn be_changed_and_reacted(
        &self,
        stanza: &str,
        text: &str,
        on: (&str, &str),
        emoji: &str,
    ) -> Result<()> {
        let (on_event, on_stanza) = on;
        {
            let mut expected = self.lock();
            expected.here.pop();
            expected.here.push(Seen::Text(text.to_owned()));
            expected.reaction_here = Some((on_event.to_owned(), emoji.to_owned()));
        }
        self.phone.edit(self.me(), stanza, text).await?;
        self.phone.react(self.me(), on_stanza, emoji).await
    }

    /// Waits until all is there as it must be, and says what is wrong if it is not in time.
    pub(crate) async fn settle(&self, patience: Duration) -> Result<(Findings, Vec<String>)> {
        let end = Instant::now() + patience;
        let mut pause = Duration::from_millis(20);
        loop {
            let (findings, details) = self.look(false).await?;
            if details.is_empty() {
                self.mark().await?;
                return Ok((findings, details));
            }
            // What came twice does not go away.
            if Instant::now() > end || findings.doubled > 0 {
                return Ok((findings, details));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(300));
        }
    }

    /// Everything up to here has been found right.
    async fn mark(&self) -> Result<()> {
        let events = self.lock().events;
        let more = self.client.timeline_from(&self.room, events).await?.len();
        let mut expected = self.lock();
        expected.events += more;
        expected.settled_there = expected.there.len();
        expected.settled_here = expected.here.len();
        Ok(())
    }

    /// What is wrong at the moment: since the last time that nothing was, or since the beginning.
    pub(crate) async fn look(&self, all: bool) -> Result<(Findings, Vec<String>)> {
        let (there, here, events, reactions) = {
            let expected = self.lock();
            let (from_there, from_here, events) = match all {
                true => (0, 0, 0),
                false => (
                    expected.settled_there,
                    expected.settled_here,
                    expected.events,
                ),
            };
            (
                (from_there, expected.there[from_there..].to_vec()),
                expected.here[from_here..].to_vec(),
                events,
                (
                    expected.reaction_there.clone(),
                    expected.reaction_here.clone(),
                ),
            )
        };
        let shown = self.phone.shown(self.me()).await.unwrap_or_default();
        let timeline = self.client.timeline_from(&self.room, events).await?;
        let on_phone = on_phone(&shown).split_off(there.0.min(on_phone(&shown).len()));
        let in_room = self.in_room(&timeline).await;
        let mut details = Vec::new();
        let mut findings = compare(&on_phone, &there.1);
        let found = compare(&in_room, &here);
        for (place, is, must, found) in [
            ("the phone", &on_phone, &there.1, findings),
            ("the room", &in_room, &here, found),
        ] {
            if is != must {
                details.push(format!(
                    "{place} shows {is:?} instead of {must:?} ({found})"
                ));
            }
        }
        findings += found;
        if let Some((on, emoji)) = reactions.0 {
            let shown = shown.iter().find(|each| each["id"] == on.as_str());
            let wanted = json!([{"from": self.me(), "emoji": emoji}]);
            let reactions = shown.map_or(&Value::Null, |each| &each["reactions"]);
            if *reactions != wanted {
                findings.wrong += 1;
                details.push(format!(
                    "the phone shows the reactions {reactions} instead of {emoji}"
                ));
            }
        }
        if let Some((on, emoji)) = reactions.1.filter(|_| !all) {
            let timeline = self.client.timeline(&self.room).await?;
            let reactions: Vec<_> = timeline
                .iter()
                .filter(|event| event.sender == self.ghost)
                .filter_map(|event| event.reaction_to(&on))
                .collect();
            if reactions != [emoji.as_str()] {
                findings.wrong += 1;
                details.push(format!(
                    "the room shows the reactions {reactions:?} instead of {emoji}"
                ));
            }
        }
        Ok((findings, details))
    }

    async fn in_room(&self, timeline: &[TimelineEvent]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for event in timeline {
            let message = matches!(event.kind.as_str(), "m.room.message" | "m.room.encrypted");
            if event.sender != self.ghost || !message || event.relation["rel_type"] == "m.replace" {
                continue;
            }
            seen.push(match (event.is_clean(), event.content.get("file")) {
                (false, _) => Seen::Unreadable,
                (true, Some(file)) => match self.client.download(file, None).await {
                    Ok(file) => Seen::File(file.sha256),
                    Err(error) => Seen::Strange(error.to_string()),
                },
                (true, None) => Seen::Text(event.body().unwrap_or_default().to_owned()),
            });
        }
        seen
    }

    /// Waits until the phone has been told that a message of its is there.
    pub(crate) async fn wait_for_tick(&self, stanza: &str, wanted: &[&str]) -> Result<()> {
        wait::until(
            &format!("{stanza} to be {wanted:?}"),
            crate::PATIENCE,
            || async {
                let shown = self.phone.shown(self.me()).await.unwrap_or_default();
                Ok(shown
                    .iter()
                    .any(|each| {
                        each["id"] == stanza
                            && wanted.iter().any(|status| each["status"] == *status)
                    })
                    .then_some(()))
            },
        )
        .await
    }
}

fn on_phone(shown: &[Value]) -> Vec<Seen> {
    shown
        .iter()
        .filter(|each| each["from_me"] == false)
        .map(|each| {
            if each["undecryptable"] == true {
                Seen::Unreadable
            } else if let Some(sha256) = each["sha256"].as_str() {
                Seen::File(sha256.to_owned())
            } else if let Some(text) = each["text"].as_str() {
                Seen::Text(text.to_owned())
            } else {
                Seen::Strange(each["kind"].to_string())
            }
        })
        .collect()
}

/// Does something again until it works, for what may fail while gatehouse is dead.
pub(crate) async fn stubborn<T, F>(what: &str, mut act: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + crate::PATIENCE;
    loop {
        match act().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > end => {
                return Err(Error::new(format!("{what}: {error}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}
