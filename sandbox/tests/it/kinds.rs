//! Messages that are neither text nor file, and what becomes of messages later.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    assumed,
    message::{Body, Contact, Context, Location, Media, MediaKind, MessageKey},
    stanzas::{ChatState, Origin, Receipt, ReceiptKind, Typing},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    client::delivery,
    files::{encrypted, next_body},
    partner::now,
    rig::{ALICE, BEA, Rig},
    wait::until,
};

fn key(id: &str) -> MessageKey {
    MessageKey {
        id: id.to_owned(),
        from_me: true,
        ..MessageKey::default()
    }
}

#[tokio::test]
async fn a_phone_sends_places_people_and_what_nobody_knows() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    let id = rig
        .bea_sends(
            json!({"kind": "location", "latitude": 52.5, "longitude": 13.25,
                          "name": "Platz", "address": "Berlin", "accuracy": 12}),
        )
        .await;
    match next_body(&mut alice, &mut chat).await.1 {
        Body::Location(place) => {
            assert!((place.latitude, place.longitude) == (52.5, 13.25));
            assert_eq!(place.name.as_deref(), Some("Platz"));
            assert_eq!(place.accuracy_m, Some(12));
        }
        other => panic!("not a place: {other:?}"),
    }
    let shown = rig.bea_sees_that(&id, |_| true).await;
    assert_eq!(shown["location"]["address"], "Berlin");

    rig.bea_sends(json!({"kind": "contact", "reply_to": id, "contacts": [
        {"name": "Ed", "phone": "+4915187654321"}, {"name": "Di", "vcard": "BEGIN:VCARD"}]}))
        .await;
    match next_body(&mut alice, &mut chat).await.1 {
        Body::Contacts { contacts, context } => {
            assert!(contacts[0].vcard.contains("TEL;type=CELL:+4915187654321"));
            assert_eq!(
                (contacts[1].name.as_str(), contacts[1].vcard.as_str()),
                ("Di", "BEGIN:VCARD")
            );
            let quote = context.reply_to.unwrap();
            assert!(matches!(quote.body.as_deref(), Some(Body::Location(_))));
        }
        other => panic!("not contacts: {other:?}"),
    }
    for (message, kind) in [
        (
            json!({"kind": "poll", "text": "?", "options": ["a", "b"]}),
            "poll",
        ),
        (
            json!({"kind": "live_location", "latitude": 1.0, "longitude": 2.0}),
            "live location",
        ),
        (
            json!({"kind": "group_invitation", "text": "Choir"}),
            "group invitation",
        ),
        (json!({"kind": "call"}), "call"),
        (json!({"kind": "unknown"}), "field 2047"),
    ] {
        let id = rig.bea_sends(message.clone()).await;
        let (_, body) = next_body(&mut alice, &mut chat).await;
        assert!(
            matches!(&body, Body::Unknown { kind: named } if named == kind),
            "{body:?}"
        );
        assert_eq!(
            rig.bea_sees_that(&id, |_| true).await["kind"],
            message["kind"]
        );
    }
}

#[tokio::test]
async fn a_phone_shows_places_and_people() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let place = Body::Location(Location {
        latitude: -1.5,
        longitude: 2.0,
        name: Some("Ort".to_owned()),
        ..Location::default()
    });
    let people = Body::Contacts {
        contacts: vec![Contact {
            name: "Ed".to_owned(),
            vcard: "BEGIN:VCARD".to_owned(),
        }],
        context: Context::default(),
    };
    for (id, body) in [("3EB01", &place), ("3EB02", &people)] {
        chat.deliver(&alice.message(&bea, id, body).to_node()).await;
    }
    let shown = rig.bea_sees().await;
    assert_eq!(shown[0]["location"]["latitude"], -1.5);
    assert_eq!(
        shown[1]["contacts"][0],
        json!({"name": "Ed", "vcard": "BEGIN:VCARD"})
    );
}

#[tokio::test]
async fn bad_messages_are_refused_with_cause_and_cure() {
    let rig = Rig::start().await;
    rig.bea().await;
    rig.alice().await;
    let data = STANDARD.encode(b"x");
    for (message, cause) in [
        (json!({"kind": "image"}), "no file"),
        (
            json!({"kind": "image", "data_base64": data, "upload": "x"}),
            "or two",
        ),
        (json!({"kind": "image", "data_base64": "%"}), "not base64"),
        (json!({"kind": "image", "upload": "nothing"}), "no upload"),
        (
            json!({"kind": "voice", "data_base64": data, "caption": "x"}),
            "no caption",
        ),
        (
            json!({"kind": "voice", "data_base64": data, "waveform": [101]}),
            "no waveform",
        ),
        (
            json!({"kind": "location", "latitude": 91, "longitude": 0}),
            "nowhere",
        ),
        (json!({"kind": "contact"}), "nobody"),
        (json!({"kind": "timer"}), "no time"),
        (json!({"kind": "poll"}), "no text"),
    ] {
        let mut message = message;
        message["to"] = ALICE.into();
        let (status, answer) = rig
            .try_post(&format!("/control/phones/{BEA}/messages"), message)
            .await;
        assert!(status.is_client_error(), "{cause}: {status}");
        assert!(
            answer["error"].as_str().unwrap().contains(cause),
            "{answer}"
        );
        assert!(!answer["cure"].as_str().unwrap().is_empty());
    }
    let options = format!("/control/phones/{BEA}/options");
    let (status, _) = rig.try_post(&options, json!({"refused": ["smoke"]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn captions_are_edited_and_files_taken_back() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    // From the phone.
    let id = rig
        .bea_sends(json!({"kind": "image", "caption": "old", "data_base64": STANDARD.encode(b"x")}))
        .await;
    next_body(&mut alice, &mut chat).await;
    let edits = format!("/control/phones/{BEA}/edits");
    rig.post(&edits, json!({"to": ALICE, "message": id, "text": "new"}))
        .await;
    match next_body(&mut alice, &mut chat).await.1 {
        Body::Edit { target, body, .. } => {
            assert_eq!(target.id, id);
            assert!(matches!(*body, Body::Media(media) if media.caption.as_deref() == Some("new")));
        }
        other => panic!("not an edit: {other:?}"),
    }
    let shown = rig.bea_sees_that(&id, |_| true).await;
    assert_eq!(
        (&shown["caption"], &shown["edited"]),
        (&json!("new"), &json!(true))
    );
    let voice = rig
        .bea_sends(json!({"kind": "voice", "data_base64": STANDARD.encode(b"x")}))
        .await;
    let (status, _) = rig
        .try_post(
            &edits,
            json!({"to": ALICE, "message": voice, "text": "new"}),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    rig.post(
        &format!("/control/phones/{BEA}/revokes"),
        json!({"to": ALICE, "message": id}),
    )
    .await;
    assert_eq!(rig.bea_opens(&id).await.status(), StatusCode::NOT_FOUND);

    // From the partner's user.
    let (file, bytes) = encrypted(MediaKind::Video, b"film", "3EB01");
    rig.partner.host("3EB01", bytes);
    let media = Media::new(MediaKind::Video, "video/mp4", file);
    let body = Body::Media(Box::new(media.clone()));
    chat.deliver(&alice.message(&bea, "3EB01", &body).to_node())
        .await;
    rig.bea_sees_that("3EB01", |one| one["media"] == "ready")
        .await;
    for (id, body) in [
        ("3EB02", Body::text("later")),
        (
            "3EB03",
            Body::Media(Box::new(Media {
                caption: Some("latest".to_owned()),
                ..media
            })),
        ),
    ] {
        let edit = Body::Edit {
            target: key("3EB01"),
            body: Box::new(body),
            timestamp_ms: 1,
        };
        chat.deliver(&alice.message(&bea, id, &edit).to_node())
            .await;
        let caption = rig.bea_sees_that("3EB01", |_| true).await["caption"].clone();
        assert_eq!(caption, if id == "3EB02" { "later" } else { "latest" });
    }
    let react = Body::Reaction {
        target: key("3EB01"),
        emoji: "👍".to_owned(),
        timestamp_ms: 1,
    };
    chat.deliver(&alice.message(&bea, "3EB04", &react).to_node())
        .await;
    let shown = rig.bea_sees_that("3EB01", |_| true).await;
    assert_eq!(shown["reactions"][0], json!({"from": ALICE, "emoji": "👍"}));
    let revoke = Body::Revoke {
        target: key("3EB01"),
    };
    chat.deliver(&alice.message(&bea, "3EB05", &revoke).to_node())
        .await;
    let shown = rig.bea_sees_that("3EB01", |_| true).await;
    assert_eq!(
        (&shown["revoked"], &shown["caption"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(rig.bea_opens("3EB01").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_phone_refuses_is_told_to_the_sender() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let options = format!("/control/phones/{BEA}/options");
    rig.post(&options, json!({"refused": ["sticker", "edit"]}))
        .await;
    let (file, _) = encrypted(MediaKind::Sticker, b"x", "3EB01");
    let sticker = Body::Media(Box::new(Media::new(MediaKind::Sticker, "image/webp", file)));
    chat.deliver(&alice.message(&bea, "3EB01", &sticker).to_node())
        .await;
    let refusal = chat.find_tag("receipt").await;
    let receipt = Receipt::parse(&refusal, Origin::Server).unwrap();
    assert!(assumed::is_unsupported(&receipt));
    assert_eq!(
        (receipt.ids, receipt.peer),
        (vec!["3EB01".to_owned()], bea.clone())
    );
    assert_eq!(refusal.u64("error"), Some(70));
    chat.deliver(&alice.text(&bea, "3EB02", "old").to_node())
        .await;
    let edit = Body::Edit {
        target: key("3EB02"),
        body: Box::new(Body::text("new")),
        timestamp_ms: 1,
    };
    chat.deliver(&alice.message(&bea, "3EB03", &edit).to_node())
        .await;
    let told = |node: &gatekeeper::stanza::Node| {
        node.get("id").as_deref() == Some("3EB03") && node.is("receipt")
    };
    assert_eq!(chat.find(told).await.get("type").unwrap(), "unsupported");
    let shown = rig.bea_sees().await;
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (&shown[0]["text"], &shown[0]["edited"]),
        (&json!("old"), &json!(false))
    );
    assert!(rig.partner.asked().is_empty());
    // Taken back, edits count again.
    rig.post(&options, json!({"refused": []})).await;
    chat.deliver(&alice.message(&bea, "3EB04", &edit).to_node())
        .await;
    assert_eq!(rig.bea_sees().await[0]["text"], "new");
}

#[tokio::test]
async fn messages_disappear_when_their_time_has_come() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    rig.bea_sends(json!({"kind": "timer", "expiration": 86_400}))
        .await;
    let (_, body) = next_body(&mut alice, &mut chat).await;
    assert!(body == Body::Timer { seconds: 86_400 });
    let kept = format!("/control/phones/{BEA}/chats");
    assert_eq!(rig.get(&kept).await[0]["timer"], 86_400);
    // From now on messages say so themselves.
    let text = rig.bea_says("soon gone").await;
    let (_, body) = next_body(&mut alice, &mut chat).await;
    assert_eq!(body.context().unwrap().expiration, Some(86_400));
    let (file, bytes) = encrypted(MediaKind::Image, b"soon gone too", "3EB01");
    rig.partner.host("3EB01", bytes);
    let image = Body::Media(Box::new(Media {
        context: Context {
            expiration: Some(86_400),
            ..Context::default()
        },
        ..Media::new(MediaKind::Image, "image/png", file)
    }));
    chat.deliver(&alice.message(&bea, "3EB01", &image).to_node())
        .await;
    rig.bea_sees_that("3EB01", |one| one["media"] == "ready")
        .await;
    let mut events = rig.events().await;
    rig.post("/control/clock", json!({"advance_seconds": 86_401}))
        .await;
    let event = events.find("expired").await;
    assert_eq!(
        (&event["phone"], &event["with"]),
        (&json!(BEA), &json!(ALICE))
    );
    for id in [text.as_str(), "3EB01"] {
        let shown = rig.bea_sees_that(id, |one| one["expired"] == true).await;
        assert_eq!(
            (&shown["text"], &shown["size"]),
            (&Value::Null, &Value::Null)
        );
    }
    assert_eq!(rig.bea_opens("3EB01").await.status(), StatusCode::NOT_FOUND);
    chat.deliver(
        &alice
            .message(&bea, "3EB02", &Body::Timer { seconds: 0 })
            .to_node(),
    )
    .await;
    assert_eq!(rig.get(&kept).await[0]["timer"], 0);
}

#[tokio::test]
async fn typing_is_seen_in_the_chat() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let path = format!("/control/phones/{BEA}/chats");
    let typing = async || rig.get(&path).await[0]["typing"].clone();
    for (state, word) in [
        (Typing::Composing, "composing"),
        (Typing::Recording, "recording"),
        (Typing::Paused, "paused"),
    ] {
        let stanza = ChatState {
            peer: bea.clone(),
            participant: None,
            typing: state,
        };
        chat.send(&stanza.to_node(Origin::Client)).await;
        until("typing", async || (typing().await == word).then_some(())).await;
    }
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    let shown = rig.get(&path).await;
    assert_eq!(shown[0]["typing"], Value::Null);
    assert_eq!(
        (&shown[0]["with"], &shown[0]["unread"]),
        (&json!(ALICE), &json!(1))
    );
    assert_eq!(shown[0]["last"]["text"], "hi");
}

#[tokio::test]
async fn receipts_are_aggregated_played_and_private() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let ids = [
        rig.bea_says("1").await,
        rig.bea_says("2").await,
        rig.bea_says("3").await,
    ];
    for _ in &ids {
        let message = chat.find_tag("message").await;
        chat.deliver(&delivery(&message)).await;
    }
    let receipt = |kind: ReceiptKind, ids: &[String]| {
        Receipt::new(bea.clone(), kind, ids.to_vec(), Some(now()))
            .unwrap()
            .to_node(Origin::Client)
    };
    chat.deliver(&receipt(ReceiptKind::Read, &ids[..2])).await;
    let statuses = async || -> Vec<Value> {
        let seen = rig.bea_sees().await;
        seen.iter().map(|one| one["status"].clone()).collect()
    };
    assert_eq!(statuses().await, ["read", "read", "delivered"]);
    // With read receipts off, what was read is seen on neither side; what was played is.
    let options = format!("/control/phones/{BEA}/options");
    rig.post(&options, json!({"read_receipts": false})).await;
    chat.deliver(&receipt(ReceiptKind::Read, &ids[2..])).await;
    assert_eq!(statuses().await[2], "delivered");
    chat.deliver(&receipt(ReceiptKind::Played, &ids[2..])).await;
    assert_eq!(statuses().await[2], "played");
    for id in ["3EB01", "3EB02"] {
        chat.deliver(&alice.text(&bea, id, "hi").to_node()).await;
    }
    let path = format!("/control/phones/{BEA}/receipts");
    let all = json!(["3EB01", "3EB02"]);
    rig.post(&path, json!({"to": ALICE, "type": "read", "ids": all}))
        .await;
    rig.post(&path, json!({"to": ALICE, "type": "played", "ids": all}))
        .await;
    let told = chat
        .find(|node| node.is("receipt") && node.get("type").is_some())
        .await;
    let told = Receipt::parse(&told, Origin::Server).unwrap();
    assert_eq!(told.kind, ReceiptKind::Played);
    assert_eq!(json!(told.ids), all);
}
