//! The stanza codec against wacore-binary, both ways.

use std::borrow::Cow;

use gatekeeper::stanza::{
    Content, EncodeOptions, InteropJidStyle, Jid, Node, Server, Value, decode, encode,
};
use proptest::prelude::*;
use wacore_binary::{
    jid as theirs_jid,
    marshal::{marshal, unmarshal_ref},
    node::{Node as Theirs, NodeContent, NodeValue},
    util::unpack,
};

use crate::nodes::{canonical, jid, node_with};

fn to_theirs(node: &Node) -> Theirs {
    let content = match &node.content {
        Content::Empty => None,
        Content::Nodes(nodes) => Some(NodeContent::Nodes(nodes.iter().map(to_theirs).collect())),
        Content::Bytes(bytes) => Some(NodeContent::Bytes(bytes.clone())),
        Content::Text(text) => Some(NodeContent::String(text.as_str().into())),
    };
    let mut theirs = Theirs {
        tag: Cow::Owned(node.tag.clone()),
        attrs: Default::default(),
        content,
    };
    for (name, value) in node.attrs.iter() {
        let value = match value {
            Value::Text(text) => NodeValue::String(text.as_str().into()),
            Value::Jid(jid) => NodeValue::Jid(theirs_jid::Jid {
                user: jid.user.as_str().into(),
                server: theirs_jid::Server::try_from(jid.server.as_str()).unwrap(),
                agent: 0,
                device: jid.device,
                integrator: jid.integrator,
            }),
        };
        theirs.attrs.insert(name.to_owned(), value);
    }
    theirs
}

fn from_theirs(node: &Theirs) -> Node {
    let content = match &node.content {
        None => Content::Empty,
        Some(NodeContent::Nodes(nodes)) => Content::Nodes(nodes.iter().map(from_theirs).collect()),
        Some(NodeContent::Bytes(bytes)) => Content::Bytes(bytes.to_vec()),
        Some(NodeContent::String(text)) => Content::Text(text.to_string()),
    };
    let attrs = node.attrs.iter().map(|(name, value)| {
        let value = match value {
            NodeValue::String(text) => Value::Text(text.to_string()),
            NodeValue::Jid(jid) => Value::Jid(Jid {
                user: jid.user.to_string(),
                server: Server::from(jid.server.as_str()),
                device: jid.device,
                integrator: jid.integrator,
            }),
        };
        (name.to_string(), value)
    });
    Node {
        tag: node.tag.to_string(),
        attrs: attrs.collect(),
        content,
    }
}

/// Addresses that wacore can write: it has no Messenger devices, and writes integrator 0 as a pair.
fn writable() -> BoxedStrategy<Jid> {
    jid()
        .prop_filter("wacore cannot write it", |jid| match jid.server {
            Server::Msgr => false,
            Server::Interop => jid.integrator != 0,
            _ => true,
        })
        .boxed()
}

proptest! {
    #[test]
    fn both_write_the_same_bytes(node in node_with(writable())) {
        let ours = encode(&node, &EncodeOptions::default()).unwrap();
        let theirs = marshal(&to_theirs(&node)).unwrap();
        prop_assert_eq!(hex::encode(&ours), hex::encode(&theirs));
    }

    #[test]
    fn wacore_reads_what_we_write(node in node_with(jid().boxed()), compress in any::<bool>()) {
        // Clients read the form with the server's name alone.
        let interop = InteropJidStyle::WithServer;
        let options = EncodeOptions { interop, compress, ..EncodeOptions::default() };
        let ours = encode(&node, &options).unwrap();
        let body = unpack(&ours).unwrap();
        let read = unmarshal_ref(&body).unwrap().to_owned();
        prop_assert_eq!(canonical(&from_theirs(&read)), canonical(&node));
    }

    #[test]
    fn we_read_what_wacore_writes(node in node_with(writable())) {
        let theirs = marshal(&to_theirs(&node)).unwrap();
        prop_assert_eq!(canonical(&decode(&theirs).unwrap()), canonical(&node));
    }
}
