//! The control API: its events, its record, and what it refuses.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::rig::{ALICE, BEA, Rig};

/// Checks that a refusal names cause and cure.
fn explained(answer: &Value) {
    for field in ["error", "cure"] {
        assert!(
            answer[field].as_str().is_some_and(|text| !text.is_empty()),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_cause_and_cure() {
    let rig = Rig::start().await;
    rig.bea().await;
    rig.alice().await;
    let messages = format!("/control/phones/{BEA}/messages");
    for (path, body, status) in [
        (
            "/control/phones",
            json!({"number": BEA, "name": "Bea"}),
            409,
        ),
        ("/control/phones", json!({"number": "nonsense"}), 400),
        (
            "/control/phones",
            json!({"number": "+4915100000000", "colour": "red"}),
            400,
        ),
        ("/control/phones", json!([]), 400),
        (&messages, json!({"to": ALICE, "kind": "text"}), 400),
        (
            &messages,
            json!({"to": ALICE, "kind": "text", "text": ""}),
            400,
        ),
        (
            &messages,
            json!({"to": ALICE, "kind": "hologram", "text": "x"}),
            400,
        ),
        (
            &messages,
            json!({"to": ALICE, "kind": "image", "text": "x"}),
            400,
        ),
        (
            &messages,
            json!({"to": "@nobody:localhost", "kind": "text", "text": "x"}),
            404,
        ),
        (
            &messages,
            json!({"to": ALICE, "kind": "text", "text": "x", "reply_to": "3EB0"}),
            404,
        ),
        (
            &messages,
            json!({"to": ALICE, "kind": "text", "text": "x", "volume": 11}),
            400,
        ),
        (
            "/control/phones/+4915100000000/messages",
            json!({"to": ALICE, "kind": "text"}),
            404,
        ),
        ("/control/phones/nonsense/identity", json!({}), 400),
        (
            &format!("/control/phones/{BEA}/receipts"),
            json!({"to": ALICE, "type": "x", "ids": []}),
            400,
        ),
        (
            &format!("/control/phones/{BEA}/receipts"),
            json!({"to": ALICE, "type": "read", "ids": []}),
            400,
        ),
        (
            &format!("/control/phones/{BEA}/typing"),
            json!({"to": ALICE, "state": "sleeping"}),
            400,
        ),
        (
            &format!("/control/phones/{BEA}/edits"),
            json!({"to": ALICE, "message": "x", "text": "y"}),
            404,
        ),
        (
            &format!("/control/phones/{BEA}/options"),
            json!({"online": "maybe"}),
            400,
        ),
        ("/control/faults", json!({"duplicate": 2}), 400),
        ("/control/faults", json!({"duplciate": 0.2}), 400),
        ("/control/clock", json!({"advance_seconds": -1}), 400),
        ("/control/nothing", json!({}), 404),
        ("/control/partners", json!({}), 405),
    ] {
        let (got, answer) = rig.try_post(path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {answer}");
        explained(&answer);
    }
    let (_, answer) = rig
        .try_post(&messages, json!({"to": ALICE, "kind": "hologram"}))
        .await;
    assert!(answer["error"].as_str().unwrap().contains("hologram"));
}

#[tokio::test]
async fn not_json_and_other_origins_are_refused() {
    let rig = Rig::start().await;
    let client = reqwest::Client::new();
    let control = rig.addresses().control;
    let url = format!("{control}/control/phones");
    let answer = client.post(&url).body("number=+49").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    explained(&answer.json().await.unwrap());

    let from = |origin: &str| client.get(&url).header("origin", origin.to_owned()).send();
    let answer = from("https://elsewhere.example").await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    explained(&answer.json().await.unwrap());
    assert_eq!(from(&control).await.unwrap().status(), StatusCode::OK);
}

/// What the control API answers under a name, over a connection of its own.
async fn under_the_name(rig: &Rig, host: &str, path: &str) -> (StatusCode, String) {
    let url = format!("{}{path}", rig.addresses().control);
    let request = reqwest::Client::new().get(url).header("host", host);
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_name_of_another_site_does_not_lead_here() {
    let rig = Rig::with(|config| config.control_names = vec!["sandbox.test".to_owned()]).await;
    rig.bea().await;
    let page = format!("/phone/{BEA}");
    for path in [
        "/control",
        "/control/phones",
        "/phone",
        &page,
        "/page/main.js",
    ] {
        for own in ["127.0.0.1:29400", "localhost", "[::1]:1", "sandbox.test:80"] {
            let (status, answer) = under_the_name(&rig, own, path).await;
            assert_eq!(status, StatusCode::OK, "{own}{path}: {answer}");
        }
        for other in ["elsewhere.example", "127.0.0.1.elsewhere.example:29400"] {
            let (status, answer) = under_the_name(&rig, other, path).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{other}{path}: {answer}");
            explained(&serde_json::from_str(&answer).unwrap());
        }
    }
    // A page there would be of the same origin: the name alone gives it away.
    let url = format!("{}/control/phones", rig.addresses().control);
    let body = json!({"number": "+4915100000000", "name": "x"});
    let answer = rig
        .request(reqwest::Method::POST, url)
        .header("host", "elsewhere.example")
        .header("origin", "http://elsewhere.example")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let phones = rig.get("/control/phones").await;
    assert_eq!(phones.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn it_listens_on_loopback_unless_told_otherwise() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    for address in [
        addresses.control,
        addresses.http,
        addresses.https,
        addresses.chat_tcp,
        addresses.chat,
        addresses.chat_tls,
    ] {
        let (_, host) = address.split_once("://").unwrap();
        assert!(host.starts_with("127.0.0.1:"), "{address}");
    }
}

#[tokio::test]
async fn an_offline_phone_says_why_it_cannot_send() {
    let rig = Rig::start().await;
    rig.bea().await;
    rig.alice().await;
    rig.post(
        &format!("/control/phones/{BEA}/options"),
        json!({"online": false}),
    )
    .await;
    let body = json!({"to": ALICE, "kind": "text", "text": "hi"});
    let (status, answer) = rig
        .try_post(&format!("/control/phones/{BEA}/messages"), body)
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["cure"].as_str().unwrap().contains("`online`"));
}

#[tokio::test]
async fn events_tell_what_happens() {
    let rig = Rig::start().await;
    let mut events = rig.events().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    assert_eq!(events.find("enlisted").await["user"], ALICE);
    assert_eq!(events.find("connected").await["user"], ALICE);
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    let message = events.find("message").await;
    assert_eq!(
        (&message["phone"], &message["with"]),
        (&json!(BEA), &json!(ALICE))
    );
    assert_eq!(message["message"]["text"], "hi");
    drop(chat);
    assert_eq!(events.find("disconnected").await["user"], ALICE);
}

#[tokio::test]
async fn the_record_holds_what_partners_sent_and_no_plaintext() {
    const CANARY: &str = "canary-d41d8cd98f00b204";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire");
    let rig = Rig::with(|config| config.record = Some(path.clone())).await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    chat.deliver(&alice.text(&bea, "3EB0CAFE", CANARY).to_node())
        .await;
    assert_eq!(rig.bea_sees().await[0]["text"], CANARY);

    let url = format!("{}/control/wire", rig.addresses().control);
    let wire = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let holds = |what: &[u8]| wire.windows(what.len()).any(|window| window == what);
    assert!(holds(b"authkey="), "the enlistment");
    assert!(
        holds(&rig.partner.token(ALICE).into_bytes()[..40]),
        "the login"
    );
    assert!(
        holds(&[0x3e, 0xb0, 0xca, 0xfe]),
        "the stanza, with its id packed"
    );
    assert!(!holds(CANARY.as_bytes()), "and not what it says");
    assert_eq!(std::fs::read(&path).unwrap(), wire);

    let off = Rig::start().await;
    let url = format!("{}/control/wire", off.addresses().control);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    explained(&answer.json().await.unwrap());
}

#[tokio::test]
async fn the_log_can_be_limited() {
    let rig = Rig::with(|config| config.log_limit = Some(3)).await;
    rig.bea().await;
    rig.alice().await;
    for number in 0..5 {
        rig.bea_says(&number.to_string()).await;
    }
    let seen = rig.bea_sees().await;
    let texts: Vec<_> = seen
        .iter()
        .map(|one| one["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["2", "3", "4"]);
    let after = seen[1]["id"].as_str().unwrap();
    let path = format!("/control/phones/{BEA}/messages?with={ALICE}&after={after}");
    assert_eq!(rig.get(&path).await.as_array().unwrap().len(), 1);
    let path = format!("/control/phones/{BEA}/messages?with={ALICE}&last=2");
    let last = rig.get(&path).await;
    let texts: Vec<_> = last
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["text"])
        .collect();
    assert_eq!(texts, ["3", "4"], "the newest, in order");

    let chats = rig.get(&format!("/control/phones/{BEA}/chats")).await;
    assert_eq!(chats[0]["last"]["text"], "4");
    assert_eq!(chats[0]["unread"], 0, "one's own are never unread");
}

/// The parts that a page or a part of it names: `/page/main.js`, `./api.js`.
fn named_parts(text: &str) -> Vec<String> {
    text.split(['"', '\''])
        .filter_map(|word| {
            word.strip_prefix("/page/")
                .or_else(|| word.strip_prefix("./"))
        })
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn the_pages_are_served_with_all_their_parts_and_nothing_from_elsewhere() {
    let rig = Rig::start().await;
    rig.bea().await;
    let addresses = rig.addresses();
    let page = &addresses.phone_page;
    let control = &addresses.control;
    let mut parts = Vec::new();
    for address in [
        format!("{page}{BEA}"),
        format!("{control}/phone"),
        format!("{control}/"),
    ] {
        let answer = reqwest::get(&address).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("reaches nobody"), "{address} says what it is");
        assert!(!text.contains("https://"), "nothing from elsewhere");
        parts.extend(named_parts(&text));
    }
    // Also where there is no page, and to whoever looks by hand.
    let http = reqwest::get(format!("{}/", addresses.http)).await.unwrap();
    assert_eq!(http.status(), StatusCode::NOT_FOUND);
    assert!(http.text().await.unwrap().contains("reaches nobody"));
    let about = rig.get("/control").await;
    assert!(about["note"].as_str().unwrap().contains("simulation"));

    let mut seen = std::collections::BTreeSet::new();
    while let Some(part) = parts.pop() {
        if !seen.insert(part.clone()) {
            continue;
        }
        let answer = reqwest::get(format!("{control}/page/{part}"))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{part}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let kind = if part.ends_with(".css") {
            "text/css"
        } else {
            "text/javascript"
        };
        let found = answer.headers()["content-type"].to_str().unwrap();
        assert!(found.starts_with(kind), "{part} is {found}");
        parts.extend(named_parts(&answer.text().await.unwrap()));
    }
    assert!(seen.len() > 10, "the parts are found: {seen:?}");
    let none = reqwest::get(format!("{control}/page/../control.rs"))
        .await
        .unwrap();
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
    let missing = reqwest::get(format!("{page}+4915100000000")).await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    explained(&missing.json().await.unwrap());
}
