//! Files that are not what they promise, in both directions.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    media::{Decryptor, MediaError, download_url},
    message::{Body, Media, MediaKind},
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    files::{encrypted, next_body, plain},
    rig::{BEA, Rig},
};

/// Fetches a file as a careful client does; the status of a refusal counts as such.
async fn careful(rig: &Rig, media: &Media) -> Result<Vec<u8>, String> {
    let url = download_url(&rig.addresses().http, &media.file);
    let mut answer = rig.request(Method::GET, url).send().await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer.status().as_u16().to_string());
    }
    let told = |error: MediaError| format!("{error:?}");
    let mut decryptor = Decryptor::new(&media.file, media.kind).unwrap();
    let mut plain = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => decryptor.update(&chunk, &mut plain).map_err(told)?,
            Ok(None) => break,
            Err(_) => return Err("broken".to_owned()),
        }
    }
    decryptor.finish(&mut plain).map_err(told)?;
    Ok(plain)
}

#[tokio::test]
async fn what_phones_send_can_be_wrong_on_demand() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    let file = plain(200_000);
    for (fault, error) in [
        ("gone", "410"),
        ("missing", "404"),
        ("forbidden", "403"),
        ("truncated", "Truncated"),
        ("cut", "broken"),
        ("wrong_mac", "Mac"),
        ("too_long", "TooLong"),
        ("wrong_hash", "Hash"),
        ("wrong_enc_hash", "EncryptedHash"),
        ("shorter", "TooLong"),
        ("longer", "Length"),
    ] {
        rig.post("/control/faults", json!({"media": fault})).await;
        let id = rig
            .bea_sends(json!({"kind": "image", "data_base64": STANDARD.encode(&file)}))
            .await;
        let (_, Body::Media(media)) = next_body(&mut alice, &mut chat).await else {
            panic!("not a file");
        };
        assert_eq!(
            careful(&rig, &media).await,
            Err(error.to_owned()),
            "{fault}"
        );
        rig.post("/control/faults", json!({"media": "none"})).await;
        // What was wrong at the server is right again; a message that was wrong stays so.
        let right = matches!(
            fault,
            "gone" | "missing" | "forbidden" | "truncated" | "cut" | "wrong_mac" | "too_long"
        );
        assert_eq!(careful(&rig, &media).await.is_ok(), right, "{fault}");
        // To its owner the file is what it was.
        assert!(rig.bea_opens(&id).await.bytes().await.unwrap() == file);
    }
}

#[tokio::test]
async fn what_partners_send_is_checked_before_it_is_shown() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    type Change = fn(&mut Media, &mut Vec<u8>);
    let table: [(&str, Change, &str); 7] = [
        ("3EB001", |_, bytes| bytes[5] ^= 1, "authentication code"),
        ("3EB002", |_, bytes| bytes.truncate(100), "too early"),
        ("3EB003", |_, bytes| bytes.push(0), "longer than"),
        (
            "3EB004",
            |media, _| media.file.sha256 = [0; 32],
            "decrypted file has another hash",
        ),
        (
            "3EB005",
            |media, _| media.file.enc_sha256 = [0; 32],
            "encrypted file has another hash",
        ),
        (
            "3EB006",
            |media, _| media.file.length += 1,
            "another length",
        ),
        ("3EB007", |media, _| media.file.length = 3, "longer than"),
    ];
    for (id, change, error) in table {
        let (file, mut bytes) = encrypted(MediaKind::Audio, &plain(1000), id);
        let mut media = Media::new(MediaKind::Audio, "audio/mpeg", file);
        change(&mut media, &mut bytes);
        rig.partner.host(id, bytes);
        let body = Body::Media(Box::new(media));
        chat.deliver(&alice.message(&bea, id, &body).to_node())
            .await;
        let shown = rig.bea_sees_that(id, |one| one["media"] == "failed").await;
        let told = shown["media_error"].as_str().unwrap();
        assert!(told.contains(error), "{id}: {told}");
        let opened = rig.bea_opens(id).await;
        assert_eq!(opened.status(), StatusCode::CONFLICT);
        assert!(opened.text().await.unwrap().contains(error));
    }
}

#[tokio::test]
async fn a_file_that_was_not_there_can_be_fetched_again() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let mut events = rig.events().await;
    let (file, bytes) = encrypted(MediaKind::Document, b"late", "3EB01");
    let body = Body::Media(Box::new(Media::new(
        MediaKind::Document,
        "text/plain",
        file,
    )));
    chat.deliver(&alice.message(&bea, "3EB01", &body).to_node())
        .await;
    let event = events.find("media").await;
    assert_eq!(
        (&event["message"], &event["media"]),
        (&json!("3EB01"), &json!("failed"))
    );
    assert!(event["error"].as_str().unwrap().contains("404"));
    rig.partner.host("3EB01", bytes);
    let path = format!("/control/phones/{BEA}/media/3EB01");
    rig.post(&path, json!({})).await;
    assert_eq!(events.find("media").await["media"], "ready");
    assert_eq!(rig.bea_opens("3EB01").await.bytes().await.unwrap(), "late");
    let (status, _) = rig
        .try_post(&format!("/control/phones/{BEA}/media/3EB02"), json!({}))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
