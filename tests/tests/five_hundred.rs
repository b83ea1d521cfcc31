//! 500 messages, interleaved both ways over five rooms, arrive once each and in order, whatever happens meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tests::client::Client;
use tests::sandbox::Phone;
use tests::stack::{Options, Stack};
use tests::{Error, Result, wait};
use tokio::sync::Mutex;

const ROOMS: usize = 5;
const PER_DIRECTION: usize = 50; // 5 rooms x 2 directions x 50 = 500

/// For a machine of two cores that does everything at once.
const DEADLINE: Duration = Duration::from_secs(420);

/// These runs take their turns: side by side they would only measure each other.
static TURN: Mutex<()> = Mutex::const_new(());

/// One chat: the room and the phone at its other end.
struct Chat {
    number: usize,
    room: String,
    ghost: String,
    phone: Phone,
}

impl Chat {
    /// The last text of each direction: once it has arrived, no text before it is still on its way.
    const LAST: &'static str = "and that was all";

    fn sent_by_matrix(&self) -> Vec<String> {
        self.texts("from Matrix")
    }

    fn sent_by_phone(&self) -> Vec<String> {
        self.texts("from the phone")
    }

    fn texts(&self, from: &str) -> Vec<String> {
        let mut texts: Vec<_> = (0..PER_DIRECTION)
            .map(|count| format!("{count} {from} in {}", self.number))
            .collect();
        texts.push(Self::LAST.to_owned());
        texts
    }

    /// What arrived on the phone.
    async fn on_phone(&self, user: &str) -> Result<Vec<String>> {
        let messages = self.phone.messages(user).await?;
        Ok(messages
            .into_iter()
            .filter(|message| !message.from_me)
            .map(|message| {
                message
                    .text
                    .unwrap_or_else(|| format!("{message:?}", message = message.kind))
            })
            .collect())
    }

    /// What arrived in the room; what came with a warning or unreadable stands out.
    async fn in_matrix(&self, client: &Client) -> Result<Vec<String>> {
        let timeline = client.timeline(&self.room).await?;
        Ok(timeline
            .iter()
            .filter(|event| event.sender == self.ghost && event.state_key.is_none())
            .map(|event| match event.body() {
                Some(body) if event.is_clean() => body.to_owned(),
                _ => event.summary(),
            })
            .collect())
    }

    async fn check(&self, client: &Client) -> Result<()> {
        let arrived_with_last =
            |texts: &[String]| texts.last().is_some_and(|text| text == Self::LAST);
        let waited = wait::until("all messages to arrive", DEADLINE, || async {
            let done = arrived_with_last(&self.on_phone(client.user_id()).await?)
                && arrived_with_last(&self.in_matrix(client).await?);
            Ok(done.then_some(()))
        })
        .await;
        compare(
            &format!("phone {}", self.number),
            &self.on_phone(client.user_id()).await?,
            &self.sent_by_matrix(),
        )?;
        compare(
            &format!("room {}", self.number),
            &self.in_matrix(client).await?,
            &self.sent_by_phone(),
        )?;
        waited
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
    let doubled: Vec<_> = expected
        .iter()
        .filter(|text| arrived.iter().filter(|each| each == text).count() > 1)
        .collect();
    Err(Error::new(format!(
        "{place}: {} of {} arrived; missing {missing:?}; doubled {doubled:?}; not sent at all {strange:?}; in this \
         order {arrived:?}",
        arrived.len(),
        expected.len()
    )))
}

/// Opens the chats, half of them from either side.
async fn open(stack: &Stack, client: &Client) -> Result<Vec<Chat>> {
    let mut chats = Vec::new();
    for number in 0..ROOMS {
        let phone = stack
            .sandbox
            .phone(&format!("+49151000000{number:02}"), "Bea")
            .await?;
        let ghost = stack.ghost(&phone);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        chats.push(Chat {
            number,
            room,
            ghost,
            phone,
        });
    }
    Ok(chats)
}

/// Sends everything: in each room both sides write at the same time.
async fn write(client: &Client, chats: &[Chat], sent: &AtomicUsize) -> Result<()> {
    for count in 0..=PER_DIRECTION {
        let round = chats.iter().map(|chat| async move {
            let (from_matrix, from_phone) = (chat.sent_by_matrix(), chat.sent_by_phone());
            let (event, stanza) = tokio::join!(
                client.send(&chat.room, &from_matrix[count]),
                chat.phone.send(client.user_id(), &from_phone[count]),
            );
            sent.fetch_add(2, Ordering::Relaxed);
            event.and(stanza).map(drop)
        });
        futures_util::future::try_join_all(round).await?;
    }
    Ok(())
}

async fn run(name: &str, faults: serde_json::Value, kills: &[usize]) -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = Stack::start(name, Options::default()).await?;
    let client = stack.enlisted_client("anna").await?;
    let result = async {
        let chats = open(&stack, &client).await?;
        stack.sandbox.faults(faults).await?;
        let sent = AtomicUsize::new(0);
        let kill = async {
            for at in kills {
                wait::until("the next moment to kill", DEADLINE, || async {
                    Ok((sent.load(Ordering::Relaxed) >= *at).then_some(()))
                })
                .await?;
                stack.gatehouse.kill();
                stack.gatehouse.start().await?;
            }
            Ok(())
        };
        tokio::try_join!(write(&client, &chats, &sent), kill)?;
        for chat in &chats {
            chat.check(&client).await?;
        }
        Ok(())
    }
    .await;
    result.map_err(|error| stack.explain(error))
}

#[tokio::test]
async fn all_arrive_once_and_in_order() -> Result<()> {
    run("five-hundred", json!({}), &[]).await
}

#[tokio::test]
async fn all_arrive_although_gatehouse_is_killed_three_times() -> Result<()> {
    run("five-hundred-kills", json!({}), &[100, 250, 400]).await
}

#[tokio::test]
async fn all_arrive_although_the_connection_drops_every_twenty_stanzas() -> Result<()> {
    run(
        "five-hundred-drops",
        json!({"drop_connection_every": 20}),
        &[],
    )
    .await
}
