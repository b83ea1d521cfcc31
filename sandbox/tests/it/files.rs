//! Files between a phone and a partner's user, over the media server and the proxy.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    media::{Decryptor, Encryptor, MediaKey, download_url, storage_path},
    message::{Body, Context, Media, MediaFile, MediaKind, Quote},
    stanza::{Jid, Node},
    token,
};
use reqwest::{Method, StatusCode};
use sandbox::{Config, PartnerConfig, Sandbox};
use serde_json::{Value, json};

use crate::{
    client::{Chat, User},
    partner::now,
    rig::{ALICE, BEA, Rig},
};

/// Bytes that repeat nowhere soon.
pub(crate) fn plain(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// Encrypts a file and says under which reference the partner hosts it.
pub(crate) fn encrypted(kind: MediaKind, plain: &[u8], reference: &str) -> (MediaFile, Vec<u8>) {
    let key = MediaKey::random(&mut rand::rng());
    let mut encryptor = Encryptor::new(&key, kind).unwrap();
    let mut bytes = Vec::new();
    encryptor.update(plain, &mut bytes).unwrap();
    let sums = encryptor.finish(&mut bytes).unwrap();
    let file = MediaFile::new(key, sums, storage_path(1, reference), 1_700_000_000);
    (file, bytes)
}

pub(crate) fn decrypted(media: &Media, bytes: &[u8]) -> Vec<u8> {
    let mut decryptor = Decryptor::new(&media.file, media.kind).unwrap();
    let mut plain = Vec::new();
    decryptor.update(bytes, &mut plain).unwrap();
    decryptor.finish(&mut plain).unwrap();
    plain
}

impl Rig {
    /// Fetches a file that a phone has sent.
    pub(crate) async fn fetched(&self, media: &Media) -> Vec<u8> {
        let url = download_url(&self.addresses().http, &media.file);
        let answer = self.request(Method::GET, url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap().to_vec()
    }

    /// The file of a message as Bea's phone shows it.
    pub(crate) async fn bea_opens(&self, id: &str) -> reqwest::Response {
        let url = format!(
            "{}/control/phones/{BEA}/media/{id}",
            self.addresses().control
        );
        self.request(Method::GET, url).send().await.unwrap()
    }
}

/// Takes the next message of the phone and reads it.
pub(crate) async fn next_body(alice: &mut User, chat: &mut Chat) -> (Node, Body) {
    let message = chat.find_tag("message").await;
    let body = alice.open_message(&message).unwrap();
    (message, body)
}

async fn next_media(alice: &mut User, chat: &mut Chat) -> (Node, Media) {
    match next_body(alice, chat).await {
        (node, Body::Media(media)) => (node, *media),
        (_, other) => panic!("not a file: {other:?}"),
    }
}

#[tokio::test]
async fn a_phone_sends_files_of_every_kind() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    let text = rig.bea_says("first").await;
    chat.find_tag("message").await;
    let file = plain(100_000);
    for kind in MediaKind::ALL {
        let captioned = kind.carries_caption();
        let mut message = json!({
            "kind": kind.word(), "data_base64": STANDARD.encode(&file), "file_name": "a.bin",
            "duration": 7, "width": 320, "height": 240, "waveform": [0, 50, 100],
            "thumbnail_base64": STANDARD.encode(b"jpeg"), "reply_to": text, "forwarded": true,
            "expiration": 86_400, "animated": true,
        });
        if captioned {
            message["caption"] = "a *caption*".into();
        }
        let id = rig.bea_sends(message).await;
        let (stanza, media) = next_media(&mut alice, &mut chat).await;
        assert_eq!(stanza.get("type").unwrap(), "media");
        let enc = stanza.child_named("enc").unwrap();
        assert_eq!(enc.get("mediatype").unwrap(), kind.media_type());
        assert_eq!(media.kind, kind);
        assert!(media.file.direct_path.starts_with("/v/t"), "{kind:?}");
        assert_eq!(media.caption.is_some(), captioned);
        assert_eq!(media.context.expiration, Some(86_400));
        assert!(media.context.forwarded);
        assert_eq!(media.context.reply_to.as_ref().unwrap().stanza_id, text);
        let bytes = rig.fetched(&media).await;
        assert!(decrypted(&media, &bytes) == file, "{kind:?}");

        let shown = rig.bea_sees_that(&id, |_| true).await;
        assert_eq!(shown["kind"], kind.word());
        assert_eq!(
            (&shown["size"], &shown["media"], &shown["reply_to"]),
            (&json!(100_000), &json!("ready"), &json!(text))
        );
        assert_eq!(shown["sha256"], hex::encode(media.file.sha256));
        let opened = rig.bea_opens(&id).await.bytes().await.unwrap();
        assert!(opened == file);
    }
    let id = rig
        .bea_sends(json!({"kind": "view_once", "mimetype": "video/mp4",
                          "data_base64": STANDARD.encode(b"once")}))
        .await;
    let (_, media) = next_media(&mut alice, &mut chat).await;
    assert!(media.view_once && media.kind == MediaKind::Video);
    assert_eq!(rig.bea_sees_that(&id, |_| true).await["view_once"], true);
}

#[tokio::test]
async fn the_media_server_answers_as_one() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    rig.bea_sends(json!({"kind": "document", "data_base64": STANDARD.encode(b"a file")}))
        .await;
    let (_, media) = next_media(&mut alice, &mut chat).await;
    let whole = rig.fetched(&media).await;
    let url = download_url(&rig.addresses().http, &media.file);
    let head = rig.request(Method::HEAD, url.clone()).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.len().to_string());
    let part = rig
        .request(Method::GET, url.clone())
        .header("range", "bytes=3-5")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        part.headers()["content-range"],
        format!("bytes 3-5/{}", whole.len())
    );
    assert_eq!(part.bytes().await.unwrap(), whole[3..6]);
    let beyond = rig
        .request(Method::GET, url)
        .header("range", "bytes=900-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    for path in [
        "/v/t62.7118-24/9999999999999-00",
        "/v/x/..%2F..%2Fstate.json",
    ] {
        let url = format!("{}{path}", rig.addresses().http);
        let answer = rig.request(Method::GET, url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // Files go after thirty days, as messages do.
    rig.post("/control/clock", json!({"advance_seconds": 30 * 86_400}))
        .await;
    let url = download_url(&rig.addresses().http, &media.file);
    let answer = rig.request(Method::GET, url).send().await.unwrap();
    assert!(matches!(
        answer.status(),
        StatusCode::GONE | StatusCode::NOT_FOUND
    ));
}

#[tokio::test]
async fn media_hosts_are_told() {
    let rig = Rig::start().await;
    let (_, mut chat, _) = rig.talking().await;
    let query = Node::new("iq")
        .attr("xmlns", "w:m")
        .attr("type", "set")
        .attr("to", "s.whatsapp.net")
        .child(Node::new("media_conn"));
    let answer = chat.query(query).await;
    let hosts = answer.child_named("media_conn").unwrap();
    let host = hosts.child_named("host").unwrap();
    assert_eq!(
        format!("http://{}", host.get("hostname").unwrap()),
        rig.addresses().http
    );
}

/// Sends Bea a file that the partner hosts.
async fn send_file(
    rig: &Rig,
    (alice, chat, bea): (&mut User, &mut Chat, &Jid),
    id: &str,
    media: Media,
    bytes: Vec<u8>,
) {
    rig.partner.host(id, bytes);
    let body = Body::Media(Box::new(media));
    chat.deliver(&alice.message(bea, id, &body).to_node()).await;
}

#[tokio::test]
async fn a_partners_file_is_fetched_through_the_proxy() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let question = rig.bea_says("a picture?").await;
    for kind in MediaKind::ALL {
        let file = plain(70_000);
        let id = format!("3EB0{}", hex::encode_upper(kind.word()));
        let (described, bytes) = encrypted(kind, &file, &id);
        let sha256 = hex::encode(described.sha256);
        let media = Media {
            caption: kind.carries_caption().then(|| "look".to_owned()),
            file_name: (kind == MediaKind::Document).then(|| "a.pdf".to_owned()),
            seconds: Some(9),
            waveform: if kind == MediaKind::Voice {
                vec![1, 2]
            } else {
                Vec::new()
            },
            context: Context::reply(Quote {
                stanza_id: question.clone(),
                participant: Some(bea.to_string()),
                body: None,
            }),
            ..Media::new(kind, "a/b", described)
        };
        send_file(&rig, (&mut alice, &mut chat, &bea), &id, media, bytes).await;
        let shown = rig
            .bea_sees_that(&id, |one| one["media"] != "fetching")
            .await;
        assert_eq!(shown["media"], "ready", "{shown}");
        assert_eq!(shown["kind"], kind.word());
        assert_eq!(
            (&shown["size"], &shown["sha256"]),
            (&json!(70_000), &json!(sha256))
        );
        assert_eq!(
            (&shown["mimetype"], &shown["reply_to"]),
            (&json!("a/b"), &json!(question))
        );
        assert_eq!(shown["caption"].is_string(), kind.carries_caption());
        let opened = rig.bea_opens(&id).await;
        assert_eq!(opened.headers()["content-type"], "a/b");
        assert_eq!(opened.headers()["content-length"], "70000");
        assert_eq!(opened.headers()["x-content-type-options"], "nosniff");
        assert!(opened.bytes().await.unwrap() == file, "{kind:?}");
    }
    // The proxy shows who it is.
    let asked = rig.partner.asked();
    assert_eq!(asked.len(), MediaKind::ALL.len());
    let jwks = reqwest::get(rig.addresses().jwks).await.unwrap();
    let jwks = jwks.json().await.unwrap();
    let audience = PartnerConfig::new(1, &rig.partner.base_url).push_audience;
    let token = asked[0].token.as_deref().unwrap();
    let claims = token::verify(token, &jwks, &audience, now()).unwrap();
    assert_eq!(claims.iss, "WHATSAPP");
    assert_eq!(
        asked[0].reference,
        format!("3EB0{}", hex::encode_upper("image"))
    );
}

#[tokio::test]
async fn the_proxy_passes_on_what_it_should_and_nothing_else() {
    let rig = Rig::start().await;
    rig.partner.host("ref", b"ciphertext".to_vec());
    let proxy = |path: &str| format!("{}/interop/whatsapp/download/{path}", rig.addresses().http);
    let head = rig
        .request(Method::HEAD, proxy("1/ref/"))
        .send()
        .await
        .unwrap();
    assert_eq!(head.headers()["content-length"], "10");
    assert_eq!(rig.partner.asked()[0].method, "HEAD");
    let part = rig
        .request(Method::GET, proxy("1/ref/"))
        .header("range", "bytes=2-3")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 2-3/10");
    assert_eq!(part.bytes().await.unwrap(), "ph".as_bytes());
    for (path, status) in [
        ("1/other/", StatusCode::NOT_FOUND),
        ("2/ref/", StatusCode::NOT_FOUND),
        ("x/ref/", StatusCode::BAD_REQUEST),
        ("1/%2E%2E/", StatusCode::NOT_FOUND),
    ] {
        let answer = rig.request(Method::GET, proxy(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    // A reference stays one segment, whatever it holds.
    let climbing = proxy("1/..%2Fwhatsapp%2Fref/");
    let answer = rig.request(Method::GET, climbing).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        rig.partner.asked().pop().unwrap().reference,
        "../whatsapp/ref"
    );
    rig.post("/control/faults", json!({"proxy_token": "absent"}))
        .await;
    rig.request(Method::GET, proxy("1/ref/"))
        .send()
        .await
        .unwrap();
    assert_eq!(rig.partner.asked().pop().unwrap().token, None);
    rig.post("/control/faults", json!({"proxy_token": "expired"}))
        .await;
    rig.request(Method::GET, proxy("1/ref/"))
        .send()
        .await
        .unwrap();
    let jwks = reqwest::get(rig.addresses().jwks).await.unwrap();
    let jwks = jwks.json().await.unwrap();
    let audience = PartnerConfig::new(1, &rig.partner.base_url).push_audience;
    let token = rig.partner.asked().pop().unwrap().token.unwrap();
    assert!(token::verify(&token, &jwks, &audience, now()).is_err());
}

#[tokio::test]
async fn a_large_file_is_uploaded_as_a_stream() {
    const SIZE: usize = 16 * 1024 * 1024;
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    let file = plain(SIZE);
    let url = format!(
        "{}/control/phones/{BEA}/uploads?kind=video",
        rig.addresses().control
    );
    let answer = rig
        .request(Method::PUT, url)
        .body(file.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let upload: Value = answer.json().await.unwrap();
    assert_eq!(upload["size"], SIZE);
    let path = format!("/control/phones/{BEA}/messages");
    let message = |kind: &str| json!({"to": ALICE, "kind": kind, "upload": upload["upload"]});
    let (status, refusal) = rig.try_post(&path, message("image")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refusal}");
    // The same upload may be sent more than once, as anything with the same keys.
    for kind in ["video", "gif"] {
        let id = rig.post(&path, message(kind)).await["id"].clone();
        let (_, media) = next_media(&mut alice, &mut chat).await;
        assert!(decrypted(&media, &rig.fetched(&media).await) == file);
        let shown = rig.bea_opens(id.as_str().unwrap()).await;
        assert!(shown.bytes().await.unwrap() == file);
    }
}

#[tokio::test]
async fn files_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("sandbox.json");
    let mut rig = Rig::with(|config| config.state = Some(state.clone())).await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let sent = rig
        .bea_sends(json!({"kind": "image", "data_base64": STANDARD.encode(b"hers")}))
        .await;
    let (file, bytes) = encrypted(MediaKind::Image, b"ours", "3EB01");
    let media = Media::new(MediaKind::Image, "image/png", file);
    send_file(&rig, (&mut alice, &mut chat, &bea), "3EB01", media, bytes).await;
    rig.bea_sees_that("3EB01", |one| one["media"] == "ready")
        .await;
    drop(chat);
    let partners = vec![PartnerConfig::new(1, &rig.partner.base_url)];
    rig.restart(async {
        Sandbox::start(Config {
            partners,
            state: Some(state.clone()),
            ..Config::default()
        })
        .await
    })
    .await;
    assert_eq!(rig.bea_opens(&sent).await.bytes().await.unwrap(), "hers");
    assert_eq!(rig.bea_opens("3EB01").await.bytes().await.unwrap(), "ours");
    // What lies in the folder is encrypted.
    let lying = walk(&state.with_extension("media"));
    assert_eq!(lying.len(), 2);
    for file in lying {
        let bytes = std::fs::read(file).unwrap();
        assert!(
            !bytes
                .windows(4)
                .any(|four| four == b"hers" || four == b"ours")
        );
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let shelves = std::fs::read_dir(folder).unwrap().flatten();
    shelves
        .flat_map(|shelf| std::fs::read_dir(shelf.path()).unwrap().flatten())
        .map(|file| file.path())
        .collect()
}
