//! What a portal says of itself, and what does not stay.

use serde_json::{Value, json};
use tests::chat::{Chat, differs};
use tests::stack::Stack;
use tests::{Error, Result};

use crate::{careful_stack, stack};

/// What clients are told of a bridge as it is delivered.
async fn delivered(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "yara", "+4915200000006").await?;
    let features = chat
        .client
        .state(&chat.room, "com.beeper.room_features", "whatsapp")
        .await?;
    let features = features.ok_or_else(|| Error::new("no room features"))?;
    let wanted = json!({"edit": -2, "delete": -2, "reaction": 2, "reply": 2, "location_message": 1, "max_text_length": 65_536});
    assert_eq!(differs(&features, &wanted), None);
    Ok(())
}

/// Deleted before it has left: nobody there ever sees it, whatever the profile allows.
async fn withdrawn(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "yvonne", "+4915200000009").await?;
    let (client, room) = (&chat.client, chat.room.as_str());
    stack.sandbox.stop().await?;
    let event = client.send(room, "never to be seen").await?;
    client.redact(room, &event).await?;
    client.send(room, "to be seen").await?;
    stack.sandbox.go_on().await?;
    chat.phone.wait_for_text(&chat.me, "to be seen").await?;
    chat.flush("after the outage").await?;
    let shown = chat.phone.shown(&chat.me).await?;
    assert!(
        shown
            .iter()
            .all(|message| message["text"] != "never to be seen" && message["revoked"] == false),
        "{shown:#?}"
    );
    let timeline = client.timeline(room).await?;
    let told = timeline.iter().any(|each| {
        each.sender == chat.bot && each.body().is_some_and(|body| body.contains("still has"))
    });
    assert!(!told, "there is nothing to tell");
    Ok(())
}

#[tokio::test]
async fn what_the_profile_does_not_allow_is_announced() -> Result<()> {
    let stack = careful_stack().await?;
    delivered(stack)
        .await
        .map_err(|error| stack.explain(error))?;
    withdrawn(stack).await.map_err(|error| stack.explain(error))
}

async fn described(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "zoe", "+4915200000007").await?;
    let (client, room) = (&chat.client, chat.room.as_str());
    for kind in ["m.bridge", "uk.half-shot.bridge"] {
        let bridge = client.state(room, kind, "whatsapp").await?;
        let bridge = bridge.ok_or_else(|| Error::new(format!("no {kind}")))?;
        let wanted = json!({"bridgebot": chat.bot, "protocol": {"id": "whatsapp", "displayname": "WhatsApp"}});
        assert_eq!(differs(&bridge, &wanted), None, "{kind}: {bridge}");
        assert!(!bridge["channel"]["id"].is_null(), "{kind}: {bridge}");
    }
    let members = client
        .state(room, "io.element.functional_members", "")
        .await?;
    assert_eq!(members, Some(json!({"service_members": [chat.bot]})));
    let features = client
        .state(room, "com.beeper.room_features", "whatsapp")
        .await?;
    let features = features.ok_or_else(|| Error::new("no room features"))?;
    assert_eq!(
        differs(&features, &json!({"edit": 2, "edit_max_age": 900})),
        None
    );
    assert!(
        features["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("gatehouse.v"))
    );
    Ok(())
}

#[tokio::test]
async fn a_portal_says_what_it_is() -> Result<()> {
    let stack = stack().await?;
    described(stack).await.map_err(|error| stack.explain(error))
}

/// In a room where the ghost may change nothing.
async fn without_power(stack: &Stack) -> Result<()> {
    let options = json!({"encrypted": true, "is_direct": true, "preset": "private_chat"});
    let chat = Chat::open_with(stack, "cleo", "+4915200000011", options).await?;
    chat.sent("hello").await?;
    let (theirs, theirs_there) = chat.received("hi").await?;
    let me = chat.me.as_str();
    for emoji in ["👍", "❤️"] {
        chat.client.react(&chat.room, &theirs, emoji).await?;
        chat.reactions_there(&theirs_there, &[(me, emoji)]).await?;
    }
    chat.told("I may not remove").await.map(drop)
}

#[tokio::test]
async fn a_second_reaction_is_told_where_the_first_cannot_go() -> Result<()> {
    let stack = stack().await?;
    without_power(stack)
        .await
        .map_err(|error| stack.explain(error))
}

const POLL: &str = "org.matrix.msc3381.poll.start";

/// Something that does not go to WhatsApp.
fn poll() -> Value {
    json!({POLL: {"question": {"org.matrix.msc1767.text": "which?"}, "answers": []}})
}

/// Where the bot may write nothing, for good.
async fn silenced(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "dina", "+4915200000012").await?;
    let (client, room) = (&chat.client, chat.room.as_str());
    let management = client.direct_chat(&chat.bot).await?;
    client.wait_for_member(&management, &chat.bot).await?;
    let told = |body: &str| body.contains("polls and votes do not go");

    let kind = "m.room.power_levels";
    let levels = client.state(room, kind, "").await?;
    let mut levels = levels.ok_or_else(|| Error::new("no power levels"))?;
    // Whoever is there from the beginning is a creator of the room, and may say all the same.
    levels["events_default"] = json!(10);
    let path = format!("/_matrix/client/v3/rooms/{room}/state/{kind}");
    client.request("PUT", &path, json!({}), levels).await?;
    chat.client.send_event(room, POLL, poll()).await?;
    let notice = client
        .wait_for(&management, "the bot to say it in its own chat", |each| {
            each.sender == chat.bot && each.body().is_some_and(told)
        })
        .await?;
    assert_eq!(notice.answers(), None, "the message is not in that chat");
    chat.received("and others go on").await.map(drop)
}

#[tokio::test]
async fn what_cannot_be_said_in_a_chat_is_said_in_the_bots() -> Result<()> {
    let stack = stack().await?;
    silenced(stack).await.map_err(|error| stack.explain(error))
}

/// The bot is removed from a chat, and invited again.
async fn without_the_bot(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "doris", "+4915200000013").await?;
    let (client, room, bot) = (&chat.client, chat.room.as_str(), chat.bot.as_str());
    let management = client.direct_chat(bot).await?;
    client.wait_for_member(&management, bot).await?;
    client.remove(room, bot).await?;
    let refused = client.send_event(room, POLL, poll()).await?;
    let told = |body: &str| body.contains("polls and votes do not go");
    client
        .wait_for(&management, "the bot to say it in its own chat", |each| {
            each.sender == bot && each.body().is_some_and(told)
        })
        .await?;
    let is = |status: &'static str| move |each: &Value| each["status"] == status;
    chat.status(&refused, "a status without the bot", is("FAIL_PERMANENT"))
        .await?;
    let (sent, _) = chat.sent("without the bot").await?;
    chat.status(&sent, "a status without the bot", is("SUCCESS"))
        .await?;

    client.invite(room, bot).await?;
    client.wait_for_member(room, bot).await?;
    let refused = client.send_event(room, POLL, poll()).await?;
    chat.told_about(&refused, "polls and votes do not go")
        .await?;
    chat.flush("with the bot").await
}

#[tokio::test]
async fn a_chat_does_without_the_bot_that_was_removed() -> Result<()> {
    let stack = stack().await?;
    without_the_bot(stack)
        .await
        .map_err(|error| stack.explain(error))
}
