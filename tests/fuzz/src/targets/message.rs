//! What is in a message.

use gatekeeper::{
    media::MediaKey,
    message::{self, Body, Contact, Context, Location, Media, MediaFile, MediaKind, Quote},
    padding::{pad, unpad},
};

use super::{Decoder, Target, answer, magnitude};

/// Files of all kinds, places and people, each as an answer to a text.
fn people_send() -> Vec<Body> {
    let file = MediaFile {
        key: MediaKey::from([1; 32]),
        sha256: [2; 32],
        enc_sha256: [3; 32],
        length: 4,
        direct_path: "/v/t".to_owned(),
        url: None,
        key_timestamp: 5,
    };
    let context = Context {
        expiration: Some(86_400),
        forwarded: true,
        ..Context::reply(Quote {
            stanza_id: "3EB0".to_owned(),
            participant: Some("1@s.whatsapp.net".to_owned()),
            body: Some(Box::new(Body::text("why"))),
        })
    };
    let mut bodies: Vec<_> = MediaKind::ALL
        .into_iter()
        .map(|kind| {
            Body::Media(Box::new(Media {
                caption: kind.carries_caption().then(|| "see".to_owned()),
                view_once: kind == MediaKind::Voice,
                context: context.clone(),
                ..Media::new(kind, "a/b", file.clone())
            }))
        })
        .collect();
    let contact = Contact {
        name: "Bea".to_owned(),
        vcard: "BEGIN:VCARD".to_owned(),
    };
    bodies.extend([
        Body::Location(Location {
            latitude: 52.5,
            longitude: 13.4,
            name: Some("here".to_owned()),
            context: context.clone(),
            ..Location::default()
        }),
        Body::Contacts {
            contacts: vec![contact.clone()],
            context: context.clone(),
        },
        Body::Contacts {
            contacts: vec![contact.clone(), contact],
            context,
        },
        Body::Timer { seconds: 604_800 },
    ]);
    bodies
}

pub(super) const BODY: Target = Target {
    name: "message-body",
    about: "the protobuf of a message",
    words: &[
        b"\x0a\x05hello",
        b"\x32\x07\x0a\x05hello",
        b"\xf2\x02",
        b"\x62\x04",
        b"\x8a\x01",
        b"\x9a\x03",
        b"\x0a\x1b14155551001@s.whatsapp.net",
        b"\x10\x01",
        b"\x1a\x04\x33\x45\x42\x30",
        b"\xff\xff\xff\xff\x0f",
        // Files: kinds, keys and hashes, wrappers.
        b"\x1a\x24",
        b"\x4a\x24",
        b"\x42\x24",
        b"\x3a\x24",
        b"\x42\x20",
        b"\x92\x04",
        b"\xba\x03",
        b"\xaa\x03",
        b"\xc2\x02",
        b"\x8a\x01\x07\x0a\x043EB0",
    ],
    start: || {
        let bodies = [
            Body::text("hello"),
            Body::Reaction {
                target: Default::default(),
                emoji: "+".into(),
                timestamp_ms: 5,
            },
            Body::Revoke {
                target: Default::default(),
            },
            Body::Edit {
                target: Default::default(),
                body: Box::new(Body::text("hallo")),
                timestamp_ms: 7,
            },
        ];
        let seeds = bodies
            .iter()
            .chain(&people_send())
            .filter_map(|body| message::encode(body).ok())
            .collect();
        Decoder::new(seeds, |input| {
            answer(message::decode(input), |body| {
                // A quoted message of a kind that is not known is written as an empty text.
                let lossy = body
                    .context()
                    .and_then(|context| context.reply_to.as_ref()?.body.as_deref())
                    .is_some_and(|quoted| message::encode(quoted).is_err());
                if !lossy && let Ok(written) = message::encode(&body) {
                    let read = message::decode(&written);
                    assert!(
                        read.is_ok_and(|read| read == body),
                        "a {} changes",
                        body.kind()
                    );
                }
                // Kinds that are not known are named by their number.
                body.kind().replace(|c: char| c.is_ascii_digit(), "")
            })
        })
    },
};

pub(super) const PADDING: Target = Target {
    name: "padding",
    about: "the padding of a message",
    words: &[b"\x01", b"\x10\x10\x10", b"\x00", b"\xff"],
    start: || {
        let seeds = (0..=255)
            .step_by(15)
            .map(|random| pad(b"content".to_vec(), random))
            .collect();
        Decoder::new(seeds, |input| {
            answer(unpad(input), |content| {
                assert!(input.starts_with(content));
                magnitude(input.len() - content.len()).to_string()
            })
        })
    },
};
