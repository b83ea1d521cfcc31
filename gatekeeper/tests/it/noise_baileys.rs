//! Our server's side of the handshake against Baileys' Noise client, in a process of its own.

use gatekeeper::{
    frame::{FrameDecoder, encode_frame},
    noise::{CertAuthority, Responder, StaticKeyPair, Step},
    stanza::{EncodeOptions, Node, decode, encode},
};
use serde_json::{Value, json};

use crate::peer::Peer;

const NOW: u64 = 1_790_000_000;

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Runs a handshake and sends stanzas both ways.
fn connect(routing: Option<&[u8]>) {
    let mut rng = rand::rng();
    let server_key = StaticKeyPair::generate(&mut rng);
    let authority = CertAuthority::mint(&mut rng, NOW).unwrap();
    let chain = authority.issue(&server_key.public(), &mut rng).unwrap();
    let mut client = Peer::start("baileys_noise.mjs");
    let root = hex::encode(authority.root().0);
    let started =
        client.call(json!({"call": "start", "root": root, "routing": routing.map(hex::encode)}));

    let mut frames = FrameDecoder::server();
    frames.push(&bytes(&started["frame"]));
    let hello = frames.next_frame().unwrap().unwrap();
    assert_eq!(frames.introduction().unwrap().routing.as_deref(), routing);
    let step = Responder::new(&server_key, &chain)
        .client_hello(&hello, &mut rng)
        .unwrap();
    let Step::Continue {
        server_hello,
        responder,
    } = step
    else {
        panic!("not an XX hello")
    };

    let stream = hex::encode(encode_frame(&server_hello).unwrap());
    let payload = hex::encode(b"login");
    let finish = client.call(json!({"call": "hello", "stream": stream, "payload": payload}));
    frames.push(&bytes(&finish));
    let finish = frames.next_frame().unwrap().unwrap();
    let accepted = responder.client_finish(&finish).unwrap();
    assert_eq!(accepted.payload, b"login");
    assert_eq!(accepted.client_static, *bytes(&started["static"]));
    let mut transport = accepted.transport;

    for id in 0u32..20 {
        let sent = client.call(json!({"call": "send", "tag": "iq", "id": id.to_string()}));
        frames.push(&bytes(&sent));
        let stanza = transport
            .decrypt(&frames.next_frame().unwrap().unwrap())
            .unwrap();
        assert_eq!(decode(&stanza).unwrap(), Node::new("iq").attr("id", id));
    }

    // Three frames in one piece and a fourth in two.
    let mut stream = Vec::new();
    for (id, compress) in [(1u32, false), (2, true), (3, false), (4, true)] {
        let node = Node::new("receipt").attr("id", id);
        let stanza = encode(
            &node,
            &EncodeOptions {
                compress,
                ..EncodeOptions::default()
            },
        )
        .unwrap();
        stream.extend(encode_frame(&transport.encrypt(&stanza).unwrap()).unwrap());
    }
    let (first, second) = stream.split_at(stream.len() - 5);
    let receive = |stream: &[u8]| json!({"call": "receive", "stream": hex::encode(stream)});
    let received = client.call(receive(first));
    let node = |id: u32| json!({"tag": "receipt", "id": id.to_string()});
    assert_eq!(received, json!([node(1), node(2), node(3)]));
    assert_eq!(client.call(receive(second)), json!([node(4)]));
}

#[test]
fn baileys_connects() {
    connect(None);
    connect(Some(b"routing information"));
}

#[test]
fn signatures_of_our_chain_are_good_to_another_implementation() {
    let mut rng = rand::rng();
    let (authority, other) = (
        CertAuthority::mint(&mut rng, NOW).unwrap(),
        CertAuthority::mint(&mut rng, NOW).unwrap(),
    );
    let chain = hex::encode(authority.issue(&[7; 32], &mut rng).unwrap());
    let mut client = Peer::start("baileys_noise.mjs");
    let mut verify = |root: &CertAuthority| {
        client.call(json!({"call": "verify", "root": hex::encode(root.root().0), "chain": chain}))
    };
    assert_eq!(
        verify(&authority),
        json!({"intermediate": true, "leaf": true})
    );
    assert_eq!(verify(&other), json!({"intermediate": false, "leaf": true}));
}
