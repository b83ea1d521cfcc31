//! What a portal says of itself, what the profile forbids, and what does not stay.

use serde_json::json;
use tests::stack::Stack;
use tests::{Error, Result};

use crate::about::reactions_there;
use crate::{Chat, careful_stack, differs, stack};

/// Without the flags the sender is told that the other side still shows the old text.
async fn without_flags(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "yara", "+4915200000006").await?;
    let (client, room) = (&chat.client, chat.room.as_str());
    let (mine, mine_there) = chat.sent("first version").await?;
    client.edit(room, &mine, "second version").await?;
    chat.told("still shows the first version").await?;
    client.redact(room, &mine).await?;
    chat.told("still has the message").await?;
    let place = json!({"msgtype": "m.location", "body": "The gate", "geo_uri": "geo:52.5,13.25"});
    client.send_message(room, place).await?;
    let link = "📍 The gate\nhttps://www.openstreetmap.org/?mlat=52.5&mlon=13.25#map=16/52.5/13.25";
    chat.shown("a link to a map", &json!({"kind": "text", "text": link}))
        .await?;
    let entry =
        json!({"id": mine_there, "text": "first version", "edited": false, "revoked": false});
    chat.shown("the first version", &entry).await?;

    let features = client
        .state(room, "com.beeper.room_features", "whatsapp")
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
async fn what_the_profile_does_not_allow_is_told() -> Result<()> {
    let stack = careful_stack().await?;
    without_flags(stack)
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

async fn disappearing(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "ada", "+4915200000008").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    chat.phone
        .say(me, json!({"kind": "timer", "expiration": 604_800}))
        .await?;
    let wanted = json!({"msgtype": "m.notice", "body": "Messages of this chat disappear on WhatsApp after 7 days. What comes from there is then deleted here too; what you write stays here."});
    chat.seen("the timer", &wanted).await?;
    let message = json!({"kind": "text", "text": "soon gone", "expiration": 2});
    chat.phone.say(me, message).await?;
    let seen = client
        .wait_for(room, "the message or its end", |event| {
            event.sender == chat.ghost && (event.redacted || event.body() == Some("soon gone"))
        })
        .await?;
    client.wait_for_redaction(room, &seen.event_id).await?;
    // The other time was told, once.
    chat.seen("the new timer", &json!({"body": "Messages of this chat disappear on WhatsApp after 2 seconds. What comes from there is then deleted here too; what you write stays here."}))
        .await?;
    chat.phone
        .say(me, json!({"kind": "timer", "expiration": 0}))
        .await?;
    chat.seen(
        "the end of it",
        &json!({"body": "Messages of this chat do not disappear on WhatsApp any more."}),
    )
    .await
    .map(drop)
}

#[tokio::test]
async fn disappearing_messages_disappear() -> Result<()> {
    let stack = stack().await?;
    disappearing(stack)
        .await
        .map_err(|error| stack.explain(error))
}

async fn files(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "bo", "+4915200000010").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    let data = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA=="; // what is in it does not matter here
    // To be seen once: it goes when it was read.
    let once = json!({"kind": "view_once", "mimetype": "image/jpeg", "data_base64": data});
    chat.phone.say(me, once).await?;
    let note = json!({"msgtype": "m.image", "body": "(to be seen once: deleted here when you have read it)"});
    let seen = chat.seen("the picture to be seen once", &note).await?;
    client.download(&seen.content["file"], None).await?;
    client.mark_read(room, &seen.event_id).await?;
    client.wait_for_redaction(room, &seen.event_id).await?;

    // Another caption under the same file, both ways.
    let picture =
        json!({"kind": "image", "mimetype": "image/jpeg", "data_base64": data, "caption": "befor"});
    let id = chat.phone.say(me, picture).await?;
    let before = chat
        .seen(
            "the picture",
            &json!({"msgtype": "m.image", "body": "befor"}),
        )
        .await?;
    chat.phone.edit(me, &id, "before").await?;
    let after = chat
        .seen(
            "the new caption",
            &json!({"msgtype": "m.image", "body": "before"}),
        )
        .await?;
    assert_eq!(after.event_id, before.event_id);
    assert_eq!(after.content["file"]["url"], before.original["file"]["url"]);
    let upload = client.upload_base64(data).await?;
    let file = json!({
        "msgtype": "m.image", "body": "aftr", "filename": "a.jpg", "file": upload.file,
        "info": {"mimetype": "image/jpeg", "size": upload.size},
    });
    let event = client.send_message(room, file.clone()).await?;
    chat.shown(
        "the picture",
        &json!({"kind": "image", "caption": "aftr", "sha256": upload.sha256}),
    )
    .await?;
    let mut new = file.clone();
    new["body"] = json!("after");
    let mut edit = new.clone();
    edit["m.new_content"] = new;
    edit["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": event});
    client.send_message(room, edit).await?;
    let wanted =
        json!({"kind": "image", "caption": "after", "edited": true, "sha256": upload.sha256});
    chat.shown("the new caption", &wanted).await.map(drop)
}

#[tokio::test]
async fn captions_change_and_what_is_seen_once_goes() -> Result<()> {
    let stack = stack().await?;
    files(stack).await.map_err(|error| stack.explain(error))
}

/// In a room where the ghost may change nothing.
async fn without_power(stack: &Stack) -> Result<()> {
    let phone = stack.sandbox.phone("+4915200000011", "Bea").await?;
    let ghost = stack.ghost(&phone);
    let client = stack.enlisted_client("cleo").await?;
    let me = client.user_id().to_owned();
    let room = client
        .create_room(json!({"invite": [ghost], "encrypted": true, "is_direct": true, "preset": "private_chat"}))
        .await?;
    client.wait_for_member(&room, &ghost).await?;
    let bot = stack.bot();
    let chat = Chat {
        client,
        me,
        phone,
        ghost,
        bot,
        room,
    };
    chat.sent("hello").await?;
    let (theirs, theirs_there) = chat.received("hi").await?;
    let me = chat.me.as_str();
    for emoji in ["👍", "❤️"] {
        chat.client.react(&chat.room, &theirs, emoji).await?;
        reactions_there(&chat, &theirs_there, &[(me, emoji)]).await?;
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

/// Where the bot may write nothing, for good.
async fn silenced(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "dina", "+4915200000012").await?;
    let (client, room) = (&chat.client, chat.room.as_str());
    let management = client.direct_chat(&chat.bot).await?;
    client.wait_for_member(&management, &chat.bot).await?;
    let told = |body: &str| body.contains("polls and votes do not go");
    let poll = json!({"org.matrix.msc3381.poll.start": {"question": {"org.matrix.msc1767.text": "which?"}, "answers": []}});

    let kind = "m.room.power_levels";
    let levels = client.state(room, kind, "").await?;
    let mut levels = levels.ok_or_else(|| Error::new("no power levels"))?;
    levels["events_default"] = json!(10);
    levels["users"][&chat.ghost] = json!(10);
    let path = format!("/_matrix/client/v3/rooms/{room}/state/{kind}");
    client.request("PUT", &path, json!({}), levels).await?;
    client
        .send_event(room, "org.matrix.msc3381.poll.start", poll)
        .await?;
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
