//! What is about another message: replies, reactions, edits and deletions.

use serde_json::json;
use tests::Result;
use tests::chat::{Chat, differs};
use tests::stack::Stack;

use crate::stack;

async fn replies(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "vera", "+4915200000003").await?;
    let (client, room) = (&chat.client, chat.room.as_str());
    let (mine, mine_there) = chat.sent("a question").await?;
    let (theirs, theirs_there) = chat.received("an *answer*").await?;

    client.reply(room, &theirs, "to theirs").await?;
    chat.shown(
        "a reply to theirs",
        &json!({"text": "to theirs", "reply_to": theirs_there, "quoted": "an *answer*"}),
    )
    .await?;
    client.reply(room, &mine, "to mine").await?;
    chat.shown(
        "a reply to mine",
        &json!({"text": "to mine", "reply_to": mine_there, "quoted": "a question"}),
    )
    .await?;
    // As older clients write it, with the quotation in the text.
    let old = json!({
        "msgtype": "m.text", "body": "> <@x:y> an answer\n\nwith fallback", "format": "org.matrix.custom.html",
        "formatted_body": "<mx-reply><blockquote>an answer</blockquote></mx-reply>with fallback",
        "m.relates_to": {"m.in_reply_to": {"event_id": theirs}},
    });
    client.send_message(room, old).await?;
    chat.shown(
        "no fallback",
        &json!({"text": "with fallback", "reply_to": theirs_there}),
    )
    .await?;
    let thread = json!({
        "msgtype": "m.text", "body": "in a thread",
        "m.relates_to": {"rel_type": "m.thread", "event_id": mine, "is_falling_back": true, "m.in_reply_to": {"event_id": theirs}},
    });
    client.send_message(room, thread).await?;
    chat.shown(
        "a thread",
        &json!({"text": "in a thread", "reply_to": theirs_there}),
    )
    .await?;
    // To what is not on WhatsApp: it goes all the same.
    let notice = client
        .send_message(room, json!({"msgtype": "m.notice", "body": "beep"}))
        .await?;
    client.reply(room, &notice, "to nothing").await?;
    chat.shown(
        "a plain text",
        &json!({"text": "to nothing", "reply_to": null}),
    )
    .await?;
    client.reply(room, "$unknown", "to the unknown").await?;
    chat.shown(
        "a plain text",
        &json!({"text": "to the unknown", "reply_to": null}),
    )
    .await?;

    for (to, event, text) in [(&mine_there, &mine, "r1"), (&theirs_there, &theirs, "r2")] {
        chat.phone
            .say(
                &chat.me,
                json!({"kind": "text", "text": text, "reply_to": to}),
            )
            .await?;
        let wanted = json!({"body": text, "m.relates_to": {"m.in_reply_to": {"event_id": event}}});
        let seen = chat.seen("a reply", &wanted).await?;
        assert_eq!(seen.answers(), Some(event.as_str()));
    }
    // At once: the reply must wait until the event that it answers has its id.
    let first = chat.phone.send(&chat.me, "quick").await?;
    chat.phone
        .say(
            &chat.me,
            json!({"kind": "text", "text": "quicker", "reply_to": first}),
        )
        .await?;
    let quick = client.wait_for_text(room, &chat.ghost, "quick").await?;
    let quicker = client.wait_for_text(room, &chat.ghost, "quicker").await?;
    assert_eq!(quicker.answers(), Some(quick.event_id.as_str()));
    Ok(())
}

#[tokio::test]
async fn replies_both_ways() -> Result<()> {
    let stack = stack().await?;
    replies(stack).await.map_err(|error| stack.explain(error))
}

async fn reactions(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "wanda", "+4915200000004").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    let (mine, mine_there) = chat.sent("look").await?;
    let (theirs, theirs_there) = chat.received("and look").await?;

    // From Matrix: added, changed, taken back; in the clear and encrypted.
    client.react(room, &theirs, "👍").await?;
    chat.reactions_there(&theirs_there, &[(me, "👍")]).await?;
    let second = client.react_encrypted(room, &theirs, "❤️").await?;
    chat.reactions_there(&theirs_there, &[(me, "❤️")]).await?;
    client
        .wait_for_reactions(room, &theirs, &[(me, "❤️")])
        .await?;
    client.redact(room, &second).await?;
    chat.reactions_there(&theirs_there, &[]).await?;
    client.react(room, &mine, "🎉").await?;
    chat.reactions_there(&mine_there, &[(me, "🎉")]).await?;

    // From WhatsApp.
    let (ghost, number) = (chat.ghost.as_str(), chat.phone.number());
    for emoji in ["😂", "😮"] {
        chat.phone.react(me, &mine_there, emoji).await?;
        client
            .wait_for_reactions(room, &mine, &[(me, "🎉"), (ghost, emoji)])
            .await?;
    }
    chat.reactions_there(&mine_there, &[(me, "🎉"), (number, "😮")])
        .await?;
    chat.phone.react(me, &mine_there, "").await?;
    client
        .wait_for_reactions(room, &mine, &[(me, "🎉")])
        .await?;
    // All at once, on a message whose event is not written yet.
    let quick = chat.phone.send(me, "react to this").await?;
    for emoji in ["1️⃣", "2️⃣", "3️⃣"] {
        chat.phone.react(me, &quick, emoji).await?;
    }
    let seen = client.wait_for_text(room, ghost, "react to this").await?;
    client
        .wait_for_reactions(room, &seen.event_id, &[(ghost, "3️⃣")])
        .await?;

    // What is none. (Synapse itself takes no more than 500 characters.)
    for bomb in ["👍".repeat(120), "no emoji".to_owned()] {
        let event = client.react(room, &theirs, &bomb).await?;
        client
            .wait_for(room, "the refusal", |each| {
                each.sender == chat.bot
                    && each.answers() == Some(&*event)
                    && each
                        .body()
                        .is_some_and(|body| body.contains("takes one emoji"))
            })
            .await?;
    }
    chat.phone
        .react(me, &theirs_there, &"👍".repeat(10_000))
        .await?;
    chat.seen("the refusal", &json!({"msgtype": "m.notice", "body": "A reaction came from WhatsApp that is no emoji. It is not shown."}))
        .await?;
    chat.phone.react(me, &theirs_there, "").await?;
    let notice = client
        .send_message(room, json!({"msgtype": "m.notice", "body": "beep"}))
        .await?;
    client.react(room, &notice, "👎").await?;
    chat.told("is not on WhatsApp").await?;
    client.redact(room, &mine).await?;
    chat.phone
        .wait_for(me, "the deletion", |message| {
            message["id"] == mine_there.as_str() && message["revoked"] == true
        })
        .await?;
    client.react(room, &mine, "👎").await?;
    chat.told("was deleted").await?;
    chat.flush("after all reactions").await?;
    chat.reactions_there(&theirs_there, &[]).await
}

#[tokio::test]
async fn reactions_both_ways() -> Result<()> {
    let stack = stack().await?;
    reactions(stack).await.map_err(|error| stack.explain(error))
}

async fn edits_and_deletions(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "xenia", "+4915200000005").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    let ghost = chat.ghost.as_str();
    let (mine, mine_there) = chat.sent("teh text").await?;
    let (theirs, theirs_there) = chat.received("tihs too").await?;

    client.edit(room, &mine, "the text").await?;
    let wanted = json!({"id": mine_there, "text": "the text", "edited": true});
    chat.shown("my edit", &wanted).await?;
    chat.phone.edit(me, &theirs_there, "*this* too").await?;
    let seen = client.wait_for_text(room, ghost, "*this* too").await?;
    assert_eq!(seen.event_id, theirs, "an edit is no new message");
    assert_eq!(seen.content["formatted_body"], "<strong>this</strong> too");
    assert_eq!(seen.original["body"], "tihs too");
    // Twice at once.
    for text in ["third", "fourth"] {
        chat.phone.edit(me, &theirs_there, text).await?;
    }
    let seen = client.wait_for_text(room, ghost, "fourth").await?;
    assert_eq!(seen.event_id, theirs);

    // Somebody else's message.
    client.edit(room, &theirs, "I never said that").await?;
    chat.told("only the one who wrote").await?;
    chat.flush("after the wrong edit").await?;
    let entry = json!({"id": theirs_there, "text": "fourth"});
    chat.phone
        .wait_for(me, "their text", |message| {
            differs(message, &entry).is_none()
        })
        .await?;

    client.redact(room, &mine).await?;
    chat.shown("my deletion", &json!({"id": mine_there, "revoked": true}))
        .await?;
    chat.phone.revoke(me, &theirs_there).await?;
    let gone = client.wait_for_redaction(room, &theirs).await?;
    assert_eq!(gone.redacted_by.as_deref(), Some(ghost));
    let timeline = client.timeline(room).await?;
    assert!(
        timeline
            .iter()
            .filter(|event| event.sender == ghost && event.relates("m.replace", &theirs))
            .all(|event| event.redacted),
        "what it said after an edit is gone too"
    );
    // Sent and deleted at once.
    let quick = chat.phone.send(me, "never mind").await?;
    chat.phone.revoke(me, &quick).await?;
    client
        .wait_for(room, "the message to go", |event| {
            event.sender == ghost
                && event.redacted
                && event.event_id != theirs
                && event.relation.is_null()
        })
        .await?;
    assert!(
        client
            .timeline(room)
            .await?
            .iter()
            .all(|event| event.body() != Some("never mind")),
        "it is not shown any more"
    );
    // What the other side wrote can only be deleted here.
    let (theirs, _) = chat.received("keep this").await?;
    client.redact(room, &theirs).await?;
    chat.told("deleted here only").await.map(drop)
}

#[tokio::test]
async fn edits_and_deletions_both_ways() -> Result<()> {
    let stack = stack().await?;
    edits_and_deletions(stack)
        .await
        .map_err(|error| stack.explain(error))
}
