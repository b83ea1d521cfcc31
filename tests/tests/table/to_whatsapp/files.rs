//! Matrix to WhatsApp: files of each kind.

use gatehouse::capabilities::Feature;
use serde_json::{Value, json};
use tests::client::Upload;
use tests::{Error, Result};

use crate::trial::{JPEG, Trial};

/// The content of a message with a file.
pub(super) fn attached(msgtype: &str, name: &str, upload: &Upload, mut info: Value) -> Value {
    info["size"] = json!(upload.size);
    json!({"msgtype": msgtype, "body": name, "file": upload.file, "info": info})
}

pub(super) async fn image(t: &Trial<'_>) -> Result<()> {
    let (upload, thumbnail) = (t.upload().await?, t.client.upload_base64(JPEG).await?);
    let info = json!({
        "mimetype": "image/jpeg", "w": 640, "h": 480,
        "thumbnail_file": thumbnail.file, "thumbnail_info": {"mimetype": "image/jpeg"},
    });
    let event = t
        .message(attached("m.image", "cat.jpg", &upload, info))
        .await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    t.shows_file(
        &upload,
        json!({
            "kind": "image", "mimetype": "image/jpeg", "width": 640, "height": 480, "thumbnail_base64": JPEG, "caption": null,
        }),
    )
    .await?;
    // What WhatsApp does not show as a picture.
    let (upload, name) = (t.upload().await?, format!("{}.svg", t.word()));
    let info = json!({"mimetype": "image/svg+xml"});
    t.message(attached("m.image", &name, &upload, info)).await?;
    t.shows_file(&upload, json!({"kind": "document", "file_name": name}))
        .await
        .map(drop)
}

pub(super) async fn video(t: &Trial<'_>) -> Result<()> {
    let upload = t.upload().await?;
    let info = json!({
        "mimetype": "video/mp4", "w": 320, "h": 240, "duration": 61_400,
        "xyz.amorgan.blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    });
    let event = t
        .message(attached("m.video", "v.mp4", &upload, info))
        .await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    let shown = t
        .shows_file(
            &upload,
            json!({
                "kind": "video", "mimetype": "video/mp4", "width": 320, "height": 240, "duration": 61, "caption": null,
            }),
        )
        .await?;
    let blurred = shown["thumbnail_base64"].as_str().unwrap_or_default();
    if !blurred.starts_with("/9j/") {
        return Err(Error::new(format!("no JPEG of the blurhash: {shown:#}")));
    }
    Ok(())
}

pub(super) async fn gif(t: &Trial<'_>) -> Result<()> {
    let upload = t.upload().await?;
    let info = json!({"mimetype": "video/mp4", "w": 32, "h": 24, "fi.mau.gif": true});
    let event = t
        .message(attached("m.video", "g.mp4", &upload, info))
        .await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    let kind = if t.has(Feature::Gif) { "gif" } else { "video" };
    let wanted = json!({"kind": kind, "mimetype": "video/mp4", "width": 32, "height": 24});
    t.shows_file(&upload, wanted).await?;
    // A picture of that name is none to WhatsApp.
    let (upload, name) = (t.upload().await?, format!("{}.gif", t.word()));
    let info = json!({"mimetype": "image/gif"});
    t.message(attached("m.image", &name, &upload, info)).await?;
    t.shows_file(&upload, json!({"kind": "document", "file_name": name}))
        .await
        .map(drop)
}

pub(super) async fn voice(t: &Trial<'_>) -> Result<()> {
    let upload = t.upload().await?;
    let waveform: Vec<u32> = (0..64).map(|part| part * 16).collect();
    let info = json!({"mimetype": "audio/ogg", "duration": 7_000});
    let mut content = attached("m.audio", "Voice message.ogg", &upload, info);
    content["org.matrix.msc3245.voice"] = json!({});
    content["org.matrix.msc1767.audio"] = json!({"duration": 7_000, "waveform": waveform});
    let event = t.message(content).await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    let loudness: Vec<u32> = waveform
        .iter()
        .map(|part| (part * 100 + 512) / 1024)
        .collect();
    t.shows_file(
        &upload,
        json!({"kind": "voice", "mimetype": "audio/ogg; codecs=opus", "duration": 7, "waveform": loudness}),
    )
    .await?;
    let upload = t.upload().await?;
    let mut content = attached(
        "m.audio",
        "a.m4a",
        &upload,
        json!({"mimetype": "audio/mp4"}),
    );
    content["org.matrix.msc3245.voice"] = json!({});
    t.message(content).await?;
    t.shows_file(&upload, json!({"kind": "audio", "mimetype": "audio/mp4"}))
        .await
        .map(drop)
}

pub(super) async fn audio(t: &Trial<'_>) -> Result<()> {
    let upload = t.upload().await?;
    let info = json!({"mimetype": "audio/mpeg", "duration": 200_000});
    let event = t
        .message(attached("m.audio", "song.mp3", &upload, info))
        .await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    let wanted = json!({"kind": "audio", "mimetype": "audio/mpeg", "duration": 200});
    t.shows_file(&upload, wanted).await?;
    let (upload, name) = (t.upload().await?, format!("{}.flac", t.word()));
    let info = json!({"mimetype": "audio/flac"});
    t.message(attached("m.audio", &name, &upload, info)).await?;
    t.shows_file(&upload, json!({"kind": "document", "file_name": name}))
        .await
        .map(drop)
}

pub(super) async fn file(t: &Trial<'_>) -> Result<()> {
    let (upload, name) = (t.upload().await?, format!("a {}.pdf", t.word()));
    let info = json!({"mimetype": "application/pdf"});
    let event = t.message(attached("m.file", &name, &upload, info)).await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    let wanted = json!({"kind": "document", "mimetype": "application/pdf", "file_name": name, "caption": null});
    t.shows_file(&upload, wanted).await?;
    // One without a byte.
    let (empty, name) = (
        t.client.upload_base64("").await?,
        format!("{}.txt", t.word()),
    );
    let info = json!({"mimetype": "text/plain"});
    t.message(attached("m.file", &name, &empty, info)).await?;
    t.shows_file(&empty, json!({"kind": "document", "file_name": name}))
        .await
        .map(drop)
}

pub(super) async fn sticker(t: &Trial<'_>) -> Result<()> {
    let upload = t.upload().await?;
    let info = json!({"mimetype": "image/webp", "w": 256, "h": 256, "size": upload.size});
    let content = json!({"body": t.word(), "file": upload.file, "info": info});
    let event = t.client.send_event(&t.room, "m.sticker", content).await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    let kind = if t.has(Feature::Sticker) {
        "sticker"
    } else {
        "image"
    };
    let wanted = json!({"kind": kind, "mimetype": "image/webp", "width": 256, "height": 256});
    t.shows_file(&upload, wanted).await?;
    // Another format; and its file, as those of sticker packs, is not encrypted although the event is.
    let upload = t.upload().await?;
    let content =
        json!({"body": t.word(), "url": upload.file["url"], "info": {"mimetype": "image/png"}});
    t.client.send_event(&t.room, "m.sticker", content).await?;
    t.waits().await;
    let wanted = json!({"kind": "image", "mimetype": "image/png", "size": upload.size});
    t.file_shown("the plain sticker", &wanted).await.map(drop)
}

pub(super) async fn caption(t: &Trial<'_>) -> Result<()> {
    let (upload, word) = (t.upload().await?, t.word());
    let mut plain = attached(
        "m.image",
        "look",
        &upload,
        json!({"mimetype": "image/jpeg"}),
    );
    plain["filename"] = json!("cat.jpg");
    let mut content = plain.clone();
    content["format"] = json!("org.matrix.custom.html");
    content["formatted_body"] = json!(format!("look <b>{word}</b>"));
    let event = t.message(content).await?;
    let caption = format!("look *{word}*");
    t.shows_file(&upload, json!({"kind": "image", "caption": caption}))
        .await?;
    // Another one under the same file.
    let word = t.word();
    plain["body"] = json!(word);
    let mut edit = plain.clone();
    edit["m.new_content"] = plain;
    edit["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": event});
    t.message(edit).await?;
    t.shows_file(
        &upload,
        json!({"kind": "image", "caption": word, "edited": true}),
    )
    .await?;
    // Sound has none: a text follows it.
    let (upload, word) = (t.upload().await?, t.word());
    let mut content = attached("m.audio", &word, &upload, json!({"mimetype": "audio/mpeg"}));
    content["filename"] = json!("song.mp3");
    t.message(content).await?;
    t.shows_file(&upload, json!({"kind": "audio", "caption": null}))
        .await?;
    t.shows(json!({"kind": "text", "text": word}))
        .await
        .map(drop)
}

pub(super) async fn contact(t: &Trial<'_>) -> Result<()> {
    let (upload, name) = (t.upload().await?, format!("{}.vcf", t.word()));
    let info = json!({"mimetype": "text/vcard"});
    let event = t.message(attached("m.file", &name, &upload, info)).await?;
    if !t.crosses() {
        return t.is_refused_as_told(&event).await;
    }
    let wanted = json!({"kind": "document", "mimetype": "text/vcard", "file_name": name});
    t.shows_file(&upload, wanted).await.map(drop)
}
