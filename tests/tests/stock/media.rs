//! Files of each kind, compared by SHA-256.

use super::*;

#[tokio::test]
async fn files_of_each_kind_cross() -> Result<()> {
    let stack = stack().await?;
    files(stack).await.map_err(|error| stack.explain(error))
}

async fn files(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "mel", "+4915160000002").await?;
    chat.phone.ask("media", json!({})).await?;
    to_the_phone(&chat).await?;
    from_the_phone(&chat).await
}

async fn to_the_phone(chat: &Chat) -> Result<()> {
    let voice = json!({"org.matrix.msc3245.voice": {},
                       "org.matrix.msc1767.audio": {"duration": 3000, "waveform": [0, 512, 1024]}});
    let rows = [
        ("image", "m.image", "image/jpeg", json!({})),
        ("video", "m.video", "video/mp4", json!({})),
        ("audio", "m.audio", "audio/mpeg", json!({})),
        ("voice", "m.audio", "audio/ogg", voice),
        ("document", "m.file", "application/pdf", json!({})),
        ("sticker", "m.sticker", "image/webp", json!({})),
    ];
    for (at, (name, kind, mimetype, more)) in rows.into_iter().enumerate() {
        let size = 40_000 * (at as u64 + 1) + 7;
        let file = chat.client.upload_generated(size, name).await?;
        let mut content = json!({
            "msgtype": kind, "body": format!("{name}.bin"), "file": file.file,
            "info": {"mimetype": mimetype, "size": size, "duration": 3000},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            content[key] = value.clone();
        }
        let event = if kind == "m.sticker" {
            kind
        } else {
            "m.room.message"
        };
        chat.client.send_event(&chat.room, event, content).await?;
        let field = match name {
            "voice" => "audioMessage".to_owned(),
            _ => format!("{name}Message"),
        };
        let arrived = chat
            .phone
            .wait_for(name, |message| {
                let file = file_of(message, &field);
                let is_voice = file["ptt"] == true;
                let theirs = message["key"]["fromMe"] == false;
                theirs && file.is_object() && is_voice == (name == "voice")
            })
            .await?;
        let got = chat
            .phone
            .ask("download", json!({"message": id_of(&arrived)}))
            .await?;
        assert_eq!(got["sha256"], file.sha256, "{name}");
        assert_eq!(got["size"], size, "{name}");
    }
    Ok(())
}

/// The part of a message that describes its file, out of what may be around it.
fn file_of<'a>(message: &'a Value, field: &str) -> &'a Value {
    let message = &message["message"];
    let wrapped = &message["documentWithCaptionMessage"]["message"];
    if wrapped.is_object() {
        &wrapped[field]
    } else {
        &message[field]
    }
}

async fn from_the_phone(chat: &Chat) -> Result<()> {
    let rows = [
        (
            "image",
            "m.image",
            json!({"mimetype": "image/jpeg", "caption": "c", "jpegThumbnail": {"base64": "/9g="},
                                    "width": 32, "height": 24}),
        ),
        (
            "video",
            "m.video",
            json!({"mimetype": "video/mp4", "jpegThumbnail": {"base64": "/9g="}, "seconds": 3,
                                    "width": 32, "height": 24}),
        ),
        (
            "audio",
            "m.audio",
            json!({"mimetype": "audio/mpeg", "seconds": 3}),
        ),
        (
            "voice",
            "m.audio",
            json!({"mimetype": "audio/ogg; codecs=opus", "seconds": 3, "ptt": true,
                                    "waveform": {"base64": "ADJk"}}),
        ),
        (
            "document",
            "m.file",
            json!({"mimetype": "application/pdf", "fileName": "a.pdf"}),
        ),
        ("sticker", "m.image", json!({"mimetype": "image/webp"})),
        (
            "gif",
            "m.video",
            json!({"mimetype": "video/mp4", "jpegThumbnail": {"base64": "/9g="}, "gifPlayback": true}),
        ),
        (
            "round video",
            "m.video",
            json!({"mimetype": "video/mp4", "jpegThumbnail": {"base64": "/9g="}, "ptv": true}),
        ),
    ];
    for (at, (name, kind, mut content)) in rows.into_iter().enumerate() {
        let (size, seed) = (
            30_000 * (at as u64 + 1) + 11,
            format!("from the phone: {name}"),
        );
        let field = match name {
            "voice" => "audio",
            "gif" | "round video" => "video",
            other => other,
        };
        content[field] = json!({"generated": size, "seed": seed});
        let expected = chat
            .phone
            .ask("generated", json!({"size": size, "seed": seed}))
            .await?;
        let id = chat.phone.send(&chat.peer, content).await?;
        let seen = chat
            .client
            .wait_for(&chat.room, name, |event| {
                let voice = event.content.get("org.matrix.msc3245.voice").is_some();
                let sticker = event.body() == Some("sticker.webp");
                event.sender == chat.ghost
                    && event.content["msgtype"] == kind
                    && event.content["info"]["size"] == size
                    && voice == (name == "voice")
                    && sticker == (name == "sticker")
            })
            .await?;
        assert!(seen.is_clean(), "a shield beside {}", seen.summary());
        let got = chat.client.download(&seen.content["file"], None).await?;
        assert_eq!(json!(got.sha256), expected["sha256"], "{name}");
        assert_eq!(got.size, size, "{name}");
        chat.phone.wait_for_status(&id, 3).await?;
    }
    Ok(())
}
