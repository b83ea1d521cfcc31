//! What no honest client sends, both ways: refused in clear words, and nothing after it is lost.

use gatekeeper::media::{MediaKey, Sums};
use gatekeeper::message::{self, Body, Context, Media, MediaFile, MediaKind, MessageKey, Quote};
use serde_json::{Value, json};
use tests::chat::Chat;
use tests::protobuf::field;
use tests::stack::{Options, Stack};
use tests::{Error, Result, gatehouse, wait};

use crate::{everything, stack};

/// A message protobuf.
fn protobuf(body: &Body) -> Result<Vec<u8>> {
    message::encode(body).map_err(|error| Error::new(error.to_string()))
}

fn key(id: &str, from_me: bool) -> MessageKey {
    MessageKey {
        id: id.to_owned(),
        from_me,
        remote_jid: None,
        participant: None,
    }
}

fn no_panic(stack: &Stack) -> Result<()> {
    let log = stack.gatehouse.log()?;
    let line = log.lines().find(|line| line.contains("panicked"));
    assert_eq!(line, None, "gatehouse panicked");
    Ok(())
}

/// About messages that are not there, are gone, or are somebody else's.
async fn about_others(chat: &Chat) -> Result<()> {
    let me = chat.me.as_str();
    let (mine, mine_there) = chat.sent("mine alone").await?;
    let (theirs, theirs_there) = chat.received("soon deleted").await?;
    let edit = |id: &str, from_me: bool, text: &str| Body::Edit {
        target: key(id, from_me),
        body: Box::new(Body::text(text)),
        timestamp_ms: 1,
    };
    let react = |id: &str| Body::Reaction {
        target: key(id, true),
        emoji: "👍".to_owned(),
        timestamp_ms: 1,
    };
    let revoke = |id: &str| Body::Revoke {
        target: key(id, false),
    };
    for (body, told) in [
        (
            edit(&mine_there, false, "I said so"),
            "An edit of a message that you wrote came from WhatsApp. Only you can edit it, so it stays as it was.",
        ),
        (
            edit(&mine_there, true, "I said so"),
            "An edit of a message that you wrote came from WhatsApp. Only you can edit it, so it stays as it was.",
        ),
        (
            revoke(&mine_there),
            "A deletion of a message that you wrote came from WhatsApp. Only you can delete it, so it stays.",
        ),
        (
            edit("NONE1", true, "out of nowhere"),
            "(edited) out of nowhere",
        ),
        (
            revoke("NONE2"),
            "A message was deleted on WhatsApp that is not here.",
        ),
        (
            react("NONE3"),
            "👍 (a reaction to a message that is not here)",
        ),
    ] {
        chat.phone.say_raw(me, None, &protobuf(&body)?).await?;
        chat.seen(told, &json!({"body": told})).await?;
    }
    chat.phone.revoke(me, &theirs_there).await?;
    chat.client.wait_for_redaction(&chat.room, &theirs).await?;
    for body in [
        react(&theirs_there),
        edit(&theirs_there, true, "and yet"),
        revoke(&theirs_there),
    ] {
        chat.phone.say_raw(me, None, &protobuf(&body)?).await?;
    }
    chat.flush("after what is about others").await?;
    let timeline = chat.client.timeline(&chat.room).await?;
    let shown = |id: &str| timeline.iter().find(|event| event.event_id == id);
    assert_eq!(
        shown(&mine).and_then(|event| event.body()),
        Some("mine alone")
    );
    assert!(shown(&theirs).is_some_and(|event| event.redacted));
    let reactions = timeline
        .iter()
        .filter(|event| event.reaction_to(&theirs).is_some())
        .count();
    assert_eq!(reactions, 0, "nobody reacts to what is gone");
    Ok(())
}

/// Content that is odd in itself.
async fn odd_content(chat: &Chat) -> Result<()> {
    let me = chat.me.as_str();
    // An answer to itself is no answer.
    let itself = Body::Text {
        text: "to myself".to_owned(),
        context: Context::reply(Quote {
            stanza_id: "SELF".to_owned(),
            participant: None,
            body: Some(Box::new(Body::text("to myself"))),
        }),
    };
    chat.phone
        .say_raw(me, Some("SELF"), &protobuf(&itself)?)
        .await?;
    let seen = chat.seen("itself", &json!({"body": "to myself"})).await?;
    assert_eq!(seen.answers(), None);

    // Fields that nobody knows, beside and inside of what is known.
    let mut newer = field(2046, b"from the future");
    newer.extend(protobuf(&Body::text("from the present"))?);
    newer.extend(field(2045, &field(7, &[0xff; 300])));
    chat.phone.say_raw(me, None, &newer).await?;
    chat.seen("unknown fields", &json!({"body": "from the present"}))
        .await?;
    let mut inside = field(1, b"within");
    inside.extend(field(999, &field(3, b"more")));
    chat.phone.say_raw(me, None, &field(6, &inside)).await?;
    chat.seen("unknown fields inside", &json!({"body": "within"}))
        .await?;

    // Wrapped ten thousand times, and quoted in quotations.
    let mut deep = protobuf(&Body::text("deep down"))?;
    for _ in 0..10_000 {
        deep = field(40, &field(1, &deep));
    }
    chat.phone.say_raw(me, None, &deep).await?;
    let mut quoted = protobuf(&Body::text("the first"))?;
    for depth in 0..2_000 {
        // ExtendedTextMessage.contextInfo.quotedMessage
        let mut context = field(1, format!("Q{depth}").as_bytes());
        context.extend(field(3, &quoted));
        let mut text = field(1, b"again");
        text.extend(field(17, &context));
        quoted = field(6, &text);
    }
    chat.phone.say_raw(me, None, &quoted).await?;
    // No protobuf at all.
    for bytes in [&b""[..], &[0xff; 64], b"\x0a\xff\xff\xff\xff\x0f"] {
        chat.phone.say_raw(me, None, bytes).await?;
    }
    chat.flush("after odd content").await?;
    let timeline = chat.client.timeline(&chat.room).await?;
    let placeholders = timeline
        .iter()
        .filter(|event| event.sender == chat.ghost)
        .filter(|event| {
            event.body().is_some_and(|body| {
                body.contains("cannot be shown here") || body.contains("deep down")
            })
        })
        .count();
    assert!(placeholders >= 4, "each is told of: {placeholders}");
    Ok(())
}

/// Texts that no event can hold come all the same.
async fn long_texts(stack: &Stack, chat: &Chat) -> Result<()> {
    let me = chat.me.as_str();
    let whole = async |event: &Value, text: &str| -> Result<()> {
        let file = stack.folder().join("long.txt");
        chat.client.download(&event["file"], Some(&file)).await?;
        assert!(std::fs::read_to_string(&file)? == text, "all of it came");
        Ok(())
    };
    let marked = format!("*{}*", "<b> ".repeat(6_000));
    chat.phone.send(me, &marked).await?;
    let seen = chat.seen("a long text", &json!({"body": marked})).await?;
    assert!(
        seen.content["formatted_body"].is_null(),
        "there is no room for both"
    );
    let long = "文字 ".repeat(20_000);
    let id = chat.phone.send(me, &long).await?;
    let wanted = json!({"msgtype": "m.file", "filename": "message.txt"});
    let seen = chat.seen("the long text as a file", &wanted).await?;
    assert!(
        seen.body()
            .is_some_and(|body| body.contains("The whole text is in this file"))
    );
    whole(&seen.content, &long).await?;

    let short = chat.phone.send(me, "short, for now").await?;
    let event = chat
        .client
        .wait_for_text(&chat.room, &chat.ghost, "short, for now")
        .await?;
    let edited = "\"later\" ".repeat(4_000);
    chat.phone.edit(me, &short, &edited).await?;
    let seen = chat.seen("a long edit", &json!({"body": edited})).await?;
    assert_eq!(seen.event_id, event.event_id);
    let endless = "endless ".repeat(8_000);
    chat.phone.edit(me, &short, &endless).await?;
    let seen = chat
        .client
        .wait_for(&chat.room, "the edit as a file", |each| {
            each.answers() == Some(&*event.event_id) && each.content["file"].is_object()
        })
        .await?;
    whole(&seen.content, &endless).await?;
    chat.phone.revoke(me, &id).await?;
    chat.flush("after long texts").await
}

/// A file whose message names another server than WhatsApp's, in every way that comes to mind.
async fn foreign_files(chat: &Chat) -> Result<()> {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0")?;
    elsewhere.set_nonblocking(true)?;
    let host = elsewhere.local_addr()?.to_string();
    let paths = [
        format!("//{host}/v/t1"),
        format!("@{host}/v/t1"),
        format!("http://{host}/v/t1"),
        format!(":80@{host}/"),
        format!("\\\\{host}\\v"),
        "../../../../etc/passwd".to_owned(),
    ];
    for (number, path) in paths.into_iter().enumerate() {
        let sums = Sums {
            sha256: [1; 32],
            enc_sha256: [2; 32],
            length: 1000,
        };
        let mut file = MediaFile::new(MediaKey::from([3; 32]), sums, path, 0);
        file.url = Some(format!("http://{host}/whole"));
        let mut media = Media::new(MediaKind::Image, "image/jpeg", file);
        let caption = format!("from elsewhere {number}");
        media.caption = Some(caption.clone());
        let bytes = protobuf(&Body::Media(Box::new(media)))?;
        chat.phone.say_raw(&chat.me, None, &bytes).await?;
        let seen = chat
            .client
            .wait_for(&chat.room, &caption, |event| {
                event.body().is_some_and(|body| body.ends_with(&caption))
            })
            .await?;
        assert_eq!(seen.content["msgtype"], "m.notice", "{}", seen.summary());
        assert!(seen.content["file"].is_null(), "{}", seen.summary());
    }
    let asked = elsewhere.accept();
    assert!(asked.is_err(), "somebody asked the other server: {asked:?}");
    chat.flush("after foreign files").await
}

/// Receipts that name what never was, alone and among others.
async fn receipts_for_nothing(chat: &Chat) -> Result<()> {
    let (mine, mine_there) = chat.sent("read me").await?;
    let (_, theirs_there) = chat.received("not yours to read").await?;
    let me = chat.me.as_str();
    for kind in ["delivery", "read", "played"] {
        chat.phone
            .receipt_for_anything(me, kind, &["NEVER"])
            .await?;
        chat.phone
            .receipt_for_anything(me, kind, &[&theirs_there])
            .await?;
    }
    let many: Vec<String> = (0..3000).map(|number| format!("NEVER{number}")).collect();
    let mut ids: Vec<&str> = many.iter().map(String::as_str).collect();
    ids.insert(1500, &mine_there);
    chat.phone.receipt_for_anything(me, "read", &ids).await?;
    chat.client
        .wait_for_read(&chat.room, &chat.ghost, &mine)
        .await?;
    chat.flush("after the receipts").await
}

async fn from_whatsapp(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "dora", "+4915200000020").await?;
    about_others(&chat).await?;
    odd_content(&chat).await?;
    receipts_for_nothing(&chat).await?;
    no_panic(stack)
}

#[tokio::test]
async fn what_no_honest_phone_sends() -> Result<()> {
    let stack = stack().await?;
    from_whatsapp(stack)
        .await
        .map_err(|error| stack.explain(error))
}

async fn large_and_foreign(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "dirk", "+4915200000023").await?;
    long_texts(stack, &chat).await?;
    foreign_files(&chat).await?;
    no_panic(stack)
}

#[tokio::test]
async fn long_texts_come_whole_and_files_from_elsewhere_do_not() -> Result<()> {
    let stack = stack().await?;
    large_and_foreign(stack)
        .await
        .map_err(|error| stack.explain(error))
}

async fn from_matrix(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "emil", "+4915200000021").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    let (theirs, theirs_there) = chat.received("look at this").await?;
    // As many emoji as the homeserver takes: the relation stands in the clear, and it looks at its length.
    assert!(
        client
            .react_encrypted(room, &theirs, &"👍".repeat(10_000))
            .await
            .is_err()
    );
    let bomb = client
        .react_encrypted(room, &theirs, &"👍".repeat(500))
        .await?;
    chat.told_about(&bomb, "takes one emoji").await?;
    // About what never went. (What is about nothing at all the homeserver refuses.)
    let beep = json!({"msgtype": "m.notice", "body": "beep"});
    let beep = client.send_message(room, beep).await?;
    let reaction = client.react_encrypted(room, &beep, "👍").await?;
    chat.told_about(&reaction, "is not on WhatsApp").await?;
    let edit = client.edit(room, &beep, "what was not").await?;
    chat.told_about(&edit, "is not on WhatsApp").await?;
    // Relations of the wrong shape, and content that is none.
    for content in [
        json!({"msgtype": "m.text", "body": "odd relation", "m.relates_to": {"rel_type": 7, "key": {}}}),
        json!({"msgtype": "m.text", "body": ["no", "text"]}),
        json!({"msgtype": "m.image", "body": "no file"}),
        json!({"msgtype": "m.image", "body": "no file", "file": {"url": "mxc://"}}),
        json!({"msgtype": "m.location", "body": "nowhere", "geo_uri": "geo:north,pole"}),
        json!({"body": "no type"}),
    ] {
        client.send_message(room, content).await?;
    }
    // HTML that would take for ever, or more stack than there is: its plain words go.
    for (words, html) in [
        ("a bomb", "<div>".repeat(5000)),
        ("a deep one", format!("{}x", "<b>".repeat(900))),
    ] {
        let bomb = json!({"msgtype": "m.text", "body": words, "format": "org.matrix.custom.html", "formatted_body": html});
        client.send_message(room, bomb).await?;
        chat.phone.wait_for_text(me, words).await?;
    }
    let clear = json!({"msgtype": "m.text", "body": "in the clear"});
    let clear = client.send_plain(room, "m.room.message", clear).await?;
    chat.told_about(&clear, "was not encrypted").await?;
    let deep = (0..100).fold(json!("deep"), |inner, _| json!({ "n": inner }));
    client
        .send_message(
            room,
            json!({"msgtype": "m.text", "body": "with ballast", "org.example.ballast": deep}),
        )
        .await?;
    chat.phone.wait_for_text(me, "with ballast").await?;
    chat.flush("after what is odd").await?;
    let shown = chat.phone.shown(me).await?;
    let theirs = shown
        .iter()
        .find(|each| each["id"] == theirs_there.as_str());
    assert_eq!(theirs.map(|each| &each["reactions"]), Some(&json!([])));
    no_panic(stack)
}

#[tokio::test]
async fn what_no_honest_client_sends() -> Result<()> {
    let stack = stack().await?;
    from_matrix(stack)
        .await
        .map_err(|error| stack.explain(error))
}

async fn too_late(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "frida", "+4915200000022").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    let (mine, mine_there) = chat.sent("said is said").await?;
    let said = std::time::Instant::now();
    let over = std::time::Duration::from_secs(3);
    wait::until(
        "the time for changes to be over",
        wait::PATIENCE,
        || async { Ok((said.elapsed() > over).then_some(())) },
    )
    .await?;
    for (event, part) in [
        (
            client.edit(room, &mine, "never said").await?,
            "takes an edit for 2 seconds",
        ),
        (
            client.redact(room, &mine).await?,
            "deletes a message for everyone for 2 seconds",
        ),
    ] {
        let notice = chat.told(part).await?;
        assert_eq!(notice.answers(), Some(&*event), "{}", notice.summary());
    }
    chat.flush("after the limit").await?;
    let shown = chat.phone.shown(me).await?;
    let there = shown.iter().find(|each| each["id"] == mine_there.as_str());
    let there = there.cloned().unwrap_or_default();
    assert_eq!(
        (&there["text"], &there["edited"], &there["revoked"]),
        (&json!("said is said"), &json!(false), &json!(false)),
        "{there:#}"
    );
    no_panic(stack)
}

#[tokio::test]
async fn late_edits_and_deletions_are_refused() -> Result<()> {
    let mut bridge: gatehouse::Options = everything();
    for limit in ["EDIT_SECONDS", "DELETE_SECONDS"] {
        let key = format!("GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__{limit}");
        bridge.environment.push((key, "2".to_owned()));
    }
    let options = Options {
        gatehouse: bridge,
        ..Options::default()
    };
    let stack = Stack::start("kinds-late", options).await?;
    too_late(&stack).await.map_err(|error| stack.explain(error))
}

/// Sends an encrypted event's content once more, as another event.
async fn play_again(chat: &Chat, room: &str, event: &str) -> Result<String> {
    let path = format!("/_matrix/client/v3/rooms/{room}/event/{event}");
    let seen = chat
        .client
        .request("GET", &path, json!({}), Value::Null)
        .await?;
    assert_eq!(seen["type"], "m.room.encrypted", "{seen}");
    let content = seen["content"].clone();
    chat.client
        .send_plain(room, "m.room.encrypted", content)
        .await
}

async fn replayed(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "ruth", "+4915200000040").await?;
    let (client, room) = (&chat.client, chat.room.as_str());
    let told = async |copy: &str| {
        client
            .wait_for(room, "that it is a copy", |each| {
                each.sender == chat.bot
                    && each.answers() == Some(copy)
                    && each
                        .body()
                        .is_some_and(|body| body.contains("a copy of an earlier one"))
            })
            .await
    };
    let (event, _) = chat.sent("once").await?;
    let copy = play_again(&chat, room, &event).await?;
    told(&copy).await?;
    // Both come together, and over a restart.
    stack.gatehouse.stop().await?;
    let event = client.send(room, "once more").await?;
    let second = play_again(&chat, room, &event).await?;
    stack.gatehouse.start().await?;
    told(&second).await?;
    let third = play_again(&chat, room, &event).await?;
    told(&third).await?;
    chat.flush("after the copies").await?;
    let shown = chat.phone.shown(&chat.me).await?;
    for text in ["once", "once more"] {
        let times = shown.iter().filter(|each| each["text"] == text).count();
        assert_eq!(times, 1, "{text}: {shown:#?}");
    }

    // Nor does the bot do twice what it was told once.
    let management = client.direct_chat(&chat.bot).await?;
    client.wait_for_member(&management, &chat.bot).await?;
    let answered = async |beginning: &str| {
        let said = client.wait_for(&management, beginning, |each| {
            each.sender == chat.bot && each.body().is_some_and(|body| body.starts_with(beginning))
        });
        said.await
    };
    let event = client.send(&management, "version").await?;
    answered("gatehouse ").await?;
    play_again(&chat, &management, &event).await?;
    client.send(&management, "status").await?;
    answered("You are joined").await?;
    let timeline = client.timeline(&management).await?;
    let answers = timeline
        .iter()
        .filter(|each| each.sender == chat.bot)
        .filter(|each| {
            each.body()
                .is_some_and(|body| body.starts_with("gatehouse "))
        });
    assert_eq!(answers.count(), 1);
    no_panic(stack)
}

#[tokio::test]
async fn what_was_encrypted_once_is_said_once() -> Result<()> {
    let stack = Stack::start("kinds-replayed", Options::default()).await?;
    replayed(&stack).await.map_err(|error| stack.explain(error))
}
