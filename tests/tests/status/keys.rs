//! Messages whose keys are missing, and contacts with new ones.

use super::*;

/// The key of a message comes late: the user hears of it, and the message still goes.
#[tokio::test]
async fn a_message_without_its_key_waits_for_it() -> Result<()> {
    let stack = Stack::start("status-key", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        chat.client.hold_keys().await?;
        chat.client.discard_session(&chat.room).await?;
        let locked = chat.client.send(&chat.room, "locked").await?;
        let notice = chat.wait_for_notice("key to it has not arrived").await?;
        assert_eq!(notice.answers(), Some(locked.as_str()));
        chat.status(&locked, "a message to be pending", |status| {
            status["status"] == "PENDING" && status["reason"] == "com.beeper.undecryptable_event"
        })
        .await?;
        // The key comes while the bridge is down: in no transaction, only by /sync.
        stack.gatehouse.kill();
        assert!(chat.client.release_keys().await? > 0, "keys were kept");
        stack.gatehouse.start().await?;
        chat.phone.wait_for_text(&chat.me, "locked").await?;
        chat.wait_for_delivery(&locked).await?;
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;

        // And while it runs.
        chat.client.hold_keys().await?;
        chat.client.discard_session(&chat.room).await?;
        chat.client.send(&chat.room, "locked again").await?;
        let notice = chat
            .client
            .until("the bot to say so again", LONG, || async {
                let notices = chat.notices().await?;
                Ok(notices.into_iter().find(|each| !each.redacted))
            });
        let notice = notice.await?;
        chat.client.release_keys().await?;
        chat.phone.wait_for_text(&chat.me, "locked again").await?;
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// A message from WhatsApp that cannot be read for a while: something stands for it, and becomes it.
#[tokio::test]
async fn a_placeholder_becomes_the_message() -> Result<()> {
    let stack = Stack::start("status-placeholder", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        // Damaged on the way, and when it is asked for the phone has no network.
        stack
            .sandbox
            .faults(json!({"corrupt": 1.0, "delay_ms": 2000}))
            .await?;
        let id = chat.phone.send(&chat.me, "damaged").await?;
        chat.phone.options(json!({"online": false})).await?;
        stack.sandbox.faults(json!({"reset": true})).await?;
        let placeholder = chat
            .client
            .wait_for(&chat.room, "a placeholder", |event| {
                event.sender == chat.ghost
                    && event
                        .body()
                        .is_some_and(|body| body.starts_with("Waiting for this message"))
            })
            .await?;
        assert!(placeholder.is_clean(), "{}", placeholder.summary());
        crash(&stack).await?;
        chat.phone.options(json!({"online": true})).await?;
        let message = chat
            .client
            .wait_for_text(&chat.room, &chat.ghost, "damaged")
            .await?;
        assert_eq!(message.event_id, placeholder.event_id);
        assert!(message.edited.is_some());
        // The placeholder is the message from now on.
        chat.client
            .mark_read(&chat.room, &placeholder.event_id)
            .await?;
        chat.phone.wait_for_status(&chat.me, &id, "read").await?;
        chat.phone.send(&chat.me, "after").await?;
        chat.client
            .wait_for_text(&chat.room, &chat.ghost, "after")
            .await?;
        let timeline = chat.client.timeline(&chat.room).await?;
        let shown: Vec<_> = timeline
            .iter()
            .filter(|event| event.sender == chat.ghost && event.relation["rel_type"] != "m.replace")
            .filter_map(|event| event.body())
            .collect();
        assert_eq!(shown, ["hello to you", "damaged", "after"]);
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn a_message_that_is_lost_for_good_is_told() -> Result<()> {
    let stack = Stack::start("status-lost", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        stack.sandbox.faults(json!({"corrupt": 1.0})).await?;
        chat.phone.send(&chat.me, "damaged for good").await?;
        chat.client
            .wait_for(&chat.room, "word of the loss", |event| {
                event.sender == chat.ghost
                    && event
                        .body()
                        .is_some_and(|body| body.contains("could not be decrypted"))
            })
            .await?;
        stack.sandbox.faults(json!({"reset": true})).await?;
        chat.phone.send(&chat.me, "whole").await?;
        chat.client
            .wait_for_text(&chat.room, &chat.ghost, "whole")
            .await?;
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn a_new_identity_is_told_once_and_messages_go_on() -> Result<()> {
    // Also by somebody who wants no notices about messages: this is about who reads them.
    let mut options = Options::default();
    let off = ("GATEHOUSE_MESSAGES__NOTICES".to_owned(), "false".to_owned());
    options.gatehouse.environment.push(off);
    let stack = Stack::start("status-identity", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let changes = async || -> Result<usize> {
            let notices = chat.notices().await?;
            let said = notices.iter().filter_map(|each| each.body());
            Ok(said.filter(|body| body.contains("security code")).count())
        };
        chat.phone.reinstall().await?;
        chat.client.send(&chat.room, "who are you?").await?;
        chat.phone.wait_for_text(&chat.me, "who are you?").await?;
        chat.wait_for_notice("security code").await?;
        chat.phone.send(&chat.me, "still me").await?;
        chat.client
            .wait_for_text(&chat.room, &chat.ghost, "still me")
            .await?;
        crash(&stack).await?;
        chat.client.send(&chat.room, "fine").await?;
        chat.phone.wait_for_text(&chat.me, "fine").await?;
        assert_eq!(changes().await?, 1);

        // The other side writes first, while the bridge is down.
        stack.gatehouse.kill();
        chat.phone.reinstall().await?;
        chat.phone.send(&chat.me, "me again").await?;
        stack.gatehouse.start().await?;
        chat.client
            .wait_for_text(&chat.room, &chat.ghost, "me again")
            .await?;
        chat.client
            .until("a second notice", PATIENCE, || async {
                Ok((changes().await? == 2).then_some(()))
            })
            .await?;
        chat.client.send(&chat.room, "fine again").await?;
        chat.phone.wait_for_text(&chat.me, "fine again").await?;
        assert_eq!(changes().await?, 2);
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}
