//! A chat, what must be in it, and what is in it.

mod found;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::torture::model::{Findings, Seen};
use tests::{Error, Result, wait};

use self::found::Found;

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
    there: Vec<Must>,
    /// In the room, of the phone.
    here: Vec<Must>,
    /// The emoji that the user has put on a message of the phone, and the one that the phone has put on an event.
    reaction_there: Option<(String, String)>,
    reaction_here: Option<(String, String)>,
    /// How many notices of the bot's stay.
    told: usize,
    /// How much of the room, of the phone and of the expectations has been looked at and found right.
    events: usize,
    shown: usize,
    settled_there: usize,
    settled_here: usize,
    settled_told: usize,
    /// How many messages the phone had in another room of the same chat.
    begin: usize,
}

/// A message that must be there.
#[derive(Debug, Clone)]
struct Must {
    seen: Seen,
    /// Its id where it was written: of the event or of the stanza.
    id: Option<String>,
    /// Whether it may also be missing: it was deleted before it was carried.
    or_nothing: bool,
}

impl Must {
    fn new(seen: Seen) -> Self {
        Self {
            seen,
            id: None,
            or_nothing: false,
        }
    }
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
        self.lock().there.push(Must::new(seen));
    }

    /// This must be in the room, after all that was to be there before.
    pub(crate) fn expect_here(&self, seen: Seen) {
        self.lock().here.push(Must::new(seen));
    }

    /// The last that was expected on the phone is this event: it must be said to be delivered.
    pub(crate) fn sent(&self, event: &str) {
        if let Some(must) = self.lock().there.last_mut() {
            must.id = Some(event.to_owned());
        }
    }

    /// The last that was expected in the room is this stanza: the phone must have been told that it is delivered.
    pub(crate) fn said(&self, stanza: &str) {
        if let Some(must) = self.lock().here.last_mut() {
            must.id = Some(stanza.to_owned());
        }
    }

    /// The bot has one more thing to say here that is not taken back.
    pub(crate) fn is_told(&self) {
        self.lock().told += 1;
    }

    /// This chat goes on where another one ended, in another room: what the phone has of that is not of this one.
    pub(crate) async fn begins_after(&self, other: &Self) -> Result<()> {
        let settled = other.lock().there.len();
        let shown = other.phone.shown(other.me()).await?;
        let count = on_phone(&shown).len().min(settled);
        let mut expected = self.lock();
        (expected.begin, expected.shown) = (count, count);
        Ok(())
    }

    /// Where in the room begins what has not been found right yet.
    pub(crate) fn settled(&self) -> usize {
        self.lock().events
    }

    /// A text to the phone: its event id.
    pub(crate) async fn write(&self, text: &str) -> Result<String> {
        self.expect_there(Seen::Text(text.to_owned()));
        let event = self.client.send(&self.room, text).await?;
        self.sent(&event);
        Ok(event)
    }

    /// A text from the phone: its stanza id.
    pub(crate) async fn say(&self, text: &str) -> Result<String> {
        self.expect_here(Seen::Text(text.to_owned()));
        let stanza = self.phone.send(self.me(), text).await?;
        self.said(&stanza);
        Ok(stanza)
    }

    /// The user deletes a text of theirs that the phone has.
    pub(crate) async fn delete(&self, event: &str) -> Result<()> {
        become_deleted(&mut self.lock().there, event, false);
        self.client.redact(&self.room, event).await.map(drop)
    }

    /// The user deletes a text of theirs that the phone may not have yet: it then never hears of it.
    pub(crate) async fn withdraw(&self, event: &str) -> Result<()> {
        become_deleted(&mut self.lock().there, event, true);
        self.client.redact(&self.room, event).await.map(drop)
    }

    /// The phone deletes a text of its that the room has.
    pub(crate) async fn revoke(&self, stanza: &str) -> Result<()> {
        become_deleted(&mut self.lock().here, stanza, false);
        self.phone.revoke(self.me(), stanza).await
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
            become_text(&mut expected.there, event, text);
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
            become_text(&mut expected.here, stanza, text);
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
        let shown = self.phone.shown(self.me()).await?;
        let mut expected = self.lock();
        expected.events += more;
        expected.shown = on_phone(&shown).len();
        expected.settled_there = expected.there.len();
        expected.settled_here = expected.here.len();
        expected.settled_told = expected.told;
        Ok(())
    }

    /// What is wrong at the moment: since the last time that nothing was, or since the beginning.
    pub(crate) async fn look(&self, all: bool) -> Result<(Findings, Vec<String>)> {
        let (mut there, here, shown_before, events, reactions, told) = {
            let expected = self.lock();
            let since = |settled: usize| if all { 0 } else { settled };
            (
                expected.there[since(expected.settled_there)..].to_vec(),
                expected.here[since(expected.settled_here)..].to_vec(),
                if all { expected.begin } else { expected.shown },
                since(expected.events),
                (
                    expected.reaction_there.clone(),
                    expected.reaction_here.clone(),
                ),
                expected.told - since(expected.settled_told),
            )
        };
        let shown = self.phone.shown(self.me()).await.unwrap_or_default();
        let timeline = self.client.timeline_from(&self.room, events).await?;
        let mut on_phone = on_phone(&shown);
        let on_phone = on_phone.split_off(shown_before.min(on_phone.len()));
        // What was taken back before it left is either shown as deleted, in its place, or never came.
        let mut place = 0;
        there.retain(|must| {
            let stays = !must.or_nothing || on_phone.get(place) == Some(&Seen::Deleted);
            place += usize::from(stays);
            stays
        });
        let seen = |all: &[Must]| all.iter().map(|must| must.seen.clone()).collect::<Vec<_>>();
        let in_room = self.in_room(&timeline).await;
        let mut found = Found::default();
        found.contents("the phone", &on_phone, &seen(&there));
        found.contents("the room", &in_room, &seen(&here));
        found.delivered(&there, &timeline);
        found.ticked(&here, &shown);
        found.notices(&timeline, [self.me(), self.ghost.as_str()], told);
        if let Some((on, emoji)) = reactions.0 {
            let shown = shown.iter().find(|each| each["id"] == on.as_str());
            let wanted = json!([{"from": self.me(), "emoji": emoji}]);
            let reactions = shown.map_or(&Value::Null, |each| &each["reactions"]);
            if *reactions != wanted {
                found.wrong(format!(
                    "the phone shows the reactions {reactions} instead of {emoji}"
                ));
            }
        }
        if let Some((on, emoji)) = reactions.1 {
            let timeline = self.client.timeline(&self.room).await?;
            let reactions: Vec<_> = timeline
                .iter()
                .filter(|event| event.sender == self.ghost)
                .filter_map(|event| event.reaction_to(&on))
                .collect();
            if reactions != [emoji.as_str()] {
                found.wrong(format!(
                    "the room shows the reactions {reactions:?} instead of {emoji}"
                ));
            }
        }
        Ok((found.findings, found.details))
    }

    async fn in_room(&self, timeline: &[TimelineEvent]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for event in timeline {
            let message = matches!(event.kind.as_str(), "m.room.message" | "m.room.encrypted");
            if event.sender != self.ghost || !message || event.relation["rel_type"] == "m.replace" {
                continue;
            }
            if event.redacted {
                seen.push(Seen::Deleted);
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

fn become_text(all: &mut [Must], id: &str, text: &str) {
    if let Some(must) = all.iter_mut().find(|must| must.id.as_deref() == Some(id)) {
        must.seen = Seen::Text(text.to_owned());
    }
}

fn become_deleted(all: &mut [Must], id: &str, or_nothing: bool) {
    if let Some(must) = all.iter_mut().find(|must| must.id.as_deref() == Some(id)) {
        must.seen = Seen::Deleted;
        must.or_nothing = or_nothing;
    }
}

fn on_phone(shown: &[Value]) -> Vec<Seen> {
    shown
        .iter()
        .filter(|each| each["from_me"] == false)
        .map(|each| {
            if each["revoked"] == true {
                Seen::Deleted
            } else if each["undecryptable"] == true {
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
