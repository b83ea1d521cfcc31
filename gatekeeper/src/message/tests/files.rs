//! Files as other clients write them, whole and in part.

use waproto::{
    buffa::MessageField,
    codec,
    whatsapp::{self as schema, message as kind},
};

use super::{super::*, field, key};
use crate::media::MediaKey;

fn image() -> kind::ImageMessage {
    kind::ImageMessage {
        mimetype: Some("image/jpeg".to_owned()),
        caption: Some("a caption".to_owned()),
        media_key: Some(vec![1; 32]),
        file_sha256: Some(vec![2; 32]),
        file_enc_sha256: Some(vec![3; 32]),
        file_length: Some(4),
        direct_path: Some("/v/t62.7118-24/x".to_owned()),
        ..Default::default()
    }
}

fn bytes(image: kind::ImageMessage) -> Vec<u8> {
    codec::message_to_vec(&schema::Message {
        image_message: MessageField::some(image),
        ..Default::default()
    })
}

fn media(bytes: &[u8]) -> Media {
    match decode(bytes) {
        Ok(Body::Media(media)) => *media,
        other => panic!("not a file: {other:?}"),
    }
}

#[test]
fn an_image_is_read() {
    let media = media(&bytes(image()));
    assert_eq!(
        (media.kind, media.mimetype.as_str(), media.view_once),
        (MediaKind::Image, "image/jpeg", false)
    );
    assert_eq!(media.caption.as_deref(), Some("a caption"));
    assert_eq!(media.file.key, MediaKey::from([1; 32]));
    assert_eq!((media.file.length, media.file.enc_sha256), (4, [3; 32]));
    assert_eq!(media.file.direct_path, "/v/t62.7118-24/x");
}

#[test]
fn view_once_is_said_by_a_wrapper_or_by_the_file() {
    let plain = bytes(image());
    for wrapper in [37, 55, 59] {
        assert!(media(&field(wrapper, &field(1, &plain))).view_once);
        let disappearing = field(40, &field(1, &field(wrapper, &field(1, &plain))));
        assert!(media(&disappearing).view_once);
    }
    assert!(!media(&field(40, &field(1, &plain))).view_once);
    let flagged = bytes(kind::ImageMessage {
        view_once: Some(true),
        ..image()
    });
    assert!(media(&flagged).view_once);
    // Ours says it both ways.
    let ours = encode(&Body::Media(Box::new(media(&flagged)))).expect("sendable");
    assert_eq!(ours[..2], [0xba, 0x03], "field 55");
}

#[test]
fn a_lottie_sticker_is_a_sticker_that_moves() {
    let sticker = codec::message_to_vec(&schema::Message {
        sticker_message: MessageField::some(kind::StickerMessage {
            mimetype: Some("application/was".to_owned()),
            media_key: Some(vec![1; 32]),
            file_sha256: Some(vec![2; 32]),
            file_enc_sha256: Some(vec![3; 32]),
            file_length: Some(4),
            direct_path: Some("/v/t".to_owned()),
            is_lottie: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    });
    let media = media(&field(74, &field(1, &sticker)));
    assert!(media.kind == MediaKind::Sticker && media.animated);
}

#[test]
fn a_file_that_cannot_be_fetched_is_named() {
    let changes: [fn(&mut kind::ImageMessage); 6] = [
        |image| image.media_key = None,
        |image| image.media_key = Some(vec![1; 31]),
        |image| image.file_sha256 = Some(Vec::new()),
        |image| image.file_enc_sha256 = None,
        |image| image.file_length = None,
        |image| image.direct_path = None,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut image = image();
        change(&mut image);
        assert!(
            matches!(decode(&bytes(image)), Ok(Body::Unknown { kind }) if kind == "image"),
            "change {number}"
        );
    }
    // The place may be told as a whole address alone; its host does not matter.
    let by_url = kind::ImageMessage {
        direct_path: None,
        url: Some("https://elsewhere.example/v/t?x=1".to_owned()),
        ..image()
    };
    assert_eq!(media(&bytes(by_url)).file.direct_path, "/v/t?x=1");
}

#[test]
fn a_caption_is_edited_with_the_file_or_alone() {
    let edit = |image| {
        let protocol = kind::ProtocolMessage {
            key: MessageField::some(schema::MessageKey {
                id: Some("3EB0AA".to_owned()),
                from_me: Some(true),
                ..Default::default()
            }),
            r#type: Some(kind::protocol_message::Type::MESSAGE_EDIT),
            edited_message: MessageField::some(schema::Message {
                image_message: MessageField::some(image),
                ..Default::default()
            }),
            ..Default::default()
        };
        let message = schema::Message {
            protocol_message: MessageField::some(protocol),
            ..Default::default()
        };
        match decode(&field(58, &field(1, &codec::message_to_vec(&message)))) {
            Ok(Body::Edit { target, body, .. }) => {
                assert_eq!(target.id, "3EB0AA");
                *body
            }
            other => panic!("not an edit: {other:?}"),
        }
    };
    let alone = kind::ImageMessage {
        caption: Some("new".to_owned()),
        ..Default::default()
    };
    assert!(edit(alone) == Body::text("new"));
    assert!(matches!(edit(image()), Body::Media(_)));
}

#[test]
fn a_text_under_sound_cannot_be_sent() {
    let file = media(&bytes(image())).file;
    for kind in MediaKind::ALL {
        let body = Body::Media(Box::new(Media {
            caption: Some("la".to_owned()),
            ..Media::new(kind, "a/b", file.clone())
        }));
        assert_eq!(encode(&body).is_ok(), kind.carries_caption(), "{kind:?}");
    }
}

#[test]
fn a_waveform_has_64_samples_of_at_most_100() {
    let voice = |waveform: Vec<u8>| {
        media(&codec::message_to_vec(&schema::Message {
            audio_message: MessageField::some(kind::AudioMessage {
                ptt: Some(true),
                media_key: Some(vec![1; 32]),
                file_sha256: Some(vec![2; 32]),
                file_enc_sha256: Some(vec![3; 32]),
                file_length: Some(4),
                direct_path: Some("/v/t".to_owned()),
                waveform: Some(waveform),
                ..Default::default()
            }),
            ..Default::default()
        }))
        .waveform
    };
    assert_eq!(voice(vec![0, 100, 200]), [0, 100, 100]);
    let long: Vec<u8> = (0..128).map(|n| n / 2).collect();
    assert_eq!(voice(long), (0..64).collect::<Vec<u8>>());
    assert_eq!(voice(vec![7; 1_000_000]), [7; 64]);
}

#[test]
fn a_place_is_on_earth_and_stands_still() {
    let place = |latitude, longitude, is_live| {
        decode(&codec::message_to_vec(&schema::Message {
            location_message: MessageField::some(kind::LocationMessage {
                degrees_latitude: Some(latitude),
                degrees_longitude: Some(longitude),
                is_live,
                ..Default::default()
            }),
            ..Default::default()
        }))
        .map(|body| body.word())
    };
    assert_eq!(place(52.5, 13.4, None), Ok("location"));
    for (latitude, longitude) in [(91.0, 0.0), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
        assert_eq!(place(latitude, longitude, None), Ok("unknown"));
    }
    assert_eq!(place(52.5, 13.4, Some(true)), Ok("unknown"));
}

#[test]
fn stanza_attributes_of_files() {
    let file = media(&bytes(image())).file;
    let attributes = |kind| {
        let body = Body::Media(Box::new(Media::new(kind, "", file.clone())));
        (body.stanza_type(), body.media_type())
    };
    assert_eq!(attributes(MediaKind::Voice), ("media", Some("ptt")));
    assert_eq!(attributes(MediaKind::Gif), ("media", Some("gif")));
    let contact = Contact::default();
    let contacts = |contacts: Vec<Contact>| {
        let context = Context::default();
        Body::Contacts { contacts, context }.media_type()
    };
    assert_eq!(contacts(vec![contact.clone()]), Some("vcard"));
    assert_eq!(
        contacts(vec![contact.clone(), contact]),
        Some("contact_array")
    );
    assert_eq!(
        encode(&Body::Contacts {
            contacts: Vec::new(),
            context: Context::default()
        }),
        Err(Unsendable {
            kind: "contact".to_owned()
        })
    );
    assert_eq!(Body::Revoke { target: key("A") }.media_type(), None);
    for kind in MediaKind::ALL {
        assert_eq!(MediaKind::from_word(kind.word()), Some(kind));
    }
}
