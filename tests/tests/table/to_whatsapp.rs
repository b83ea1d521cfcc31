//! Matrix to WhatsApp: a case for each row.

mod files;

use gatehouse::capabilities::{Feature, Level};
use serde_json::{Value, json};
use tests::{Error, Result};

use crate::trial::{EMOJI, Trial};

/// Longer than half a minute, after which it is told that a key is missing.
const LONG: std::time::Duration = std::time::Duration::from_secs(120);

/// Tries one row. A row of the table without an arm here does not compile.
pub(crate) async fn try_it(t: &Trial<'_>) -> Result<()> {
    match t.feature {
        Feature::Text => text(t).await,
        Feature::Formatting => formatting(t).await,
        Feature::Mention => mention(t).await,
        Feature::Emote => {
            let word = t.word();
            t.message(json!({"msgtype": "m.emote", "body": word}))
                .await?;
            let name = t.me.trim_start_matches('@').split(':').next();
            let text = format!("* {} {word}", name.unwrap_or_default());
            t.shows(json!({"kind": "text", "text": text})).await?;
            Ok(())
        }
        Feature::Notice => notice(t).await,
        Feature::Reply => reply(t).await,
        Feature::Thread => thread(t).await,
        Feature::Reaction => reaction(t).await,
        Feature::Edit => edit(t).await,
        Feature::Delete => delete(t).await,
        Feature::Image => files::image(t).await,
        Feature::Video => files::video(t).await,
        Feature::Gif => files::gif(t).await,
        Feature::Voice => files::voice(t).await,
        Feature::Audio => files::audio(t).await,
        Feature::File => files::file(t).await,
        Feature::Sticker => files::sticker(t).await,
        Feature::Caption => files::caption(t).await,
        Feature::Location => location(t).await,
        Feature::LiveLocation => live_location(t).await,
        Feature::Contact => files::contact(t).await,
        Feature::Poll => poll(t).await,
        Feature::Call => {
            let call = json!({
                "call_id": "1", "version": "1", "party_id": "x", "lifetime": 1, "offer": {"type": "offer", "sdp": t.word()},
            });
            let event = t.client.send_event(&t.room, "m.call.invite", call).await?;
            t.is_refused_as_told(&event).await
        }
        Feature::ReadReceipt => {
            let target = &t.bench.theirs;
            t.client.mark_read(&t.room, &target.event).await?;
            t.shows_status(&target.id, "read").await
        }
        Feature::DeliveryReceipt => {
            let word = t.word();
            let id = t.phone.send(&t.me, &word).await?;
            t.shows_status(&id, "delivered").await
        }
        Feature::Typing => typing(t).await,
        Feature::Presence => presence(t).await,
        Feature::Undecryptable => undecryptable(t).await,
        Feature::Unknown => {
            let event = json!({"msgtype": "org.example.odd", "body": t.word()});
            let event = t.message(event).await?;
            t.is_refused_as_told(&event).await
        }
        // There are none of these on Matrix.
        Feature::RoundVideo | Feature::ViewOnce | Feature::Timer | Feature::GroupInvite => Ok(()),
    }
}

fn html(body: &str, html: &str) -> Value {
    json!({"msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html})
}

async fn text(t: &Trial<'_>) -> Result<()> {
    let text = format!("naïve שלום 👩‍👩‍👧 {}", t.word());
    t.message(json!({"msgtype": "m.text", "body": text}))
        .await?;
    t.shows(json!({"kind": "text", "text": text})).await?;
    // Longer than WhatsApp takes, which is less here than an event takes.
    let limit = t.bench.capabilities.limits().text_chars;
    let long = json!({"msgtype": "m.text", "body": "x".repeat(limit + 1)});
    let event = t.message(long).await?;
    t.is_refused(&event, &format!("has {} characters", limit + 1))
        .await
}

async fn formatting(t: &Trial<'_>) -> Result<()> {
    let word = t.word();
    let marked = format!(
        "<b>bold <i>{word}</i></b> <del>gone</del> <code>x*y</code><ul><li>one</li><li>two</li></ul><ol><li>first</li></ol><blockquote>quoted</blockquote><pre><code>let a;\n</code></pre>"
    );
    t.message(html("x", &marked)).await?;
    let text =
        format!("*bold _{word}_* ~gone~ `x*y`\n- one\n- two\n1. first\n> quoted\n```let a;```");
    t.shows(json!({"kind": "text", "text": text})).await?;
    let word = t.word();
    let linked = format!(
        "<h2>{word}</h2><a href=\"https://example.org/a\">here</a> <span data-mx-spoiler=\"end\">he dies</span>"
    );
    t.message(html("x", &linked)).await?;
    let text = format!("*{word}*\nhere (https://example.org/a) [spoiler: end] he dies");
    t.shows(json!({"text": text})).await.map(drop)
}

async fn mention(t: &Trial<'_>) -> Result<()> {
    let word = t.word();
    let marked = format!(
        "<a href=\"https://matrix.to/#/{}\">Bea</a>: {word}",
        t.ghost
    );
    let mut content = html("Bea: hi", &marked);
    content["m.mentions"] = json!({"user_ids": [t.ghost]});
    t.message(content).await?;
    t.shows(json!({"kind": "text", "text": format!("Bea: {word}")}))
        .await
        .map(drop)
}

async fn notice(t: &Trial<'_>) -> Result<()> {
    let word = t.word();
    let event = t
        .message(json!({"msgtype": "m.notice", "body": word}))
        .await?;
    if t.crosses() {
        t.shows(json!({"kind": "text", "text": word}))
            .await
            .map(drop)
    } else {
        t.comes_to_nothing(&event).await
    }
}

async fn reply(t: &Trial<'_>) -> Result<()> {
    for target in [&t.bench.mine, &t.bench.theirs] {
        let word = t.word();
        t.client.reply(&t.room, &target.event, &word).await?;
        let wanted = match t.way.level {
            Level::Full => json!({"text": word, "reply_to": target.id, "quoted": target.text}),
            _ => json!({"text": format!("> {}\n{word}", target.text), "reply_to": null}),
        };
        t.shows(wanted).await?;
    }
    if t.way.level == Level::Full {
        let (upload, target) = (t.upload().await?, &t.bench.theirs);
        let mut answer = files::attached("m.file", &t.word(), &upload, json!({}));
        answer["m.relates_to"] = json!({"m.in_reply_to": {"event_id": target.event}});
        t.message(answer).await?;
        t.shows_file(
            &upload,
            json!({"reply_to": target.id, "quoted": target.text}),
        )
        .await?;
    }
    Ok(())
}

async fn thread(t: &Trial<'_>) -> Result<()> {
    let (word, root) = (t.word(), &t.bench.mine);
    let content = json!({
        "msgtype": "m.text", "body": word,
        "m.relates_to": {"rel_type": "m.thread", "event_id": root.event, "is_falling_back": true, "m.in_reply_to": {"event_id": root.event}},
    });
    t.message(content).await?;
    t.shows(json!({"text": word, "reply_to": root.id, "quoted": root.text}))
        .await?;
    let (word, answered) = (t.word(), &t.bench.theirs);
    let content = json!({
        "msgtype": "m.text", "body": word,
        "m.relates_to": {"rel_type": "m.thread", "event_id": root.event, "is_falling_back": false, "m.in_reply_to": {"event_id": answered.event}},
    });
    t.message(content).await?;
    t.shows(json!({"text": word, "reply_to": answered.id, "quoted": answered.text}))
        .await
        .map(drop)
}

async fn reaction(t: &Trial<'_>) -> Result<()> {
    let (room, target) = (t.room.as_str(), &t.bench.theirs);
    let first = t.client.react(room, &target.event, EMOJI[0]).await?;
    if !t.crosses() {
        t.is_refused_as_told(&first).await?;
        return t.reactions_there(&target.id, &[]).await;
    }
    t.waits().await;
    t.reactions_there(&target.id, &[(&t.me, EMOJI[0])]).await?;
    let second = t
        .client
        .react_encrypted(room, &target.event, EMOJI[1])
        .await?;
    t.reactions_there(&target.id, &[(&t.me, EMOJI[1])]).await?;
    t.client.wait_for_redaction(room, &first).await?;
    t.client.redact(room, &second).await?;
    t.reactions_there(&target.id, &[]).await?;
    t.note("`reactions`");
    Ok(())
}

async fn edit(t: &Trial<'_>) -> Result<()> {
    let (word, target) = (t.word(), &t.bench.edited);
    let event = t.client.edit(&t.room, &target.event, &word).await?;
    if t.crosses() {
        t.shows(json!({"id": target.id, "text": word, "edited": true}))
            .await
            .map(drop)
    } else {
        t.is_refused_as_told(&event).await?;
        t.shows(json!({"id": target.id, "text": target.text, "edited": false}))
            .await
            .map(drop)
    }
}

async fn delete(t: &Trial<'_>) -> Result<()> {
    let target = &t.bench.deleted;
    let event = t.client.redact(&t.room, &target.event).await?;
    if t.crosses() {
        t.shows(json!({"id": target.id, "text": null, "revoked": true}))
            .await
            .map(drop)
    } else {
        t.is_refused_as_told(&event).await?;
        t.shows(json!({"id": target.id, "text": target.text, "revoked": false}))
            .await
            .map(drop)
    }
}

async fn location(t: &Trial<'_>) -> Result<()> {
    let word = t.word();
    let place =
        json!({"msgtype": "m.location", "body": word, "geo_uri": "geo:52.5163,13.3777;u=20"});
    t.message(place).await?;
    let wanted = match t.way.level {
        Level::Full => {
            json!({"kind": "location", "location": {"latitude": 52.5163, "longitude": 13.3777, "name": word, "accuracy": 20}})
        }
        _ => {
            let link =
                "https://www.openstreetmap.org/?mlat=52.5163&mlon=13.3777#map=16/52.5163/13.3777";
            json!({"kind": "text", "text": format!("📍 {word}\n{link}")})
        }
    };
    t.shows(wanted).await?;
    let nowhere = json!({"msgtype": "m.location", "body": t.word(), "geo_uri": "geo:95,0"});
    let event = t.message(nowhere).await?;
    t.is_refused(&event, "no place on earth").await
}

async fn live_location(t: &Trial<'_>) -> Result<()> {
    let content = json!({
        "description": EMOJI[0], "live": true, "timeout": 60_000, "org.matrix.msc3488.ts": 1, "org.matrix.msc3488.asset": {"type": "m.self"},
    });
    // A state event: it stands in the clear, as reactions do.
    let path = format!(
        "/_matrix/client/v3/rooms/{}/state/org.matrix.msc3672.beacon_info/{}",
        t.room, t.me
    );
    let answer = t.client.request("PUT", &path, json!({}), content).await?;
    t.is_refused_as_told(answer["event_id"].as_str().unwrap_or_default())
        .await
}

async fn poll(t: &Trial<'_>) -> Result<()> {
    let poll = json!({"org.matrix.msc3381.poll.start": {
        "question": {"body": t.word()}, "kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1,
        "answers": [{"id": "y", "org.matrix.msc1767.text": t.word()}],
    }});
    let kind = "org.matrix.msc3381.poll.start";
    let poll = t.client.send_event(&t.room, kind, poll).await?;
    t.is_refused_as_told(&poll).await?;
    let vote = json!({
        "m.relates_to": {"rel_type": "m.reference", "event_id": poll},
        "org.matrix.msc3381.poll.response": {"answers": ["y"]},
    });
    let kind = "org.matrix.msc3381.poll.response";
    let vote = t.client.send_event(&t.room, kind, vote).await?;
    t.is_refused_as_told(&vote).await?;
    let end = json!({
        "m.relates_to": {"rel_type": "m.reference", "event_id": poll},
        "m.poll.end": {}, "m.text": [{"body": t.word()}],
    });
    let end = t.client.send_event(&t.room, "m.poll.end", end).await?;
    t.is_refused_as_told(&end).await
}

async fn typing(t: &Trial<'_>) -> Result<()> {
    let number = t.phone.number().to_owned();
    for (types, state) in [(true, "composing"), (false, "paused")] {
        t.client.typing(&t.room, types).await?;
        t.bench
            .events
            .wait_for(state, |event| {
                event.name == "typing"
                    && event.data["phone"] == *number
                    && event.data["state"] == state
            })
            .await?;
    }
    t.note("`state`");
    Ok(())
}

async fn presence(t: &Trial<'_>) -> Result<()> {
    let path = format!("/_matrix/client/v3/presence/{}/status", t.me);
    // The client's own `/sync` says already that the user is online.
    let status = json!({"presence": "unavailable", "status_msg": EMOJI[0]});
    t.client.request("PUT", &path, json!({}), status).await?;
    t.flush(&t.word()).await?;
    let told = t.bench.events.seen();
    match told.iter().find(|event| event.name == "presence") {
        Some(event) => Err(Error::new(format!("it was told: {event:?}"))),
        None => {
            t.note("that nothing arrives");
            Ok(())
        }
    }
}

async fn undecryptable(t: &Trial<'_>) -> Result<()> {
    let word = t.word();
    t.client.hold_keys().await?;
    t.client.discard_session(&t.room).await?;
    let event = t.client.send(&t.room, &word).await?;
    let told = t
        .client
        .until("that its key is missing", LONG, || async {
            let timeline = t.client.timeline(&t.room).await?;
            Ok(timeline.into_iter().find(|each| {
                each.sender == t.bot && each.answers() == Some(&*event) && each.body().is_some()
            }))
        })
        .await?;
    if !told
        .body()
        .is_some_and(|body| body.contains("key to it has not arrived"))
    {
        return Err(Error::new(told.summary()));
    }
    t.status(&event, "a message to be pending", |status| {
        status["status"] == "PENDING" && status["reason"] == "com.beeper.undecryptable_event"
    })
    .await?;
    t.note("status and notice while it waits");
    t.waits().await;
    t.client.release_keys().await?;
    t.shows(json!({"kind": "text", "text": word})).await?;
    t.client
        .wait_for_redaction(&t.room, &told.event_id)
        .await
        .map(drop)
}

impl Trial<'_> {
    /// The phone shows its own message with this mark.
    async fn shows_status(&self, id: &str, status: &str) -> Result<()> {
        self.phone.wait_for_status(&self.me, id, status).await?;
        self.note("`status`");
        Ok(())
    }
}
