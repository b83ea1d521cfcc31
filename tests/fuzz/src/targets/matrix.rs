//! What the homeserver sends, and translation both ways.

use gatehouse::{appservice::RawTransaction, capabilities::Capabilities, translate};
use gatekeeper::{
    message::{self, Body},
    profile::Profile,
};
use ruma::events::room::message::RoomMessageEventContent;

use super::{Decoder, Target, answer, magnitude};

pub(super) const TRANSACTION: Target = Target {
    name: "transaction",
    about: "a transaction of the homeserver",
    words: &[
        br#""events":["#,
        br#""ephemeral":["#,
        br#""de.sorunome.msc2409.to_device":["#,
        br#""org.matrix.msc3202.device_lists":{"changed":["#,
        br#""org.matrix.msc3202.device_one_time_keys_count":{"#,
        br#""event_id":"$a""#,
        br#""sender":"@a:b""#,
        br#""state_key":"""#,
        b"[[[[",
        b"{{{{",
        b"1e999",
        b"null",
    ],
    start: || {
        let seed = br#"{"events":[{"event_id":"$a","room_id":"!r:x","sender":"@u:x","type":"m.room.member",
            "state_key":"@g:x","content":{"membership":"invite"}}],
            "ephemeral":[{"type":"m.typing","room_id":"!r:x","content":{"user_ids":["@u:x"]}}],
            "de.sorunome.msc2409.to_device":[{"type":"m.room.encrypted","sender":"@u:x","to_user_id":"@g:x",
            "to_device_id":"D","content":{"algorithm":"m.olm.v1.curve25519-aes-sha2"}}],
            "org.matrix.msc3202.device_lists":{"changed":["@u:x"],"left":[]},
            "org.matrix.msc3202.device_one_time_keys_count":{"@g:x":{"D":{"signed_curve25519":4}}},
            "org.matrix.msc3202.device_unused_fallback_key_types":{"@g:x":{"D":["signed_curve25519"]}}}"#;
        Decoder::new(vec![seed.to_vec(), b"{}".to_vec()], |input| {
            answer(RawTransaction::parse(input), |read| {
                // What is kept is kept as it came.
                for event in &read.events {
                    assert!(contains(input, event.json.get().as_bytes()));
                }
                let counts = [
                    read.events.len(),
                    read.to_device.len(),
                    read.ephemeral.len(),
                    read.unreadable,
                ];
                format!("{:?}", counts.map(magnitude))
            })
        })
    },
};

fn contains(input: &[u8], part: &[u8]) -> bool {
    input
        .windows(part.len().max(1))
        .any(|window| window == part)
}

pub(super) const MESSAGE: Target = Target {
    name: "matrix-message",
    about: "the content of a message in a room, translated for WhatsApp",
    words: &[
        b"<b>",
        b"</b>",
        b"<blockquote>",
        b"<ul><li>",
        b"<pre><code>",
        b"<a href=\\\"https://x\\\">",
        b"<mx-reply>",
        b"<span data-mx-spoiler>",
        b"&amp;",
        b"&#0;",
        br#""msgtype":"m.emote""#,
        br#""msgtype":"m.location","geo_uri":"geo:1,2""#,
        "\u{202e}".as_bytes(),
    ],
    start: || {
        let seeds = [
            r#"{"msgtype":"m.text","body":"hi"}"#,
            r#"{"msgtype":"m.text","body":"> <@a:x> x\n\nhi","format":"org.matrix.custom.html",
               "formatted_body":"<mx-reply>x</mx-reply><b>h<i>i</i></b><ol start=\"3\"><li>a<ul><li>b</li></ul></li></ol>"}"#,
            r#"{"msgtype":"m.location","body":"x","geo_uri":"geo:52.5,13.4;u=35"}"#,
        ];
        let seeds = seeds.map(|seed| seed.as_bytes().to_vec()).to_vec();
        let capabilities = Capabilities::new(&Profile::default(), 65_536, true);
        Decoder::new(seeds, move |input| {
            let content = serde_json::from_slice::<RoomMessageEventContent>(input);
            answer(content.map_err(|error| error.classify()), |content| {
                let said = translate::to_whatsapp(&content.msgtype, true, "alice", &capabilities);
                match said {
                    Ok(Some(body)) => {
                        let bytes =
                            message::encode(&body).expect("a translated message can be sent");
                        assert!(message::decode(&bytes) == Ok(body.clone()));
                        format!("{} {}", body.kind(), magnitude(bytes.len()))
                    }
                    Ok(None) => "nothing".to_owned(),
                    Err(refusal) => {
                        format!("{refusal:?}").replace(|c: char| c.is_ascii_digit(), "")
                    }
                }
            })
        })
    },
};

pub(super) const FROM_WHATSAPP: Target = Target {
    name: "whatsapp-text",
    about: "a text from WhatsApp, translated for the room",
    words: &[
        b"*",
        b"_",
        b"~",
        b"```",
        b"`",
        b"\n> ",
        b"\n- ",
        b"\n1. ",
        b"https://x.y/",
        b"<b>",
        b"&lt;",
        b"\n\n",
    ],
    start: || {
        let seed = "*bold _and italic_* ~gone~ ```code```\n> quote\n- one\n- two\n1. first https://example.org/a_b_c";
        Decoder::new(vec![seed.as_bytes().to_vec()], |input| {
            let Ok(text) = std::str::from_utf8(input) else {
                return "no text".to_owned();
            };
            let content = translate::to_matrix(&Body::text(text));
            assert!(content["body"].is_string());
            let html = content["formatted_body"].as_str().unwrap_or_default();
            // What people write must not become a tag that we did not make.
            for tag in ["<script", "<img", "<iframe", "<style", "<mx-reply"] {
                assert!(!html.contains(tag), "{tag} in the room");
            }
            let tags = html.matches('<').count();
            format!("{} {}", magnitude(tags), magnitude(html.len()))
        })
    },
};
