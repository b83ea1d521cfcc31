//! Leaving WhatsApp: what a user's and an operator's word ends, and what stays.

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::stack::{Options, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result};

/// A user with an encrypted chat with the bot and one with a phone.
struct User {
    client: Client,
    me: String,
    bot: String,
    /// The chat with the bot.
    management: String,
    phone: Phone,
    ghost: String,
    room: String,
}

impl User {
    async fn open(stack: &Stack, name: &str, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let client = stack.enlisted_client(name).await?;
        let me = client.user_id().to_owned();
        let (bot, ghost) = (stack.bot(), stack.ghost(&phone));
        let management = client.direct_chat(&bot).await?;
        client.wait_for_member(&management, &bot).await?;
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let user = Self {
            client,
            me,
            bot,
            management,
            phone,
            ghost,
            room,
        };
        user.cross("at the beginning").await?;
        Ok(user)
    }

    /// Both write, and both read it.
    async fn cross(&self, mark: &str) -> Result<()> {
        let (there, back) = (format!("{mark}, there"), format!("{mark}, back"));
        self.client.send(&self.room, &there).await?;
        self.phone.wait_for_text(&self.me, &there).await?;
        self.phone.send(&self.me, &back).await?;
        self.client
            .wait_for_text(&self.room, &self.ghost, &back)
            .await
            .map(drop)
    }

    /// Tells the bot something and waits for an answer with `part` in it.
    async fn ask(&self, command: &str, part: &str) -> Result<TimelineEvent> {
        let known = self.client.timeline(&self.management).await?.len();
        self.client.send(&self.management, command).await?;
        let said = || async {
            let timeline = self.client.timeline_from(&self.management, known).await?;
            Ok(timeline.into_iter().find(|event| {
                event.sender == self.bot && event.body().is_some_and(|body| body.contains(part))
            }))
        };
        self.client
            .until(&format!("{part:?} after {command:?}"), PATIENCE, said)
            .await
    }

    /// Waits until the bot has said something in the chat with the phone.
    async fn told(&self, part: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for(&self.room, &format!("{part:?} in the chat"), |event| {
                event.sender == self.bot && event.body().is_some_and(|body| body.contains(part))
            })
            .await
    }
}

async fn is_enlisted(stack: &Stack, user: &str) -> Result<bool> {
    let user = stack.sandbox.partner_user(user).await?;
    Ok(user.is_some_and(|user| user["enlisted"] == true))
}

async fn disabled(stack: &Stack) -> Result<()> {
    let user = User::open(stack, "anna", "+4915300000001").await?;
    user.ask("disable", "You have left WhatsApp").await?;
    assert!(
        !is_enlisted(stack, &user.me).await?,
        "the gatekeeper has deleted the user"
    );
    user.told("You have left WhatsApp").await?;
    user.ask("status", "You are not joined").await?;
    user.ask("disable", "You are not joined").await?;
    // Who writes all the same is told.
    let unsent = user.client.send(&user.room, "into the void").await?;
    let notice = user.told("you are not joined to WhatsApp").await?;
    assert_eq!(notice.answers(), Some(unsent.as_str()));
    assert!(
        user.phone.send(&user.me, "anybody there?").await.is_err(),
        "nobody is there for the contact"
    );
    stack.gatehouse.stop().await?;
    stack.gatehouse.start().await?;
    user.ask("status", "You are not joined").await?;

    // Back again: the conditions are asked for anew, and the chat is the same.
    user.ask("enable", "if you agree").await?;
    user.ask("accept", "You are joined").await?;
    user.cross("back again").await
}

#[tokio::test]
async fn who_leaves_keeps_the_chats_and_may_come_back() -> Result<()> {
    let stack = Stack::start("leaving-disable", Options::default()).await?;
    disabled(&stack).await.map_err(|error| stack.explain(error))
}

/// Prints the columns of a database that hold a word, but for what the keys' store has of people: their device lists.
const SEARCH: &str = r#"
import sqlite3, sys
database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
ask = lambda sql, *values: [row[0] for row in database.execute(sql, values)]
for table in ask("SELECT name FROM sqlite_master WHERE type = 'table'"):
    for column in ask("SELECT name FROM pragma_table_info(?)", table):
        if table == "crypto_kv" and sys.argv[2].startswith("@"):
            continue
        if ask(f'SELECT 1 FROM "{table}" WHERE CAST("{column}" AS TEXT) LIKE ? LIMIT 1', f"%{sys.argv[2]}%"):
            print(f"{table}.{column}")
"#;

/// Places in the database that hold a word. Of a user's id the keys' store does not count: it has the device lists that anybody
/// can ask the homeserver for.
fn traces(stack: &Stack, word: &str) -> Result<Vec<String>> {
    let output = std::process::Command::new("python3")
        .args(["-c", SEARCH])
        .arg(stack.gatehouse.folder().join("gatehouse.db"))
        .arg(word)
        .output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::new(error));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

/// The files that the bridge hosts.
fn hosted(stack: &Stack) -> Result<usize> {
    Ok(std::fs::read_dir(stack.gatehouse.folder().join("media"))?.count())
}

async fn erased(stack: &Stack) -> Result<()> {
    let user = User::open(stack, "berta", "+4915300000002").await?;
    let upload = user.client.upload_generated(5_000, "erased").await?;
    let picture = json!({
        "msgtype": "m.image", "body": "x.jpg", "file": upload.file,
        "info": {"mimetype": "image/jpeg", "size": upload.size},
    });
    user.client.send_message(&user.room, picture).await?;
    user.phone
        .wait_for(&user.me, "the picture", |each: &Value| {
            each["sha256"] == upload.sha256 && each["media"] == "ready"
        })
        .await?;
    assert_eq!(hosted(stack)?, 1);
    let words = ["@berta", &user.room];
    for word in words {
        assert!(!traces(stack, word)?.is_empty());
    }

    user.ask("erase that", "erase everything").await?;
    user.ask("erase", "It cannot be undone").await?;
    user.cross("still there").await?;
    user.ask("erase everything", "is erased").await?;
    assert!(!is_enlisted(stack, &user.me).await?);
    let gone = || async {
        let path = format!("/_matrix/client/v3/rooms/{}/joined_members", user.room);
        let members = user
            .client
            .request("GET", &path, json!({}), Value::Null)
            .await?;
        let ghost = &members["joined"][user.ghost.as_str()];
        Ok(ghost.is_null().then_some(()))
    };
    wait::until("the contact to leave", PATIENCE, gone).await?;
    for word in words {
        wait::until("every trace to be gone", PATIENCE, || async {
            // The last answer may be on its way still.
            Ok(traces(stack, word)?.is_empty().then_some(()))
        })
        .await
        .map_err(|error| Error::new(format!("{error}: {:?}", traces(stack, word))))?;
    }
    wait::until("the hosted file to be gone", PATIENCE, || async {
        Ok((hosted(stack)? == 0).then_some(()))
    })
    .await?;

    // A new beginning, in a new room.
    user.ask("status", "You are not joined").await?;
    user.ask("enable", "if you agree").await?;
    user.ask("accept", "You are joined").await?;
    user.phone.send(&user.me, "hello again").await?;
    let invitation = user.client.wait_for_invite(&user.ghost).await?;
    assert_ne!(invitation.room_id, user.room);
    user.client.join(&invitation.room_id).await?;
    user.client
        .wait_for_text(&invitation.room_id, &user.ghost, "hello again")
        .await
        .map(drop)
}

#[tokio::test]
async fn who_is_erased_leaves_no_trace() -> Result<()> {
    let stack = Stack::start("leaving-erase", Options::default()).await?;
    erased(&stack).await.map_err(|error| stack.explain(error))
}

async fn by_the_operator(stack: &Stack) -> Result<()> {
    let user = User::open(stack, "clara", "+4915300000003").await?;
    let files = ["-c", "config.toml", "-r", "registration.yaml"];
    let gatehouse = |arguments: &[&str]| stack.gatehouse.run(&[arguments, &files].concat());
    let refused = gatehouse(&["erase", &user.me]).expect_err("it asks first");
    assert!(refused.to_string().contains("--yes"), "{refused}");
    user.cross("not yet").await?;
    let said = gatehouse(&["disable", &user.me])?;
    assert!(said.contains("The registration has ended"), "{said}");
    assert!(!is_enlisted(stack, &user.me).await?);
    user.told("You have left WhatsApp").await?;
    user.client
        .wait_for(&user.management, "word of it", |event| {
            event
                .body()
                .is_some_and(|body| body.contains("Whoever runs this server has ended"))
        })
        .await?;
    let said = gatehouse(&["disable", &user.me])?;
    assert!(said.contains("no registration"), "{said}");
    let said = gatehouse(&["erase", "--yes", &user.me])?;
    assert!(said.contains("erased"), "{said}");
    wait::until("every trace to be gone", PATIENCE, || async {
        Ok(traces(stack, "@clara")?.is_empty().then_some(()))
    })
    .await
    .map_err(|error| Error::new(format!("{error}: {:?}", traces(stack, "@clara"))))?;

    // The gatekeeper is away: it is gone on without it, and said so.
    let other = User::open(stack, "dora", "+4915300000004").await?;
    stack.sandbox.stop().await?;
    let said = gatehouse(&["disable", &other.me])?;
    assert!(said.contains("after 30 days"), "{said}");
    other.ask("status", "You are not joined").await?;
    stack.gatehouse.stop().await?;
    let refused = gatehouse(&["disable", &other.me]).expect_err("no bridge runs");
    assert!(refused.to_string().contains("no bridge runs"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn an_operator_ends_and_erases_users() -> Result<()> {
    let stack = Stack::start("leaving-operator", Options::default()).await?;
    by_the_operator(&stack)
        .await
        .map_err(|error| stack.explain(error))
}

/// How far a message of the phone's has come.
async fn status_of(user: &User, id: &str) -> Result<String> {
    let messages = user.phone.messages(&user.me).await?;
    let found = messages.into_iter().find(|message| message.id == id);
    found
        .map(|message| message.status)
        .ok_or_else(|| Error::new("the phone has no such message"))
}

/// Blocked by the operator while enlisted.
async fn blocked(stack: &Stack) -> Result<()> {
    let user = User::open(stack, "emil", "+4915300000005").await?;
    let other = User::open(stack, "erna", "+4915300000006").await?;
    stack.gatehouse.stop().await?;
    let config = stack.gatehouse.folder().join("config.toml");
    let text = std::fs::read_to_string(&config)?;
    let rules = format!(
        "[permissions]\n\"*\" = \"user\"\n\"{}\" = \"block\"\n",
        user.me
    );
    std::fs::write(&config, text + &rules)?;
    stack.gatehouse.start().await?;

    let decided = "whoever runs this server has decided so";
    user.client
        .wait_for(&user.management, "word of the block", |event| {
            event.sender == user.bot && event.body().is_some_and(|body| body.contains(decided))
        })
        .await?;
    let unheard = user.phone.send(&user.me, "not to be seen").await?;
    let unsent = user.client.send(&user.room, "not to be sent").await?;
    let notice = user.told("does not let you use this bridge").await?;
    assert_eq!(notice.answers(), Some(unsent.as_str()));
    for command in ["status", "enable", "start-chat +4915300000006", "nonsense"] {
        user.ask(command, decided).await?;
    }
    // Others do not notice.
    other.cross("undisturbed").await?;
    let status = status_of(&user, &unheard).await?;
    assert_eq!(status, "sent", "nobody has taken it");

    // Said once, however often the bridge starts.
    let times = || async {
        let timeline = user.client.timeline(&user.management).await?;
        let said = timeline.iter().filter(|event| {
            event.sender == user.bot && event.body().is_some_and(|body| body.contains(decided))
        });
        Ok::<_, Error>(said.count())
    };
    let before = times().await?;
    stack.gatehouse.stop().await?;
    stack.gatehouse.start().await?;
    other.cross("after another start").await?;
    user.ask("status", decided).await?;
    assert_eq!(times().await?, before + 1, "the answer alone");

    // To leave they are let in.
    let said = user.ask("disable", "You have left WhatsApp").await?;
    let body = said.body().unwrap_or_default();
    assert!(!body.contains("could not be told"), "{body}");
    assert!(!is_enlisted(stack, &user.me).await?);
    user.ask("erase everything", "is erased").await?;
    user.ask("disable", "You may not use this bridge").await?;
    let timeline = user.client.timeline(&user.room).await?;
    let seen = timeline
        .iter()
        .any(|each| each.body() == Some("not to be seen"));
    assert!(!seen, "it came to somebody who is blocked");
    Ok(())
}

#[tokio::test]
async fn who_is_blocked_may_only_leave() -> Result<()> {
    let stack = Stack::start("leaving-blocked", Options::default()).await?;
    blocked(&stack).await.map_err(|error| stack.explain(error))
}
