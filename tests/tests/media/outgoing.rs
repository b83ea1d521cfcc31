//! Every kind of file, Matrix to WhatsApp.

use super::*;

#[tokio::test]
async fn every_kind_goes_to_whatsapp() -> Result<()> {
    let stack = stack().await?;
    to_whatsapp(stack)
        .await
        .map_err(|error| stack.explain(error))
}

async fn to_whatsapp(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "mia", "+4915140000001").await?;
    let client = &chat.client;
    let thumbnail = client.upload_base64(JPEG).await?;

    // A picture, with everything.
    let file = client.upload_generated(70_001, "picture").await?;
    let mut picture = attached(
        "m.image",
        "look at *this*",
        &file,
        json!({
            "mimetype": "image/jpeg", "w": 640, "h": 480,
            "thumbnail_file": thumbnail.file, "thumbnail_info": { "mimetype": "image/jpeg" },
        }),
    );
    picture["filename"] = json!("cat.jpg");
    picture["format"] = json!("org.matrix.custom.html");
    picture["formatted_body"] = json!("look at <b>this</b>");
    let event = chat.send("m.room.message", picture).await?;
    let shown = chat.file_on_phone("the picture", &file.sha256).await?;
    assert_eq!(shown["kind"], "image");
    assert_eq!(shown["caption"], "look at *this*");
    assert_eq!(shown["mimetype"], "image/jpeg");
    assert_eq!(
        (&shown["width"], &shown["height"]),
        (&json!(640), &json!(480))
    );
    assert_eq!(shown["size"], 70_001);
    assert_eq!(shown["thumbnail_base64"], JPEG);

    // A video and a GIF.
    let file = client.upload_generated(300_000, "video").await?;
    let info = json!({
        "mimetype": "video/mp4", "w": 320, "h": 240, "duration": 61_400,
        "xyz.amorgan.blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    });
    chat.send("m.room.message", attached("m.video", "v.mp4", &file, info))
        .await?;
    let shown = chat.file_on_phone("the video", &file.sha256).await?;
    assert_eq!(
        (&shown["kind"], &shown["duration"]),
        (&json!("video"), &json!(61))
    );
    assert_eq!(shown["caption"], Value::Null);
    let blurred = shown["thumbnail_base64"].as_str().unwrap_or_default();
    assert!(
        blurred.starts_with("/9j/"),
        "a JPEG of the blurhash: {blurred}"
    );
    let file = client.upload_generated(16, "gif").await?;
    let info = json!({ "mimetype": "video/mp4", "fi.mau.gif": true });
    chat.send("m.room.message", attached("m.video", "g.mp4", &file, info))
        .await?;
    let shown = chat.file_on_phone("the GIF", &file.sha256).await?;
    assert_eq!(shown["kind"], "gif");

    // A voice message; and audio, whose caption follows it.
    let file = client.upload_generated(9_999, "voice").await?;
    let mut voice = attached(
        "m.audio",
        "Voice message.ogg",
        &file,
        json!({ "mimetype": "audio/ogg", "duration": 7_000 }),
    );
    voice["org.matrix.msc3245.voice"] = json!({});
    let waveform: Vec<u32> = (0..64).map(|part| part * 16).collect();
    voice["org.matrix.msc1767.audio"] = json!({ "duration": 7_000, "waveform": waveform });
    chat.send("m.room.message", voice).await?;
    let shown = chat
        .file_on_phone("the voice message", &file.sha256)
        .await?;
    assert_eq!(
        (&shown["kind"], &shown["duration"]),
        (&json!("voice"), &json!(7))
    );
    assert_eq!(shown["mimetype"], "audio/ogg; codecs=opus");
    let expected: Vec<u32> = waveform
        .iter()
        .map(|part| (part * 100 + 512) / 1024)
        .collect();
    assert_eq!(shown["waveform"], json!(expected));

    let file = client.upload_generated(65_536, "audio").await?;
    let mut audio = attached(
        "m.audio",
        "listen to it",
        &file,
        json!({ "mimetype": "audio/mpeg" }),
    );
    audio["filename"] = json!("song.mp3");
    chat.send("m.room.message", audio).await?;
    let shown = chat.file_on_phone("the audio", &file.sha256).await?;
    assert_eq!(
        (&shown["kind"], &shown["caption"]),
        (&json!("audio"), &Value::Null)
    );
    chat.on_phone("the text after it", |each| each["text"] == "listen to it")
        .await?;

    // A file without bytes, and one that answers the picture.
    let file = client.upload_generated(0, "nothing").await?;
    chat.send(
        "m.room.message",
        attached(
            "m.file",
            "empty.txt",
            &file,
            json!({ "mimetype": "text/plain" }),
        ),
    )
    .await?;
    let shown = chat.file_on_phone("the empty file", &file.sha256).await?;
    assert_eq!(
        (&shown["kind"], &shown["file_name"]),
        (&json!("document"), &json!("empty.txt"))
    );
    let file = client.upload_generated(1_234_567, "file").await?;
    let mut answer = attached(
        "m.file",
        "with a text",
        &file,
        json!({ "mimetype": "application/pdf" }),
    );
    answer["filename"] = json!("a b.pdf");
    answer["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": event } });
    chat.send("m.room.message", answer).await?;
    let shown = chat.file_on_phone("the file", &file.sha256).await?;
    assert_eq!(shown["file_name"], "a b.pdf");
    assert_eq!(shown["caption"], "with a text");
    assert_eq!(shown["mimetype"], "application/pdf");
    assert!(shown["reply_to"].is_string(), "{shown:#}");

    // Pictures that WhatsApp does not show as such.
    let file = client.upload_generated(5_000, "svg").await?;
    chat.send(
        "m.room.message",
        attached(
            "m.image",
            "x.svg",
            &file,
            json!({ "mimetype": "image/svg+xml" }),
        ),
    )
    .await?;
    assert_eq!(
        chat.file_on_phone("the drawing", &file.sha256).await?["kind"],
        "document"
    );

    // A sticker, which is not encrypted although the event is.
    let file = client.upload_generated(4_000, "sticker").await?;
    let info = json!({ "mimetype": "image/webp", "w": 256, "h": 256, "size": file.size });
    let sticker = json!({ "body": "a cat", "file": file.file, "info": info });
    chat.send("m.sticker", sticker).await?;
    assert_eq!(
        chat.file_on_phone("the sticker", &file.sha256).await?["kind"],
        "sticker"
    );
    let plain =
        json!({ "body": "a cat", "url": file.file["url"], "info": { "mimetype": "image/png" } });
    chat.send("m.sticker", plain).await?;
    let shown = chat
        .on_phone("the plain sticker", |each| {
            each["kind"] == "image" && each["mimetype"] == "image/png" && each["media"] == "ready"
        })
        .await?;
    assert_eq!(shown["size"], 4_000);

    // What was deleted is not given out any more.
    let folder = stack.gatehouse.folder().join("media");
    let names = || -> Result<Vec<String>> {
        let names = std::fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    let before = names()?;
    let file = client.upload_generated(3_000, "deleted").await?;
    let event = chat
        .send(
            "m.room.message",
            attached(
                "m.file",
                "x.bin",
                &file,
                json!({ "mimetype": "application/x-thing" }),
            ),
        )
        .await?;
    chat.file_on_phone("what is deleted next", &file.sha256)
        .await?;
    let new: Vec<String> = names()?
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    let [reference] = new.as_slice() else {
        return Err(Error::new(format!(
            "one more file was expected, not {new:?}"
        )));
    };
    let url = format!("{}/{reference}/", stack.gatehouse.ports().public_url());
    let ask = || async {
        Ok::<_, Error>(
            tests::http::client()?
                .get(&url)
                .send()
                .await?
                .status()
                .as_u16(),
        )
    };
    assert_eq!(ask().await?, 200);
    client.redact(&chat.room, &event).await?;
    wait::until("the file to be gone", PATIENCE, || async {
        let gone = ask().await? == 410 && !folder.join(reference).exists();
        Ok(gone.then_some(()))
    })
    .await?;

    // What is hosted is for its owner alone.
    for entry in std::fs::read_dir(&folder)? {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = entry?.metadata()?;
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    Ok(())
}
