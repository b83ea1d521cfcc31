//! The command line against a running sandbox.

use std::process::{Output, Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
    time::timeout,
};

use gatekeeper::message::Body;

use crate::{
    client::delivery,
    files::{decrypted, next_body},
    rig::{ALICE, BEA, Rig},
    wait::DEADLINE,
};

fn command(rig: &Rig, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command
        .args(arguments)
        .env("SANDBOX_URL", rig.addresses().control)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(rig: &Rig, arguments: &[&str]) -> Output {
    timeout(DEADLINE, command(rig, arguments).output())
        .await
        .unwrap()
        .unwrap()
}

async fn text(rig: &Rig, arguments: &[&str]) -> String {
    let output = run(rig, arguments).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn commands_drive_a_phone() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    text(&rig, &["phone", BEA, "add", "--name", "Bea"]).await;
    assert!(text(&rig, &["phones"]).await.contains(BEA));
    assert_eq!(text(&rig, &["root"]).await, rig.addresses().root);
    let id = text(&rig, &["phone", BEA, "send", ALICE, "hi"]).await;
    let message = chat.find_tag("message").await;
    assert_eq!(message.get("id").unwrap(), id);
    assert_eq!(
        text(&rig, &["phone", BEA, "messages", ALICE]).await,
        "me: hi ✓"
    );
    assert!(
        text(&rig, &["clock", "--advance", "1d"])
            .await
            .contains("86400")
    );
    assert!(
        text(&rig, &["faults", "--delay-ms", "5"])
            .await
            .contains("\"delay_ms\": 5")
    );
    text(&rig, &["phone", BEA, "options", "--online", "false"]).await;

    let output = run(&rig, &["phone", BEA, "send", ALICE, "hi"]).await;
    assert!(!output.status.success());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("offline") && complaint.contains("`online`"),
        "{complaint}"
    );
}

#[tokio::test]
async fn commands_send_files_and_change_messages() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cat.png");
    std::fs::write(&path, b"a cat").unwrap();
    let phone = async |arguments: &[&str]| {
        let all: Vec<&str> = ["phone", BEA].iter().chain(arguments).copied().collect();
        text(&rig, &all).await
    };
    let file = path.to_str().unwrap();
    let id = phone(&["send", ALICE, "--image", file, "--caption", "my cat"]).await;
    let (_, body) = next_body(&mut alice, &mut chat).await;
    let Body::Media(media) = body else {
        panic!("not a file: {body:?}");
    };
    assert_eq!(media.mimetype, "image/png");
    assert_eq!(media.caption.as_deref(), Some("my cat"));
    assert_eq!(decrypted(&media, &rig.fetched(&media).await), b"a cat");
    let copy = folder.path().join("copy.png");
    phone(&["open", &id, copy.to_str().unwrap()]).await;
    assert_eq!(std::fs::read(&copy).unwrap(), b"a cat");
    phone(&["edit", ALICE, &id, "my dog"]).await;
    assert_eq!(next_body(&mut alice, &mut chat).await.1.word(), "edit");
    assert_eq!(
        phone(&["messages", ALICE]).await,
        "me: (image, cat.png, 5 bytes) my dog (edited) ✓"
    );
    for (arguments, word) in [
        (&["reply", ALICE, &id, "look"][..], "text"),
        (&["react", ALICE, &id, "👍"], "reaction"),
        (&["delete", ALICE, &id], "revoke"),
        (&["send", ALICE, "--location", "-1.5,2"], "location"),
        (
            &["send", ALICE, "--contact", "Ed=+4915187654321"],
            "contact",
        ),
        (
            &["send", ALICE, "Lunch?", "--poll", "yes", "--poll", "no"],
            "unknown",
        ),
        (&["send", ALICE, "--kind", "live_location"], "unknown"),
        (&["send", ALICE, "--timer", "86400"], "timer"),
    ] {
        phone(arguments).await;
        let (_, body) = next_body(&mut alice, &mut chat).await;
        assert_eq!(body.word(), word, "{arguments:?}");
    }
    phone(&["type", ALICE, "recording"]).await;
    chat.find_tag("chatstate").await;
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    phone(&["read", ALICE]).await;
    chat.find(|node| node.get("type").as_deref() == Some("read"))
        .await;
    assert!(
        phone(&["options", "--refused", "sticker,edit"])
            .await
            .contains("sticker")
    );
    assert!(
        phone(&["options", "--refused", ""])
            .await
            .contains("\"refused\": []")
    );
    assert!(phone(&["chats"]).await.contains("\"timer\": 86400"));
    let output = run(&rig, &["phone", BEA, "send", ALICE]).await;
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("nothing to send")
    );
}

#[tokio::test]
async fn a_chat_in_the_terminal_shows_ticks_and_answers() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let mut process = command(&rig, &["phone", BEA, "chat", ALICE])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut line = async || {
        timeout(DEADLINE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    };
    assert!(line().await.contains("/quit"));
    input.write_all(b"hello\n").await.unwrap();
    assert_eq!(line().await, "me: hello ✓");
    let message = chat.find_tag("message").await;
    assert_eq!(alice.read(&message).unwrap(), "hello");
    chat.deliver(&delivery(&message)).await;
    assert_eq!(line().await.trim(), "me: hello ✓✓");
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    assert_eq!(line().await, format!("{ALICE}: hi"));
    input.write_all(b"/read\n/quit\n").await.unwrap();
    let read = chat
        .find(|node| node.get("type").as_deref() == Some("read"))
        .await;
    assert_eq!(read.get("id").unwrap(), "3EB01");
    assert!(
        timeout(DEADLINE, process.wait())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
}
