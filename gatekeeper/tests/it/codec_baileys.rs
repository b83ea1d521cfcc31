//! The stanza codec against Baileys, in a process of its own.

use gatekeeper::stanza::{
    Content, EncodeOptions, InteropJidStyle, Jid, Node, Server, Value as Attr, decode, encode,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::{
    nodes::{canonical, jid, node_with, sorted},
    peer::Peer,
};

const CASES: usize = 300;

fn to_json(node: &Node) -> Value {
    let attrs = node
        .attrs
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value.as_str())));
    let mut json = json!({"tag": node.tag, "attrs": Value::Object(attrs.collect())});
    match &node.content {
        Content::Empty => {}
        Content::Nodes(nodes) => {
            json["content"] = json!({"nodes": nodes.iter().map(to_json).collect::<Vec<_>>()});
        }
        Content::Bytes(bytes) => json["content"] = json!({"bytes": hex::encode(bytes)}),
        Content::Text(text) => json["content"] = json!({"text": text}),
    }
    json
}

/// As Baileys shows a node: addresses in its own text form, attributes in any order.
fn as_baileys_shows(node: &Node) -> Value {
    let mut json = to_json(&canonical(node));
    show_addresses(node, &mut json);
    json
}

fn show_addresses(node: &Node, json: &mut Value) {
    for (name, value) in node.attrs.iter() {
        if let Attr::Jid(jid) = value {
            json["attrs"][name] = json!(match &jid.server {
                Server::Interop =>
                    format!("{}-{}:{}@interop", jid.integrator, jid.user, jid.device),
                Server::Msgr => format!("{}:{}@msgr", jid.user, jid.device),
                server if jid.user.is_empty() => format!("@{server}"),
                _ => jid.to_string(),
            });
        }
    }
    for (at, child) in node.nodes().iter().enumerate() {
        show_addresses(child, &mut json["content"]["nodes"][at]);
    }
}

/// What Baileys read, with text content as bytes.
fn canonical_json(mut node: Value) -> Value {
    if let Some(content) = node.get_mut("content") {
        if let Some(text) = content.get("text").and_then(Value::as_str) {
            *content = json!({"bytes": hex::encode(text)});
        }
        for child in content
            .get_mut("nodes")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            *child = canonical_json(child.take());
        }
    }
    node
}

fn samples(addresses: BoxedStrategy<Jid>) -> impl Iterator<Item = Node> {
    let mut runner = TestRunner::deterministic();
    let nodes = node_with(addresses);
    std::iter::from_fn(move || Some(nodes.new_tree(&mut runner).unwrap().current())).take(CASES)
}

#[test]
fn baileys_reads_what_we_write() {
    let mut baileys = Peer::start("baileys_codec.mjs");
    for (at, node) in samples(jid().boxed()).enumerate() {
        // It reads the form with the server's name alone.
        let interop = InteropJidStyle::WithServer;
        let compress = at % 2 == 1;
        let ours = encode(
            &node,
            &EncodeOptions {
                interop,
                compress,
                pack: at % 3 != 2,
            },
        )
        .unwrap();
        let read = baileys.call(json!({"call": "decode", "stanza": hex::encode(ours)}));
        assert_eq!(canonical_json(read), as_baileys_shows(&node));
    }
}

#[test]
fn we_read_what_baileys_writes_and_write_the_same() {
    let mut baileys = Peer::start("baileys_codec.mjs");
    // It cannot write the tags of interop and Messenger addresses.
    let addresses = jid()
        .prop_filter("Baileys cannot write it", |jid| {
            !matches!(jid.server, Server::Interop | Server::Msgr) && !jid.is_server()
        })
        .boxed();
    for node in samples(addresses) {
        let written = baileys.call(json!({"call": "encode", "node": to_json(&node)}));
        let written = hex::decode(written.as_str().unwrap()).unwrap();
        let read = decode(&written).unwrap();
        assert_eq!(sorted(&canonical(&read)), sorted(&canonical(&node)));
        let ours = encode(&read, &EncodeOptions::default()).unwrap();
        assert_eq!(hex::encode(ours), hex::encode(written));
    }
}

#[test]
fn baileys_writes_the_interop_pair() {
    let mut baileys = Peer::start("baileys_codec.mjs");
    let node = Node::new("message").attr("to", Jid::interop(1, "10853634039893"));
    let written = baileys.call(json!({"call": "encode", "node": to_json(&node)}));
    let interop = InteropJidStyle::Pair;
    let ours = encode(
        &node,
        &EncodeOptions {
            interop,
            ..EncodeOptions::default()
        },
    )
    .unwrap();
    assert_eq!(written, json!(hex::encode(&ours)));
    assert_eq!(decode(&ours).unwrap(), node);
}

#[test]
fn baileys_reads_the_published_sample_as_we_do() {
    let mut baileys = Peer::start("baileys_codec.mjs");
    let sample = crate::fixtures::published_sample();
    let read = baileys.call(json!({"call": "decode", "stanza": hex::encode(&sample)}));
    assert_eq!(
        canonical_json(read),
        as_baileys_shows(&decode(&sample).unwrap())
    );
}
