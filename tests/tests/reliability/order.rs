//! The homeserver forgets a transaction, sends a later one first, or drops receipts: the phone has everything, in the order in
//! which it was written.

use std::time::Duration;

use tests::between::{Between, Fate, HttpProxy, Refuse, Trouble};

use super::*;

/// A chat, with proxies on both sides of the bridge.
async fn open(name: &str) -> Result<(Stack, Chat)> {
    let stack = behind_proxies(name, &[]).await?;
    let chat = Chat::open(&stack, "anna", "+4915100000071").await?;
    Ok((stack, chat))
}

/// Writes something of which the homeserver believes that the bridge has it.
async fn write_unseen(chat: &Chat, transactions: &HttpProxy, text: &str) -> Result<String> {
    transactions.set(Trouble {
        forget: true,
        ..Trouble::default()
    });
    let event = chat.client.send(&chat.room, text).await?;
    let forgotten = || async { Ok(transactions.has_forgotten(&event).then_some(())) };
    // Synapse that has found the bridge away waits twice as long each time: a start that takes half a minute costs a whole one.
    wait::until("a forgotten transaction", PATIENCE * 2, forgotten).await?;
    transactions.set(Trouble::default());
    Ok(event)
}

/// What the phone shows once the last of these is there.
async fn shown(chat: &Chat, expected: &[&str]) -> Result<()> {
    let Some(last) = expected.last() else {
        return Ok(());
    };
    chat.on_phone(last).await?;
    // What comes late stands behind the last one.
    let all_there = |texts: &[String]| expected.iter().all(|text| texts.iter().any(|t| t == text));
    let texts = wait::until("all of them on the phone", PATIENCE, || async {
        let messages = chat.phone.messages(chat.me()).await?;
        let theirs = messages
            .into_iter()
            .filter(|each| !each.from_me && !each.revoked);
        let texts: Vec<String> = theirs.filter_map(|message| message.text).collect();
        Ok(all_there(&texts).then_some(texts))
    })
    .await?;
    assert_eq!(texts, expected);
    Ok(())
}

#[tokio::test]
async fn what_a_restarted_homeserver_forgot_keeps_its_place() -> Result<()> {
    let (stack, chat) = open("order-forgotten").await?;
    explained(&stack, forgotten(&stack, &chat).await)
}

async fn forgotten(stack: &Stack, chat: &Chat) -> Result<()> {
    let transactions = &stack.between()?.to_bridge;
    write_unseen(chat, transactions, "forgotten").await?;
    // A homeserver that was restarted counts from one again.
    transactions.number_from_one();
    chat.client.send(&chat.room, "after it").await?;
    shown(chat, &["hello", "forgotten", "after it"]).await?;

    // It may be deleted before it is found: then it is nothing, and so is its deletion.
    let event = write_unseen(chat, transactions, "deleted").await?;
    chat.client.redact(&chat.room, &event).await?;
    write_unseen(chat, transactions, "forgotten too").await?;
    transactions.number_from_one();
    chat.client.send(&chat.room, "the last").await?;
    let expected = [
        "hello",
        "forgotten",
        "after it",
        "forgotten too",
        "the last",
    ];
    shown(chat, &expected).await
}

#[tokio::test]
async fn what_was_overtaken_keeps_its_place() -> Result<()> {
    let (stack, chat) = open("order-overtaken").await?;
    explained(&stack, overtaken(&stack, &chat).await)
}

async fn overtaken(stack: &Stack, chat: &Chat) -> Result<()> {
    let transactions = &stack.between()?.to_bridge;
    // A number is left out, and the bridge was killed before it could know.
    write_unseen(chat, transactions, "overtaken").await?;
    chat.client.send(&chat.room, "after it").await?;
    shown(chat, &["hello", "overtaken", "after it"]).await?;
    stack.gatehouse.kill();
    stack.gatehouse.start().await?;
    write_unseen(chat, transactions, "again").await?;
    chat.client.send(&chat.room, "the last").await?;
    let expected = ["hello", "overtaken", "after it", "again", "the last"];
    shown(chat, &expected).await
}

#[tokio::test]
async fn what_is_held_survives_a_crash() -> Result<()> {
    let (stack, chat) = open("order-crash").await?;
    explained(&stack, crash(&stack, &chat).await)
}

async fn crash(stack: &Stack, chat: &Chat) -> Result<()> {
    let between = stack.between()?;
    write_unseen(chat, &between.to_bridge, "forgotten").await?;
    between.to_bridge.number_from_one();
    // The rooms cannot be looked through, so what comes is held.
    between.to_homeserver.set(Trouble {
        refuse: Some(Refuse {
            share: 1.0,
            status: 500,
        }),
        ..Trouble::default()
    });
    chat.client.send(&chat.room, "held").await?;
    waits(stack, "inbox", 1).await?;
    stack.gatehouse.kill();
    between.to_homeserver.set(Trouble::default());
    stack.gatehouse.start().await?;
    shown(chat, &["hello", "forgotten", "held"]).await
}

#[tokio::test]
async fn what_is_forgotten_between_two_starts_keeps_its_place() -> Result<()> {
    let (stack, chat) = open("order-starts").await?;
    explained(&stack, starts(&stack, &chat).await)
}

async fn starts(stack: &Stack, chat: &Chat) -> Result<()> {
    let transactions = &stack.between()?.to_bridge;
    stack.gatehouse.kill();
    stack.gatehouse.start().await?;
    chat.client.send(&chat.room, "first").await?;
    shown(chat, &["hello", "first"]).await?;
    // The homeserver is asked the same as at the last start, and must not give the same answer.
    stack.gatehouse.kill();
    write_unseen(chat, transactions, "forgotten").await?;
    transactions.number_on();
    stack.gatehouse.start().await?;
    chat.client.send(&chat.room, "after it").await?;
    shown(chat, &["hello", "first", "forgotten", "after it"]).await
}

#[tokio::test]
async fn nothing_is_held_for_ever() -> Result<()> {
    let (stack, chat) = open("order-held").await?;
    explained(&stack, held(&stack, &chat, stack.between()?).await)
}

async fn held(stack: &Stack, chat: &Chat, between: &Between) -> Result<()> {
    stack.gatehouse.kill();
    between
        .to_homeserver
        .rule("GET", "/sync", Fate::Refused(500));
    stack.gatehouse.start().await?;
    chat.client.send(&chat.room, "goes all the same").await?;
    // After a minute.
    let patience = PATIENCE + Duration::from_secs(60);
    wait::until("what is held on the phone", patience, || async {
        let texts = chat.texts_on_phone().await?;
        let goes = texts.iter().any(|text| text == "goes all the same");
        Ok(goes.then_some(()))
    })
    .await?;
    // And from then on at once.
    chat.client.send(&chat.room, "and so does this").await?;
    chat.on_phone("and so does this").await
}

#[tokio::test]
async fn receipts_that_the_homeserver_dropped_are_read_in_the_rooms() -> Result<()> {
    let (stack, chat) = open("order-receipts").await?;
    explained(&stack, receipts(&stack, &chat).await)
}

async fn receipts(stack: &Stack, chat: &Chat) -> Result<()> {
    let transactions = &stack.between()?.to_bridge;
    let stanza = chat.phone.send(chat.me(), "read this").await?;
    let seen = chat.seen("read this").await?;
    // A proxy before the bridge answers for it, and the bridge knows of nothing.
    let before = transactions.refused();
    transactions.set(Trouble {
        refuse: Some(Refuse {
            share: 1.0,
            status: 502,
        }),
        ..Trouble::default()
    });
    chat.client.send(&chat.room, "refused").await?;
    let refused = || async { Ok((transactions.refused() > before).then_some(())) };
    wait::until("a refused transaction", PATIENCE, refused).await?;
    chat.client.mark_read(&chat.room, &seen.event_id).await?;
    transactions.set(Trouble::default());
    shown(chat, &["hello", "refused"]).await?;
    chat.phone
        .wait_for_status(chat.me(), &stanza, "read")
        .await?;

    // Of many messages that come in one transaction the last one is the last that the phone has read.
    stack.gatehouse.freeze();
    let texts: Vec<String> = (0..20).map(|number| format!("text {number}")).collect();
    let mut last = String::new();
    for text in &texts {
        last = chat.client.send(&chat.room, text).await?;
    }
    stack.gatehouse.thaw();
    let expected: Vec<&str> = ["hello", "refused"]
        .into_iter()
        .chain(texts.iter().map(String::as_str))
        .collect();
    shown(chat, &expected).await?;
    let messages = chat.phone.messages(chat.me()).await?;
    let theirs = messages.iter().filter(|message| !message.from_me);
    let ids: Vec<&str> = theirs.map(|message| message.id.as_str()).collect();
    chat.phone.receipt(chat.me(), "read", &ids).await?;
    chat.client
        .wait_for_read(&chat.room, &chat.ghost, &last)
        .await
}
