//! Files cross both ways: every kind, compared field by field and by SHA-256; damaged, gone and too large ones; over
//! a killed bridge; and without filling its memory.

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::client::{Client, TimelineEvent};
use tests::sandbox::Phone;
use tests::stack::{Options, Stack};
use tests::wait::{self, PATIENCE};
use tests::{Error, Result, gatehouse, large, synapse};
use tokio::sync::OnceCell;

/// The smallest JPEG that decoders open.
const JPEG: &str = "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=";

fn with_media(more: &[(&str, &str)]) -> gatehouse::Options {
    let mut environment = vec![(
        "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED".to_owned(),
        "[text, image, video, gif, audio, document, sticker, reaction, reply]".to_owned(),
    )];
    environment.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    gatehouse::Options {
        environment,
        ..gatehouse::Options::default()
    }
}

const MAX_BYTES: &str = "GATEHOUSE_GATEKEEPER__PROFILE__MEDIA__MAX_BYTES";

async fn stack() -> Result<&'static Stack> {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    let options = || Options {
        gatehouse: with_media(&[]),
        ..Options::default()
    };
    STACK
        .get_or_try_init(|| Stack::start("media", options()))
        .await
}

/// A user and a phone that have written to each other, and their room.
struct Chat {
    client: Client,
    phone: Phone,
    ghost: String,
    room: String,
    me: String,
}

impl Chat {
    async fn open(stack: &Stack, user: &str, number: &str) -> Result<Self> {
        let client = stack.enlisted_client(user).await?;
        Self::with(stack, client, number).await
    }

    async fn with(stack: &Stack, client: Client, number: &str) -> Result<Self> {
        let phone = stack.sandbox.phone(number, "Bea").await?;
        let ghost = stack.ghost(&phone);
        let me = client.user_id().to_owned();
        phone.send(&me, "hello").await?;
        let invitation = client
            .wait_for_invite(&ghost)
            .await
            .map_err(|error| stack.explain(error))?;
        client.join(&invitation.room_id).await?;
        client
            .wait_for_text(&invitation.room_id, &ghost, "hello")
            .await?;
        Ok(Self {
            client,
            phone,
            ghost,
            room: invitation.room_id,
            me,
        })
    }

    async fn send(&self, kind: &str, content: Value) -> Result<String> {
        self.client.send_event(&self.room, kind, content).await
    }

    /// What the phone shows that `accept` likes.
    async fn on_phone(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        let accept = &accept;
        let found = wait::until(what, PATIENCE, || async move {
            let shown = self.phone.shown(&self.me).await?;
            Ok(shown
                .into_iter()
                .find(|each| each["from_me"] == false && accept(each)))
        })
        .await;
        match found {
            Ok(found) => Ok(found),
            Err(error) => {
                let shown = self.phone.shown(&self.me).await?;
                Err(Error::new(format!("{error}; the phone shows {shown:#?}")))
            }
        }
    }

    /// The file that the phone shows and has fetched.
    async fn file_on_phone(&self, what: &str, sha256: &str) -> Result<Value> {
        let shown = self
            .on_phone(what, |each| {
                each["sha256"] == sha256 && each["media"] != "fetching"
            })
            .await?;
        if shown["media"] != "ready" {
            return Err(Error::new(format!("{what} was not fetched: {shown:#}")));
        }
        let file = self
            .phone
            .file(shown["id"].as_str().unwrap_or_default())
            .await?;
        assert_eq!(file.sha256, sha256, "{what}");
        Ok(shown)
    }

    /// An event of the ghost that `accept` likes.
    async fn in_room(
        &self,
        what: &str,
        accept: impl Fn(&TimelineEvent) -> bool,
    ) -> Result<TimelineEvent> {
        let ghost = &self.ghost;
        let event = self
            .client
            .wait_for(&self.room, what, |event| {
                event.sender == *ghost && accept(event)
            })
            .await?;
        assert!(event.is_clean(), "a shield beside {}", event.summary());
        Ok(event)
    }
}

fn attached(msgtype: &str, name: &str, upload: &tests::client::Upload, info: Value) -> Value {
    let mut info = info;
    info["size"] = json!(upload.size);
    json!({ "msgtype": msgtype, "body": name, "file": upload.file, "info": info })
}

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
    let info = json!({ "mimetype": "video/mp4", "w": 320, "h": 240, "duration": 61_400 });
    chat.send("m.room.message", attached("m.video", "v.mp4", &file, info))
        .await?;
    let shown = chat.file_on_phone("the video", &file.sha256).await?;
    assert_eq!(
        (&shown["kind"], &shown["duration"]),
        (&json!("video"), &json!(61))
    );
    assert_eq!(shown["caption"], Value::Null);
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
    let react = || async {
        let relation = json!({ "rel_type": "m.annotation", "event_id": placeholder, "key": "🔁" });
        chat.send("m.reaction", json!({ "m.relates_to": relation }))
            .await
    };
    let reaction = react().await?;
    chat.in_room("that it is still gone", |event| {
        event.answers() == Some(&placeholder)
    })
    .await?;
    stack.sandbox.faults(json!({ "media": "none" })).await?;
    stack.gatehouse.stop().await?;
    stack.gatehouse.start().await?;
    chat.client.redact(&chat.room, &reaction).await?;
    react().await?;
    let event = chat
        .in_room("the picture", |event| {
            event.answers() == Some(&placeholder) && event.content["file"].is_object()
        })
        .await?;
    let file = chat.client.download(&event.content["file"], None).await?;
    assert_eq!(file.sha256, upload.sha256);

    // A media server that breaks off holds up its own chat, no other; nothing is lost when it mends.
    let other = Chat::with(
        stack,
        stack.enlisted_client("paula").await?,
        "+4915140000004",
    )
    .await?;
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
        chat.send(
            "m.room.message",
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
            chat.file_on_phone(good, &file.sha256).await?;
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
    chat.send("m.room.message", content).await?;
    let bot = stack.bot();
    chat.client
        .wait_for(&chat.room, "a notice", |event| {
            event.sender == bot && event.body().is_some_and(|body| body.contains("damaged"))
        })
        .await?;
    Ok(())
}

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
    let event = chat.send("m.room.message", lying).await?;
    let notice = chat
        .client
        .wait_for(&chat.room, "a notice", |shown| {
            shown.sender == bot && shown.answers() == Some(&event)
        })
        .await?;
    let body = notice.body().unwrap_or_default();
    assert!(body.contains("too large: WhatsApp takes 2.9 MiB"), "{body}");
    chat.send(
        "m.room.message",
        attached(
            "m.file",
            "y.bin",
            &file,
            json!({ "mimetype": "application/x-thing" }),
        ),
    )
    .await?;
    chat.file_on_phone("what fits", &file.sha256).await?;
    assert!(
        std::fs::read_dir(stack.gatehouse.folder().join("media"))?.count() == 1,
        "nothing else was carried"
    );
    Ok(())
}

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
    chat.send(
        "m.room.message",
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
    chat.file_on_phone("the file", &file.sha256).await?;
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
