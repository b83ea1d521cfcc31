//! WhatsApp to Matrix: a case for each row.

use gatehouse::capabilities::Feature;
use gatekeeper::message::{self, Body, Context, Quote};
use serde_json::{Value, json};
use tests::client::TimelineEvent;
use tests::protobuf::field;
use tests::{Error, Result};

use crate::trial::{EMOJI, JPEG, MENTIONED, Trial};

/// Tries one row. A row of the table without an arm here does not compile.
pub(crate) async fn try_it(t: &Trial<'_>) -> Result<()> {
    match t.feature {
        Feature::Text => text(t).await,
        Feature::Formatting => formatting(t).await,
        Feature::Mention => mention(t).await,
        Feature::Reply => reply(t).await,
        Feature::Reaction => reaction(t).await,
        Feature::Edit => edit(t).await,
        Feature::Delete => delete(t).await,
        Feature::Image => image(t).await,
        Feature::Video => video(t, "video").await.map(drop),
        Feature::Gif => {
            let seen = video(t, "gif").await?;
            match seen.content["info"]["fi.mau.gif"] == true {
                true => Ok(()),
                false => Err(Error::new(format!("not marked: {}", seen.summary()))),
            }
        }
        Feature::RoundVideo => video(t, "round_video").await.map(drop),
        Feature::Voice => voice(t).await,
        Feature::Audio => audio(t).await,
        Feature::File => file(t).await,
        Feature::Sticker => sticker(t).await,
        Feature::Caption => caption(t).await,
        Feature::ViewOnce => view_once(t).await,
        Feature::Location => location(t).await,
        Feature::LiveLocation => {
            t.say(json!({"kind": "live_location", "latitude": 1.0, "longitude": 2.0}))
                .await?;
            t.stands_for("live location").await
        }
        Feature::Contact => contact(t).await,
        Feature::Poll => {
            t.say(json!({"kind": "poll", "text": t.word(), "options": [t.word(), t.word()]}))
                .await?;
            t.stands_for("poll").await
        }
        Feature::Timer => timer(t).await,
        Feature::Call => {
            t.say(json!({"kind": "call"})).await?;
            t.stands_for("call").await
        }
        Feature::GroupInvite => {
            t.say(json!({"kind": "group_invitation", "text": t.word()}))
                .await?;
            t.stands_for("group invitation").await
        }
        Feature::ReadReceipt => read_receipt(t).await,
        Feature::DeliveryReceipt => {
            let event = t.client.send(&t.room, &t.word()).await?;
            let users = json!([t.ghost]);
            t.status(&event, "the delivery", |status| {
                status["status"] == "SUCCESS" && status["delivered_to_users"] == users
            })
            .await?;
            t.note("`status`");
            t.note("`delivered_to_users`");
            Ok(())
        }
        Feature::Typing => typing(t).await,
        Feature::Presence => presence(t).await,
        Feature::Undecryptable => undecryptable(t).await,
        Feature::Unknown => {
            t.say(json!({"kind": "unknown"})).await?;
            t.waits().await;
            t.client
                .wait_for(&t.room, "a placeholder for the unknown", |event| {
                    event.sender == t.ghost
                        && event.content["msgtype"] == "m.notice"
                        && event
                            .body()
                            .is_some_and(|body| body.contains("cannot be shown here: field "))
                })
                .await?;
            t.note("the words of the placeholder");
            Ok(())
        }
        // There are none of these on WhatsApp.
        Feature::Emote | Feature::Notice | Feature::Thread => Ok(()),
    }
}

async fn text(t: &Trial<'_>) -> Result<()> {
    let text = format!("naïve שלום 👩‍👩‍👧 {}", t.word());
    t.say(json!({"kind": "text", "text": text})).await?;
    t.sees(json!({"msgtype": "m.text", "body": text, "formatted_body": null}))
        .await?;
    // What looks like HTML is text.
    let word = t.word();
    t.say(json!({"kind": "text", "text": format!("<img src=x onerror=a()> *{word}*")}))
        .await?;
    let marked = format!("&lt;img src=x onerror=a()&gt; <strong>{word}</strong>");
    t.sees(json!({"formatted_body": marked})).await?;
    // Longer than an event.
    let long = format!("{} ", t.word()).repeat(8_000);
    t.say(json!({"kind": "text", "text": long})).await?;
    let seen = t
        .sees(json!({"msgtype": "m.file", "filename": "message.txt"}))
        .await?;
    let path = t.bench.stack.folder().join("long.txt");
    t.client
        .download(&seen.content["file"], Some(&path))
        .await?;
    if std::fs::read_to_string(&path)? != long {
        return Err(Error::new("the long text did not come whole"));
    }
    Ok(std::fs::remove_file(path)?)
}

async fn formatting(t: &Trial<'_>) -> Result<()> {
    let word = t.word();
    let text =
        format!("*bold _{word}_* ~gone~ `x*y`\n- one\n- two\n1. first\n> quoted\n```let a;```");
    t.say(json!({"kind": "text", "text": text})).await?;
    let marked = format!(
        "<strong>bold <em>{word}</em></strong> <del>gone</del> <code>x*y</code><ul><li>one</li><li>two</li></ul><ol><li>first</li></ol><blockquote>quoted</blockquote><pre><code>let a;</code></pre>"
    );
    t.sees(json!({"msgtype": "m.text", "body": text, "format": "org.matrix.custom.html", "formatted_body": marked}))
        .await
        .map(drop)
}

async fn mention(t: &Trial<'_>) -> Result<()> {
    // ExtendedTextMessage with contextInfo.mentionedJid, as phones write it.
    let text = format!("@{MENTIONED} {}", t.word());
    let mentioned = field(15, format!("{MENTIONED}@s.whatsapp.net").as_bytes());
    let extended = [field(1, text.as_bytes()), field(17, &mentioned)].concat();
    t.phone.say_raw(&t.me, None, &field(6, &extended)).await?;
    t.sees(json!({"msgtype": "m.text", "body": text}))
        .await
        .map(drop)
}

async fn reply(t: &Trial<'_>) -> Result<()> {
    for target in [&t.bench.mine, &t.bench.theirs] {
        let word = t.word();
        t.say(json!({"kind": "text", "text": word, "reply_to": target.id}))
            .await?;
        let answered = json!({"m.in_reply_to": {"event_id": target.event}});
        t.sees(json!({"body": word, "m.relates_to": answered}))
            .await?;
    }
    // To what is not in the room.
    let (quoted, word) = (t.word(), t.word());
    let body = Body::Text {
        text: word.clone(),
        context: Context::reply(Quote {
            stanza_id: "NEVER".to_owned(),
            participant: None,
            body: Some(Box::new(Body::text(&quoted))),
        }),
    };
    let body = message::encode(&body).map_err(|error| Error::new(error.to_string()))?;
    t.phone.say_raw(&t.me, None, &body).await?;
    t.sees(json!({"body": format!("> {quoted}\n{word}")}))
        .await
        .map(drop)
}

async fn reaction(t: &Trial<'_>) -> Result<()> {
    let target = &t.bench.mine;
    for emoji in EMOJI {
        t.phone.react(&t.me, &target.id, emoji).await?;
        t.waits().await;
        t.client
            .wait_for_reactions(&t.room, &target.event, &[(&t.ghost, emoji)])
            .await?;
    }
    t.phone.react(&t.me, &target.id, "").await?;
    t.client
        .wait_for_reactions(&t.room, &target.event, &[])
        .await?;
    t.note("sender and `key` of `m.reaction`");
    Ok(())
}

async fn edit(t: &Trial<'_>) -> Result<()> {
    let (word, target) = (t.word(), &t.bench.edited);
    t.phone
        .edit(&t.me, &target.id, &format!("*{word}*"))
        .await?;
    let marked = format!("<strong>{word}</strong>");
    let seen = t
        .sees(json!({"body": format!("*{word}*"), "formatted_body": marked}))
        .await?;
    if seen.event_id != target.event || seen.original["body"] != target.text.as_str() {
        return Err(Error::new(format!("no edit: {}", seen.summary())));
    }
    t.note("the edited event");
    Ok(())
}

async fn delete(t: &Trial<'_>) -> Result<()> {
    let target = &t.bench.deleted;
    t.phone.revoke(&t.me, &target.id).await?;
    t.waits().await;
    let gone = t.client.wait_for_redaction(&t.room, &target.event).await?;
    if gone.redacted_by.as_deref() != Some(&*t.ghost) {
        return Err(Error::new(format!("not by the contact: {gone:?}")));
    }
    t.note("the redacted event and who redacted it");
    Ok(())
}

/// What an event with a file says of a file that nobody named and nobody wrote under.
fn named(name: &str, msgtype: &str) -> Value {
    json!({"msgtype": msgtype, "body": name, "filename": name})
}

async fn image(t: &Trial<'_>) -> Result<()> {
    let id = t
        .say(json!({
            "kind": "image", "mimetype": "image/jpeg", "data_base64": t.data(), "width": 640, "height": 480, "thumbnail_base64": JPEG,
        }))
        .await?;
    let mut wanted = named("image.jpg", "m.image");
    wanted["info"] = json!({"mimetype": "image/jpeg", "w": 640, "h": 480});
    let seen = t.sees_file(&id, wanted).await?;
    let info = &seen.content["info"];
    let small = t.client.download(&info["thumbnail_file"], None).await?;
    if info["thumbnail_info"]["size"] != small.size {
        return Err(Error::new(format!("another thumbnail: {small:?}, {info}")));
    }
    Ok(())
}

async fn video(t: &Trial<'_>, kind: &str) -> Result<TimelineEvent> {
    let id = t
        .say(json!({
            "kind": kind, "mimetype": "video/mp4", "data_base64": t.data(), "width": 64, "height": 48, "duration": 61,
        }))
        .await?;
    let mut wanted = named("video.mp4", "m.video");
    let gif = (kind == "gif").then_some(true);
    wanted["info"] =
        json!({"mimetype": "video/mp4", "w": 64, "h": 48, "duration": 61_000, "fi.mau.gif": gif});
    t.sees_file(&id, wanted).await
}

async fn voice(t: &Trial<'_>) -> Result<()> {
    let waveform: Vec<u32> = (0..64).map(|part| part * 100 / 63).collect();
    let id = t
        .say(json!({
            "kind": "voice", "mimetype": "audio/ogg; codecs=opus", "data_base64": t.data(), "duration": 7, "waveform": waveform,
        }))
        .await?;
    let loudness: Vec<u32> = waveform
        .iter()
        .map(|part| (part * 1024 + 50) / 100)
        .collect();
    let mut wanted = named("voice-message.ogg", "m.audio");
    wanted["info"] = json!({"mimetype": "audio/ogg; codecs=opus", "duration": 7_000});
    wanted["org.matrix.msc3245.voice"] = json!({});
    wanted["org.matrix.msc1767.audio"] = json!({"duration": 7_000, "waveform": loudness});
    let seen = t.sees_file(&id, wanted).await?;
    match seen.content["org.matrix.msc3245.voice"].is_object() {
        true => Ok(()),
        false => Err(Error::new(format!("no voice: {}", seen.summary()))),
    }
}

async fn audio(t: &Trial<'_>) -> Result<()> {
    let id = t
        .say(json!({"kind": "audio", "mimetype": "audio/mpeg", "data_base64": t.data(), "duration": 200}))
        .await?;
    let mut wanted = named("audio.mp3", "m.audio");
    wanted["info"] = json!({"mimetype": "audio/mpeg", "duration": 200_000});
    wanted["org.matrix.msc3245.voice"] = json!(null);
    t.sees_file(&id, wanted).await.map(drop)
}

async fn file(t: &Trial<'_>) -> Result<()> {
    for (ending, mimetype, data) in [
        ("pdf", "application/pdf", t.data()),
        ("txt", "text/plain", String::new()),
    ] {
        let name = format!("a {}.{ending}", t.word());
        let id = t
            .say(json!({"kind": "document", "mimetype": mimetype, "file_name": name, "data_base64": data}))
            .await?;
        let mut wanted = named(&name, "m.file");
        wanted["info"] = json!({"mimetype": mimetype});
        t.sees_file(&id, wanted).await?;
    }
    Ok(())
}

async fn sticker(t: &Trial<'_>) -> Result<()> {
    let id = t
        .say(json!({"kind": "sticker", "mimetype": "image/webp", "data_base64": t.data(), "width": 512, "height": 512}))
        .await?;
    let mut wanted = named("sticker.webp", "m.image");
    wanted["info"] = json!({"mimetype": "image/webp", "w": 512, "h": 512});
    t.sees_file(&id, wanted).await.map(drop)
}

async fn caption(t: &Trial<'_>) -> Result<()> {
    let word = t.word();
    let id = t
        .say(json!({"kind": "image", "mimetype": "image/png", "data_base64": t.data(), "caption": format!("*{word}*")}))
        .await?;
    let marked = format!("<strong>{word}</strong>");
    let wanted = json!({"msgtype": "m.image", "body": format!("*{word}*"), "formatted_body": marked, "filename": "image.png"});
    let before = t.sees_file(&id, wanted).await?;
    let word = t.word();
    t.phone.edit(&t.me, &id, &word).await?;
    let wanted = json!({"msgtype": "m.image", "body": word, "formatted_body": null, "filename": "image.png"});
    let after = t.sees(wanted).await?;
    let same = after.event_id == before.event_id
        && after.content["file"]["url"] == before.original["file"]["url"];
    match same {
        true => Ok(()),
        false => Err(Error::new(format!("another file: {}", after.summary()))),
    }
}

async fn view_once(t: &Trial<'_>) -> Result<()> {
    for mimetype in ["image/jpeg", "video/mp4", "audio/ogg; codecs=opus"] {
        let id = t
            .say(json!({"kind": "view_once", "mimetype": mimetype, "data_base64": t.data()}))
            .await?;
        let note = "(to be seen once: deleted here when you have read it)";
        let wanted = json!({"body": note, "info": {"mimetype": mimetype}});
        let seen = t.sees_file(&id, wanted).await?;
        t.client.mark_read(&t.room, &seen.event_id).await?;
        t.client.wait_for_redaction(&t.room, &seen.event_id).await?;
    }
    t.note("that it goes when it was read");
    Ok(())
}

async fn location(t: &Trial<'_>) -> Result<()> {
    let (name, address) = (t.word(), t.word());
    t.say(json!({
        "kind": "location", "latitude": 52.5, "longitude": -13.25, "name": name, "address": address, "accuracy": 12,
    }))
    .await?;
    let (uri, words) = ("geo:52.5,-13.25;u=12", format!("{name}, {address}"));
    t.sees(json!({
        "msgtype": "m.location", "body": words, "geo_uri": uri,
        "org.matrix.msc3488.location": {"uri": uri, "description": words},
    }))
    .await
    .map(drop)
}

async fn contact(t: &Trial<'_>) -> Result<()> {
    let card =
        |name: &str| format!("BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nTEL:+4915187654321\nEND:VCARD");
    let (one, two) = (t.word(), t.word());
    for (names, file_name) in [
        (vec![&one], format!("{one}.vcf")),
        (vec![&one, &two], "2 contacts.vcf".to_owned()),
    ] {
        let contacts: Vec<Value> = names
            .iter()
            .map(|name| json!({"name": name, "vcard": card(name)}))
            .collect();
        t.say(json!({"kind": "contact", "contacts": contacts}))
            .await?;
        let cards: String = names
            .iter()
            .map(|name| format!("{}\r\n", card(name)))
            .collect();
        let mut wanted = named(&file_name, "m.file");
        wanted["info"] = json!({"mimetype": "text/vcard", "size": cards.len()});
        let seen = t.sees(wanted).await?;
        let path = t.bench.stack.folder().join("card.vcf");
        t.client
            .download(&seen.content["file"], Some(&path))
            .await?;
        if std::fs::read_to_string(&path)? != cards {
            return Err(Error::new("another card came"));
        }
        std::fs::remove_file(path)?;
    }
    t.note("the cards, byte by byte");
    Ok(())
}

async fn timer(t: &Trial<'_>) -> Result<()> {
    let timer = |seconds: u32| json!({"kind": "timer", "expiration": seconds});
    let told = |time: &str| json!({"msgtype": "m.notice", "body": format!("Messages of this chat disappear on WhatsApp after {time}. What comes from there is then deleted here too; what you write stays here.")});
    t.say(timer(604_800)).await?;
    t.sees(told("7 days")).await?;
    let gone: Vec<String> = t
        .client
        .timeline(&t.room)
        .await?
        .into_iter()
        .filter(|event| event.redacted)
        .map(|event| event.event_id)
        .collect();
    let word = t.word();
    t.say(json!({"kind": "text", "text": word, "expiration": 2}))
        .await?;
    let seen = t
        .client
        .wait_for(&t.room, "the message or its end", |event| {
            let ended = event.redacted && !gone.contains(&event.event_id);
            event.sender == t.ghost && (ended || event.body() == Some(&word))
        })
        .await?;
    t.client.wait_for_redaction(&t.room, &seen.event_id).await?;
    t.sees(told("2 seconds")).await?;
    t.say(timer(0)).await?;
    let ended = "Messages of this chat do not disappear on WhatsApp any more.";
    t.sees(json!({"msgtype": "m.notice", "body": ended}))
        .await?;
    t.note("that it goes when it is due");
    Ok(())
}

async fn read_receipt(t: &Trial<'_>) -> Result<()> {
    for kind in ["read", "played"] {
        let (event, id) = t.sent(&t.word()).await?;
        t.phone.receipt(&t.me, kind, &[&id]).await?;
        t.client.wait_for_read(&t.room, &t.ghost, &event).await?;
    }
    t.note("who has read, and how far");
    Ok(())
}

async fn typing(t: &Trial<'_>) -> Result<()> {
    for state in ["composing", "recording"] {
        t.phone.typing(&t.me, state).await?;
        t.client.wait_for_typing(&t.room, &t.ghost, true).await?;
        t.phone.typing(&t.me, "paused").await?;
        t.client.wait_for_typing(&t.room, &t.ghost, false).await?;
    }
    t.note("who types");
    Ok(())
}

async fn presence(t: &Trial<'_>) -> Result<()> {
    let path = format!("/_matrix/client/v3/presence/{}/status", t.ghost);
    let ask = async || t.client.request("GET", &path, json!({}), Value::Null).await;
    let before = ask().await?;
    for online in [false, true] {
        t.phone.options(json!({"online": online})).await?;
    }
    t.flush(&t.word()).await?;
    let after = ask().await?;
    if before["presence"] != after["presence"] || after["presence"] == "online" {
        return Err(Error::new(format!("{before} became {after}")));
    }
    t.note("that nothing arrives");
    Ok(())
}

async fn undecryptable(t: &Trial<'_>) -> Result<()> {
    // Damaged on the way, and when it is asked for the phone has no network.
    let faults = json!({"corrupt": 1.0, "delay_ms": 2000});
    t.bench.stack.sandbox.faults(faults).await?;
    let word = t.word();
    t.phone.send(&t.me, &word).await?;
    t.phone.options(json!({"online": false})).await?;
    let reset = json!({"reset": true});
    t.bench.stack.sandbox.faults(reset).await?;
    let placeholder = t
        .client
        .wait_for(&t.room, "a placeholder", |event| {
            event.sender == t.ghost
                && event
                    .body()
                    .is_some_and(|body| body.starts_with("Waiting for this message"))
        })
        .await?;
    t.note("the words of the placeholder");
    t.phone.options(json!({"online": true})).await?;
    let seen = t.sees(json!({"msgtype": "m.text", "body": word})).await?;
    match seen.event_id == placeholder.event_id && seen.edited.is_some() {
        true => Ok(()),
        false => Err(Error::new(format!("not its place: {}", seen.summary()))),
    }
}
