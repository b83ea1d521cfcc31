//! Messages that wait for their room keys, and what is about them.

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

/// A client sends the key of a session once more, from the next message on, to a device that has opened an Olm session with it
/// meanwhile. Where both come at once the one that opens all messages counts.
async fn sent_again(stack: &Stack) -> Result<()> {
    let options = json!({"encrypted": true, "is_direct": true});
    let chat = Chat::open_with(stack, "hera", "+4915200000031", options).await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    client.wait_for_member(room, &chat.bot).await?;
    client.hold_keys().await?;
    client.send(room, "the first").await?;
    chat.received("hello").await?;
    client.send(room, "the second").await?;
    // What comes while the bridge is away it finds all at once.
    stack.gatehouse.kill();
    assert!(client.release_keys().await? > 1, "the key was sent again");
    stack.gatehouse.start().await?;
    chat.phone.wait_for_text(me, "the first").await?;
    chat.phone.wait_for_text(me, "the second").await?;
    Ok(())
}

#[tokio::test]
async fn messages_and_what_is_about_them_wait_for_their_keys() -> Result<()> {
    // Its own, because it is killed.
    let options = Options {
        gatehouse: everything(),
        ..Options::default()
    };
    let stack = Stack::start("kinds-waiting", options).await?;
    let result = async {
        behind(&stack).await?;
        sent_again(&stack).await
    }
    .await;
    result.map_err(|error| stack.explain(error))
}
