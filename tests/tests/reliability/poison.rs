//! What cannot be handled is set aside; what comes after it goes on; an operator brings it back.

use tests::between::{Fate, HttpProxy, sends_of};

use super::*;

const FEW_TRIES: (&str, &str) = ("GATEHOUSE_LIMITS__TRIES", "3");

/// A row that the disk has damaged: the homeserver still has the event. Where it does not give it, the event is set aside.
#[tokio::test]
async fn a_damaged_event_is_read_anew_or_set_aside() -> Result<()> {
    let stack = behind_proxies("poison-event", &[FEW_TRIES]).await?;
    let proxy = &stack.between()?.to_homeserver;
    explained(&stack, damaged_events(&stack, proxy).await)
}

async fn damaged_events(stack: &Stack, proxy: &HttpProxy) -> Result<()> {
    let chat = Chat::open(stack, "anna", "+4915100000001").await?;
    // A second contact, whose keys are not known yet: what is written to it waits while the gatekeeper is away.
    let other = stack.sandbox.phone("+4915100000002", "Cem").await?;
    let ghost = stack.ghost(&other);
    let room = chat.client.direct_chat(&ghost).await?;
    chat.client.wait_for_member(&room, &ghost).await?;
    stack.sandbox.stop().await?;
    let mut events = Vec::new();
    for text in ["mended", "poison", "after"] {
        events.push(chat.client.send(&room, text).await?);
    }
    waits(stack, "inbox", 3).await?;
    // The last that is said of a new chat: now the bot is in it, and speaks there.
    chat.client
        .wait_for(&room, "the chat to be described", |event| {
            event.kind == "com.beeper.room_features"
        })
        .await?;
    stack.gatehouse.kill();
    let damage = format!(
        "UPDATE inbox SET body = x'00' WHERE event_id IN ('{}', '{}')",
        events[0], events[1]
    );
    in_database(stack, &damage).await?;
    proxy.rule("GET", &format!("/event/{}", events[1]), Fate::Refused(404));
    stack.gatehouse.start().await?;
    stack.sandbox.go_on().await?;

    // What is behind it goes on, in order.
    other.wait_for_text(chat.me(), "mended").await?;
    other.wait_for_text(chat.me(), "after").await?;
    let listed = wait_until_set_aside(stack, 1).await?;
    assert_eq!(listed[0]["id"], events[1].as_str());
    assert_eq!(listed[0]["way"], "from_matrix");
    let is_notice = |event: &TimelineEvent| {
        event.sender == stack.bot() && event.body().is_some_and(|body| body.contains("set aside"))
    };
    let notice = chat.client.wait_for(&room, "a notice", is_notice).await?;
    let status = chat
        .client
        .wait_for(&room, "a status that says so", |event| {
            event.relates("m.reference", &events[1]) && event.content["status"] == "FAIL_RETRIABLE"
        })
        .await?;
    assert_eq!(status.content["reason"], "m.event_not_handled");
    let text = stack.gatehouse.run(&["status"])?;
    assert!(text.contains("gatehouse replay --list"), "{text}");

    // Brought back while the cause is still there, it is set aside again; then it goes, and the notice with it.
    stack.gatehouse.run(&["replay", &events[1]])?;
    wait_until_set_aside(stack, 1).await?;
    proxy.heal();
    let said = stack.gatehouse.run(&["replay", "--room", &room])?;
    assert!(said.contains("Brought back: 1"), "{said}");
    other.wait_for_text(chat.me(), "poison").await?;
    wait_until_set_aside(stack, 0).await?;
    chat.client
        .wait_for(&room, "the notice to go", |event| {
            event.event_id == notice.event_id && event.redacted
        })
        .await
        .map(drop)
}

/// The homeserver lets a ghost into no room: its invitation is set aside, and accepted when it is brought back.
#[tokio::test]
async fn an_invitation_that_cannot_be_accepted_comes_back() -> Result<()> {
    let stack = behind_proxies("poison-invite", &[FEW_TRIES]).await?;
    let proxy = &stack.between()?.to_homeserver;
    let result = async {
        let chat = Chat::open(&stack, "berta", "+4915100000003").await?;
        let other = stack.sandbox.phone("+4915100000004", "Cem").await?;
        let ghost = stack.ghost(&other);
        proxy.rule("POST", "/join", Fate::Refused(403));
        let room = chat.client.direct_chat(&ghost).await?;
        let listed = wait_until_set_aside(&stack, 1).await?;
        assert_eq!(listed[0]["room"], room.as_str(), "{listed:?}");
        let reason = listed[0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("403"), "says why: {reason}");
        chat.client.send(&chat.room, "still here").await?;
        chat.on_phone("still here").await?;
        proxy.heal();
        stack.gatehouse.run(&["replay", "--all"])?;
        chat.client.wait_for_member(&room, &ghost).await?;
        chat.client.send(&room, "at last").await?;
        other.wait_for_text(chat.me(), "at last").await.map(drop)
    }
    .await;
    explained(&stack, result)
}

/// A homeserver that makes no room for a contact: the message is kept, leaves the gatekeeper, and comes when it is brought back.
#[tokio::test]
async fn a_message_from_whatsapp_without_a_room_is_kept() -> Result<()> {
    let stack = behind_proxies("poison-room", &[FEW_TRIES]).await?;
    let proxy = &stack.between()?.to_homeserver;
    let result = async {
        let chat = Chat::open(&stack, "clara", "+4915100000005").await?;
        let other = stack.sandbox.phone("+4915100000006", "Dora").await?;
        proxy.rule("POST", "/createRoom", Fate::Refused(400));
        for text in ["one", "two"] {
            other.send(chat.me(), text).await?;
        }
        let listed = wait_until_set_aside(&stack, 2).await?;
        assert!(
            listed.iter().all(|entry| entry["way"] == "from_whatsapp"),
            "{listed:?}"
        );
        // It is on our disk: the gatekeeper need not keep it any more, whatever becomes of the bridge.
        wait::until("an empty mailbox", PATIENCE, || async {
            let user = stack.sandbox.partner_user(chat.me()).await?;
            Ok(user.filter(|user| user["mailbox"] == 0).map(drop))
        })
        .await?;
        chat.phone.send(chat.me(), "meanwhile").await?;
        chat.seen("meanwhile").await?;

        // Brought back while the bridge does not run: handled at the next start.
        stack.gatehouse.stop().await?;
        proxy.heal();
        let said = stack.gatehouse.run(&["replay", "--all"])?;
        assert!(said.contains("Brought back: 2"), "{said}");
        stack.gatehouse.start().await?;
        let ghost = stack.ghost(&other);
        let room = chat.client.wait_for_invite(&ghost).await?.room_id;
        chat.client.join(&room).await?;
        chat.client.wait_for_text(&room, &ghost, "two").await?;
        let timeline = chat.client.timeline(&room).await?;
        let texts: Vec<_> = timeline
            .iter()
            .filter(|event| event.sender == ghost)
            .filter_map(TimelineEvent::body)
            .collect();
        assert_eq!(texts, ["one", "two"]);
        let status = status(&stack)?;
        assert_eq!(status["quarantined"], 0, "{status}");
        Ok(())
    }
    .await;
    explained(&stack, result)
}

/// The homeserver takes no event of a ghost, then takes them again.
#[tokio::test]
async fn an_event_that_the_homeserver_refuses_is_kept() -> Result<()> {
    let stack = behind_proxies("poison-send", &[FEW_TRIES]).await?;
    let proxy = &stack.between()?.to_homeserver;
    let result = async {
        let chat = Chat::open(&stack, "dora", "+4915100000007").await?;
        let sends = sends_of(&chat.ghost, &chat.room);
        proxy.rule("PUT", &sends, Fate::Refused(413));
        chat.phone.send(chat.me(), "refused").await?;
        let listed = wait_until_set_aside(&stack, 1).await?;
        assert_eq!(listed[0]["way"], "to_matrix", "{listed:?}");
        proxy.heal();
        chat.phone.send(chat.me(), "taken").await?;
        chat.seen("taken").await?;
        chat.told(&stack.bot(), "could not be put here").await?;
        let id = listed[0]["id"].as_str().unwrap_or_default();
        stack.gatehouse.run(&["replay", id])?;
        chat.seen("refused").await.map(drop)
    }
    .await;
    explained(&stack, result)
}

/// A stanza that the disk has damaged: its sender is told, the ones behind it go.
#[tokio::test]
async fn a_damaged_stanza_is_told_and_holds_up_nothing() -> Result<()> {
    let stack = behind_proxies("poison-stanza", &[FEW_TRIES]).await?;
    let result = async {
        let chat = Chat::open(&stack, "emil", "+4915100000008").await?;
        stack.sandbox.stop().await?;
        let event = chat.client.send(&chat.room, "damaged").await?;
        chat.client.send(&chat.room, "whole").await?;
        waits(&stack, "outbox", 2).await?;
        stack.gatehouse.kill();
        let damage = format!("UPDATE outbox SET stanza = x'ff' WHERE event_id = '{event}'");
        in_database(&stack, &damage).await?;
        stack.gatehouse.start().await?;
        stack.sandbox.go_on().await?;
        chat.on_phone("whole").await?;
        chat.told(&stack.bot(), "damaged on the bridge's disk")
            .await?;
        let listed = wait_until_set_aside(&stack, 1).await?;
        assert_eq!(listed[0]["way"], "to_whatsapp", "{listed:?}");
        assert!(!chat.texts_on_phone().await?.contains(&"damaged".to_owned()));
        Ok(())
    }
    .await;
    explained(&stack, result)
}
