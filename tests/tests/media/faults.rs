//! Files that are gone, damaged or broken off.

use super::*;

#[tokio::test]
async fn what_is_gone_or_damaged_is_told_and_can_be_asked_for_again() -> Result<()> {
    // Faults strike everybody: a stack of its own.
    let options = Options {
        gatehouse: with_media(&[]),
        ..Options::default()
    };
    let stack = Stack::start("media-faults", options).await?;
    faults(&stack).await.map_err(|error| stack.explain(error))
}

async fn faults(stack: &Stack) -> Result<()> {
    let chat = Chat::open(stack, "olga", "+4915140000003").await?;
    let cases = [
        ("gone", "does not have"),
        ("missing", "does not have"),
        ("forbidden", "does not have"),
        ("truncated", "damaged"),
        ("wrong_mac", "damaged"),
        ("too_long", "damaged"),
        ("wrong_hash", "damaged"),
        ("wrong_enc_hash", "damaged"),
        ("shorter", "damaged"),
        ("longer", "damaged"),
    ];
    let mut first = None;
    for (seed, (fault, told)) in cases.into_iter().enumerate() {
        stack.sandbox.faults(json!({ "media": fault })).await?;
        let upload = chat
            .phone
            .upload_generated("image", 50_000, seed as u64)
            .await?;
        let message = json!({ "kind": "image", "mimetype": "image/jpeg", "upload": upload.upload, "caption": fault });
        let id = chat.phone.say(&chat.me, message).await?;
        let event = chat
            .in_room(fault, |event| {
                event.body().is_some_and(|body| body.ends_with(fault))
            })
            .await?;
        let body = event.body().unwrap_or_default().to_owned();
        assert!(
            body.contains(told) && body.contains("🔁"),
            "{fault}: {body}"
        );
        assert!(event.content.get("file").is_none(), "{fault}");
        chat.phone
            .wait_for_status(&chat.me, &id, "delivered")
            .await?;
        first = first.or(Some((event.event_id, upload)));
    }
    // Asked for again while it is still gone; then when it is back, over a restart.
    let (placeholder, upload) = first.unwrap_or_else(|| panic!("there were cases"));
    stack.sandbox.faults(json!({ "media": "gone" })).await?;
    let reaction = chat.client.react(&chat.room, &placeholder, "🔁").await?;
    chat.in_room("that it is still gone", |event| {
        event.answers() == Some(&placeholder)
    })
    .await?;
    stack.sandbox.faults(json!({ "media": "none" })).await?;
    stack.gatehouse.stop().await?;
    stack.gatehouse.start().await?;
    chat.client.redact(&chat.room, &reaction).await?;
    // An encrypted one counts as well.
    chat.client
        .react_encrypted(&chat.room, &placeholder, "🔁")
        .await?;
    let event = chat
        .in_room("the picture", |event| {
            event.answers() == Some(&placeholder) && event.content["file"].is_object()
        })
        .await?;
    let file = chat.client.download(&event.content["file"], None).await?;
    assert_eq!(file.sha256, upload.sha256);

    // A media server that breaks off holds up its own chat, no other; nothing is lost when it mends.
    let other = Chat::open(stack, "paula", "+4915140000004").await?;
    stack.sandbox.faults(json!({ "media": "cut" })).await?;
    let upload = chat.phone.upload_generated("document", 900_000, 77).await?;
    let message = json!({ "kind": "document", "mimetype": "text/plain", "file_name": "cut.txt", "upload": upload.upload });
    let held = chat.phone.say(&chat.me, message).await?;
    chat.phone.send(&chat.me, "after the file").await?;
    other.phone.send(&other.me, "not held up").await?;
    other
        .client
        .wait_for_text(&other.room, &other.ghost, "not held up")
        .await?;
    let shown = chat.client.timeline(&chat.room).await?;
    assert!(
        !shown
            .iter()
            .any(|event| event.body() == Some("after the file")),
        "order is kept"
    );
    stack.sandbox.faults(json!({ "media": "none" })).await?;
    let after = chat
        .in_room("the text after it", |event| {
            event.body() == Some("after the file")
        })
        .await?;
    let shown = chat.client.timeline(&chat.room).await?;
    let place = |id: &str| shown.iter().position(|event| event.event_id == id);
    let file = chat
        .in_room("the file", |event| event.content["filename"] == "cut.txt")
        .await?;
    assert!(
        place(&file.event_id) < place(&after.event_id),
        "order is kept"
    );
    assert_eq!(
        chat.client
            .download(&file.content["file"], None)
            .await?
            .sha256,
        upload.sha256
    );
    chat.phone
        .wait_for_status(&chat.me, &held, "delivered")
        .await?;

    // The proxy's token.
    for (seed, fault) in ["expired", "wrong_aud", "wrong_kid"]
        .into_iter()
        .enumerate()
    {
        stack
            .sandbox
            .faults(json!({ "proxy_token": fault }))
            .await?;
        let file = chat
            .client
            .upload_generated(5_000, &format!("token {seed}"))
            .await?;
        chat.client
            .send_message(
                &chat.room,
                attached(
                    "m.image",
                    "x.jpg",
                    &file,
                    json!({ "mimetype": "image/jpeg" }),
                ),
            )
            .await?;
        let refused = chat
            .on_phone("a refusal", |each| {
                each["sha256"] == file.sha256 && each["media"] == "failed"
            })
            .await?;
        assert!(
            refused["media_error"]
                .as_str()
                .unwrap_or_default()
                .contains("401"),
            "{refused:#}"
        );
        for good in ["absent", "none"] {
            stack.sandbox.faults(json!({ "proxy_token": good })).await?;
            chat.phone
                .fetch_again(refused["id"].as_str().unwrap_or_default())
                .await?;
            chat.file_shown(good, &json!({ "sha256": file.sha256 }))
                .await?;
        }
    }

    // A damaged file on Matrix is refused, and its sender told.
    let file = chat.client.upload_generated(5_000, "damaged").await?;
    let mut content = attached(
        "m.image",
        "x.jpg",
        &file,
        json!({ "mimetype": "image/jpeg" }),
    );
    content["file"]["hashes"]["sha256"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    chat.client.send_message(&chat.room, content).await?;
    let bot = stack.bot();
    chat.client
        .wait_for(&chat.room, "a notice", |event| {
            event.sender == bot && event.body().is_some_and(|body| body.contains("damaged"))
        })
        .await?;
    Ok(())
}
