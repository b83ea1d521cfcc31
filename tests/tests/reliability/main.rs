//! What cannot be handled, hangs, fills the disk or ends in the middle: nothing is lost, and nobody else waits for it.

#![expect(
    clippy::print_stdout,
    reason = "how long it took and how much there was is printed, not asserted"
)]

mod backpressure;
mod clock;
mod database;
mod growth;
mod isolation;
mod order;
mod poison;
mod recovery;
mod shutdown;

use serde_json::Value;
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::scratch::Scratch;
use tests::shim::Shim;
use tests::stack::{Options, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result};

/// A number from the environment, for runs by hand that are larger than the usual ones.
fn number(name: &str, usual: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| Error::new(format!("{name} is to be a number, not {text:?}"))),
        Err(_) => Ok(usual),
    }
}

/// A shim between the bridge and its system, the folder in which it lives, and options that put it there.
fn over_shim() -> Result<(Scratch, Shim, Options)> {
    let scratch = Scratch::new("shim")?;
    let shim = Shim::new(scratch.path())?;
    let mut options = Options::default();
    options.gatehouse.environment = shim.environment().to_vec();
    Ok((scratch, shim, options))
}

/// A stack with proxies around the bridge.
async fn behind_proxies(name: &str, environment: &[(&str, &str)]) -> Result<Stack> {
    let mut options = Options {
        between: true,
        ..Options::default()
    };
    options.gatehouse.environment = environment
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Stack::start(name, options).await
}

/// A Matrix user and a phone with a chat in which both have written.
struct Chat {
    client: Client,
    phone: Phone,
    ghost: String,
    room: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let client = stack.enlisted_client(user).await?;
        Self::with(stack, client, number).await
    }

    async fn with(stack: &Stack, client: Client, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let ghost = stack.ghost(&phone);
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let chat = Self {
            client,
            phone,
            ghost,
            room,
        };
        chat.client.send(&chat.room, "hello").await?;
        chat.on_phone("hello").await?;
        chat.phone.send(chat.me(), "hello to you").await?;
        chat.seen("hello to you").await?;
        Ok(chat)
    }

    fn me(&self) -> &str {
        self.client.user_id()
    }

    async fn on_phone(&self, text: &str) -> Result<()> {
        self.phone.wait_for_text(self.me(), text).await.map(drop)
    }

    async fn seen(&self, text: &str) -> Result<TimelineEvent> {
        let (room, ghost) = (&self.room, &self.ghost);
        self.client.wait_for_text(room, ghost, text).await
    }

    /// The texts that the phone shows from Matrix, in order.
    async fn texts_on_phone(&self) -> Result<Vec<String>> {
        let messages = self.phone.messages(self.me()).await?;
        let theirs = messages.into_iter().filter(|message| !message.from_me);
        Ok(theirs.filter_map(|message| message.text).collect())
    }

    /// The texts that the room shows from the phone, in order.
    async fn texts_in_room(&self) -> Result<Vec<String>> {
        let timeline = self.client.timeline(&self.room).await?;
        let theirs = timeline.iter().filter(|event| event.sender == self.ghost);
        Ok(theirs
            .filter_map(|event| event.body().map(str::to_owned))
            .collect())
    }

    /// Waits for something that the bot says in the room.
    async fn told(&self, bot: &str, text: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for(&self.room, &format!("the bot to say {text:?}"), |event| {
                event.sender == bot && event.body().is_some_and(|body| body.contains(text))
            })
            .await
    }
}

/// The numbers of `gatehouse status`.
fn status(stack: &Stack) -> Result<Value> {
    Ok(serde_json::from_str(
        &stack.gatehouse.run(&["status", "--json"])?,
    )?)
}

/// Waits until at least so many rows of a kind wait in the bridge.
async fn waits(stack: &Stack, kind: &str, count: i64) -> Result<()> {
    let what = format!("{count} of {kind}");
    let found = wait::until(&what, PATIENCE, || async {
        let found = status(stack)?[kind].as_i64().unwrap_or_default();
        Ok((found >= count).then_some(()))
    });
    match found.await {
        Ok(()) => Ok(()),
        Err(error) => Err(Error::new(format!("{error}: {}", status(stack)?))),
    }
}

/// What `gatehouse replay --list` shows.
fn set_aside(stack: &Stack) -> Result<Vec<Value>> {
    let listed = stack.gatehouse.run(&["replay", "--list", "--json"])?;
    Ok(serde_json::from_str(&listed)?)
}

async fn wait_until_set_aside(stack: &Stack, count: usize) -> Result<Vec<Value>> {
    let found = wait::until("something to be set aside", PATIENCE * 3, || async {
        let listed = set_aside(stack)?;
        Ok((listed.len() == count).then_some(listed))
    });
    found.await.map_err(|error| stack.explain(error))
}

/// Runs statements on the bridge's own SQLite database, beside it.
async fn in_database(stack: &Stack, statements: &str) -> Result<()> {
    tests::database::execute(stack.gatehouse.database_url(), statements).await
}

/// Fails with what the bridge has logged.
fn explained<T>(stack: &Stack, result: Result<T>) -> Result<T> {
    result.map_err(|error: Error| stack.explain(error))
}
