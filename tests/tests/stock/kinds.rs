//! Everything but files.

use super::*;

#[tokio::test]
async fn texts_answers_reactions_edits_deletions_receipts_and_typing_cross() -> Result<()> {
    let stack = stack().await?;
    converse(stack).await.map_err(|error| stack.explain(error))
}

async fn converse(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "kim", "+4915160000001").await?;
    texts(&chat).await?;
    reactions(&chat).await?;
    changes(&chat).await?;
    receipts(&chat).await?;
    typing(&chat).await?;
    queries(&chat).await
}

/// Answers, in both directions.
async fn texts(chat: &Chat) -> Result<()> {
    let (question, asked) = chat.received("coming?").await?;
    chat.client.reply(&chat.room, &question, "yes").await?;
    let answer = chat.phone.wait_for_text("yes").await?;
    let context = &answer["message"]["extendedTextMessage"]["contextInfo"];
    assert_eq!(context["stanzaId"], asked, "{answer:#}");
    assert_eq!(context["quotedMessage"]["conversation"], "coming?");

    let (question, asked) = chat.sent("and you?").await?;
    let content = json!({"text": "me too"});
    chat.phone
        .reply(&chat.alias.number, &asked, content)
        .await?;
    let seen = chat
        .client
        .wait_for(&chat.room, "the answer", |event| {
            event.sender == chat.ghost && event.body().is_some_and(|body| body.contains("me too"))
        })
        .await?;
    let to = &seen.content["m.relates_to"]["m.in_reply_to"]["event_id"];
    assert_eq!(*to, question);
    // Under its opaque number the user is the same.
    let lid = chat
        .phone
        .send(&chat.alias.lid, json!({"text": "by lid"}))
        .await?;
    chat.client
        .wait_for_text(&chat.room, &chat.ghost, "by lid")
        .await?;
    chat.phone.wait_for_status(&lid, 3).await.map(drop)
}

async fn reactions(chat: &Chat) -> Result<()> {
    let (event, id) = chat.received("react to me").await?;
    let reaction = chat.client.react(&chat.room, &event, "👍").await?;
    chat.phone
        .wait_for("the reaction", |message| {
            message["id"] == id.as_str() && message["reactions"][0]["text"] == "👍"
        })
        .await?;
    chat.client.redact(&chat.room, &reaction).await?;
    chat.phone
        .wait_for("the reaction to be taken back", |message| {
            message["id"] == id.as_str() && message["reactions"][1]["text"] == ""
        })
        .await?;

    let (event, id) = chat.sent("now you").await?;
    let about =
        |text: &str| json!({"to": chat.alias.number, "message": id, "what": "react", "text": text});
    chat.phone.ask("about", about("🎉")).await?;
    chat.client
        .wait_for_reactions(&chat.room, &event, &[(chat.ghost.as_str(), "🎉")])
        .await?;
    chat.phone.ask("about", about("")).await?;
    chat.client
        .wait_for_reactions(&chat.room, &event, &[])
        .await
        .map(drop)
}

/// Edits and deletions.
async fn changes(chat: &Chat) -> Result<()> {
    let (event, id) = chat.sent("teh").await?;
    chat.client.edit(&chat.room, &event, "the").await?;
    chat.phone
        .wait_for("the edit", |message| {
            message["id"] == id.as_str() && message["updates"].to_string().contains("\"the\"")
        })
        .await?;
    chat.client.redact(&chat.room, &event).await?;
    chat.phone
        .wait_for("the deletion", |message| {
            let updates = message["updates"].as_array().into_iter().flatten();
            message["id"] == id.as_str()
                && updates
                    .into_iter()
                    .any(|update| update["message"].is_null() && update["stub"] == 1)
        })
        .await?;

    let (event, id) = chat.received("wrnog").await?;
    let about =
        |what: &str| json!({"to": chat.alias.number, "message": id, "what": what, "text": "right"});
    chat.phone.ask("about", about("edit")).await?;
    chat.client
        .wait_for(&chat.room, "the edit", |seen| {
            seen.sender == chat.ghost
                && seen.content["m.relates_to"]["event_id"] == event.as_str()
                && seen.content["m.new_content"]["body"] == "right"
        })
        .await?;
    chat.phone.ask("about", about("delete")).await?;
    chat.client
        .wait_for_redaction(&chat.room, &event)
        .await
        .map(drop)
}

/// Delivered and read, in both directions.
async fn receipts(chat: &Chat) -> Result<()> {
    let (event, id) = chat.received("have you read this?").await?;
    chat.phone.wait_for_status(&id, 3).await?;
    chat.client.mark_read(&chat.room, &event).await?;
    chat.phone.wait_for_status(&id, 4).await?;

    let (event, id) = chat.sent("and you, this?").await?;
    chat.phone.ask("read", json!({"ids": [id]})).await?;
    chat.client
        .wait_for_read(&chat.room, &chat.ghost, &event)
        .await
}

async fn typing(chat: &Chat) -> Result<()> {
    let (room, to) = (&chat.room, &chat.alias.number);
    chat.client.typing(room, true).await?;
    let composing = |data: &Value| {
        data["id"] == to.as_str() && data["presences"][to]["lastKnownPresence"] == "composing"
    };
    chat.phone
        .wait_for_event("presence.update", composing)
        .await?;
    let says = |state: &str| json!({"type": state, "to": to});
    chat.phone.ask("presence", says("composing")).await?;
    chat.client.wait_for_typing(room, &chat.ghost, true).await?;
    chat.phone.ask("presence", says("paused")).await?;
    chat.client.wait_for_typing(room, &chat.ghost, false).await
}

/// What such a client asks besides.
async fn queries(chat: &Chat) -> Result<()> {
    let (phone, alias) = (&chat.phone, &chat.alias);
    let digits = alias.number.split('@').next().unwrap_or_default();
    let numbers = json!({"numbers": [digits, "4915199999999"]});
    let found = phone.ask("on_whatsapp", numbers).await?;
    assert_eq!(
        found["found"],
        json!([{"jid": alias.number, "exists": true}]),
    );
    phone
        .ask("block", json!({"jid": alias.number, "blocked": true}))
        .await?;
    let list = phone.ask("blocklist", json!({})).await?;
    assert_eq!(list["list"], json!([alias.lid]));
    phone
        .ask("block", json!({"jid": alias.number, "blocked": false}))
        .await?;
    let list = phone.ask("blocklist", json!({})).await?;
    assert_eq!(list["list"], json!([]));
    phone
        .ask("set_read_receipts", json!({"value": "none"}))
        .await?;
    let privacy = phone.ask("privacy", json!({})).await?;
    assert_eq!(privacy["readreceipts"], "none");
    for op in ["rotate", "digest", "sync"] {
        phone.ask(op, json!({})).await?;
    }
    let picture = phone.ask("picture", json!({"jid": alias.number})).await?;
    assert_eq!(picture["refused"], 404);
    // A rotated key is used by those who write for the first time: the chat goes on.
    chat.sent("still here").await.map(drop)
}
