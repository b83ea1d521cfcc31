//! Everything but files.

use super::*;

#[tokio::test]
async fn texts_answers_reactions_edits_deletions_receipts_and_typing_cross() -> Result<()> {
    let stack = stack().await?;
    converse(stack).await.map_err(|error| stack.explain(error))
}

async fn converse(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "kim", "+4915160000001").await?;
    everything_crosses(&chat).await?;
    queries(&chat).await
}

async fn everything_crosses(chat: &Chat) -> Result<()> {
    texts(chat).await?;
    reactions(chat).await?;
    changes(chat).await?;
    receipts(chat).await?;
    typing(chat).await?;
    places_and_people(chat).await
}

#[tokio::test]
async fn the_same_crosses_under_opaque_numbers() -> Result<()> {
    let stack = stack().await?;
    let result = async {
        let chat = Chat::open_as(stack, "liv", "+4915160000007", true).await?;
        assert!(chat.peer.ends_with("@lid"), "{}", chat.peer);
        everything_crosses(&chat).await
    };
    result.await.map_err(|error| stack.explain(error))
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
    chat.phone.reply(&chat.peer, &asked, content).await?;
    let seen = chat
        .client
        .wait_for(&chat.room, "the answer", |event| {
            event.sender == chat.ghost && event.body().is_some_and(|body| body.contains("me too"))
        })
        .await?;
    let to = &seen.content["m.relates_to"]["m.in_reply_to"]["event_id"];
    assert_eq!(*to, question);
    // Under either of its aliases the user is the same.
    for alias in [&chat.alias.lid, &chat.alias.number] {
        let text = format!("to {alias}");
        let content = json!({"text": text});
        let id = chat.phone.send(alias, content).await?;
        chat.client
            .wait_for_text(&chat.room, &chat.ghost, &text)
            .await?;
        chat.phone.wait_for_status(&id, 3).await?;
    }
    Ok(())
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
    let about = |text: &str| json!({"to": chat.peer, "message": id, "what": "react", "text": text});
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
    let about = |what: &str| json!({"to": chat.peer, "message": id, "what": what, "text": "right"});
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
    let (room, to) = (&chat.room, &chat.peer);
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

/// Places and contact cards.
async fn places_and_people(chat: &Chat) -> Result<()> {
    let place = json!({"msgtype": "m.location", "body": "The mill", "geo_uri": "geo:48.25,11.5"});
    chat.client
        .send_event(&chat.room, "m.room.message", place)
        .await?;
    let arrived = chat
        .phone
        .wait_for("the place", |message| {
            message["message"]["locationMessage"].is_object() && message["key"]["fromMe"] == false
        })
        .await?;
    let place = &arrived["message"]["locationMessage"];
    assert_eq!(
        (&place["degreesLatitude"], &place["degreesLongitude"]),
        (&json!(48.25), &json!(11.5))
    );

    let place = json!({"degreesLatitude": 52.5, "degreesLongitude": 13.25, "name": "The gate"});
    chat.phone
        .send(&chat.peer, json!({"location": place}))
        .await?;
    chat.client
        .wait_for(&chat.room, "the place", |event| {
            let uri = event.content["geo_uri"].as_str().unwrap_or_default();
            event.sender == chat.ghost && uri.starts_with("geo:52.5,13.25")
        })
        .await?;
    let vcard = "BEGIN:VCARD\nVERSION:3.0\nFN:Eva\nTEL;type=CELL:+4915199999999\nEND:VCARD";
    let card = json!({"displayName": "Eva", "contacts": [{"displayName": "Eva", "vcard": vcard}]});
    chat.phone
        .send(&chat.peer, json!({"contacts": card}))
        .await?;
    let seen = chat
        .client
        .wait_for(&chat.room, "the card", |event| {
            event.sender == chat.ghost && event.body() == Some("Eva.vcf")
        })
        .await?;
    // A file of cards ends its last line, too.
    let got = chat.client.download(&seen.content["file"], None).await?;
    let whole = format!("{vcard}\r\n");
    assert_eq!(got.size, whole.len() as u64, "the card as it was sent");
    Ok(())
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
