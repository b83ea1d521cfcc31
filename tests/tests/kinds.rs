//! Everything people send but files, in both directions through Synapse, with a real encrypting client and a phone: row
//! after row of the capability table, compared field by field. And what must be refused.

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::stack::{Options, Stack};
use tests::{Error, Result, gatehouse};
use tokio::sync::OnceCell;

/// One stack whose gatekeeper shows everything.
async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| {
            let options = Options {
                gatehouse: gatehouse::Options {
                    environment: vec![(
                        "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED".to_owned(),
                        r#"["text","image","video","audio","document","reaction","reply","edit","revoke","location"]"#
                            .to_owned(),
                    )],
                    ..gatehouse::Options::default()
                },
                ..Options::default()
            };
            Stack::start("kinds", options)
        })
        .await
}

/// One stack with the profile as it is delivered: edits and deletions are not known to work.
async fn careful_stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_try_init(|| Stack::start("kinds-default", Options::default()))
        .await
}

/// A user, a phone, and the room between them, in which both have written.
struct Chat {
    client: Client,
    me: String,
    phone: Phone,
    ghost: String,
    bot: String,
    room: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let ghost = stack.ghost(&phone);
        let client = stack.enlisted_client(user).await?;
        let me = client.user_id().to_owned();
        let room = client.direct_chat(&ghost).await?;
        client.wait_for_member(&room, &ghost).await?;
        let chat = Self {
            client,
            me,
            phone,
            ghost,
            bot: stack.bot(),
            room,
        };
        chat.sent("first").await?;
        chat.received("second").await?;
        Ok(chat)
    }

    /// A text to the phone: its event id and stanza id.
    async fn sent(&self, text: &str) -> Result<(String, String)> {
        let event = self.client.send(&self.room, text).await?;
        let shown = self.phone.wait_for_text(&self.me, text).await?;
        Ok((event, shown.id))
    }

    /// A text from the phone: its event id and stanza id.
    async fn received(&self, text: &str) -> Result<(String, String)> {
        let id = self.phone.send(&self.me, text).await?;
        let seen = self
            .client
            .wait_for_text(&self.room, &self.ghost, text)
            .await?;
        assert!(seen.is_clean(), "a shield beside {}", seen.summary());
        Ok((seen.event_id, id))
    }

    /// Waits until the phone shows a message as `wanted` says, field by field.
    async fn shown(&self, what: &str, wanted: &Value) -> Result<Value> {
        self.phone
            .wait_for(&self.me, what, |message| {
                message["from_me"] == false && differs(message, wanted).is_none()
            })
            .await
    }

    /// Waits for an event of the ghost's whose content holds what `wanted` says.
    async fn seen(&self, what: &str, wanted: &Value) -> Result<TimelineEvent> {
        let event = self
            .client
            .wait_for(&self.room, what, |event| {
                event.sender == self.ghost && differs(&event.content, wanted).is_none()
            })
            .await?;
        assert!(event.is_clean(), "a shield beside {}", event.summary());
        Ok(event)
    }

    /// Waits until the bot has said something with this in it.
    async fn told(&self, part: &str) -> Result<TimelineEvent> {
        self.client
            .wait_for(&self.room, &format!("{part:?} from the bot"), |event| {
                event.sender == self.bot && event.body().is_some_and(|body| body.contains(part))
            })
            .await
    }

    /// Nothing of what was sent before a text that has arrived is still under way.
    async fn flush(&self, mark: &str) -> Result<()> {
        self.sent(&format!("{mark} there")).await?;
        self.received(&format!("{mark} back")).await.map(drop)
    }
}

/// The first place where `actual` is not what `wanted` says; keys that `wanted` does not name do not matter.
fn differs(actual: &Value, wanted: &Value) -> Option<String> {
    match wanted {
        Value::Object(fields) => fields.iter().find_map(|(key, wanted)| {
            differs(&actual[key], wanted).map(|difference| format!("{key}.{difference}"))
        }),
        _ => (actual != wanted).then(|| format!("{actual} is not {wanted}")),
    }
}

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
            json!({"msgtype": "m.text", "body": "x".repeat(65_537)}),
            "65537 characters",
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
        // Too long for one event's limit would be the homeserver's refusal, not the bridge's.
        if content["body"]
            .as_str()
            .is_some_and(|body| body.len() > 60_000)
        {
            continue;
        }
        client.send_event(room, kind, content).await?;
        chat.told(told).await?;
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

/// What the phone shows as reactions on a message.
async fn reactions_there(chat: &Chat, id: &str, wanted: &[(&str, &str)]) -> Result<()> {
    let wanted: Vec<Value> = wanted
        .iter()
        .map(|(from, emoji)| json!({"from": from, "emoji": emoji}))
        .collect();
    chat.phone
        .wait_for(&chat.me, &format!("the reactions {wanted:?}"), |message| {
            message["id"] == id && message["reactions"] == json!(wanted)
        })
        .await
        .map(drop)
}

async fn reactions(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "wanda", "+4915200000004").await?;
    let (client, room, me) = (&chat.client, chat.room.as_str(), chat.me.as_str());
    let (mine, mine_there) = chat.sent("look").await?;
    let (theirs, theirs_there) = chat.received("and look").await?;

    // From Matrix: added, changed, taken back; in the clear and encrypted.
    client.react(room, &theirs, "👍").await?;
    reactions_there(&chat, &theirs_there, &[(me, "👍")]).await?;
    let second = client.react_encrypted(room, &theirs, "❤️").await?;
    reactions_there(&chat, &theirs_there, &[(me, "❤️")]).await?;
    client
        .wait_for_reactions(room, &theirs, &[(me, "❤️")])
        .await?;
    client.redact(room, &second).await?;
    reactions_there(&chat, &theirs_there, &[]).await?;
    client.react(room, &mine, "🎉").await?;
    reactions_there(&chat, &mine_there, &[(me, "🎉")]).await?;

    // From WhatsApp.
    let (ghost, number) = (chat.ghost.as_str(), chat.phone.number());
    for emoji in ["😂", "😮"] {
        chat.phone.react(me, &mine_there, emoji).await?;
        client
            .wait_for_reactions(room, &mine, &[(me, "🎉"), (ghost, emoji)])
            .await?;
    }
    reactions_there(&chat, &mine_there, &[(me, "🎉"), (number, "😮")]).await?;
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
    reactions_there(&chat, &theirs_there, &[]).await
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
