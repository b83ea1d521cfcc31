//! Every kind of file, WhatsApp to Matrix.

use super::*;

#[tokio::test]
async fn every_kind_comes_from_whatsapp() -> Result<()> {
    let stack = stack().await?;
    from_whatsapp(stack)
        .await
        .map_err(|error| stack.explain(error))
}

async fn from_whatsapp(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "nora", "+4915140000002").await?;
    let waveform: Vec<u32> = (0..64).map(|part| part * 100 / 63).collect();
    let cases = [
        (
            "image",
            "image/jpeg",
            70_000,
            json!({ "caption": "*look*", "width": 640, "height": 480, "thumbnail_base64": JPEG }),
        ),
        (
            "video",
            "video/mp4",
            300_001,
            json!({ "duration": 61, "width": 64, "height": 48 }),
        ),
        ("gif", "video/mp4", 16, json!({})),
        ("round_video", "video/mp4", 5_000, json!({ "duration": 5 })),
        (
            "voice",
            "audio/ogg; codecs=opus",
            9_999,
            json!({ "duration": 7, "waveform": waveform }),
        ),
        ("audio", "audio/mpeg", 65_536, json!({ "duration": 200 })),
        (
            "document",
            "application/pdf",
            1_234_567,
            json!({ "file_name": "a b.pdf", "caption": "read" }),
        ),
        (
            "document",
            "text/plain",
            0,
            json!({ "file_name": "empty.txt" }),
        ),
        (
            "sticker",
            "image/webp",
            4_000,
            json!({ "width": 512, "height": 512 }),
        ),
    ];
    for (seed, (kind, mimetype, size, more)) in cases.into_iter().enumerate() {
        let upload = chat.phone.upload_generated(kind, size, seed as u64).await?;
        let mut message = more.clone();
        message["kind"] = json!(kind);
        message["mimetype"] = json!(mimetype);
        message["upload"] = json!(upload.upload);
        let id = chat.phone.say(&chat.me, message).await?;
        let event = chat
            .in_room(kind, |event| {
                event.content["info"]["size"] == size
                    && event.content["info"]["mimetype"] == mimetype
            })
            .await?;
        let content = &event.content;
        let file = chat.client.download(&content["file"], None).await?;
        assert_eq!((file.sha256, file.size), (upload.sha256, size), "{kind}");
        let msgtype = match kind {
            "image" | "sticker" => "m.image",
            "video" | "gif" | "round_video" => "m.video",
            "voice" | "audio" => "m.audio",
            _ => "m.file",
        };
        assert_eq!(content["msgtype"], msgtype, "{kind}");
        let info = &content["info"];
        assert_eq!(info["w"], more["width"], "{kind}");
        assert_eq!(info["h"], more["height"], "{kind}");
        let milliseconds = more["duration"].as_u64().map(|seconds| seconds * 1000);
        assert_eq!(info["duration"].as_u64(), milliseconds, "{kind}");
        match more["caption"].as_str() {
            Some(caption) => assert_eq!(content["body"], caption),
            None => assert_eq!(content["body"], content["filename"], "{kind}"),
        }
        if let Some(name) = more["file_name"].as_str() {
            assert_eq!(content["filename"], name);
        }
        assert_eq!(info["fi.mau.gif"] == true, kind == "gif");
        assert_eq!(
            content["org.matrix.msc3245.voice"].is_object(),
            kind == "voice"
        );
        if kind == "voice" {
            let expected: Vec<u32> = waveform
                .iter()
                .map(|part| (part * 1024 + 50) / 100)
                .collect();
            let audio = &content["org.matrix.msc1767.audio"];
            assert_eq!(audio["waveform"], json!(expected));
            assert_eq!(audio["duration"], 7000);
        }
        if kind == "image" {
            assert_eq!(content["formatted_body"], "<strong>look</strong>");
            let small = chat.client.download(&info["thumbnail_file"], None).await?;
            assert_eq!(
                small.size,
                info["thumbnail_info"]["size"].as_u64().unwrap_or_default()
            );
        }
        chat.phone
            .wait_for_status(&chat.me, &id, "delivered")
            .await?;
    }
    let contacts =
        json!({ "kind": "contact", "contacts": [{ "name": "Ed", "phone": "+4915187654321" }] });
    chat.phone.say(&chat.me, contacts).await?;
    let card = chat
        .in_room("the contact", |event| {
            event.content["info"]["mimetype"] == "text/vcard"
        })
        .await?;
    assert_eq!(card.content["filename"], "Ed.vcf");
    let path = stack.gatehouse.folder().join("card.vcf");
    chat.client
        .download(&card.content["file"], Some(&path))
        .await?;
    let text = std::fs::read_to_string(path)?;
    assert!(
        text.contains("FN:Ed") && text.contains("+4915187654321"),
        "{text}"
    );
    Ok(())
}
