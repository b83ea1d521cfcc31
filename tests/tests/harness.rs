//! The harness itself: two real clients on a real Synapse, without gatehouse between them.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tests::client::{Client, Login};
use tests::scratch::Scratch;
use tests::synapse::{Options, Synapse};
use tests::{Result, postgres::Postgres, wait};

async fn client(synapse: &Synapse, user: &str, accepts_insecure: bool) -> Result<Client> {
    synapse.register(user, "correct horse").await?;
    let login = Login {
        homeserver: synapse.url(),
        user,
        password: "correct horse",
        accepts_insecure,
    };
    Client::login(&login, &synapse.folder().join(format!("{user}.log"))).await
}

async fn talk(synapse: &Synapse) -> Result<()> {
    let alice = client(synapse, "alice", false).await?;
    let bob = client(synapse, "bob", false).await?;
    let room = alice.direct_chat(bob.user_id()).await?;
    let invitation = bob.wait_for_invite(alice.user_id()).await?;
    assert_eq!(invitation.room_id, room);
    assert!(invitation.is_direct, "a direct chat's invitation says so");
    bob.join(&room).await?;
    alice.wait_for_member(&room, bob.user_id()).await?;

    alice.send(&room, "hello").await?;
    let seen = bob.wait_for_text(&room, alice.user_id(), "hello").await?;
    assert!(seen.is_clean(), "no shield beside {}", seen.summary());
    bob.send_html(&room, "*hi*", "<strong>hi</strong>").await?;
    let seen = alice.wait_for_text(&room, bob.user_id(), "*hi*").await?;
    assert!(seen.is_clean(), "no shield beside {}", seen.summary());
    assert_eq!(seen.content["formatted_body"], "<strong>hi</strong>");

    alice.mark_read(&room, &seen.event_id).await?;
    bob.wait_for_read(&room, alice.user_id(), &seen.event_id)
        .await?;
    bob.typing(&room, true).await?;
    alice.wait_for_typing(&room, bob.user_id(), true).await?;
    bob.typing(&room, false).await?;
    alice.wait_for_typing(&room, bob.user_id(), false).await?;
    relate(&alice, &bob, &room, &seen.event_id).await?;
    attach(&alice, &bob, &room).await
}

/// Everything that refers to `first`, a message of bob's.
async fn relate(alice: &Client, bob: &Client, room: &str, first: &str) -> Result<()> {
    let answer = alice.reply(room, first, "yes").await?;
    let seen = bob.wait_for_text(room, alice.user_id(), "yes").await?;
    assert_eq!(seen.answers(), Some(first));

    let plain = alice.react(room, first, "👍").await?;
    alice.react_encrypted(room, &answer, "🎉").await?;
    bob.wait_for_reactions(room, first, &[(alice.user_id(), "👍")])
        .await?;
    bob.wait_for_reactions(room, &answer, &[(alice.user_id(), "🎉")])
        .await?;
    let events = bob.timeline(room).await?;
    let encrypted = |emoji: &str| {
        events
            .iter()
            .find(|each| each.relation["key"] == emoji)
            .map(|each| each.encrypted)
    };
    assert_eq!(encrypted("👍"), Some(false), "as clients send reactions");
    assert_eq!(encrypted("🎉"), Some(true), "as it was asked to be sent");
    alice.redact(room, &plain).await?;
    bob.wait_for_reactions(room, first, &[]).await?;

    let edit = alice.edit(room, &answer, "no").await?;
    let seen = bob.wait_for_text(room, alice.user_id(), "no").await?;
    assert_eq!(seen.event_id, answer);
    assert_eq!(seen.edited.as_deref(), Some(&*edit));
    assert_eq!(seen.original["body"], "yes");
    alice.redact(room, &answer).await?;
    let seen = bob.wait_for_redaction(room, &answer).await?;
    assert_eq!(seen.redacted_by.as_deref(), Some(alice.user_id()));

    let plain = alice
        .send_plain(
            room,
            "m.room.message",
            json!({"msgtype": "m.text", "body": "clear"}),
        )
        .await?;
    let seen = bob
        .wait_for(room, "the clear text", |each| each.event_id == plain)
        .await?;
    assert!(!seen.encrypted);
    let encryption = bob.state(room, "m.room.encryption", "").await?;
    assert_eq!(
        encryption.map(|content| content["algorithm"].clone()),
        Some(json!("m.megolm.v1.aes-sha2"))
    );
    assert_eq!(bob.state(room, "m.room.topic", "").await?, None);
    Ok(())
}

async fn attach(alice: &Client, bob: &Client, room: &str) -> Result<()> {
    let upload = alice.upload_generated(3_000_001, "a seed").await?;
    let content = json!({"msgtype": "m.file", "body": "noise", "file": upload.file});
    let event = alice.send_message(room, content).await?;
    let seen = bob
        .wait_for(room, "the file", |each| each.event_id == event)
        .await?;
    let file = bob.download(&seen.content["file"], None).await?;
    assert_eq!((file.size, &file.sha256), (upload.size, &upload.sha256));
    assert_eq!(file.size, 3_000_001);
    let mut wrong = seen.content["file"].clone();
    wrong["hashes"]["sha256"] = json!("AAAA");
    assert!(bob.download(&wrong, None).await.is_err(), "a wrong hash");
    Ok(())
}

#[tokio::test]
async fn two_clients_talk_before_and_after_a_restart() -> Result<()> {
    let scratch = Scratch::new("harness")?;
    let synapse = Synapse::start(scratch.path(), Synapse::reserve()?, &Options::default()).await?;
    talk(&synapse).await?;
    synapse.kill();
    synapse.go_on().await?;
    synapse.register("carol", "correct horse").await?;
    synapse.stop().await
}

#[tokio::test]
async fn synapse_runs_on_postgresql_with_an_older_room_version() -> Result<()> {
    let postgres = Postgres::start().await?;
    let scratch = Scratch::new("harness-postgres")?;
    let options = Options {
        room_version: Some(11),
        database: Some(postgres.database("synapse")?),
        ..Options::default()
    };
    let synapse = Synapse::start(scratch.path(), Synapse::reserve()?, &options).await?;
    let alice = client(&synapse, "alice", false).await?;
    let room = alice
        .create_room(json!({"invite": [], "encrypted": true}))
        .await?;
    let create = alice
        .wait_for(&room, "the room's creation", |event| {
            event.kind == "m.room.create"
        })
        .await?;
    assert_eq!(create.content["room_version"], "11");
    assert!(
        postgres.dump("synapse")?.contains("@alice:localhost"),
        "the users are in PostgreSQL"
    );
    Ok(())
}

#[tokio::test]
async fn a_client_that_excludes_insecure_devices_hides_an_unsigned_one() -> Result<()> {
    let scratch = Scratch::new("harness-unsigned")?;
    let synapse = Synapse::start(scratch.path(), Synapse::reserve()?, &Options::default()).await?;
    let alice = client(&synapse, "alice", false).await?;
    synapse.register("bob", "correct horse").await?;
    let unsigned = Login {
        homeserver: synapse.url(),
        user: "bob",
        password: "correct horse",
        accepts_insecure: true,
    };
    let bob = Client::login_unsigned(&unsigned, &synapse.folder().join("bob.log")).await?;
    let room = alice.direct_chat(bob.user_id()).await?;
    bob.wait_for_invite(alice.user_id()).await?;
    bob.join(&room).await?;
    alice.wait_for_member(&room, bob.user_id()).await?;
    bob.send(&room, "from nowhere").await?;
    let seen = alice
        .wait_for(&room, "bob's event", |event| {
            event.sender == bob.user_id() && event.encrypted && event.failure.is_some()
        })
        .await?;
    assert!(
        !seen.is_clean(),
        "an unsigned device must not look clean: {}",
        seen.summary()
    );
    assert_eq!(seen.body(), None);
    Ok(())
}

#[tokio::test]
async fn a_child_ends_with_its_killed_owner() -> Result<()> {
    let scratch = Scratch::new("orphan")?;
    let told = scratch.path().join("told");
    let mut owner = Command::new(env!("CARGO_BIN_EXE_owner"))
        .arg(&told)
        .spawn()?;
    let deadline = Duration::from_secs(30);
    let pid: u32 = wait::until("the owner's child", deadline, || async {
        let told = std::fs::read_to_string(&told).unwrap_or_default();
        Ok(told.parse().ok())
    })
    .await?;
    assert!(is_alive(pid));
    owner.kill()?;
    owner.wait()?;
    wait::until("the child to end", deadline, || async {
        Ok((!is_alive(pid)).then_some(()))
    })
    .await
}

/// Whether a process runs; one that has ended and is waited for by nobody does not.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
