//! What becomes of messages from Matrix: sent, delivered, refused, waiting.

use super::*;

#[tokio::test]
async fn a_message_that_goes_at_once_gets_one_status() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "one", "+4915100000001").await?;
    let event = chat.client.send(&chat.room, "quick").await?;
    let status = chat.wait_for_delivery(&event).await?;
    assert_eq!(
        (&status["status"], &status["network"]),
        (&json!("SUCCESS"), &json!("whatsapp"))
    );
    // The next one's status comes after all of this one's.
    let next = chat.client.send(&chat.room, "next").await?;
    chat.wait_for_delivery(&next).await?;
    assert_eq!(chat.statuses(&event).await?.len(), 1);
    assert!(chat.notices().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn sent_delivered_and_read_are_told_as_they_come() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "ticks", "+4915100000002").await?;
    chat.phone.options(json!({"online": false})).await?;
    let first = chat.client.send(&chat.room, "first").await?;
    let second = chat.client.send(&chat.room, "second").await?;
    for event in [&first, &second] {
        chat.status(event, "a message to be sent", |status| {
            status["status"] == "SUCCESS" && status["delivered_to_users"] == json!([])
        })
        .await?;
    }
    chat.phone.options(json!({"online": true})).await?;
    chat.wait_for_delivery(&first).await?;
    chat.wait_for_delivery(&second).await?;

    // Both at once, as WhatsApp does it: the ghost marks the last one.
    let ids: Vec<String> = chat
        .phone
        .messages(&chat.me)
        .await?
        .into_iter()
        .filter(|message| !message.from_me)
        .map(|message| message.id)
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    chat.phone.receipt(&chat.me, "read", &ids).await?;
    chat.client
        .wait_for_read(&chat.room, &chat.ghost, &second)
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_go_is_told_by_status_and_notice() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "poll", "+4915100000006").await?;
    let poll = json!({"org.matrix.msc3381.poll.start": {
        "question": {"body": "Tea?"}, "kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1,
        "answers": [{"id": "y", "org.matrix.msc1767.text": "yes"}],
    }});
    let event = chat
        .client
        .send_event(&chat.room, "org.matrix.msc3381.poll.start", poll)
        .await?;
    let status = chat
        .status(&event, "a failure", |status| {
            status["status"] == "FAIL_PERMANENT"
        })
        .await?;
    assert_eq!(status["reason"], "com.beeper.unsupported_event", "{status}");
    let notice = chat.wait_for_notice("was not sent").await?;
    assert!(notice.is_clean(), "{}", notice.summary());
    assert_eq!(notice.answers(), Some(event.as_str()));
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|said| notice.body().is_some_and(|body| body.ends_with(said))),
        "they say the same: {status} {:?}",
        notice.body()
    );
    Ok(())
}

/// The phone has it and will not show it.
#[tokio::test]
async fn what_the_other_side_does_not_show_is_told() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "unshown", "+4915100000007").await?;
    chat.phone.options(json!({"refused": ["text"]})).await?;
    let event = chat.client.send(&chat.room, "not for you").await?;
    let status = chat
        .status(&event, "a failure", |status| {
            status["status"] == "FAIL_PERMANENT"
        })
        .await?;
    assert_eq!(status["reason"], "com.beeper.unsupported_event", "{status}");
    let notice = chat.wait_for_notice("was not shown there").await?;
    assert_eq!(notice.answers(), Some(event.as_str()));
    chat.phone.options(json!({"refused": []})).await?;
    let event = chat.client.send(&chat.room, "for you").await?;
    chat.wait_for_delivery(&event).await.map(drop)
}

/// The gatekeeper takes a message only later: one notice, edited while it is tried, gone when it went.
#[tokio::test]
async fn a_refusal_for_now_is_told_until_it_ends() -> Result<()> {
    let stack = Stack::start("status-refusal", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        stack.sandbox.faults(json!({"refuse": 429})).await?;
        let event = chat.client.send(&chat.room, "too much").await?;
        let status = chat
            .status(&event, "a message to be put off", |status| {
                status["status"] == "PENDING"
            })
            .await?;
        assert!(
            status["message"]
                .as_str()
                .is_some_and(|said| said.contains("429")),
            "{status}"
        );
        let notice = chat.wait_for_notice("code 429)").await?;
        // It is sent again after a crash, refused again, and the same notice says so.
        crash(&stack).await?;
        let edited = chat.wait_for_notice("2 times and more").await?;
        assert_eq!(edited.event_id, notice.event_id);
        stack.sandbox.faults(json!({"reset": true})).await?;
        let behind = chat.client.send(&chat.room, "behind it").await?;
        chat.wait_for_delivery(&event).await?;
        chat.wait_for_delivery(&behind).await?;
        let shown = chat.phone.messages(&chat.me).await?;
        let texts: Vec<_> = shown
            .iter()
            .filter_map(|each| each.text.as_deref())
            .collect();
        assert!(texts.ends_with(&["too much", "behind it"]), "{texts:?}");
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;
        assert_eq!(chat.notices().await?.len(), 1);

        // A refusal for good stays.
        stack.sandbox.faults(json!({"refuse": 479})).await?;
        let event = chat.client.send(&chat.room, "never").await?;
        let status = chat
            .status(&event, "a failure", |status| {
                status["status"] == "FAIL_PERMANENT"
            })
            .await?;
        assert_eq!(status["reason"], "m.foreign_network_error", "{status}");
        chat.wait_for_notice("was not sent").await?;
        stack.sandbox.faults(json!({"reset": true})).await?;
        let shown = chat.phone.messages(&chat.me).await?;
        assert!(
            shown
                .iter()
                .all(|message| message.text.as_deref() != Some("never"))
        );
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

/// The gatekeeper is away for long, and the bridge dies in between.
#[tokio::test]
async fn a_message_that_waits_for_the_gatekeeper_is_told_so_until_it_went() -> Result<()> {
    let stack = Stack::start("status-away", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        stack.sandbox.stop().await?;
        let first = chat.client.send(&chat.room, "first").await?;
        let second = chat.client.send(&chat.room, "second").await?;
        for event in [&first, &second] {
            chat.status(event, "a message to be pending", |status| {
                status["status"] == "PENDING"
            })
            .await?;
        }
        crash(&stack).await?;
        let notice = chat.wait_for_notice("does not answer").await?;
        crash(&stack).await?;
        stack.sandbox.go_on().await?;
        chat.phone.wait_for_text(&chat.me, "second").await?;
        chat.client
            .wait_for_redaction(&chat.room, &notice.event_id)
            .await?;
        chat.wait_for_delivery(&first).await?;
        chat.wait_for_delivery(&second).await?;
        let notices = chat.notices().await?;
        assert_eq!(notices.len(), 1, "one for the room: {notices:#?}");
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}
