//! Messages that stand for themselves, row after row.

use serde_json::json;
use tests::Result;
use tests::stack::Stack;

use crate::{Chat, stack};

async fn matrix_to_whatsapp(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "tina", "+4915200000001").await?;
    let html = |body: &str, html: &str| json!({"msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html});
    let rows = [
        (
            "text",
            json!({"msgtype": "m.text", "body": "naïve שלום 👩‍👩‍👧"}),
            json!({"kind": "text", "text": "naïve שלום 👩‍👩‍👧"}),
        ),
        (
            "formatting",
            html(
                "x",
                "<b>bold <i>both</i></b> <del>gone</del> <code>x*y</code><ul><li>one</li><li>two</li></ul><blockquote>quoted</blockquote><pre><code>let a;\n</code></pre>",
            ),
            json!({"kind": "text", "text": "*bold _both_* ~gone~ `x*y`\n- one\n- two\n> quoted\n```let a;```"}),
        ),
        (
            "link and spoiler",
            html(
                "x",
                "<a href=\"https://example.org/a\">here</a> <span data-mx-spoiler=\"end\">he dies</span>",
            ),
            json!({"text": "here (https://example.org/a) [spoiler: end] he dies"}),
        ),
        (
            "mention",
            html(
                "Bea: hi",
                &format!("<a href=\"https://matrix.to/#/{}\">Bea</a>: hi", chat.ghost),
            ),
            json!({"text": "Bea: hi"}),
        ),
        (
            "emote",
            json!({"msgtype": "m.emote", "body": "waves"}),
            json!({"text": "* tina waves"}),
        ),
        (
            "location",
            json!({"msgtype": "m.location", "body": "The gate", "geo_uri": "geo:52.5163,13.3777;u=20"}),
            json!({"kind": "location", "location": {"latitude": 52.5163, "longitude": 13.3777, "name": "The gate", "accuracy": 20}}),
        ),
        (
            "HTML bomb",
            html("the plain words", &"<div>".repeat(5000)),
            json!({"text": "the plain words"}),
        ),
        (
            "deep nesting",
            html(
                "the plain words of this",
                &format!("{}x", "<b>".repeat(900)),
            ),
            json!({"text": "the plain words of this"}),
        ),
    ];
    for (name, content, wanted) in rows {
        chat.client.send_message(&chat.room, content).await?;
        chat.shown(name, &wanted).await?;
    }
    // What bots write stays here, and nobody is told.
    let before = chat.phone.shown(&chat.me).await?.len();
    chat.client
        .send_message(&chat.room, json!({"msgtype": "m.notice", "body": "beep"}))
        .await?;
    chat.flush("after the notice").await?;
    assert_eq!(chat.phone.shown(&chat.me).await?.len(), before + 2);
    refused(&chat).await
}

/// What cannot cross, and what its sender is told.
async fn refused(chat: &Chat) -> Result<()> {
    let before = chat.phone.shown(&chat.me).await?.len();
    let (client, room) = (&chat.client, chat.room.as_str());
    let events = [
        (
            "m.room.message",
            json!({"msgtype": "m.text", "body": "x".repeat(30_001)}),
            "30001 characters",
        ),
        (
            "m.room.message",
            json!({"msgtype": "m.location", "body": "x", "geo_uri": "geo:95,0"}),
            "no place on earth",
        ),
        (
            "org.matrix.msc3381.poll.start",
            json!({"org.matrix.msc3381.poll.start": {"question": {"org.matrix.msc1767.text": "which?"}, "answers": []}}),
            "polls and votes do not go",
        ),
        (
            "org.matrix.msc3381.poll.response",
            json!({"m.relates_to": {"rel_type": "m.reference", "event_id": "$poll"}, "org.matrix.msc3381.poll.response": {"answers": ["1"]}}),
            "polls and votes do not go",
        ),
        (
            "m.poll.end",
            json!({"m.relates_to": {"rel_type": "m.reference", "event_id": "$poll"}, "m.poll.end": {}}),
            "polls and votes do not go",
        ),
        (
            "m.call.invite",
            json!({"call_id": "1", "version": "1", "lifetime": 1, "offer": {"type": "offer", "sdp": ""}}),
            "does not ring",
        ),
        (
            "m.room.message",
            json!({"msgtype": "org.example.odd", "body": "odd"}),
            "a message of this kind",
        ),
    ];
    for (kind, content, told) in events {
        let event = client.send_event(room, kind, content).await?;
        let notice = client.wait_for(room, &format!("a word about {kind}"), |each| {
            each.sender == chat.bot && each.answers() == Some(&*event)
        });
        let notice = notice.await?;
        let body = notice.body().unwrap_or_default();
        assert!(body.contains(told), "{kind}: {body}");
    }
    client
        .send_plain(
            room,
            "m.room.message",
            json!({"msgtype": "m.text", "body": "clear"}),
        )
        .await?;
    chat.told("was not encrypted").await?;
    chat.flush("after the refusals").await?;
    assert_eq!(chat.phone.shown(&chat.me).await?.len(), before + 2);
    Ok(())
}

#[tokio::test]
async fn each_kind_from_matrix() -> Result<()> {
    let stack = stack().await?;
    matrix_to_whatsapp(stack)
        .await
        .map_err(|error| stack.explain(error))
}

async fn whatsapp_to_matrix(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "uta", "+4915200000002").await?;
    let told = |part: &str| {
        format!(
            "Something came from WhatsApp that cannot be shown here: {part}. Ask the sender to write it as text."
        )
    };
    let notice = |part: &str| json!({"msgtype": "m.notice", "body": told(part)});
    let rows = [
        (
            "text",
            json!({"kind": "text", "text": "plain"}),
            json!({"msgtype": "m.text", "body": "plain", "formatted_body": null}),
        ),
        (
            "formatting",
            json!({"kind": "text", "text": "*bold _both_* ~gone~ `x*y`\n- one\n- two\n> quoted"}),
            json!({
                "msgtype": "m.text", "format": "org.matrix.custom.html",
                "body": "*bold _both_* ~gone~ `x*y`\n- one\n- two\n> quoted",
                "formatted_body": "<strong>bold <em>both</em></strong> <del>gone</del> <code>x*y</code><ul><li>one</li><li>two</li></ul><blockquote>quoted</blockquote>",
            }),
        ),
        (
            "HTML as text",
            json!({"kind": "text", "text": "<img src=x onerror=a()> *b*"}),
            json!({"formatted_body": "&lt;img src=x onerror=a()&gt; <strong>b</strong>"}),
        ),
        (
            "location",
            json!({"kind": "location", "latitude": 52.5, "longitude": -13.25, "name": "Gate", "address": "Platz 1", "accuracy": 12}),
            json!({"msgtype": "m.location", "body": "Gate, Platz 1", "geo_uri": "geo:52.5,-13.25;u=12",
                   "org.matrix.msc3488.location": {"uri": "geo:52.5,-13.25;u=12", "description": "Gate, Platz 1"}}),
        ),
        (
            "live location",
            json!({"kind": "live_location", "latitude": 1.0, "longitude": 2.0}),
            notice("live location"),
        ),
        (
            "poll",
            json!({"kind": "poll", "text": "which?", "options": ["a", "b"]}),
            notice("poll"),
        ),
        ("call", json!({"kind": "call"}), notice("call")),
        (
            "group invitation",
            json!({"kind": "group_invitation", "text": "Us"}),
            notice("group invitation"),
        ),
    ];
    for (name, message, wanted) in rows {
        chat.phone.say(&chat.me, message).await?;
        chat.seen(name, &wanted).await?;
    }
    chat.phone.say(&chat.me, json!({"kind": "unknown"})).await?;
    chat.client
        .wait_for(&chat.room, "a placeholder for the unknown", |event| {
            event.sender == chat.ghost
                && event
                    .body()
                    .is_some_and(|body| body.contains("cannot be shown here: field"))
        })
        .await?;
    let card = "BEGIN:VCARD\nVERSION:3.0\nFN:Ed\nTEL:+4915187654321\nEND:VCARD";
    chat.phone
        .say(
            &chat.me,
            json!({"kind": "contact", "contacts": [{"name": "Ed", "vcard": card}]}),
        )
        .await?;
    let wanted = json!({"msgtype": "m.file", "body": "Ed.vcf", "filename": "Ed.vcf", "info": {"mimetype": "text/vcard", "size": card.len() + 2}});
    let seen = chat.seen("contact", &wanted).await?;
    let file = stack.folder().join("ed.vcf");
    chat.client
        .download(&seen.content["file"], Some(&file))
        .await?;
    assert_eq!(std::fs::read_to_string(&file)?, format!("{card}\r\n"));
    Ok(())
}

#[tokio::test]
async fn each_kind_from_whatsapp() -> Result<()> {
    let stack = stack().await?;
    whatsapp_to_matrix(stack)
        .await
        .map_err(|error| stack.explain(error))
}
