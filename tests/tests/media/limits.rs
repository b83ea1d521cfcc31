//! Files that are too large, and the memory that large ones take.

use super::*;

#[tokio::test]
async fn what_is_too_large_is_told_before_it_is_carried() -> Result<()> {
    let options = Options {
        gatehouse: with_media(&[(MAX_BYTES, "3000000")]),
        synapse: synapse::Options {
            max_upload: Some("2M".to_owned()),
            ..synapse::Options::default()
        },
        ..Options::default()
    };
    let stack = Stack::start("media-limits", options).await?;
    limits(&stack).await.map_err(|error| stack.explain(error))
}

async fn limits(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "rosa", "+4915140000005").await?;
    for (size, told) in [(2_500_000_u64, "2 MiB"), (3_500_000, "2 MiB")] {
        let upload = chat.phone.upload_generated("video", size, size).await?;
        let message = json!({ "kind": "video", "mimetype": "video/mp4", "upload": upload.upload, "caption": size.to_string() });
        chat.phone.say(&chat.me, message).await?;
        let event = chat
            .in_room("that it is too large", |event| {
                event
                    .body()
                    .is_some_and(|body| body.ends_with(&size.to_string()))
            })
            .await?;
        let body = event.body().unwrap_or_default();
        assert!(body.contains("too large") && body.contains(told), "{body}");
    }
    // By its sender's word, and by what really comes.
    let bot = stack.bot();
    let file = chat.client.upload_generated(1_500_000, "fits").await?;
    let mut lying = attached(
        "m.file",
        "x.bin",
        &file,
        json!({ "mimetype": "application/x-thing" }),
    );
    lying["info"]["size"] = json!(4_000_000);
    let event = chat.client.send_message(&chat.room, lying).await?;
    let notice = chat
        .client
        .wait_for(&chat.room, "a notice", |shown| {
            shown.sender == bot && shown.answers() == Some(&event)
        })
        .await?;
    let body = notice.body().unwrap_or_default();
    assert!(body.contains("too large: WhatsApp takes 2.9 MiB"), "{body}");
    chat.client
        .send_message(
            &chat.room,
            attached(
                "m.file",
                "y.bin",
                &file,
                json!({ "mimetype": "application/x-thing" }),
            ),
        )
        .await?;
    chat.file_shown("what fits", &json!({ "sha256": file.sha256 }))
        .await?;
    assert!(
        std::fs::read_dir(stack.gatehouse.folder().join("media"))?.count() == 1,
        "nothing else was carried"
    );
    Ok(())
}

#[tokio::test]
async fn a_user_has_so_much_room_and_gets_it_back() -> Result<()> {
    let options = Options {
        gatehouse: with_media(&[("GATEHOUSE_MEDIA__BYTES_PER_LOGIN", "1000000")]),
        ..Options::default()
    };
    let stack = Stack::start("media-quota", options).await?;
    quota(&stack).await.map_err(|error| stack.explain(error))
}

/// Sends a file of such a size: its event id and sum.
async fn send_file(chat: &Chat, size: u64, seed: &str) -> Result<(String, String)> {
    let file = chat.client.upload_generated(size, seed).await?;
    let info = json!({ "mimetype": "application/x-thing" });
    let content = attached("m.file", "x.bin", &file, info);
    let event = chat.client.send_message(&chat.room, content).await?;
    Ok((event, file.sha256))
}

/// Waits until an event has failed for now, and gives the reason.
async fn failed(chat: &Chat, event: &str) -> Result<String> {
    let status = chat
        .status(event, "that it has failed for now", |status| {
            status["status"] == "FAIL_RETRIABLE"
        })
        .await?;
    let message = status["message"].as_str().unwrap_or_default();
    Ok(message.to_owned())
}

async fn quota(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "quentin", "+4915140000006").await?;
    let (first, sha256) = send_file(&chat, 600_000, "first").await?;
    chat.file_shown("the first", &json!({ "sha256": sha256 }))
        .await?;
    let (second, _) = send_file(&chat, 500_000, "second").await?;
    let why = failed(&chat, &second).await?;
    assert!(
        why.contains("all the room that this bridge gives you, 977 KiB"),
        "{why}"
    );
    // Others have room of their own.
    let other = Chat::open(stack, "quirin", "+4915140000007").await?;
    let (_, sha256) = send_file(&other, 500_000, "other").await?;
    other
        .file_shown("another's", &json!({ "sha256": sha256 }))
        .await?;

    chat.client.redact(&chat.room, &first).await?;
    let folder = stack.gatehouse.folder().join("media");
    wait::until("the first to be deleted", PATIENCE, || async {
        Ok((std::fs::read_dir(&folder)?.count() == 1).then_some(()))
    })
    .await?;
    let (_, sha256) = send_file(&chat, 500_001, "again").await?;
    chat.file_shown("what has room now", &json!({ "sha256": sha256 }))
        .await?;

    // A disk that is nearly full.
    stack.gatehouse.stop().await?;
    let config = stack.gatehouse.folder().join("config.toml");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(
        &config,
        format!("{text}\n[media]\nfree_bytes = {}\n", i64::MAX),
    )?;
    stack.gatehouse.start().await?;
    let (third, _) = send_file(&other, 1_000, "third").await?;
    let why = failed(&other, &third).await?;
    assert!(why.contains("disk is nearly full"), "{why}");
    other.client.send(&other.room, "and this goes").await?;
    other
        .phone
        .wait_for_text(&other.me, "and this goes")
        .await
        .map(drop)
}

#[tokio::test]
async fn a_large_file_does_not_fill_the_memory() -> Result<()> {
    /// Bytes of memory that a file may take, however large it is.
    const MOST: u64 = 64 << 20;
    // A gibibyte each way where there is time for it.
    let size = match std::env::var("GATEHOUSE_LARGE_FILE") {
        Ok(bytes) => bytes
            .parse()
            .map_err(|_| Error::new("GATEHOUSE_LARGE_FILE is a number of bytes"))?,
        Err(_) => 256 << 20,
    };
    let options = Options {
        gatehouse: with_media(&[(MAX_BYTES, "4000000000")]),
        ..Options::default()
    };
    let stack = Stack::start("media-memory", options).await?;
    let measured = large::measure(&stack, "tina", "+4915140000007", size)
        .await
        .map_err(|error| stack.explain(error))?;
    for (way, carried) in [
        ("to WhatsApp", measured.to_whatsapp),
        ("to Matrix", measured.to_matrix),
    ] {
        assert!(
            carried.more() < MOST,
            "{way}: {} bytes more than idle, {carried:?}",
            carried.more()
        );
    }
    Ok(())
}
