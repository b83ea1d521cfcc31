//! A bridge that is killed in the middle of a transfer.

use super::*;

/// Waits until an unfinished file of at least `size` bytes is in the media folder.
async fn unfinished(folder: &std::path::Path, size: u64) -> Result<PathBuf> {
    wait::until("an unfinished file", PATIENCE, || async {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let grown = path.metadata().is_ok_and(|metadata| metadata.len() >= size);
            if path.extension().is_some_and(|ending| ending == "part") && grown {
                return Ok(Some(path));
            }
        }
        Ok(None)
    })
    .await
}

#[tokio::test]
async fn a_bridge_that_is_killed_in_the_middle_loses_and_doubles_nothing() -> Result<()> {
    let options = Options {
        gatehouse: with_media(&[
            (MAX_BYTES, "1000000000"),
            ("GATEHOUSE_LOG__LEVEL", "info,gatehouse::media=debug"),
        ]),
        ..Options::default()
    };
    let stack = Stack::start("media-kill", options).await?;
    killed(&stack).await.map_err(|error| stack.explain(error))
}

async fn killed(stack: &Stack) -> Result<()> {
    const SIZE: u64 = 96 << 20;
    let chat = Chat::open(stack, "sara", "+4915140000006").await?;
    let folder = stack.gatehouse.folder().join("media");

    // Matrix to WhatsApp: while the file grows in the folder.
    let file = chat.client.upload_generated(SIZE, "large").await?;
    chat.client
        .send_message(
            &chat.room,
            attached(
                "m.file",
                "large.bin",
                &file,
                json!({ "mimetype": "application/x-thing" }),
            ),
        )
        .await?;
    chat.client.send(&chat.room, "after the file").await?;
    let part = unfinished(&folder, 1 << 20).await?;
    stack.gatehouse.kill();
    assert!(part.exists(), "killed in the middle");
    stack.gatehouse.start().await?;
    chat.file_shown("the file", &json!({ "sha256": file.sha256 }))
        .await?;
    chat.on_phone("the text after it", |each| each["text"] == "after the file")
        .await?;
    let shown = chat.phone.shown(&chat.me).await?;
    let place = |accept: &dyn Fn(&Value) -> bool| {
        let places: Vec<usize> = shown
            .iter()
            .enumerate()
            .filter(|(_, each)| accept(each))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(places.len(), 1, "once: {shown:#?}");
        places[0]
    };
    assert!(
        place(&|each| each["sha256"] == file.sha256)
            < place(&|each| each["text"] == "after the file")
    );
    assert!(!part.exists(), "what was unfinished is swept");
    assert_eq!(
        std::fs::read_dir(&folder)?.count(),
        1,
        "one file for one event"
    );

    // WhatsApp to Matrix: while the homeserver takes the file. It hangs, so that it cannot have taken all of it.
    let small = json!({ "kind": "document", "mimetype": "text/plain", "data_base64": "YQ==", "file_name": "a.txt" });
    chat.phone.say(&chat.me, small).await?;
    chat.in_room("a small file", |event| event.content["filename"] == "a.txt")
        .await?;
    let upload = chat.phone.upload_generated("document", SIZE, 5).await?;
    let message = json!({ "kind": "document", "mimetype": "application/x-thing", "file_name": "large.bin", "upload": upload.upload });
    stack.synapse.freeze();
    let id = chat.phone.say(&chat.me, message).await?;
    chat.phone.send(&chat.me, "after it").await?;
    wait::until("the file under way", PATIENCE, || async {
        let line = format!("a file from WhatsApp is on its way size={SIZE}");
        Ok(stack.gatehouse.log()?.contains(&line).then_some(()))
    })
    .await?;
    stack.gatehouse.kill();
    stack.synapse.thaw();
    let shown = chat.client.timeline(&chat.room).await?;
    assert!(
        !shown
            .iter()
            .any(|event| event.sender == chat.ghost && event.content["filename"] == "large.bin"),
        "killed in the middle"
    );
    stack.gatehouse.start().await?;
    let after = chat
        .in_room("the text after it", |event| {
            event.body() == Some("after it")
        })
        .await?;
    let files: Vec<TimelineEvent> = chat
        .client
        .timeline(&chat.room)
        .await?
        .into_iter()
        .filter(|event| event.sender == chat.ghost && event.content["filename"] == "large.bin")
        .collect();
    assert_eq!(files.len(), 1, "once");
    assert!(files[0].ts <= after.ts);
    let got = chat
        .client
        .download(&files[0].content["file"], None)
        .await?;
    assert_eq!(got.sha256, upload.sha256);
    chat.phone
        .wait_for_status(&chat.me, &id, "delivered")
        .await?;
    Ok(())
}
