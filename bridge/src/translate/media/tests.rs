use gatekeeper::profile::Profile;
use gatekeeper::{
    media::MediaKey,
    message::{Body, Contact, Media, MediaFile, MediaKind},
};
use proptest::prelude::*;
use ruma::events::room::{
    EncryptedFile, EncryptedFileHash, EncryptedFileHashes, V2EncryptedFileInfo,
};
use serde_json::{Value, json};

use super::*;
use crate::{capabilities::Capabilities, translate::Refusal};

fn encrypted(id: &str) -> EncryptedFile {
    let hashes: EncryptedFileHashes =
        [EncryptedFileHash::Sha256(ruma::serde::Base64::new([3; 32]))]
            .into_iter()
            .collect();
    let info = V2EncryptedFileInfo::encode([1; 32], [2; 16]);
    EncryptedFile::new(format!("mxc://localhost/{id}").into(), info.into(), hashes)
}

fn capabilities(more: &[&str]) -> Capabilities {
    let mut profile = Profile::default();
    let more = more.iter().map(|word| (*word).to_owned());
    profile.message.accepted.extend(more);
    Capabilities::new(&profile, 1000, false)
}

fn message(msgtype: &str, mimetype: &str) -> Value {
    json!({
        "msgtype": msgtype,
        "body": "name.bin",
        "file": encrypted("main"),
        "info": { "mimetype": mimetype, "size": 1234 },
    })
}

fn read(content: &Value) -> Attachment {
    attachment(
        "m.room.message",
        content,
        &capabilities(&["gif", "sticker"]),
    )
    .expect("a file")
    .expect("it crosses")
}

#[test]
fn what_each_kind_becomes() {
    for (msgtype, mimetype, kind) in [
        ("m.image", "image/jpeg", MediaKind::Image),
        ("m.image", "image/png", MediaKind::Image),
        ("m.image", "image/webp", MediaKind::Image),
        ("m.image", "image/gif", MediaKind::Document),
        ("m.image", "image/svg+xml", MediaKind::Document),
        ("m.video", "video/mp4", MediaKind::Video),
        ("m.video", "video/webm", MediaKind::Document),
        ("m.audio", "audio/mpeg", MediaKind::Audio),
        ("m.audio", "audio/flac", MediaKind::Document),
        ("m.file", "image/jpeg", MediaKind::Document),
        ("m.file", "text/vcard", MediaKind::Document),
    ] {
        let read = read(&message(msgtype, mimetype));
        assert_eq!(read.kind, kind, "{msgtype} {mimetype}");
        assert_eq!(read.mimetype, mimetype);
        assert_eq!(read.file_name.is_some(), kind == MediaKind::Document);
        assert_eq!(read.caption, None);
        assert_eq!(read.size, Some(1234));
    }
}

#[test]
fn stickers_and_gifs_by_what_is_accepted() {
    let mut gif = message("m.video", "video/mp4");
    gif["info"]["fi.mau.gif"] = true.into();
    let of = |content: &Value, kind: &str, more: &[&str]| {
        attachment(kind, content, &capabilities(more))
            .unwrap()
            .unwrap()
            .kind
    };
    assert_eq!(of(&gif, "m.room.message", &["gif"]), MediaKind::Gif);
    assert_eq!(of(&gif, "m.room.message", &[]), MediaKind::Video);
    let sticker = |mimetype: &str| json!({ "body": "a cat", "url": "mxc://localhost/cat", "info": { "mimetype": mimetype } });
    assert_eq!(
        of(&sticker("image/webp"), "m.sticker", &["sticker"]),
        MediaKind::Sticker
    );
    assert_eq!(
        of(&sticker("image/png"), "m.sticker", &["sticker"]),
        MediaKind::Image
    );
    assert_eq!(
        of(&sticker("image/webp"), "m.sticker", &[]),
        MediaKind::Image
    );
    assert_eq!(
        of(&sticker("image/gif"), "m.sticker", &[]),
        MediaKind::Document
    );
    let read = attachment("m.sticker", &sticker("image/webp"), &capabilities(&[]))
        .unwrap()
        .unwrap();
    assert_eq!(read.caption, None, "its body is no caption");
    assert!(matches!(read.source, Source::Plain(uri) if uri == "mxc://localhost/cat"));
}

#[test]
fn a_voice_message_keeps_length_and_waveform() {
    let mut voice = message("m.audio", "audio/ogg");
    voice["org.matrix.msc3245.voice"] = json!({});
    voice["info"]["duration"] = 2600.into();
    voice["org.matrix.msc1767.audio"] =
        json!({ "duration": 2600, "waveform": [0, 512, 1024, 5000, -3, "x"] });
    let read = read(&voice);
    assert_eq!(read.kind, MediaKind::Voice);
    assert_eq!(read.mimetype, "audio/ogg; codecs=opus");
    assert_eq!(read.seconds, Some(3));
    assert_eq!(read.waveform.len(), 64);
    assert_eq!(
        (read.waveform[0], read.waveform[11], read.waveform[22]),
        (0, 50, 100)
    );
    assert_eq!(read.waveform[63], 0);
    voice["info"]["mimetype"] = "audio/mp4".into();
    assert_eq!(super::tests::read(&voice).kind, MediaKind::Audio);
    voice["info"]["mimetype"] = "audio/ogg; codecs=vorbis".into();
    assert_eq!(super::tests::read(&voice).kind, MediaKind::Audio);
}

#[test]
fn captions_go_with_the_file_or_after_it() {
    let mut image = message("m.image", "image/jpeg");
    image["filename"] = "cat.jpg".into();
    image["body"] = "my **cat**".into();
    assert_eq!(read(&image).caption.as_deref(), Some("my **cat**"));
    image["format"] = "org.matrix.custom.html".into();
    image["formatted_body"] = "my <b>cat</b>".into();
    assert_eq!(read(&image).caption.as_deref(), Some("my *cat*"));
    image["body"] = "cat.jpg".into();
    assert_eq!(read(&image).caption, None, "the same twice is a name");

    let mut audio = message("m.audio", "audio/mpeg");
    audio["filename"] = "song.mp3".into();
    audio["body"] = "listen".into();
    let song = read(&audio);
    assert_eq!(
        (song.caption, song.after.as_deref()),
        (None, Some("listen"))
    );

    audio["body"] = "x".repeat(1001).into();
    let long = attachment("m.room.message", &audio, &capabilities(&[])).unwrap();
    assert!(
        matches!(
            long,
            Err(Refusal::TooLong {
                length: 1001,
                limit: 1000
            })
        ),
        "{long:?}"
    );
}

#[test]
fn what_cannot_go_is_refused() {
    let refused = |content: &Value, capabilities: &Capabilities| {
        attachment("m.room.message", content, capabilities)
            .expect("a file")
            .expect_err("it is refused")
            .to_string()
    };
    let mut large = message("m.file", "text/plain");
    large["info"]["size"] = (200_u64 << 20).into();
    assert_eq!(
        refused(&large, &capabilities(&[])),
        "the file is too large: WhatsApp takes 100 MiB"
    );
    let mut nowhere = message("m.file", "text/plain");
    nowhere["file"] = json!({ "url": 5 });
    assert!(refused(&nowhere, &capabilities(&[])).contains("no file"));
    let mut profile = Profile::default();
    profile.message.accepted = vec!["text".to_owned(), "image".to_owned()];
    let only_images = Capabilities::new(&profile, 1000, false);
    assert!(refused(&message("m.video", "video/mp4"), &only_images).contains("videos do not go"));
    let not_even_as_file = refused(&message("m.image", "image/gif"), &only_images);
    assert!(
        not_even_as_file.contains("files do not go"),
        "{not_even_as_file}"
    );
    assert!(
        attachment(
            "m.room.message",
            &json!({ "msgtype": "m.text" }),
            &only_images
        )
        .is_none()
    );
    assert!(attachment("m.reaction", &message("m.image", "image/png"), &only_images).is_none());
}

#[test]
fn a_kind_that_is_not_said_is_guessed() {
    let mut image = message("m.image", "image/jpeg");
    image["info"] = json!({});
    image["body"] = "IMG 1.JPG".into();
    let jpeg = read(&image);
    assert_eq!(
        (jpeg.kind, &*jpeg.mimetype),
        (MediaKind::Image, "image/jpeg")
    );
    image["body"] = "a photo".into();
    let unknown = read(&image);
    assert_eq!(unknown.kind, MediaKind::Document);
    assert_eq!(unknown.mimetype, "application/octet-stream");
}

fn file() -> MediaFile {
    MediaFile {
        key: MediaKey::from([9; 32]),
        sha256: [1; 32],
        enc_sha256: [2; 32],
        length: 77,
        direct_path: "/v/t62".to_owned(),
        url: None,
        key_timestamp: 5,
    }
}

fn uploaded(thumbnail: bool) -> Uploaded {
    Uploaded {
        main: Attached {
            file: encrypted("main"),
            size: 77,
        },
        thumbnail: thumbnail.then(|| Attached {
            file: encrypted("small"),
            size: 7,
        }),
    }
}

#[test]
fn what_comes_is_shown_as_what_it_is() {
    for (kind, mimetype, msgtype, name) in [
        (MediaKind::Image, "image/jpeg", "m.image", "image.jpg"),
        (MediaKind::Sticker, "image/webp", "m.image", "sticker.webp"),
        (MediaKind::Video, "video/mp4", "m.video", "video.mp4"),
        (MediaKind::Gif, "video/mp4", "m.video", "video.mp4"),
        (MediaKind::RoundVideo, "video/mp4", "m.video", "video.mp4"),
        (MediaKind::Audio, "audio/mpeg", "m.audio", "audio.mp3"),
        (
            MediaKind::Voice,
            "audio/ogg; codecs=opus",
            "m.audio",
            "voice-message.ogg",
        ),
        (MediaKind::Document, "application/pdf", "m.file", "file.pdf"),
        (MediaKind::Document, "", "m.file", "file"),
    ] {
        let content = event(&Media::new(kind, mimetype, file()), &uploaded(false));
        assert_eq!(content["msgtype"], msgtype, "{kind:?}");
        assert_eq!(content["body"], name);
        assert_eq!(content["filename"], name);
        assert_eq!(content["file"]["url"], "mxc://localhost/main");
        assert_eq!(content["info"]["size"], 77);
        assert_eq!(
            content["info"]["fi.mau.gif"] == true,
            kind == MediaKind::Gif
        );
        let is_voice = content["org.matrix.msc3245.voice"].is_object();
        assert_eq!(is_voice, kind == MediaKind::Voice);
        assert!(content["info"].get("thumbnail_file").is_none());
    }
}

#[test]
fn all_that_is_said_about_a_file() {
    let media = Media {
        caption: Some("*look* at it".to_owned()),
        width: Some(640),
        height: Some(480),
        seconds: Some(12),
        ..Media::new(MediaKind::Video, "video/mp4", file())
    };
    let content = event(&media, &uploaded(true));
    assert_eq!(content["body"], "*look* at it");
    assert_eq!(content["formatted_body"], "<strong>look</strong> at it");
    assert_eq!(content["msgtype"], "m.video");
    assert_eq!(content["filename"], "video.mp4");
    let info = &content["info"];
    assert_eq!(
        (&info["w"], &info["h"], &info["duration"]),
        (&json!(640), &json!(480), &json!(12_000))
    );
    assert_eq!(info["thumbnail_file"]["url"], "mxc://localhost/small");
    assert_eq!(
        info["thumbnail_info"],
        json!({ "mimetype": "image/jpeg", "size": 7 })
    );
}

#[test]
fn contacts_are_a_file() {
    let contact = |name: &str| Contact {
        name: name.to_owned(),
        vcard: format!("BEGIN:VCARD\nFN:{name}\nEND:VCARD\n"),
    };
    let (name, file) = vcards(&[contact("Bea")]);
    assert_eq!(name, "Bea.vcf");
    assert_eq!(file, b"BEGIN:VCARD\nFN:Bea\nEND:VCARD\r\n");
    let (name, file) = vcards(&[contact("A"), contact("B")]);
    assert_eq!(name, "2 contacts.vcf");
    assert_eq!(file.iter().filter(|byte| **byte == b'\r').count(), 2);
    for bad in ["../../etc", "", "  ", "..", "a\nb"] {
        let (name, _) = vcards(&[contact(bad)]);
        assert!(
            !name.contains(['/', '\n']) && !name.starts_with('.'),
            "{name:?}"
        );
    }
}

proptest! {
    /// Whatever a client writes, nothing panics, and what comes out keeps its bounds.
    #[test]
    fn odd_numbers_do_no_harm(w in any::<f64>(), duration in any::<f64>(), size in any::<i64>(), wave in proptest::collection::vec(any::<f64>(), 0..300)) {
        let mut content = message("m.audio", "audio/ogg");
        content["org.matrix.msc3245.voice"] = json!({});
        content["info"] = json!({ "mimetype": "audio/ogg", "w": w, "duration": duration, "size": size });
        content["org.matrix.msc1767.audio"] = json!({ "waveform": wave });
        if let Some(Ok(read)) = attachment("m.room.message", &content, &capabilities(&[])) {
            prop_assert!(read.waveform.is_empty() || read.waveform.len() == 64);
            prop_assert!(read.waveform.iter().all(|part| *part <= 100));
            prop_assert!(read.seconds != Some(0));
        }
    }

    /// A voice message that goes over and comes back is the same to the ear and to the eye.
    #[test]
    fn a_waveform_survives_both_ways(waveform in proptest::collection::vec(0_u8..=100, 64), seconds in 1_u32..100_000) {
        let media = Media { waveform: waveform.clone(), seconds: Some(seconds), ..Media::new(MediaKind::Voice, "audio/ogg; codecs=opus", file()) };
        let content = event(&media, &uploaded(false));
        let read = read(&content);
        prop_assert_eq!(read.kind, MediaKind::Voice);
        prop_assert_eq!(&read.waveform, &waveform);
        prop_assert_eq!(read.seconds, Some(seconds));
        let Body::Media(back) = read.body(file(), None) else { panic!("a file") };
        prop_assert_eq!(back.waveform, waveform);
    }
}
