//! Message protobufs, padding and the login payload against Baileys' own.

use gatekeeper::{
    login::{ClientPayload, InteropData},
    message::{Body, Context, MessageKey, Quote, decode, encode},
    padding::{pad, unpad},
};
use serde_json::{Value, json};

use crate::peer::Peer;

const CHAT: &str = "1-10853634039893@interop";

fn key() -> MessageKey {
    MessageKey {
        id: "3EB0AABBCC".to_owned(),
        from_me: true,
        remote_jid: Some(CHAT.to_owned()),
        participant: None,
    }
}

/// Every body that we send, and what it is in Baileys' words.
fn table() -> Vec<(Body, Value)> {
    let key_json = json!({"remoteJid": CHAT, "fromMe": true, "id": "3EB0AABBCC"});
    let edited = json!({
        "key": key_json,
        "type": "MESSAGE_EDIT",
        "editedMessage": {"conversation": "better"},
        "timestampMs": "1700000000000",
    });
    vec![
        (
            Body::text("hello 👋 äöü"),
            json!({"conversation": "hello 👋 äöü"}),
        ),
        (
            Body::Text {
                text: "yes".to_owned(),
                context: Context::reply(Quote {
                    stanza_id: "3EB0AABBCC".to_owned(),
                    participant: Some(CHAT.to_owned()),
                    body: Some(Box::new(Body::text("coming?"))),
                }),
            },
            json!({"extendedTextMessage": {"text": "yes", "contextInfo": {
                "stanzaId": "3EB0AABBCC",
                "participant": CHAT,
                "quotedMessage": {"conversation": "coming?"},
            }}}),
        ),
        (
            Body::Reaction {
                target: key(),
                emoji: "👍".to_owned(),
                timestamp_ms: 1_700_000_000_000,
            },
            json!({"reactionMessage": {
                "key": key_json, "text": "👍", "senderTimestampMs": "1700000000000",
            }}),
        ),
        (
            Body::Reaction {
                target: key(),
                emoji: String::new(),
                timestamp_ms: 0,
            },
            json!({"reactionMessage": {"key": key_json, "text": "", "senderTimestampMs": "0"}}),
        ),
        (
            Body::Revoke { target: key() },
            json!({"protocolMessage": {"key": key_json, "type": "REVOKE"}}),
        ),
        (
            Body::Edit {
                target: key(),
                body: Box::new(Body::text("better")),
                timestamp_ms: 1_700_000_000_000,
            },
            json!({"editedMessage": {"message": {"protocolMessage": edited}}}),
        ),
    ]
}

fn baileys_encode(baileys: &mut Peer, message: &Value) -> Vec<u8> {
    let hex = baileys.call(json!({"call": "encode", "type": "Message", "message": message}));
    hex::decode(hex.as_str().expect("hex")).expect("hex")
}

#[test]
fn baileys_reads_what_we_write_and_the_other_way_round() {
    let mut baileys = Peer::start("baileys_proto.mjs");
    for (body, message) in table() {
        let ours = encode(&body).expect("sendable");
        let call = json!({"call": "decode", "type": "Message", "message": hex::encode(&ours)});
        assert_eq!(baileys.call(call), message);
        let theirs = baileys_encode(&mut baileys, &message);
        assert_eq!(theirs, ours, "{message}");
        assert!(decode(&theirs) == Ok(body), "{message}");
    }
}

#[test]
fn wrapped_and_strange_messages_of_baileys_are_read() {
    let mut baileys = Peer::start("baileys_proto.mjs");
    let text = json!({"extendedTextMessage": {
        "text": "a link https://example.org", "matchedText": "https://example.org",
        "title": "Example", "previewType": "NONE",
    }});
    let secret = json!({"messageSecret": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="});
    for wrapper in [
        "ephemeralMessage",
        "viewOnceMessage",
        "viewOnceMessageV2",
        "viewOnceMessageV2Extension",
        "documentWithCaptionMessage",
    ] {
        let message = json!({wrapper: {"message": text}, "messageContextInfo": secret});
        let bytes = baileys_encode(&mut baileys, &message);
        assert!(
            decode(&bytes) == Ok(Body::text("a link https://example.org")),
            "{wrapper}"
        );
    }
    for (message, kind) in [
        (
            json!({"imageMessage": {"caption": "x", "mimetype": "image/jpeg"}}),
            "image",
        ),
        (
            json!({"audioMessage": {"ptt": true, "seconds": 3}}),
            "audio",
        ),
        (
            json!({"pollCreationMessageV3": {"name": "when?"}, "messageContextInfo": secret}),
            "poll",
        ),
        (
            json!({"viewOnceMessageV2": {"message": {"videoMessage": {"seconds": 1}}}}),
            "video",
        ),
        (
            json!({"protocolMessage": {"type": "EPHEMERAL_SETTING", "ephemeralExpiration": 86400}}),
            "disappearing-messages setting",
        ),
        (
            json!({"liveLocationMessage": {"degreesLatitude": 52.5}}),
            "live location",
        ),
    ] {
        let bytes = baileys_encode(&mut baileys, &message);
        assert_eq!(
            decode(&bytes).map(|body| body.kind().to_owned()),
            Ok(kind.to_owned())
        );
    }
}

#[test]
fn padding_is_the_same() {
    let mut baileys = Peer::start("baileys_proto.mjs");
    for length in [0, 1, 15, 16, 17, 1000] {
        let content = vec![7; length];
        let padded = baileys.call(json!({"call": "pad", "content": hex::encode(&content)}));
        let padded = hex::decode(padded.as_str().expect("hex")).expect("hex");
        assert_eq!(unpad(&padded), Ok(content.as_slice()));
        for random in 0..16 {
            let padded = pad(content.clone(), random);
            let call = json!({"call": "unpad", "content": hex::encode(padded)});
            assert_eq!(baileys.call(call), json!(hex::encode(&content)));
        }
    }
}

#[test]
fn the_login_payload_is_the_same() {
    let mut baileys = Peer::start("baileys_proto.mjs");
    let ours = ClientPayload::interop(InteropData {
        account_id: 10_853_634_039_893,
        token: b"jwt".to_vec(),
        enable_read_receipts: true,
    });
    let theirs = json!({
        "passive": false,
        "product": "INTEROP",
        "interopData": {"accountId": "10853634039893", "token": "and0", "enableReadReceipts": true},
    });
    let call = json!({"call": "encode", "type": "ClientPayload", "message": theirs});
    assert_eq!(baileys.call(call), json!(hex::encode(ours.to_bytes())));
    let bytes = hex::encode(ours.to_bytes());
    let call = json!({"call": "decode", "type": "ClientPayload", "message": bytes});
    assert_eq!(baileys.call(call), theirs);
}
