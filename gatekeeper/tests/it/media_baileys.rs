//! Files and the messages around them, against Baileys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    media::{Decryptor, Encryptor, MediaKey, encrypted_length},
    message::{
        Body, Contact, Context, Location, Media, MediaFile, MediaKind, MessageKey, Quote, decode,
        encode,
    },
};
use serde_json::{Value, json};

use crate::peer::Peer;

const CHAT: &str = "1-10853634039893@interop";

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex")).expect("hex")
}

fn array(value: &Value) -> [u8; 32] {
    unhex(value).try_into().expect("32 bytes")
}

/// A file of so many bytes that no two blocks of are the same.
fn plain(length: u32) -> Vec<u8> {
    (0..length)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

fn encrypted(kind: MediaKind, plain: &[u8]) -> (MediaFile, Vec<u8>) {
    let key = MediaKey::random(&mut rand::rng());
    let mut encryptor = Encryptor::new(&key, kind).expect("a cipher");
    let mut bytes = Vec::new();
    for piece in plain.chunks(1000) {
        encryptor.update(piece, &mut bytes).expect("encrypted");
    }
    let sums = encryptor.finish(&mut bytes).expect("encrypted");
    let file = MediaFile::new(key, sums, "/v/t62/x?y=1".to_owned(), 1_700_000_000);
    (file, bytes)
}

fn decrypted(file: &MediaFile, kind: MediaKind, bytes: &[u8]) -> Vec<u8> {
    let mut decryptor = Decryptor::new(file, kind).expect("a cipher");
    let mut plain = Vec::new();
    for piece in bytes.chunks(777) {
        decryptor.update(piece, &mut plain).expect("decrypted");
    }
    decryptor.finish(&mut plain).expect("what was promised");
    plain
}

#[test]
fn baileys_opens_our_files_and_we_open_its() {
    let mut baileys = Peer::start("baileys_media.mjs");
    for kind in MediaKind::ALL {
        for length in [0, 1, 16, 1000, 70_001] {
            let plain = plain(length);
            let (file, bytes) = encrypted(kind, &plain);
            let opened = baileys.call(json!({
                "call": "decrypt", "type": kind.media_type(),
                "key": hex::encode(file.key.as_bytes()), "encrypted": hex::encode(&bytes),
            }));
            assert_eq!(unhex(&opened), plain, "{kind:?}, {length} bytes");

            let theirs = baileys.call(json!({
                "call": "encrypt", "type": kind.media_type(), "plain": hex::encode(&plain),
            }));
            let file = MediaFile {
                key: MediaKey::from(array(&theirs["key"])),
                sha256: array(&theirs["sha256"]),
                enc_sha256: array(&theirs["enc_sha256"]),
                length: theirs["length"].as_u64().expect("a length"),
                direct_path: String::new(),
                url: None,
                key_timestamp: 0,
            };
            let bytes = unhex(&theirs["encrypted"]);
            assert_eq!(bytes.len() as u64, encrypted_length(file.length));
            assert_eq!(decrypted(&file, kind, &bytes), plain, "{kind:?}");
        }
    }
}

/// What Baileys calls the message of a kind.
fn field_of(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "imageMessage",
        MediaKind::Video | MediaKind::Gif => "videoMessage",
        MediaKind::RoundVideo => "ptvMessage",
        MediaKind::Audio | MediaKind::Voice => "audioMessage",
        MediaKind::Document => "documentMessage",
        MediaKind::Sticker => "stickerMessage",
    }
}

fn quote() -> Quote {
    Quote {
        stanza_id: "3EB0AABBCC".to_owned(),
        participant: Some(CHAT.to_owned()),
        body: Some(Box::new(Body::text("coming?"))),
    }
}

#[test]
fn baileys_reads_all_that_we_say_of_a_file() {
    let mut baileys = Peer::start("baileys_media.mjs");
    let read = |baileys: &mut Peer, body: &Body| {
        let message = hex::encode(encode(body).expect("sendable"));
        baileys.call(json!({"call": "decode", "message": message}))
    };
    for kind in MediaKind::ALL {
        let (file, _) = encrypted(kind, b"a file");
        let sound = matches!(kind, MediaKind::Audio | MediaKind::Voice);
        let once = !matches!(kind, MediaKind::Document | MediaKind::Sticker);
        let media = Media {
            caption: kind.carries_caption().then(|| "a *caption*".to_owned()),
            file_name: (kind == MediaKind::Document).then(|| "a.bin".to_owned()),
            width: (!sound).then_some(320),
            height: (!sound).then_some(240),
            seconds: Some(7),
            waveform: if sound { vec![0, 50, 100] } else { Vec::new() },
            thumbnail: Some(vec![0xff, 0xd8]),
            view_once: once,
            animated: kind == MediaKind::Sticker,
            context: Context {
                expiration: Some(86_400),
                forwarded: true,
                ..Context::reply(quote())
            },
            ..Media::new(kind, "a/b", file.clone())
        };
        let message = read(&mut baileys, &Body::Media(Box::new(media)));
        let message = match kind {
            MediaKind::Document => &message["documentWithCaptionMessage"]["message"],
            MediaKind::Audio | MediaKind::Voice => {
                &message["viewOnceMessageV2Extension"]["message"]
            }
            MediaKind::Sticker => &message,
            _ => &message["viewOnceMessageV2"]["message"],
        };
        let said = &message[field_of(kind)];
        let base64 = |bytes: &[u8]| json!(STANDARD.encode(bytes));
        for (name, value) in [
            ("mimetype", json!("a/b")),
            ("mediaKey", base64(file.key.as_bytes())),
            ("fileSha256", base64(&file.sha256)),
            ("fileEncSha256", base64(&file.enc_sha256)),
            ("fileLength", json!("6")),
            ("directPath", json!("/v/t62/x?y=1")),
            ("mediaKeyTimestamp", json!("1700000000")),
        ] {
            assert_eq!(said[name], value, "{kind:?}: {name} of {message}");
        }
        let expected = |there: bool, value: Value| if there { value } else { Value::Null };
        let film = matches!(
            kind,
            MediaKind::Video | MediaKind::Gif | MediaKind::RoundVideo
        );
        let seen = film || kind == MediaKind::Image;
        for (name, value) in [
            (
                "caption",
                expected(kind.carries_caption(), json!("a *caption*")),
            ),
            (
                "fileName",
                expected(kind == MediaKind::Document, json!("a.bin")),
            ),
            (
                "width",
                expected(seen || kind == MediaKind::Sticker, json!(320)),
            ),
            (
                "height",
                expected(seen || kind == MediaKind::Sticker, json!(240)),
            ),
            ("seconds", expected(film || sound, json!(7))),
            ("waveform", expected(sound, base64(&[0, 50, 100]))),
            ("ptt", expected(kind == MediaKind::Voice, json!(true))),
            ("gifPlayback", expected(kind == MediaKind::Gif, json!(true))),
            ("viewOnce", expected(once, json!(true))),
            (
                "isAnimated",
                expected(kind == MediaKind::Sticker, json!(true)),
            ),
            (
                "jpegThumbnail",
                expected(seen || kind == MediaKind::Document, base64(&[0xff, 0xd8])),
            ),
        ] {
            assert_eq!(said[name], value, "{kind:?}: {name} of {message}");
        }
        assert_eq!(
            said["contextInfo"],
            json!({
                "stanzaId": "3EB0AABBCC", "participant": CHAT, "expiration": 86_400,
                "quotedMessage": {"conversation": "coming?"},
                "isForwarded": true, "forwardingScore": 1,
            }),
            "{kind:?}"
        );
    }
    let place = Body::Location(Location {
        latitude: 52.5,
        longitude: 13.25,
        name: Some("Platz".to_owned()),
        address: Some("Berlin".to_owned()),
        accuracy_m: Some(12),
        thumbnail: None,
        context: Context::reply(quote()),
    });
    let message = read(&mut baileys, &place);
    let place = &message["locationMessage"];
    assert_eq!(place["degreesLatitude"], json!(52.5));
    assert_eq!(place["degreesLongitude"], json!(13.25));
    assert_eq!(
        (&place["name"], &place["address"]),
        (&json!("Platz"), &json!("Berlin"))
    );
    assert_eq!(place["accuracyInMeters"], 12);
    assert_eq!(place["contextInfo"]["stanzaId"], "3EB0AABBCC");
    let contact = |name: &str| Contact {
        name: name.to_owned(),
        vcard: format!("BEGIN:VCARD\nFN:{name}\nEND:VCARD"),
    };
    let contacts = |contacts| Body::Contacts {
        contacts,
        context: Context::default(),
    };
    let message = read(&mut baileys, &contacts(vec![contact("Bea")]));
    assert_eq!(message["contactMessage"]["displayName"], "Bea");
    let message = read(&mut baileys, &contacts(vec![contact("Bea"), contact("Ed")]));
    let array = &message["contactsArrayMessage"]["contacts"];
    assert_eq!(array[1]["vcard"], "BEGIN:VCARD\nFN:Ed\nEND:VCARD");
    let message = read(&mut baileys, &Body::Timer { seconds: 604_800 });
    assert_eq!(
        message["ephemeralMessage"]["message"]["protocolMessage"],
        json!({"type": "EPHEMERAL_SETTING", "ephemeralExpiration": 604_800})
    );
}

/// What Baileys makes of content in its own words: the body that we read, and the encrypted file.
fn made(baileys: &mut Peer, content: Value, quoted: bool) -> (Body, Vec<u8>) {
    let mut call = json!({"call": "make", "to": CHAT, "content": content});
    if quoted {
        call["expiration"] = json!(86_400);
        call["quoted"] = json!({
            "key": {"remoteJid": CHAT, "fromMe": false, "id": "3EB0AABBCC"},
            "message": hex::encode(encode(&Body::text("coming?")).expect("sendable")),
        });
    }
    let made = baileys.call(call);
    let body = decode(&unhex(&made["message"])).expect("a message");
    let uploaded = if made["uploaded"].is_null() {
        Vec::new()
    } else {
        unhex(&made["uploaded"])
    };
    (body, uploaded)
}

#[test]
fn we_read_every_file_that_baileys_sends() {
    let mut baileys = Peer::start("baileys_media.mjs");
    let file = plain(5000);
    let bytes = json!({"hex": hex::encode(&file)});
    let thumbnail = json!({"hex": "ffd8"});
    let wave = json!({"hex": "00326420"});
    let picture = |content: Value| {
        let mut all = json!({"jpegThumbnail": thumbnail, "width": 320, "height": 240});
        for (name, value) in content.as_object().expect("an object") {
            all[name] = value.clone();
        }
        all
    };
    let film = json!({"video": bytes, "seconds": 9, "caption": "c", "mimetype": "video/mp4"});
    let with = |mut content: Value, name: &str| {
        content[name] = json!(true);
        picture(content)
    };
    let table = [
        (
            MediaKind::Image,
            picture(json!({"image": bytes, "caption": "c"})),
        ),
        (MediaKind::Video, picture(film.clone())),
        (MediaKind::Gif, with(film.clone(), "gifPlayback")),
        (MediaKind::RoundVideo, with(film, "ptv")),
        (
            MediaKind::Audio,
            json!({"audio": bytes, "seconds": 9, "mimetype": "audio/mp4"}),
        ),
        (
            MediaKind::Voice,
            json!({"audio": bytes, "seconds": 9, "ptt": true, "waveform": wave,
                   "mimetype": "audio/ogg; codecs=opus"}),
        ),
        (
            MediaKind::Document,
            json!({"document": bytes, "mimetype": "application/pdf", "fileName": "a.pdf",
                   "caption": "c"}),
        ),
        (
            MediaKind::Sticker,
            json!({"sticker": bytes, "mimetype": "image/webp", "isAnimated": true}),
        ),
    ];
    for (kind, content) in table {
        for (quoted, once) in [(false, false), (true, false), (false, true)] {
            let mut content = content.clone();
            if once {
                content["viewOnce"] = json!(true);
            }
            let (body, uploaded) = made(&mut baileys, content, quoted);
            let Body::Media(media) = body else {
                panic!("{kind:?}: not a file: {body:?}");
            };
            assert_eq!(media.kind, kind);
            assert_eq!(media.file.length, 5000, "{kind:?}");
            assert_eq!(decrypted(&media.file, kind, &uploaded), file, "{kind:?}");
            assert!(media.file.direct_path.starts_with("/v/t/"), "{kind:?}");
            assert!(media.file.key_timestamp > 1_700_000_000, "{kind:?}");
            // Of a round video Baileys sends the file alone.
            let described = kind != MediaKind::RoundVideo;
            if kind.carries_caption() && described {
                assert_eq!(media.caption.as_deref(), Some("c"), "{kind:?}");
            }
            if matches!(kind, MediaKind::Voice) {
                assert_eq!(media.waveform, [0, 50, 100, 32]);
            }
            match kind {
                MediaKind::Image => assert_eq!(media.width, Some(320)),
                MediaKind::Document => assert_eq!(media.file_name.as_deref(), Some("a.pdf")),
                MediaKind::Sticker => assert!(media.animated),
                _ => assert_eq!(media.seconds, described.then_some(9), "{kind:?}"),
            }
            let can_be_once = !matches!(kind, MediaKind::Document | MediaKind::Sticker);
            assert_eq!(media.view_once, once && can_be_once, "{kind:?}");
            let context = &media.context;
            assert_eq!(context.expiration, quoted.then_some(86_400), "{kind:?}");
            let answered = context.reply_to.as_ref();
            assert_eq!(
                answered.map(|quote| quote.stanza_id.as_str()),
                quoted.then_some("3EB0AABBCC"),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn we_read_everything_else_that_baileys_sends() {
    let mut baileys = Peer::start("baileys_media.mjs");
    let key = json!({"remoteJid": CHAT, "fromMe": true, "id": "3EB0AA"});
    let target = MessageKey {
        id: "3EB0AA".to_owned(),
        from_me: true,
        remote_jid: Some(CHAT.to_owned()),
        participant: None,
    };
    let mut read = |content: Value, quoted: bool| made(&mut baileys, content, quoted).0;

    let place =
        json!({"location": {"degreesLatitude": 52.5, "degreesLongitude": 13.25, "name": "n"}});
    match read(place, true) {
        Body::Location(place) => {
            assert!((place.latitude, place.longitude) == (52.5, 13.25));
            assert_eq!(place.name.as_deref(), Some("n"));
            assert!(place.context.reply_to.is_some());
        }
        other => panic!("not a place: {other:?}"),
    }
    for names in [&["Bea"][..], &["Bea", "Ed"]] {
        let contacts: Vec<_> = names
            .iter()
            .map(|name| json!({"displayName": name, "vcard": "BEGIN:VCARD"}))
            .collect();
        let content = json!({"contacts": {"displayName": "x", "contacts": contacts}});
        match read(content, true) {
            Body::Contacts { contacts, context } => {
                let read: Vec<_> = contacts
                    .iter()
                    .map(|contact| contact.name.as_str())
                    .collect();
                assert_eq!(read, names);
                assert!(context.reply_to.is_some());
            }
            other => panic!("not contacts: {other:?}"),
        }
    }
    match read(json!({"react": {"key": key, "text": "👍"}}), false) {
        Body::Reaction {
            target: on, emoji, ..
        } => assert_eq!((on, emoji.as_str()), (target.clone(), "👍")),
        other => panic!("not a reaction: {other:?}"),
    }
    assert!(
        read(json!({"delete": key}), false)
            == Body::Revoke {
                target: target.clone()
            }
    );
    match read(json!({"text": "better", "edit": key}), false) {
        Body::Edit {
            target: on, body, ..
        } => assert!(on == target && *body == Body::text("better")),
        other => panic!("not an edit: {other:?}"),
    }
    for (setting, seconds) in [(json!(604_800), 604_800), (json!(false), 0)] {
        let body = read(json!({"disappearingMessagesInChat": setting}), false);
        assert!(body == Body::Timer { seconds });
    }
    match read(json!({"text": "yes"}), true) {
        Body::Text { text, context } => {
            assert_eq!(text, "yes");
            let quote = context.reply_to.expect("a reply");
            assert!(quote.body.as_deref() == Some(&Body::text("coming?")));
            assert_eq!(context.expiration, Some(86_400));
        }
        other => panic!("not a text: {other:?}"),
    }
    for (content, name) in [
        (json!({"poll": {"name": "?", "values": ["a", "b"]}}), "poll"),
        (
            json!({"groupInvite": {"inviteCode": "a", "jid": "1@g.us", "subject": "b"}}),
            "group invitation",
        ),
        (json!({"pin": key, "type": 1}), "pin"),
    ] {
        assert_eq!(read(content, false).kind(), name);
    }
}
