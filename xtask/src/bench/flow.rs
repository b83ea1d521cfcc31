//! Messages through the whole bridge, counted and timed, each checked for its place and its text.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::value::RawValue;
use tests::encrypting::RoomEvent;
use tests::error::Context as _;
use tests::standin::{LOAD_PATH, LoadedEvent};
use tests::{Error, Result, cache};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::numbers::{Latency, per_second};
use super::report::Rate;
use super::rig::{Chat, DEADLINE, Rig};

/// Chats that are written to at a time, while rates are measured.
pub(super) const WRITERS: usize = 32;
/// How long latencies are measured.
const LATENCY: u32 = 10;
/// Between two looks at a phone, or two `/sync`s, while rates are measured: looking costs the machine as well.
const LOOK: Duration = Duration::from_millis(100);
/// The length of a message, in characters.
const LENGTH: usize = 100;

/// How the Matrix side starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The stand-in gets all events at once.
    Loaded,
    /// Users send them, many at a time.
    Sent,
}

/// A message on its way: its chat, its text, and the text encrypted where Matrix is the start.
pub(super) struct Message {
    pub(super) chat: usize,
    text: String,
    content: Option<Box<RawValue>>,
}

impl Message {
    pub(super) fn content(&self) -> Result<&RawValue> {
        self.content.as_deref().context("not encrypted")
    }
}

/// When something arrived, in Unix milliseconds.
struct Arrival {
    text: String,
    at: u64,
}

impl Rig {
    /// One message each way in each chat: sessions are open and room keys shared afterwards.
    pub(super) async fn warm(&self) -> Result<()> {
        cache::progress("a first message each way in each chat");
        let messages = self.messages(self.chats.len(), "first");
        let messages = self.encrypt(messages).await?;
        let before = self.shown_so_far().await?;
        self.send_all(&messages).await?;
        self.wait_for_phones(&messages, before).await?;
        self.to_matrix_with("first", self.chats.len()).await?;
        Ok(())
    }

    /// Messages per second from Matrix to the phones.
    pub(super) async fn to_whatsapp(&self, count: usize, start: Start) -> Result<Rate> {
        let messages = self.encrypt(self.messages(count, "rate")).await?;
        cache::progress(&format!("{count} messages from Matrix to WhatsApp"));
        let before = self.shown_so_far().await?;
        let (processor, commits) = (self.processor()?, self.commits().await?);
        let started = match start {
            Start::Loaded => self.load(&messages).await?,
            Start::Sent => {
                let started = now();
                self.send_all(&messages).await?;
                started
            }
        };
        let arrived = self.wait_for_phones(&messages, before).await?;
        let last = arrived.iter().map(|arrival| arrival.at).max().unwrap_or(0);
        self.rate(count, last.saturating_sub(started), processor, commits)
            .await
    }

    /// Messages per second from the phones to Matrix. They are encrypted while the bridge stands still, so the clock runs
    /// for the bridge alone.
    pub(super) async fn to_matrix(&self, count: usize) -> Result<Rate> {
        cache::progress(&format!("{count} messages from WhatsApp to Matrix"));
        self.to_matrix_with("rate", count).await
    }

    async fn to_matrix_with(&self, name: &str, count: usize) -> Result<Rate> {
        let messages = self.messages(count, name);
        let watch = Watch::start(self, LOOK);
        let commits = self.commits().await?;
        self.gatehouse.freeze();
        let written = self.write_all(&messages).await;
        let processor = self.processor();
        self.gatehouse.thaw();
        let started = now();
        written?;
        let arrived = watch.wait(self, &messages).await?;
        let last = arrived.iter().map(|(_, at)| *at).max().unwrap_or(0);
        let rate = self
            .rate(count, last.saturating_sub(started), processor?, commits)
            .await;
        self.read(arrived, &messages).await?;
        rate
    }

    /// How long a message takes to a phone while few are on their way.
    pub(super) async fn latency_to_whatsapp(&self, rate: u32) -> Result<Latency> {
        cache::progress(&format!("latency to WhatsApp at {rate} messages/s"));
        let count = usize::try_from(rate * LATENCY).unwrap_or(usize::MAX);
        let messages = self.encrypt(self.messages(count, "latency")).await?;
        let before = self.shown_so_far().await?;
        let sent = self
            .paced(&messages, rate, |message| async move {
                let chat = self.chat(message)?;
                let (user, txn) = (self.user(chat)?, self.txn(message));
                user.send(&chat.room, &txn, message.content()?).await
            })
            .await?;
        let arrived = self.wait_for_phones(&messages, before).await?;
        latency(&sent, arrived, rate)
    }

    /// How long a message takes from a phone to its receiver's `/sync` while few are on their way.
    pub(super) async fn latency_to_matrix(&self, rate: u32) -> Result<Latency> {
        cache::progress(&format!("latency to Matrix at {rate} messages/s"));
        let count = usize::try_from(rate * LATENCY).unwrap_or(usize::MAX);
        let messages = self.messages(count, "latency");
        let watch = Watch::start(self, Duration::ZERO);
        let sent = self
            .paced(&messages, rate, |message| async move {
                self.write(self.chat(message)?, &message.text).await
            })
            .await?;
        let arrived = watch.wait(self, &messages).await?;
        let arrived = self.read(arrived, &messages).await?;
        latency(&sent, arrived, rate)
    }

    /// Texts, dealt out to the chats in turn.
    fn messages(&self, count: usize, name: &str) -> Vec<Message> {
        let rooms = self.chats.len();
        (0..count)
            .map(|number| Message {
                chat: number % rooms,
                text: format!("{name} {} {number} {:.<LENGTH$}", now(), ""),
                content: None,
            })
            .collect()
    }

    /// Encrypts messages, as their users.
    async fn encrypt(&self, mut messages: Vec<Message>) -> Result<Vec<Message>> {
        for message in &mut messages {
            let chat = self.chats.get(message.chat).context("no chat")?;
            let content = self.user(chat)?.encrypt(&chat.room, &message.text).await?;
            message.content = Some(content);
        }
        Ok(messages)
    }

    /// Messages of the size of real ones, encrypted.
    pub(super) async fn encrypted(&self, count: usize) -> Result<Vec<Message>> {
        self.encrypt(self.messages(count, "nobody reads this"))
            .await
    }

    pub(super) fn chat(&self, message: &Message) -> Result<&Chat> {
        self.chats.get(message.chat).context("no chat")
    }

    /// A transaction id: the text is of one run and number.
    fn txn(&self, message: &Message) -> String {
        message.text.replace([' ', '.'], "")
    }

    async fn load(&self, messages: &[Message]) -> Result<u64> {
        let events = messages
            .iter()
            .map(|message| {
                let chat = self.chat(message)?;
                Ok(LoadedEvent {
                    room_id: chat.room.clone(),
                    sender: self.user(chat)?.user_id().to_owned(),
                    content: message.content()?.to_owned(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let url = format!("{}{LOAD_PATH}", self.server.url());
        let answer = self.http.post(url).json(&events).send().await?;
        let answer: serde_json::Value = answer.error_for_status()?.json().await?;
        answer["at"].as_u64().context("no time in the answer")
    }

    /// Sends all messages as their users, in order within a chat.
    pub(super) async fn send_all(&self, messages: &[Message]) -> Result<()> {
        self.each_chat(messages, WRITERS, |message| async move {
            let chat = self.chat(message)?;
            let (user, txn) = (self.user(chat)?, self.txn(message));
            user.send(&chat.room, &txn, message.content()?).await
        })
        .await
    }

    async fn write_all(&self, messages: &[Message]) -> Result<()> {
        self.each_chat(messages, WRITERS, |message| async move {
            self.write(self.chat(message)?, &message.text).await
        })
        .await
    }

    /// Does something for each message: one after the other in a chat, `at_once` chats at a time.
    pub(super) async fn each_chat<'a, F, Fut>(
        &self,
        messages: &'a [Message],
        at_once: usize,
        each: F,
    ) -> Result<()>
    where
        F: Fn(&'a Message) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let each = &each;
        stream::iter(0..self.chats.len())
            .map(Ok)
            .try_for_each_concurrent(at_once, |chat| async move {
                for message in messages.iter().filter(|message| message.chat == chat) {
                    each(message).await?;
                }
                Ok(())
            })
            .await
    }

    /// Does something for each message, `rate` times a second; gives the times of the starts by text.
    async fn paced<'a, F, Fut>(
        &self,
        messages: &'a [Message],
        rate: u32,
        each: F,
    ) -> Result<HashMap<&'a str, u64>>
    where
        F: Fn(&'a Message) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut sent = HashMap::new();
        let mut running = stream::FuturesUnordered::new();
        for message in messages {
            loop {
                tokio::select! {
                    _ = ticks.tick() => break,
                    Some(done) = running.next() => done?,
                }
            }
            sent.insert(message.text.as_str(), now());
            running.push(each(message));
        }
        while let Some(done) = running.next().await {
            done?;
        }
        Ok(sent)
    }

    /// The last message that each phone shows.
    async fn shown_so_far(&self) -> Result<Vec<Option<String>>> {
        let mut last = Vec::new();
        for chat in &self.chats {
            // Before the first message the sandbox may not know the chat.
            let shown = self.shown(chat, None).await.unwrap_or_default();
            last.push(
                shown
                    .last()
                    .and_then(|it| Some(it["id"].as_str()?.to_owned())),
            );
        }
        Ok(last)
    }

    /// Waits until the phones show the messages, and checks that they are all, once each and in order.
    async fn wait_for_phones(
        &self,
        messages: &[Message],
        mut before: Vec<Option<String>>,
    ) -> Result<Vec<Arrival>> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut arrivals = Vec::new();
        for (number, chat) in self.chats.iter().enumerate() {
            let expected: Vec<&str> = of_chat(messages, number);
            let after = before.get_mut(number).context("no chat")?;
            let mut shown = Vec::new();
            while shown.len() < expected.len() {
                for entry in self.shown(chat, after.as_deref()).await? {
                    *after = entry["id"].as_str().map(str::to_owned);
                    if entry["from_me"] == false {
                        let text = entry["text"].as_str().unwrap_or("no text").to_owned();
                        let at = entry["ts"].as_u64().unwrap_or(0);
                        shown.push(Arrival { text, at });
                    }
                }
                if shown.len() < expected.len() {
                    in_time(deadline, shown.len(), expected.len())?;
                    tokio::time::sleep(LOOK).await;
                }
            }
            check(&shown, &expected)?;
            arrivals.extend(shown);
        }
        Ok(arrivals)
    }

    /// Decrypts what arrived and checks that it is all, once each and in order.
    async fn read(
        &self,
        arrived: Vec<(RoomEvent, u64)>,
        messages: &[Message],
    ) -> Result<Vec<Arrival>> {
        let mut all = Vec::new();
        for (number, chat) in self.chats.iter().enumerate() {
            let user = self.user(chat)?;
            let mut read = Vec::new();
            for (event, at) in arrived.iter().filter(|(event, _)| event.room == chat.room) {
                let text = user.decrypt(event).await?;
                read.push(Arrival { text, at: *at });
            }
            check(&read, &of_chat(messages, number))?;
            all.extend(read);
        }
        Ok(all)
    }

    pub(super) async fn rate(
        &self,
        messages: usize,
        milliseconds: u64,
        processor: super::report::Processor,
        (commits, batches): (f64, f64),
    ) -> Result<Rate> {
        let now = self.commits().await?;
        Ok(Rate {
            messages,
            milliseconds,
            per_second: per_second(messages, milliseconds),
            processor: self.processor()?.since(&processor),
            commits: now.0 - commits,
            batches: now.1 - batches,
        })
    }
}

/// Reads what arrives at all users.
pub(super) struct Watch {
    tasks: JoinSet<Result<()>>,
    arrivals: mpsc::UnboundedReceiver<(RoomEvent, u64)>,
}

impl Watch {
    /// Begins; `pause` lies between two reads of a user.
    pub(super) fn start(rig: &Rig, pause: Duration) -> Self {
        let (send, arrivals) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for user in &rig.users {
            let (user, send) = (Arc::clone(user), send.clone());
            tasks.spawn(async move {
                loop {
                    let events = user.sync(Duration::from_secs(5)).await?;
                    let at = now();
                    for event in events {
                        let own = event.sender == user.user_id();
                        if !own
                            && event.kind == "m.room.encrypted"
                            && send.send((event, at)).is_err()
                        {
                            return Ok(());
                        }
                    }
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { tasks, arrivals }
    }

    /// Waits for as many events as there are messages.
    pub(super) async fn wait(
        mut self,
        rig: &Rig,
        messages: &[Message],
    ) -> Result<Vec<(RoomEvent, u64)>> {
        let mut arrived = Vec::new();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while arrived.len() < messages.len() {
            tokio::select! {
                Some(arrival) = self.arrivals.recv() => arrived.push(arrival),
                Some(ended) = self.tasks.join_next() => {
                    ended.context("a user's reader broke off")??;
                }
                () = tokio::time::sleep_until(deadline) => {
                    in_time(deadline, arrived.len(), messages.len()).map_err(|error| rig.explain(error))?;
                }
            }
        }
        // A request that is broken off leaves the position where it was: nothing is lost for the next watch.
        self.tasks.shutdown().await;
        Ok(arrived)
    }
}

fn in_time(deadline: tokio::time::Instant, arrived: usize, expected: usize) -> Result<()> {
    if tokio::time::Instant::now() < deadline {
        return Ok(());
    }
    let seconds = DEADLINE.as_secs();
    Err(Error::new(format!(
        "{arrived} of {expected} messages arrived within {seconds} s"
    )))
}

fn of_chat(messages: &[Message], chat: usize) -> Vec<&str> {
    let own = messages.iter().filter(|message| message.chat == chat);
    own.map(|message| message.text.as_str()).collect()
}

fn check(arrived: &[Arrival], expected: &[&str]) -> Result<()> {
    if arrived.len() == expected.len()
        && arrived
            .iter()
            .zip(expected)
            .all(|(arrival, text)| arrival.text == *text)
    {
        return Ok(());
    }
    Err(Error::new(
        "messages were lost, doubled or out of order: these figures would mean nothing",
    ))
}

fn latency(sent: &HashMap<&str, u64>, arrived: Vec<Arrival>, rate: u32) -> Result<Latency> {
    let times = arrived.into_iter().map(|arrival| {
        let sent = sent.get(arrival.text.as_str()).context("not sent")?;
        Ok(arrival.at.saturating_sub(*sent))
    });
    Ok(Latency::of(times.collect::<Result<_>>()?, rate))
}

/// Unix time in milliseconds. All processes are on one machine, so they share it.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod unit {
    use super::*;

    fn arrivals(texts: &[&str]) -> Vec<Arrival> {
        let arrival = |text: &&str| Arrival {
            text: (*text).to_owned(),
            at: 5,
        };
        texts.iter().map(arrival).collect()
    }

    #[test]
    fn loss_doubles_and_disorder_are_found() {
        assert!(check(&arrivals(&["a", "b"]), &["a", "b"]).is_ok());
        for wrong in [&["a"][..], &["b", "a"], &["a", "b", "b"], &["a", "c"]] {
            assert!(check(&arrivals(wrong), &["a", "b"]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn latencies_belong_to_their_messages() -> Result<()> {
        let sent = HashMap::from([("a", 1), ("b", 4)]);
        let latency = latency(&sent, arrivals(&["a", "b"]), 1)?;
        assert_eq!((latency.p50_ms, latency.max_ms), (1, 4));
        assert!(super::latency(&sent, arrivals(&["c"]), 1).is_err());
        Ok(())
    }
}
