//! A long run: tables, memory, file handles and the ghosts' inboxes at the homeserver stay as they are.

use std::collections::BTreeMap;

use serde_json::json;
use tests::client::Login;
use tests::database::{count, count_by, count_rows};
use tests::postgres::Postgres;
use tests::stack::PASSWORD;
use tests::usage;

use super::*;

const MESSAGES: usize = 12;

/// Rounds; more by hand, with `GATEHOUSE_TEST_ROUNDS=100`.
fn rounds_to_go() -> Result<usize> {
    number("GATEHOUSE_TEST_ROUNDS", 8).map(|rounds| rounds.max(3))
}

/// What there is after a round.
#[derive(Debug)]
struct Counted {
    rows: BTreeMap<String, i64>,
    inboxes: i64,
    handles: u64,
    resident: u64,
}

#[tokio::test]
async fn nothing_grows() -> Result<()> {
    grows("growth", None).await
}

#[tokio::test]
async fn nothing_grows_in_postgresql() -> Result<()> {
    let server = Postgres::start().await?;
    grows("growth-postgresql", Some(server.database("gatehouse")?)).await
}

async fn grows(name: &str, database: Option<String>) -> Result<()> {
    // What an operator would never set so short, so that days pass in seconds.
    let environment = [
        ("GATEHOUSE_DATABASE__KEEP_SECONDS", "8"),
        ("GATEHOUSE_DATABASE__PRUNE_SECONDS", "2"),
    ];
    let mut options = Options::default();
    options.gatehouse.database = database;
    options.gatehouse.environment = environment
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let stack = Stack::start(name, options).await?;
    explained(&stack, rounds(&stack).await)
}

async fn rounds(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "anna", "+4915100000051").await?;
    let mut counted = Vec::new();
    let rounds = rounds_to_go()?;
    for number in 0..rounds {
        round(stack, &chat, number).await?;
        let now = settled(stack).await?;
        println!("round {number}: {now:?}");
        counted.push(now);
    }
    // The first round makes what stays: the second is what later ones are measured by.
    let (second, last) = (&counted[1], &counted[rounds - 1]);
    for (table, rows) in &last.rows {
        let before = second.rows.get(table).copied().unwrap_or_default();
        assert!(*rows <= before + 4, "{table} grew from {before} to {rows}");
    }
    assert!(last.inboxes <= second.inboxes + 4, "inboxes: {counted:?}");
    assert!(last.handles <= second.handles + 8, "handles: {counted:?}");
    let allowed = second.resident + 24 * 1024 * 1024;
    assert!(last.resident <= allowed, "memory: {counted:?}");
    Ok(())
}

/// Messages both ways, with all that belongs to them, a new room key, and a device that comes and goes.
async fn round(stack: &Stack, chat: &Chat, number: usize) -> Result<()> {
    let (client, room) = (&chat.client, &chat.room);
    client.discard_session(room).await?;
    for count in 0..MESSAGES {
        let (there, back) = (
            format!("{number} there {count}"),
            format!("{number} back {count}"),
        );
        let event = client.send(room, &there).await?;
        client.react(room, &event, "👍").await?;
        chat.phone.typing(chat.me(), "composing").await?;
        let id = chat.phone.send(chat.me(), &back).await?;
        chat.phone.react(chat.me(), &id, "🎉").await?;
    }
    let file = client
        .upload_generated(20_000, &format!("file {number}"))
        .await?;
    let content = json!({
        "msgtype": "m.file", "body": "file.bin", "filename": "file.bin", "file": file.file,
        "info": {"mimetype": "application/octet-stream", "size": file.size},
    });
    let sent = client.send_message(room, content).await?;
    // Something that cannot go, and is told.
    let poll = json!({"org.matrix.msc3381.poll.start": {"question": {"org.matrix.msc1767.text": "which?"}, "answers": []}});
    client
        .send_event(room, "org.matrix.msc3381.poll.start", poll)
        .await?;
    let last = format!("{number} and that was all");
    client.send(room, &last).await?;
    chat.on_phone(&last).await?;
    chat.phone.send(chat.me(), &last).await?;
    let seen = chat.seen(&last).await?;
    client.mark_read(room, &seen.event_id).await?;
    // A file stays for a month, or until it is deleted.
    client.redact(room, &sent).await?;
    device(stack, chat, number).await
}

/// The user logs in with one more device, which reads and writes, and out again.
async fn device(stack: &Stack, chat: &Chat, number: usize) -> Result<()> {
    let login = Login {
        homeserver: stack.synapse.url(),
        user: chat.me(),
        password: PASSWORD,
        accepts_insecure: true,
    };
    let log = stack.folder().join("client-more.log");
    let device = Client::login_unsigned(&login, &log).await?;
    chat.client.sign_device(device.device_id()).await?;
    let text = format!("{number} from another device");
    device.send(&chat.room, &text).await?;
    chat.on_phone(&text).await?;
    device.logout().await
}

/// What there is when nothing waits and what is old is gone.
async fn settled(stack: &Stack) -> Result<Counted> {
    let url = stack.gatehouse.database_url();
    let homeserver = format!(
        "sqlite:{}",
        stack.synapse.folder().join("homeserver.db").display()
    );
    let found = wait::until("what is old to go", PATIENCE * 3, || async {
        let rows = count_rows(url).await?;
        let gone = [
            "inbox_txns",
            "inbox_events",
            "messages",
            "reports",
            "inbox",
            "outbox",
            "sends",
        ]
        .iter()
        .all(|table| rows.get(*table) == Some(&0));
        let gone = gone && count(url, "media", "stored = 1").await? == 0;
        Ok(gone.then_some(rows))
    })
    .await;
    let mut rows = match found {
        Ok(rows) => rows,
        Err(error) => {
            let rows = count_rows(url).await?;
            return Err(Error::new(format!("{error}: {rows:?}")));
        }
    };
    // One room key for each that the user's client made, and a hash for each message: they go after a month, or with the
    // configured time if that is longer. All else stays as it is: sessions, requests, devices.
    rows.remove("crypto_kv");
    // The file itself is gone; that there was one is known for a month.
    rows.remove("media");
    for (kind, count) in count_by(url, "crypto_kv", "kind").await? {
        if !["inbound", "message_hash"].contains(&kind.as_str()) {
            rows.insert(format!("crypto_kv {kind}"), count);
        }
    }
    let ghosts = "user_id LIKE '@whatsapp%'";
    let inboxes = count(&homeserver, "device_inbox", ghosts).await?;
    let memory = usage::memory(stack.gatehouse.pid().unwrap_or_default())?;
    let handles = stack.gatehouse.metric("process_open_fds").await?;
    Ok(Counted {
        rows,
        inboxes,
        handles: handles.unwrap_or_default() as u64,
        resident: memory.resident,
    })
}
