//! Round trips, wire shapes, and what other clients may send.

use proptest::prelude::*;
use waproto::{
    buffa::MessageField,
    codec,
    whatsapp::{self as schema, message as kind},
};

use super::*;
use crate::media::MediaKey;

mod files;

fn key(id: &str) -> MessageKey {
    MessageKey {
        id: id.to_owned(),
        from_me: true,
        remote_jid: Some("1-10853634039893@interop".to_owned()),
        participant: None,
    }
}

/// A field with a length: number (below 2048), bytes.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let tag = number << 3 | 2;
    let mut bytes = Vec::new();
    waproto::buffa::encoding::encode_varint(u64::from(tag), &mut bytes);
    waproto::buffa::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn a_plain_text_is_one_field() {
    let bytes = encode(&Body::text("hi")).expect("sendable");
    assert_eq!(bytes, b"\x0a\x02hi");
    assert_eq!(decode(&bytes), Ok(Body::text("hi")));
}

#[test]
fn wire_shapes() {
    let reply = Body::Text {
        text: "yes".to_owned(),
        context: Context::reply(Quote {
            stanza_id: "3EB0AA".to_owned(),
            participant: Some("4915112345678@s.whatsapp.net".to_owned()),
            body: Some(Box::new(Body::text("coming?"))),
        }),
    };
    let reaction = Body::Reaction {
        target: key("3EB0AA"),
        emoji: "👍".to_owned(),
        timestamp_ms: 1_700_000,
    };
    let revoke = Body::Revoke {
        target: key("3EB0AA"),
    };
    let edit = Body::Edit {
        target: key("3EB0AA"),
        body: Box::new(Body::text("better")),
        timestamp_ms: 1_700_000,
    };
    let shapes: Vec<String> = [reply, reaction, revoke, edit]
        .iter()
        .map(|body| hex::encode(encode(body).expect("sendable")))
        .collect();
    insta::assert_json_snapshot!(shapes);
}

#[test]
fn wrappers_are_taken_off() {
    let text = encode(&Body::text("inside")).expect("sendable");
    for number in [37, 40, 53, 55, 58, 59] {
        let wrapped = field(number, &field(1, &text));
        assert_eq!(decode(&wrapped), Ok(Body::text("inside")), "field {number}");
        // Disappearing and view-once at the same time.
        let twice = field(40, &field(1, &wrapped));
        assert_eq!(
            decode(&twice),
            Ok(Body::text("inside")),
            "field {number} in 40"
        );
    }
    // An empty wrapper, and one that is wrapped without end.
    assert_eq!(
        decode(&field(40, &[])).map(|body| body.kind().to_owned()),
        Ok("disappearing message".to_owned())
    );
    let mut deep = text;
    for _ in 0..2000 {
        deep = field(40, &field(1, &deep));
    }
    assert!(
        decode(&deep).is_ok_and(|body| body.kind() == "disappearing message")
            || decode(&deep).is_err()
    );
}

#[test]
fn other_kinds_are_named() {
    let image = schema::Message {
        image_message: MessageField::some(kind::ImageMessage {
            caption: Some("a picture".to_owned()),
            ..Default::default()
        }),
        message_context_info: MessageField::some(schema::MessageContextInfo::default()),
        ..Default::default()
    };
    let image = codec::message_to_vec(&image);
    let named = |bytes: &[u8]| decode(bytes).map(|body| body.kind().to_owned());
    assert_eq!(named(&image), Ok("image".to_owned()));
    assert_eq!(named(&field(55, &field(1, &image))), Ok("image".to_owned()));
    assert_eq!(named(&field(64, b"")), Ok("poll".to_owned()));
    assert_eq!(
        named(&field(140, b"from the future")),
        Ok("field 140".to_owned())
    );
    assert_eq!(named(&field(2, b"")), Ok("group key".to_owned()));
    assert_eq!(named(b""), Ok("empty message".to_owned()));
    assert_eq!(named(&field(18, b"")), Ok("live location".to_owned()));
    // A file without its key cannot be fetched.
    let image = decode(&image).expect("decoded");
    assert_eq!(
        encode(&image),
        Err(Unsendable {
            kind: "image".to_owned()
        })
    );
}

#[test]
fn unknown_fields_beside_the_text_do_not_matter() {
    let mut bytes = encode(&Body::text("hi")).expect("sendable");
    bytes.extend(field(1500, b"something new"));
    bytes.extend([0xf8, 0x7f, 0x05]); // field 2047, varint 5
    assert_eq!(decode(&bytes), Ok(Body::text("hi")));
}

#[test]
fn a_protocol_message_of_unknown_type_deletes_nothing() {
    let with_type = |number: u8| {
        let mut protocol = field(1, &field(3, b"3EB0AA"));
        protocol.extend([0x10, number]);
        field(12, &protocol)
    };
    assert!(matches!(decode(&with_type(0)), Ok(Body::Revoke { .. })));
    let kind = |bytes: &[u8]| decode(bytes).map(|body| body.kind().to_owned());
    assert_eq!(kind(&with_type(120)), Ok("protocol message".to_owned()));
    assert_eq!(
        kind(&field(12, &field(1, &field(3, b"3EB0AA")))),
        Ok("protocol message".to_owned())
    );
    assert_eq!(
        kind(&with_type(3)),
        Ok("disappearing-messages setting".to_owned())
    );
}

#[test]
fn a_reaction_to_nothing_is_not_a_reaction() {
    let reaction = field(46, &field(2, "👍".as_bytes()));
    assert!(matches!(decode(&reaction), Ok(Body::Unknown { kind }) if kind == "reaction"));
}

#[test]
fn quotes_of_what_is_not_carried_keep_their_reference() {
    let quoted = schema::Message {
        image_message: MessageField::some(kind::ImageMessage::default()),
        ..Default::default()
    };
    let reply = schema::Message {
        extended_text_message: MessageField::some(kind::ExtendedTextMessage {
            text: Some("nice".to_owned()),
            context_info: MessageField::some(schema::ContextInfo {
                stanza_id: Some("3EB0AA".to_owned()),
                quoted_message: MessageField::some(quoted),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let Ok(Body::Text { text, context }) = decode(&codec::message_to_vec(&reply)) else {
        panic!("a text");
    };
    assert_eq!(text, "nice");
    let quote = context.reply_to.expect("a reply");
    assert_eq!(quote.stanza_id, "3EB0AA");
    assert_eq!(quote.body.as_deref().map(Body::kind), Some("image"));
    let again = Body::Text {
        text,
        context: Context::reply(quote),
    };
    let bytes = encode(&again).expect("sendable");
    assert!(decode(&bytes).is_ok_and(|body| {
        body.context()
            .is_some_and(|context| context.reply_to.is_some())
    }));
}

#[test]
fn garbage_is_refused() {
    for bytes in [
        &b"\xff"[..],
        b"\x0a\x05hi",
        b"\x0a",
        b"\x00\x00",
        b"\x0a\x02\xff\xfe",
    ] {
        assert!(decode(bytes).is_err(), "{bytes:x?}");
    }
}

#[test]
fn stanza_attributes_follow_the_content() {
    let react = |emoji: &str| Body::Reaction {
        target: key("A"),
        emoji: emoji.to_owned(),
        timestamp_ms: 0,
    };
    let attributes = |body: &Body| {
        (
            body.stanza_type(),
            body.stanza_edit(),
            body.hidden_when_undecryptable(),
        )
    };
    assert_eq!(attributes(&Body::text("x")), ("text", None, false));
    assert_eq!(attributes(&react("👍")), ("reaction", None, true));
    assert_eq!(attributes(&react("")), ("reaction", Some("7"), true));
    assert_eq!(
        attributes(&Body::Revoke { target: key("A") }),
        ("text", Some("7"), true)
    );
}

#[test]
fn content_is_not_shown() {
    let body = Body::Text {
        text: "a secret".to_owned(),
        context: Context::reply(Quote {
            stanza_id: "A".to_owned(),
            participant: Some("4915112345678@s.whatsapp.net".to_owned()),
            body: Some(Box::new(Body::text("a secret"))),
        }),
    };
    let shown = format!("{body:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("4915"),
        "{shown}"
    );
}

fn keys() -> impl Strategy<Value = MessageKey> {
    (
        "[0-9A-F]{1,32}",
        any::<bool>(),
        any::<Option<String>>(),
        any::<Option<String>>(),
    )
        .prop_map(|(id, from_me, remote_jid, participant)| MessageKey {
            id,
            from_me,
            remote_jid,
            participant,
        })
}

// Strategies are boxed: nested by value they do not fit on the stack of a test.

fn some_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("\\PC{1,20}")
}

fn contexts() -> BoxedStrategy<Context> {
    let quote = (
        "[0-9A-F]{1,32}",
        any::<Option<String>>(),
        prop::option::of(prop_oneof![
            any::<String>().prop_map(Body::text),
            media(Just(Context::default()).boxed()).prop_map(|media| Body::Media(Box::new(media))),
            locations(Just(Context::default()).boxed()).prop_map(Body::Location),
        ]),
    )
        .prop_map(|(stanza_id, participant, body)| Quote {
            stanza_id,
            participant,
            body: body.map(Box::new),
        });
    (
        prop::option::of(quote),
        prop::option::of(1..=u32::MAX),
        any::<bool>(),
    )
        .prop_map(|(reply_to, expiration, forwarded)| Context {
            reply_to,
            expiration,
            forwarded,
        })
        .boxed()
}

fn files() -> BoxedStrategy<MediaFile> {
    (
        any::<[[u8; 32]; 3]>(),
        any::<u64>(),
        "/v/t[a-z0-9./?=&]{1,40}",
        some_text(),
        any::<i64>(),
    )
        .prop_map(
            |([key, sha256, enc_sha256], length, direct_path, url, key_timestamp)| MediaFile {
                key: MediaKey::from(key),
                sha256,
                enc_sha256,
                length,
                direct_path,
                url,
                key_timestamp,
            },
        )
        .boxed()
}

/// Files with all that their kind can carry.
fn media(contexts: BoxedStrategy<Context>) -> BoxedStrategy<Media> {
    let said = (some_text(), some_text(), any::<[Option<u32>; 3]>());
    let seen = (
        prop::collection::vec(0..=100_u8, 0..=64),
        prop::option::of(prop::collection::vec(any::<u8>(), 1..20)),
        any::<[bool; 2]>(),
    );
    let kind = prop::sample::select(MediaKind::ALL.to_vec());
    (kind, "[a-z/; =]{0,20}", files(), said, seen, contexts)
        .prop_map(
            |(
                kind,
                mimetype,
                file,
                said,
                (waveform, thumbnail, [view_once, animated]),
                context,
            )| {
                use MediaKind::{Audio, Document, Gif, Image, RoundVideo, Sticker, Video, Voice};
                let (caption, file_name, [width, height, seconds]) = said;
                let sound = matches!(kind, Audio | Voice);
                let film = matches!(kind, Video | Gif | RoundVideo);
                let seen = film || matches!(kind, Image);
                let sized = seen || kind == Sticker;
                Media {
                    caption: caption.filter(|_| kind.carries_caption()),
                    file_name: file_name.filter(|_| kind == Document),
                    width: width.filter(|_| sized),
                    height: height.filter(|_| sized),
                    seconds: seconds.filter(|_| sound || film),
                    waveform: if sound { waveform } else { Vec::new() },
                    thumbnail: thumbnail.filter(|_| seen || kind == Document),
                    view_once: view_once && (sound || seen),
                    animated: animated && kind == Sticker,
                    context,
                    ..Media::new(kind, mimetype, file)
                }
            },
        )
        .boxed()
}

fn locations(contexts: BoxedStrategy<Context>) -> BoxedStrategy<Location> {
    (
        (-90.0..=90.0_f64, -180.0..=180.0_f64),
        some_text(),
        some_text(),
        any::<Option<u32>>(),
        prop::option::of(prop::collection::vec(any::<u8>(), 1..20)),
        contexts,
    )
        .prop_map(
            |((latitude, longitude), name, address, accuracy_m, thumbnail, context)| Location {
                latitude,
                longitude,
                name,
                address,
                accuracy_m,
                thumbnail,
                context,
            },
        )
        .boxed()
}

fn texts() -> BoxedStrategy<Body> {
    (any::<String>(), contexts())
        .prop_map(|(text, context)| Body::Text { text, context })
        .boxed()
}

/// What stands in a chat by itself.
fn contents() -> BoxedStrategy<Body> {
    let contact = any::<[String; 2]>().prop_map(|[name, vcard]| Contact { name, vcard });
    prop_oneof![
        texts(),
        media(contexts()).prop_map(|media| Body::Media(Box::new(media))),
        locations(contexts()).prop_map(Body::Location),
        (prop::collection::vec(contact, 1..4), contexts())
            .prop_map(|(contacts, context)| Body::Contacts { contacts, context }),
    ]
    .boxed()
}

fn bodies() -> BoxedStrategy<Body> {
    let replacement = prop_oneof![
        texts(),
        media(contexts()).prop_map(|media| Body::Media(Box::new(media))),
    ];
    prop_oneof![
        4 => contents(),
        1 => (keys(), any::<String>(), any::<i64>()).prop_map(|(target, emoji, timestamp_ms)| {
            Body::Reaction {
                target,
                emoji,
                timestamp_ms,
            }
        }),
        1 => keys().prop_map(|target| Body::Revoke { target }),
        1 => (keys(), replacement, any::<i64>()).prop_map(|(target, body, timestamp_ms)| {
            Body::Edit {
                target,
                body: Box::new(body),
                timestamp_ms,
            }
        }),
        1 => any::<u32>().prop_map(|seconds| Body::Timer { seconds }),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn round_trips(body in bodies()) {
        let bytes = encode(&body).expect("sendable");
        // `Body` compares content although its `Debug` hides it.
        prop_assert!(decode(&bytes) == Ok(body));
    }

    #[test]
    fn never_panics(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }

    #[test]
    fn truncation_never_panics(body in bodies(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&body).expect("sendable");
        let cut = cut.index(bytes.len() + 1);
        let _ = decode(&bytes[..cut]);
    }
}
