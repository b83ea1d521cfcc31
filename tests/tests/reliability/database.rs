//! A database that takes no writes: nobody is acknowledged, the operator sees it, and it goes on by itself.

use tests::database::Hold;
use tests::http;
use tests::postgres::Postgres;

use super::*;

/// What breaks the database, and mends it.
pub(super) trait Break {
    async fn begin(&mut self) -> Result<()>;
    async fn end(&mut self) -> Result<()>;
}

/// Both sides write while the database takes nothing; then everything arrives once and in order, without a restart.
async fn outage(stack: &Stack, chat: &Chat, fault: &mut impl Break) -> Result<()> {
    let pid = stack.gatehouse.pid();
    let read = chat.client.send(&chat.room, "read meanwhile").await?;
    let shown = chat
        .phone
        .wait_for_text(chat.me(), "read meanwhile")
        .await?;
    fault.begin().await?;
    let ids = [shown.id.as_str()];
    chat.phone.receipt(chat.me(), "read", &ids).await?;
    let out = ["one", "two", "three"];
    let back = ["four", "five", "six"];
    for (text, answer) in out.iter().zip(back) {
        chat.client.send(&chat.room, text).await?;
        chat.phone.send(chat.me(), answer).await?;
    }
    let log = || async {
        Ok(stack
            .gatehouse
            .log()?
            .contains("the database takes no writes")
            .then_some(()))
    };
    wait::until("word of it in the log", PATIENCE * 2, log).await?;
    let ready = format!(
        "{}/_matrix/mau/ready",
        stack.gatehouse.ports().appservice_url()
    );
    let answers = |wanted: u16| {
        let ready = &ready;
        async move {
            let answer = http::client()?.get(ready).send().await?;
            Ok((answer.status().as_u16() == wanted).then_some(()))
        }
    };
    wait::until("not to be ready", PATIENCE, || answers(503)).await?;
    // Nothing was taken from the gatekeeper.
    let user = stack.sandbox.partner_user(chat.me()).await?;
    assert!(
        user.is_some_and(|user| user["mailbox"].as_u64() >= Some(back.len() as u64)),
        "the gatekeeper keeps what is not written"
    );
    fault.end().await?;
    wait::until("to be ready again", PATIENCE * 2, || answers(200)).await?;
    chat.seen("six").await?;
    chat.on_phone("three").await?;
    // What could not be noted is brought again, without a new connection from elsewhere.
    let (room, ghost) = (&chat.room, &chat.ghost);
    chat.client.wait_for_read(room, ghost, &read).await?;
    let mut expected = vec!["hello".to_owned(), "read meanwhile".to_owned()];
    expected.extend(out.map(str::to_owned));
    assert_eq!(chat.texts_on_phone().await?, expected);
    let mut expected = vec!["hello to you".to_owned()];
    expected.extend(back.map(str::to_owned));
    assert_eq!(chat.texts_in_room().await?, expected);
    assert_eq!(stack.gatehouse.pid(), pid, "it did not end");
    assert!(stack.gatehouse.is_running());
    assert!(status(stack)?.get("trouble").is_none());
    Ok(())
}

enum Disk<'a> {
    Full(&'a Shim),
    DoesNotSync(&'a Shim),
}

impl Disk<'_> {
    fn set(&self, on: bool) -> Result<()> {
        match self {
            Self::Full(shim) => shim.disk_full(on),
            Self::DoesNotSync(shim) => shim.sync_fails(on),
        }
    }
}

impl Break for Disk<'_> {
    async fn begin(&mut self) -> Result<()> {
        self.set(true)
    }

    async fn end(&mut self) -> Result<()> {
        self.set(false)
    }
}

#[tokio::test]
async fn a_full_or_broken_disk_loses_nothing() -> Result<()> {
    let (_scratch, shim, options) = over_shim()?;
    let stack = Stack::start("database-disk", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000011").await?;
        outage(&stack, &chat, &mut Disk::Full(&shim)).await?;
        let text = stack.gatehouse.log()?;
        assert!(text.contains("disk is full"), "says why: {text}");
        let chat = Chat::with(&stack, chat.client, "+4915100000012").await?;
        outage(&stack, &chat, &mut Disk::DoesNotSync(&shim)).await
    }
    .await;
    explained(&stack, result)
}

/// Another program that holds the database.
pub(super) struct Locked {
    url: String,
    hold: Option<Hold>,
}

impl Locked {
    /// The database of a stack's bridge, not held yet.
    pub(super) fn of(stack: &Stack) -> Self {
        Self {
            url: stack.gatehouse.database_url().to_owned(),
            hold: None,
        }
    }
}

impl Break for Locked {
    async fn begin(&mut self) -> Result<()> {
        self.hold = Some(Hold::take(&self.url).await?);
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        match self.hold.take() {
            Some(hold) => hold.release().await,
            None => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_locked_database_loses_nothing() -> Result<()> {
    let stack = Stack::start("database-locked", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "berta", "+4915100000013").await?;
        outage(&stack, &chat, &mut Locked::of(&stack)).await
    }
    .await;
    explained(&stack, result)
}

impl Break for &Postgres {
    async fn begin(&mut self) -> Result<()> {
        Postgres::stop(self)
    }

    async fn end(&mut self) -> Result<()> {
        Postgres::go_on(self).await
    }
}

#[tokio::test]
async fn a_postgresql_server_that_is_restarted_loses_nothing() -> Result<()> {
    let postgres = Postgres::start().await?;
    let mut options = Options::default();
    options.gatehouse.database = Some(postgres.database("gatehouse")?);
    let stack = Stack::start("database-postgresql", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "clara", "+4915100000014").await?;
        outage(&stack, &chat, &mut &postgres).await
    }
    .await;
    explained(&stack, result)
}
