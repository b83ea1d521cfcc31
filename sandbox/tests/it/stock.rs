//! Stock clients as the sandbox sees them: logins, companions, both forms of a message, uploads. With a
//! client that we did not write: `tests/tests/stock`.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    login::{ClientPayload, Product},
    noise::StaticKeyPair,
    signal::{Identity, SignedPreKey},
    stanza::{self, EncodeOptions, Jid, Node},
    stanzas::{OutgoingMessage, Participant, iq},
};
use reqwest::{Method, StatusCode};
use sandbox::{Addresses, Config, Sandbox};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    client::{Chat, User, delivery},
    rig::{ALICE, BEA, Rig},
    wait::until,
};

fn bytes(value: &Value) -> Vec<u8> {
    assert_eq!(value["type"], "Buffer");
    STANDARD.decode(value["data"].as_str().unwrap()).unwrap()
}

/// The client whose credentials these are.
fn client_of(creds: &Value) -> User {
    let number = |value: &Value| {
        u32::try_from(value.as_u64().unwrap())
            .unwrap()
            .to_be_bytes()
    };
    let signed = &creds["signedPreKey"];
    let identity = [
        &[1],
        &number(&creds["registrationId"])[..],
        &bytes(&creds["signedIdentityKey"]["private"]),
    ];
    let signed = [
        &[1],
        &number(&signed["keyId"])[..],
        &bytes(&signed["keyPair"]["private"]),
        &bytes(&signed["signature"]),
    ];
    let noise = bytes(&creds["noiseKey"]["private"]).try_into().unwrap();
    User {
        identifier: String::new(),
        jid: creds["me"]["id"].as_str().unwrap().parse().unwrap(),
        identity: Identity::from_bytes(&identity.concat()).unwrap(),
        signed: SignedPreKey::from_bytes(&signed.concat()).unwrap(),
        prekeys: HashMap::new(),
        static_key: StaticKeyPair::from_bytes(noise),
        peers: HashMap::new(),
    }
}

async fn credentials(rig: &Rig, wanted: Value) -> User {
    let path = format!("/control/phones/{BEA}/credentials");
    client_of(&rig.post(&path, wanted).await["creds"])
}

fn payload(jid: &Jid) -> Vec<u8> {
    ClientPayload {
        username: Some(jid.user.parse().unwrap()),
        device: Some(jid.device.into()),
        passive: false,
        pull: Some(true),
        version: vec![2, 3000, 1],
        product: Product::Whatsapp,
        connect_reason: None,
        connect_attempts: None,
        interop: None,
    }
    .to_bytes()
}

/// Logs a stock client in; gives its first stanza too.
async fn knock(client: &User, addresses: &Addresses) -> (Chat, Node) {
    let mut chat = Chat::open(
        &addresses.chat,
        addresses,
        client.key(),
        &payload(&client.jid),
    )
    .await;
    let first = chat.next().await.unwrap();
    (chat, first)
}

async fn login(client: &mut User, addresses: &Addresses) -> Chat {
    let (mut chat, first) = knock(client, addresses).await;
    assert_eq!(first.tag, "success");
    let next = u32::try_from(client.prekeys.len()).unwrap() + 1;
    client.upload(&mut chat, next..next + 20).await;
    chat
}

async fn alias(rig: &Rig, name: &str) -> Jid {
    let account = rig.account().await;
    account["alias"][name].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn only_whoever_has_the_credentials_is_let_in() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    rig.bea().await;
    let refused = |node: &Node| node.is("failure") && node.u64("reason") == Some(401);

    let stranger = User {
        jid: Jid::phone(BEA.trim_start_matches('+')),
        ..User::new("")
    };
    let (_, first) = knock(&stranger, &addresses).await;
    assert!(refused(&first), "no credentials yet: {first:?}");

    let mut client = credentials(&rig, json!({})).await;
    let (_, first) = knock(&stranger, &addresses).await;
    assert!(refused(&first), "another key: {first:?}");
    let (mut chat, first) = knock(&client, &addresses).await;
    assert_eq!(first.tag, "success");
    let lid = first.jid("lid").unwrap();
    assert_eq!(lid.to_string(), "7004915112345678@lid");
    let path = format!("/control/phones/{BEA}/messages");
    let (status, answer) = rig
        .try_post(&path, json!({"to": ALICE, "kind": "text", "text": "hi"}))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");

    // By its opaque number the same.
    client.jid = lid;
    let by_lid = ClientPayload {
        product: Product::WhatsappLid,
        ..ClientPayload::parse(&payload(&client.jid)).unwrap()
    };
    let mut second = Chat::open(
        &addresses.chat,
        &addresses,
        client.key(),
        &by_lid.to_bytes(),
    )
    .await;
    assert_eq!(second.next().await.unwrap().tag, "success");
    assert!(chat.rest().await.iter().any(|node| node.is("stream:error")));

    // New keys held by the sandbox end it.
    rig.post(&format!("/control/phones/{BEA}/identity"), json!({}))
        .await;
    let last = second.rest().await;
    assert!(
        last.iter().any(|node| node.u64("code") == Some(401)),
        "{last:?}"
    );
    let (_, first) = knock(&client, &addresses).await;
    assert!(refused(&first), "{first:?}");
}

#[tokio::test]
async fn the_owner_of_a_played_phone_uses_the_client() {
    let rig = Rig::start().await;
    rig.bea().await;
    rig.alice().await;
    credentials(&rig, json!({})).await;
    let path = format!("/control/phones/{BEA}/messages");
    let (status, answer) = rig
        .try_post(&path, json!({"to": ALICE, "kind": "text", "text": "hi"}))
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["error"].as_str().unwrap().contains("stock client"));
    let path = format!("/control/phones/{BEA}/credentials");
    let (status, _) = rig.try_post(&path, json!({"device": 100})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn both_forms_of_a_message_are_taken_plain_and_compressed_under_either_alias() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    let bea = rig.bea().await;
    let mut alice = rig.alice().await;
    let mut partner = alice.login(&addresses, &rig.partner).await;
    alice.upload(&mut partner, 1..21).await;
    let mut client = credentials(&rig, json!({})).await;
    let mut chat = login(&mut client, &addresses).await;
    for (at, name) in ["number", "lid"].into_iter().enumerate() {
        let to = alias(&rig, name).await;
        client.establish(&mut chat, &to).await;
        let short = client.text(&to, &format!("A{at}"), "short");
        assert!(chat.deliver(&short.to_node()).await.get("error").is_none());
        let node = partner.find_tag("message").await;
        assert_eq!(node.jid("from"), Some(bea.clone()));
        assert_eq!(alice.read(&node).unwrap(), "short");

        let mut long = client.text(&to, &format!("B{at}"), "long");
        long.participants = vec![Participant {
            jid: to.clone(),
            encs: std::mem::take(&mut long.encs),
        }];
        let compressed = EncodeOptions {
            compress: true,
            ..EncodeOptions::default()
        };
        let compressed = stanza::encode(&long.to_node(), &compressed).unwrap();
        assert_eq!(compressed[0] & 2, 2);
        chat.send_bytes(&compressed).await;
        let node = partner.find_tag("message").await;
        assert_eq!(alice.read(&node).unwrap(), "long");

        // Nothing in it for whom it is to.
        let mut stray = client.text(&to, &format!("C{at}"), "stray");
        stray.participants = vec![Participant {
            jid: Jid::phone("4915199999999"),
            encs: std::mem::take(&mut stray.encs),
        }];
        let ack = chat.deliver(&stray.to_node()).await;
        assert_eq!(ack.u64("error"), Some(479));
    }
}

#[tokio::test]
async fn companions_write_from_addresses_of_their_own() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    let bea = rig.bea().await;
    let mut alice = rig.alice().await;
    let mut partner = alice.login(&addresses, &rig.partner).await;
    alice.upload(&mut partner, 1..21).await;
    let mut laptop = credentials(&rig, json!({"device": 3, "addressing": "lid"})).await;
    let mut chat = login(&mut laptop, &addresses).await;
    assert_eq!(laptop.jid, bea.clone().with_device(3));

    // It finds out who has which devices.
    let user = |jid: &Jid| Node::new("user").attr("jid", jid);
    let to = alias(&rig, "lid").await;
    let ask = iq::get("usync").child(
        Node::new("usync")
            .attr("sid", "1")
            .child(Node::new("query").child(Node::new("devices")))
            .child(Node::new("list").child(user(&bea)).child(user(&to))),
    );
    let answer = chat.query(ask).await;
    let list = answer
        .child_named("usync")
        .unwrap()
        .child_named("list")
        .unwrap();
    let devices = |user: &Node| -> Vec<u64> {
        let devices = user.child_named("devices").unwrap();
        let list = devices.child_named("device-list").unwrap();
        list.nodes()
            .iter()
            .map(|one| one.u64("id").unwrap())
            .collect()
    };
    assert_eq!(devices(&list.nodes()[0]), [0, 3]);
    assert_eq!(devices(&list.nodes()[1]), [0]);

    laptop.establish(&mut chat, &to).await;
    chat.deliver(&laptop.text(&to, "A1", "from the laptop").to_node())
        .await;
    let node = partner.find_tag("message").await;
    assert_eq!(node.jid("from"), Some(laptop.jid.clone()));
    assert_eq!(alice.read(&node).unwrap(), "from the laptop");
    partner.send(&delivery(&node)).await;
    let receipt = chat.find_tag("receipt").await;
    assert_eq!(receipt.jid("from"), Some(to.clone()));

    // An answer goes to the device that it names, under the address that the device knows.
    let answer = alice.text(&laptop.jid, "B1", "to the laptop");
    partner.deliver(&answer.to_node()).await;
    let node = chat.find_tag("message").await;
    assert_eq!(node.jid("from"), Some(to.clone()));
    assert_eq!(node.get("addressing_mode").as_deref(), Some("lid"));
    assert_eq!(laptop.read(&node).unwrap(), "to the laptop");
    chat.send(&delivery(&node)).await;
    let receipt = partner.find_tag("receipt").await;
    assert_eq!(receipt.jid("from"), Some(laptop.jid.clone()));

    // The phone itself is still the sandbox's, and one message may be for both.
    alice.establish(&mut partner, &bea).await;
    let both = OutgoingMessage {
        encs: Vec::new(),
        participants: [&bea, &laptop.jid]
            .map(|jid| Participant {
                jid: jid.clone(),
                encs: alice.text(jid, "B2", "to both").encs,
            })
            .to_vec(),
        ..answer.clone()
    };
    let both = OutgoingMessage {
        id: "B2".to_owned(),
        to: bea.clone(),
        ..both
    };
    partner.deliver(&both.to_node()).await;
    let node = chat.find_tag("message").await;
    assert_eq!(laptop.read(&node).unwrap(), "to both");
    rig.bea_sees_that("B2", |one| one["text"] == "to both")
        .await;
}

#[tokio::test]
async fn a_device_and_what_waits_for_it_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    let kept = state.clone();
    let mut rig = Rig::with(move |config| config.state = Some(kept)).await;
    let bea = rig.bea().await;
    let mut alice = rig.alice().await;
    let mut partner = alice.login(&rig.addresses(), &rig.partner).await;
    alice.upload(&mut partner, 1..21).await;
    let mut client = credentials(&rig, json!({})).await;
    let chat = login(&mut client, &rig.addresses()).await;
    drop(chat);
    alice.establish(&mut partner, &bea).await;
    partner
        .deliver(&alice.text(&bea, "A1", "for later").to_node())
        .await;
    let certificate = |rig: &Rig| {
        let url = format!("{}/control/certificate", rig.addresses().control);
        rig.request(Method::GET, url).send()
    };
    let before = certificate(&rig).await.unwrap().text().await.unwrap();
    let config = Config {
        state: Some(state),
        partners: vec![sandbox::PartnerConfig::new(1, &rig.partner.base_url)],
        ..Config::default()
    };
    rig.restart(Sandbox::start(config)).await;
    let after = certificate(&rig).await.unwrap().text().await.unwrap();
    assert_eq!(before, after);

    let (mut chat, first) = knock(&client, &rig.addresses()).await;
    assert_eq!(first.tag, "success");
    let node = chat.find_tag("message").await;
    assert_eq!(node.u64("offline"), Some(1));
    assert_eq!(client.read(&node).unwrap(), "for later");
    chat.send(&delivery(&node)).await;
    let path = format!("/control/phones/{BEA}");
    until("an empty mailbox", async || {
        let shown = rig.get(&path).await;
        (shown["devices"][0]["waiting"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn uploads_are_checked_and_served_over_tls() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    rig.bea().await;
    let mut client = credentials(&rig, json!({})).await;
    let mut chat = login(&mut client, &addresses).await;
    let answer = chat
        .query(iq::set("w:m").child(Node::new("media_conn")))
        .await;
    let conn = answer.child_named("media_conn").unwrap();
    let host = conn.child_named("host").unwrap().get("hostname").unwrap();
    assert_eq!(format!("https://{host}"), addresses.https);
    let auth = conn.get("auth").unwrap();

    let url = format!("{}/control/certificate", addresses.control);
    let pem = rig.request(Method::GET, url).send().await.unwrap();
    let pem = pem.bytes().await.unwrap();
    let certificate = reqwest::Certificate::from_pem(&pem).unwrap();
    let https = reqwest::Client::builder()
        .tls_certs_only([certificate])
        .build()
        .unwrap();
    let file = vec![7; 100_000];
    let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(&file));
    let put = |auth: &str, hash: &str, body: Vec<u8>| {
        let url = format!("https://{host}/mms/image/{hash}?auth={auth}&token={hash}");
        https.post(url).body(body).send()
    };
    let refused = put("wrong", &hash, file.clone()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let refused = put(&auth, &hash, vec![8; 10]).await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let taken: Value = put(&auth, &hash, file.clone())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let path = taken["direct_path"].as_str().unwrap();
    let got = https.get(format!("https://{host}{path}")).send();
    assert!(got.await.unwrap().bytes().await.unwrap() == file);
    assert_eq!(taken["url"], format!("https://{host}{path}"));
}

#[tokio::test]
async fn who_logs_out_needs_new_credentials() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    rig.bea().await;
    for device in [0, 3] {
        let mut client = credentials(&rig, json!({"device": device})).await;
        let mut chat = login(&mut client, &addresses).await;
        let out = Node::new("remove-companion-device").attr("jid", &client.jid);
        chat.send(&iq::set("md").child(out).attr("id", "out")).await;
        let last = chat.rest().await;
        assert!(last.iter().any(|node| node.u64("code") == Some(401)));
        let (_, first) = knock(&client, &addresses).await;
        assert_eq!(first.tag, "failure");
    }
}
