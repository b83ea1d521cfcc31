//! What is about a message that still waits for its room key.

use serde_json::json;
use tests::Result;
use tests::chat::Chat;
use tests::stack::{Options, Stack};

use crate::everything;

/// Sends a text whose room key is kept back, and waits until the user is told.
async fn send_locked(chat: &Chat, text: &str) -> Result<String> {
    chat.client.hold_keys().await?;
    chat.client.discard_session(&chat.room).await?;
    let event = chat.client.send(&chat.room, text).await?;
    chat.client.discard_session(&chat.room).await?;
    chat.client.pass_later_keys().await?;
    chat.told_about(&event, "key to it has not arrived").await?;
    Ok(event)
}

async fn behind(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "gero", "+4915200000030").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    let locked = send_locked(&chat, "lokced").await?;
    client.edit(room, &locked, "locktd").await?;
    client.edit(room, &locked, "locked").await?;
    client.react(room, &locked, "👍").await?;
    // Others are not held up, over a restart either, and what waits is not refused.
    chat.flush("meanwhile").await?;
    stack.gatehouse.kill();
    stack.gatehouse.start().await?;
    chat.flush("and after a restart").await?;
    let shown = chat.phone.shown(me).await?;
    assert!(
        !shown.iter().any(|each| each["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("lo"))),
        "{shown:#?}"
    );
    assert!(client.release_keys().await? > 0, "keys were kept");
    let wanted = json!({"text": "locked", "edited": true});
    let there = chat.shown("the message as it was edited", &wanted).await?;
    let id = there["id"].as_str().unwrap_or_default();
    chat.reactions_there(id, &[(me, "👍")]).await?;
    let timeline = client.timeline(room).await?;
    let refused = timeline.iter().any(|each| {
        each.sender == chat.bot
            && each
                .body()
                .is_some_and(|body| body.contains("is not on WhatsApp"))
    });
    assert!(!refused, "nothing was refused");

    // Deleted before the key came: none of it ever goes.
    let locked = send_locked(&chat, "regretted").await?;
    client.edit(room, &locked, "regretted much").await?;
    chat.flush("before the deletion").await?;
    client.redact(room, &locked).await?;
    chat.flush("after the deletion").await?;
    client.release_keys().await?;
    chat.flush("after the key").await?;
    let shown = chat.phone.shown(me).await?;
    assert!(
        !shown.iter().any(|each| each["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("regretted"))),
        "{shown:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn edits_of_a_message_without_its_key_wait_behind_it() -> Result<()> {
    // Its own, because it is killed.
    let options = Options {
        gatehouse: everything(),
        ..Options::default()
    };
    let stack = Stack::start("kinds-waiting", options).await?;
    behind(&stack).await.map_err(|error| stack.explain(error))
}
