//! Many messages, interleaved both ways over several rooms, and the check that each arrived once and in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::client::Client;
use crate::sandbox::Phone;
use crate::stack::Stack;
use crate::{Error, Result, wait};

/// For a machine of two cores that does everything at once.
pub const DEADLINE: Duration = Duration::from_secs(420);

/// The last text of each direction: once it has arrived, no text before it is still on its way.
const LAST: &str = "and that was all";

/// One user's chats with several phones.
#[derive(Debug)]
pub struct Workload<'a> {
    client: &'a Client,
    chats: Vec<Chat>,
    per_direction: usize,
    sent: AtomicUsize,
}

/// One chat: the room and the phone at its other end.
#[derive(Debug)]
struct Chat {
    name: String,
    room: String,
    ghost: String,
    phone: Phone,
}

impl<'a> Workload<'a> {
    /// Opens `rooms` chats with new phones, whose numbers begin with `prefix`, for `per_direction` messages each
    /// way in each.
    ///
    /// # Errors
    ///
    /// When a chat does not open.
    pub async fn open(
        stack: &Stack,
        client: &'a Client,
        prefix: &str,
        rooms: usize,
        per_direction: usize,
    ) -> Result<Self> {
        let mut chats = Vec::new();
        for count in 0..rooms {
            let phone = stack
                .sandbox
                .phone(&format!("{prefix}{count:02}"), "Bea")
                .await?;
            let ghost = stack.ghost(&phone);
            let room = client.direct_chat(&ghost).await?;
            client.wait_for_member(&room, &ghost).await?;
            chats.push(Chat {
                name: format!("chat {count}"),
                room,
                ghost,
                phone,
            });
        }
        Ok(Self {
            client,
            chats,
            per_direction,
            sent: AtomicUsize::new(0),
        })
    }

    /// How many messages have been sent so far, in all rooms and both ways.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many have been sent.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_until_sent(&self, count: usize) -> Result<()> {
        wait::until(
            &format!("{count} messages to be sent"),
            DEADLINE,
            || async { Ok((self.sent() >= count).then_some(())) },
        )
        .await
    }

    /// Sends everything: in each room both sides write at the same time.
    ///
    /// # Errors
    ///
    /// When a client or the sandbox refuses a message.
    pub async fn write(&self) -> Result<()> {
        for count in 0..=self.per_direction {
            let round = self.chats.iter().map(|chat| async move {
                let (to_phone, to_matrix) = (
                    self.text(chat, "Matrix", count),
                    self.text(chat, "phone", count),
                );
                let (event, stanza) = tokio::join!(
                    self.client.send(&chat.room, &to_phone),
                    chat.phone.send(self.client.user_id(), &to_matrix),
                );
                self.sent.fetch_add(2, Ordering::Relaxed);
                event.and(stanza).map(drop)
            });
            futures_util::future::try_join_all(round).await?;
        }
        Ok(())
    }

    /// Waits until all has arrived, and says what is missing, doubled, out of order, unreadable or shown with a
    /// warning.
    ///
    /// # Errors
    ///
    /// Any of these.
    pub async fn check(&self) -> Result<()> {
        let is_last = |texts: &[String]| texts.last().is_some_and(|text| text == LAST);
        for chat in &self.chats {
            let waited = wait::until("all messages to arrive", DEADLINE, || async {
                let done =
                    is_last(&self.on_phone(chat).await?) && is_last(&self.in_matrix(chat).await?);
                Ok(done.then_some(()))
            })
            .await;
            let phone = compare(
                "the phone",
                &self.on_phone(chat).await?,
                &self.texts(chat, "Matrix"),
            );
            let room = compare(
                "the room",
                &self.in_matrix(chat).await?,
                &self.texts(chat, "phone"),
            );
            let problems: Vec<String> = [phone, room]
                .into_iter()
                .filter_map(|result| Some(result.err()?.to_string()))
                .collect();
            if !problems.is_empty() {
                return Err(Error::new(format!(
                    "{}: {}\nwhat others said in the room: {:?}",
                    chat.name,
                    problems.join("\n"),
                    self.said_by_others(chat).await?
                )));
            }
            waited?;
        }
        Ok(())
    }

    fn text(&self, chat: &Chat, from: &str, count: usize) -> String {
        if count == self.per_direction {
            LAST.to_owned()
        } else {
            format!("{count} from {from}, {}", chat.name)
        }
    }

    fn texts(&self, chat: &Chat, from: &str) -> Vec<String> {
        (0..=self.per_direction)
            .map(|count| self.text(chat, from, count))
            .collect()
    }

    /// What arrived on the phone.
    async fn on_phone(&self, chat: &Chat) -> Result<Vec<String>> {
        let messages = chat.phone.messages(self.client.user_id()).await?;
        Ok(messages
            .into_iter()
            .filter(|message| !message.from_me)
            .map(|message| {
                message
                    .text
                    .unwrap_or_else(|| format!("no text but {}", message.kind))
            })
            .collect())
    }

    /// What the bot said in the room about messages.
    async fn said_by_others(&self, chat: &Chat) -> Result<Vec<String>> {
        let timeline = self.client.timeline(&chat.room).await?;
        let others = timeline
            .iter()
            .filter(|event| event.sender != chat.ghost && event.sender != self.client.user_id());
        Ok(others
            .filter_map(|event| event.body().map(str::to_owned))
            .collect())
    }

    /// What arrived in the room; what came with a warning or unreadable stands out.
    async fn in_matrix(&self, chat: &Chat) -> Result<Vec<String>> {
        let timeline = self.client.timeline(&chat.room).await?;
        Ok(timeline
            .iter()
            .filter(|event| event.sender == chat.ghost && event.state_key.is_none())
            .map(|event| match event.body() {
                Some(body) if event.is_clean() => body.to_owned(),
                _ => event.summary(),
            })
            .collect())
    }
}

/// Says what is missing, doubled or out of order.
fn compare(place: &str, arrived: &[String], expected: &[String]) -> Result<()> {
    if arrived == expected {
        return Ok(());
    }
    let missing: Vec<_> = expected
        .iter()
        .filter(|text| !arrived.contains(text))
        .collect();
    let strange: Vec<_> = arrived
        .iter()
        .filter(|text| !expected.contains(text))
        .collect();
    let times = |text: &String| arrived.iter().filter(|each| *each == text).count();
    let doubled: Vec<_> = expected.iter().filter(|text| times(text) > 1).collect();
    Err(Error::new(format!(
        "{place} has {} of {}; missing {missing:?}; doubled {doubled:?}; strange {strange:?}; in this order {arrived:?}",
        arrived.len(),
        expected.len()
    )))
}

#[cfg(test)]
mod unit {
    use super::compare;

    #[test]
    fn loss_doubles_and_disorder_are_found() {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let expected = texts(&["1", "2", "3"]);
        assert!(compare("", &expected, &expected).is_ok());
        for wrong in [
            &["1", "3"][..],
            &["1", "2", "2", "3"],
            &["2", "1", "3"],
            &["1", "2", "3", "4"],
        ] {
            assert!(compare("", &texts(wrong), &expected).is_err(), "{wrong:?}");
        }
    }
}
