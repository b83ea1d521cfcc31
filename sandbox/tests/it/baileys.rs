//! Baileys' Noise client against the sandbox's WebSocket: a handshake and a login by code that we
//! did not write.

use gatekeeper::{enlist::EnlistAnswer, noise::StaticKeyPair};
use serde_json::{Value, json};

use crate::{
    client::{Pipe, User},
    peer::Peer,
    rig::{ALICE, Rig},
};

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn baileys_logs_in_and_is_answered() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    let mut client = Peer::start("baileys_noise.mjs");
    let routing = hex::encode(b"somewhere");
    let started = client.call(json!({"call": "start", "root": addresses.root, "routing": routing}));

    // The user enlists with the key that Baileys made.
    let mut alice = User::new(ALICE);
    let mut form = alice.form(rig.partner.token(ALICE));
    form.authkey = bytes(&started["static"]).try_into().unwrap();
    let http = reqwest::Client::new();
    let answer = gatekeeper::enlist::enlist(&http, &addresses.enlistment, &form)
        .await
        .unwrap();
    let EnlistAnswer::Ok { login } = answer else {
        panic!("{answer:?}")
    };
    alice.jid = login;
    alice.static_key = StaticKeyPair::generate(&mut rand::rng());

    let mut pipe = Pipe::open(&addresses.chat).await;
    pipe.write(bytes(&started["frame"])).await;
    let hello = hex::encode(pipe.read().await.unwrap());
    let payload = hex::encode(alice.payload(rig.partner.token(ALICE)).to_bytes());
    let finish = client.call(json!({"call": "hello", "stream": hello, "payload": payload}));
    pipe.write(bytes(&finish)).await;

    let mut tags = Vec::new();
    while tags.len() < 3 {
        let stream = hex::encode(pipe.read().await.expect("stanzas"));
        let nodes = client.call(json!({"call": "receive", "stream": stream}));
        tags.extend(
            nodes
                .as_array()
                .unwrap()
                .iter()
                .map(|node| node["tag"].clone()),
        );
    }
    assert_eq!(tags, ["success", "ib", "ib"]);

    // An iq of no known kind is answered with an error, so the transport works both ways.
    let iq = client.call(json!({"call": "send", "tag": "iq", "id": "7"}));
    pipe.write(bytes(&iq)).await;
    let stream = hex::encode(pipe.read().await.unwrap());
    let answer = client.call(json!({"call": "receive", "stream": stream}));
    assert_eq!(answer, json!([{"tag": "iq", "id": "7"}]));
}
