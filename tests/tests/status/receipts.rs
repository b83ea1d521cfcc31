//! Receipts and typing, both ways.

use super::*;

/// A played voice message has been read too: Matrix knows no more than that.
#[tokio::test]
async fn played_is_read() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "played", "+4915100000003").await?;
    let event = chat.client.send(&chat.room, "listen").await?;
    let shown = chat.phone.wait_for_text(&chat.me, "listen").await?;
    chat.phone.receipt(&chat.me, "played", &[&shown.id]).await?;
    chat.client
        .wait_for_read(&chat.room, &chat.ghost, &event)
        .await
}

/// The ids in the read receipts that a phone got, receipt by receipt.
fn read_receipts(events: &Events, phone: &Phone) -> Vec<Vec<String>> {
    events
        .seen()
        .into_iter()
        .filter(|event| event.name == "receipt" && event.data["phone"] == phone.number())
        .filter(|event| event.data["from_me"] == false && event.data["type"] == "read")
        .map(|event| serde_json::from_value(event.data["ids"].clone()).unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn reading_in_matrix_is_told_once_and_for_all_before() -> Result<()> {
    let stack = Stack::start("status-read", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let events = stack.sandbox.events().await?;
        let mut ids = Vec::new();
        let mut shown = Vec::new();
        for text in ["1", "2", "3", "4", "5"] {
            ids.push(chat.phone.send(&chat.me, text).await?);
            shown.push(
                chat.client
                    .wait_for_text(&chat.room, &chat.ghost, text)
                    .await?
                    .event_id,
            );
        }
        let read = |from: usize, to: usize| ids.get(from..to).unwrap_or_default().to_vec();

        // A private receipt is nobody's business. What follows shows that it had its time.
        chat.client
            .mark_read_privately(&chat.room, &shown[4])
            .await?;
        chat.client.mark_read(&chat.room, &shown[2]).await?;
        chat.phone
            .wait_for_status(&chat.me, &ids[2], "read")
            .await?;
        let ticks = chat.ticks().await?;
        assert_eq!(
            ticks.get(4..).unwrap_or_default(),
            [("4", "delivered"), ("5", "delivered")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        let receipts = wait::until("the news of the receipt", PATIENCE, || async {
            let told = read_receipts(&events, &chat.phone);
            Ok((!told.is_empty()).then_some(told))
        })
        .await?;
        assert_eq!(receipts.len(), 1, "one for all of them: {receipts:?}");
        let mut first = chat.phone.messages(&chat.me).await?;
        first.retain(|message| message.text.as_deref() == Some("hello to you"));
        let mut wanted: Vec<String> = first.into_iter().map(|message| message.id).collect();
        wanted.extend(read(0, 3));
        assert_eq!(receipts.concat(), wanted);

        // Over a crash nothing is said again; and an event that is no message stands for those before it.
        crash(&stack).await?;
        let own = chat.client.send(&chat.room, "mine").await?;
        chat.wait_for_delivery(&own).await?;
        let status = chat
            .client
            .wait_for(&chat.room, "a status event", |each| {
                each.kind == STATUS && each.relates("m.reference", &own)
            })
            .await?;
        chat.client.mark_read(&chat.room, &status.event_id).await?;
        chat.phone
            .wait_for_status(&chat.me, &ids[4], "read")
            .await?;
        // The phone may know before its news are here.
        let wanted = [wanted, read(3, 5)].concat();
        wait::until("the news of both receipts", PATIENCE, || async {
            let told = read_receipts(&events, &chat.phone).concat();
            Ok((told.len() >= wanted.len()).then_some(()))
        })
        .await?;
        assert_eq!(read_receipts(&events, &chat.phone).concat(), wanted);
        wait::until("the outbox to be empty", PATIENCE, || async {
            let status = stack.gatehouse.status().await?;
            Ok((status["outbox"] == 0).then_some(()))
        })
        .await?;
        Ok(())
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn what_was_read_while_the_bridge_was_down_is_told() -> Result<()> {
    let stack = Stack::start("status-read-down", Options::default()).await?;
    let result = async {
        let chat = Chat::open(&stack, "anna", "+4915100000001").await?;
        let mine = chat.client.send(&chat.room, "read this").await?;
        let there = chat.phone.wait_for_text(&chat.me, "read this").await?;
        chat.wait_for_delivery(&mine).await?;
        let theirs = chat.phone.send(&chat.me, "and this").await?;
        let shown = chat
            .client
            .wait_for_text(&chat.room, &chat.ghost, "and this")
            .await?;
        stack.gatehouse.stop().await?;
        chat.phone.receipt(&chat.me, "read", &[&there.id]).await?;
        chat.client.mark_read(&chat.room, &shown.event_id).await?;
        chat.client
            .wait_for_read(&chat.room, &chat.me, &shown.event_id)
            .await?;
        stack.gatehouse.start().await?;
        chat.client
            .wait_for_read(&chat.room, &chat.ghost, &mine)
            .await?;
        chat.phone
            .wait_for_status(&chat.me, &theirs, "read")
            .await
            .map(drop)
    }
    .await;
    result.map_err(|error: Error| stack.explain(error))
}

#[tokio::test]
async fn who_keeps_reading_private_does_not_tell() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "private", "+4915100000004").await?;
    let (me, bot) = (chat.me.clone(), stack.bot());
    let management = chat.client.direct_chat(&bot).await?;
    chat.client.wait_for_member(&management, &bot).await?;
    let told = async |command: &str, part: &str| -> Result<()> {
        chat.client.send(&management, command).await?;
        chat.client
            .wait_for(&management, part, |event| {
                event.sender == bot && event.body().is_some_and(|body| body.contains(part))
            })
            .await
            .map(drop)
    };
    told("read-receipts off", "receipts are off: your").await?;
    told("status", "Read receipts are off.").await?;
    let hidden = chat.phone.send(&me, "in private").await?;
    let shown = chat
        .client
        .wait_for_text(&chat.room, &chat.ghost, "in private")
        .await?;
    chat.client.mark_read(&chat.room, &shown.event_id).await?;
    // The homeserver has it before the next message, and what was read in private stays so.
    chat.client
        .wait_for_read(&chat.room, &me, &shown.event_id)
        .await?;
    chat.client.send(&chat.room, "a sign").await?;
    chat.phone.wait_for_text(&me, "a sign").await?;
    told("read-receipts on", "receipts are on: your").await?;
    let open = chat.phone.send(&me, "in the open").await?;
    let shown = chat
        .client
        .wait_for_text(&chat.room, &chat.ghost, "in the open")
        .await?;
    chat.client.mark_read(&chat.room, &shown.event_id).await?;
    chat.phone.wait_for_status(&me, &open, "read").await?;
    let messages = chat.phone.messages(&me).await?;
    let status = messages.iter().find(|message| message.id == hidden);
    assert_eq!(
        status.map(|message| message.status.as_str()),
        Some("delivered")
    );
    Ok(())
}

#[tokio::test]
async fn typing_goes_both_ways_and_does_not_come_back() -> Result<()> {
    let stack = stack().await?;
    let chat = Chat::open(stack, "typist", "+4915100000005").await?;
    let events = stack.sandbox.events().await?;
    let typing = |state: &str| {
        let (number, state) = (chat.phone.number().to_owned(), state.to_owned());
        move |event: &tests::sandbox::Event| {
            event.name == "typing"
                && event.data["phone"] == *number
                && event.data["state"] == *state
        }
    };
    chat.client.typing(&chat.room, true).await?;
    events
        .wait_for("typing on the phone", typing("composing"))
        .await?;
    chat.client.typing(&chat.room, false).await?;
    events
        .wait_for("the end of typing", typing("paused"))
        .await?;

    let before = events.seen().len();
    for state in ["composing", "recording"] {
        chat.phone.typing(&chat.me, state).await?;
        chat.ghost_types(true).await?;
        chat.phone.typing(&chat.me, "paused").await?;
        chat.ghost_types(false).await?;
    }
    // A message ends it without a word.
    chat.phone.typing(&chat.me, "composing").await?;
    chat.ghost_types(true).await?;
    chat.phone.send(&chat.me, "written").await?;
    chat.ghost_types(false).await?;
    // So does time, if the end is lost.
    chat.phone.typing(&chat.me, "composing").await?;
    chat.ghost_types(true).await?;
    chat.ghost_types(false).await?;
    let echoes = events
        .seen()
        .split_off(before)
        .into_iter()
        .filter(|event| event.name == "typing" && event.data["phone"] == chat.phone.number())
        .count();
    assert_eq!(echoes, 0, "the ghost's typing came back to its phone");
    Ok(())
}
