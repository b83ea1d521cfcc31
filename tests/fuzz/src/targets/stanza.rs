//! Stanzas and the addresses in them.

use gatekeeper::{
    assumed,
    stanza::{Content, EncodeError, EncodeOptions, InteropJidStyle, Jid, Node, decode, encode},
    stanzas::{self, Origin},
};

use super::{Decoder, Target, answer, magnitude};

pub(super) const CODEC: Target = Target {
    name: "stanza",
    about: "the binary encoding of stanzas",
    words: &[
        b"\xf8\x01",
        b"\xf8\x02",
        b"\xf9\xff\xff",
        b"\xfa",
        b"\xf5",
        b"\xf6",
        b"\xf7\x01\x02",
        b"\xfc\x07interop",
        b"\xfd\x0f\xff\xff",
        b"\xfe\xff\xff\xff\xff",
        b"\xff\x82\x12\x3f",
        b"\xfb\x02\xab\xcd",
        b"\x00",
        b"\x13",
        b"\xed\x75",
        b"\x03",
        b"\xcc",
    ],
    start: || {
        Decoder::new(encoded(), |input| {
            answer(decode(input), |node| check(&node))
        })
    },
};

pub(super) const TYPED: Target = Target {
    name: "stanzas",
    about: "the typed stanzas, from well-formed encodings",
    words: CODEC.words,
    start: || {
        Decoder::new(encoded(), |input| {
            answer(decode(input), |node| every_parser(&node))
        })
    },
};

pub(super) const JID: Target = Target {
    name: "jid",
    about: "addresses in their text form",
    words: &[
        b"@",
        b":",
        b"-",
        b"interop",
        b"s.whatsapp.net",
        b"65536",
        b"\xc2\xa0",
    ],
    start: || {
        let seeds = [
            "1-10853634039893:3@interop",
            "14155551001:2@s.whatsapp.net",
            "g.us",
            "1-2@g.us",
        ];
        let seeds = seeds.map(|text| text.as_bytes().to_vec()).to_vec();
        Decoder::new(seeds, |input| {
            let Ok(text) = std::str::from_utf8(input) else {
                return "no text".to_owned();
            };
            answer(text.parse::<Jid>(), |jid| {
                assert_eq!(jid.to_string().parse(), Ok(jid.clone()));
                format!("{:?} {}", magnitude(jid.user.len()), jid.device == 0)
            })
        })
    },
};

/// What was read means the same when it is written and read again.
fn check(node: &Node) -> String {
    for interop in [InteropJidStyle::WithServer, InteropJidStyle::Pair] {
        let options = EncodeOptions {
            interop,
            ..EncodeOptions::default()
        };
        match encode(node, &options) {
            Ok(bytes) => assert_eq!(decode(&bytes).as_ref().map(canonical), Ok(canonical(node))),
            // Inflated, a stanza may be larger than one that is not compressed.
            Err(error) => assert_eq!(error, EncodeError::TooLarge),
        }
    }
    let (nodes, attrs, depth) = shape(node);
    format!("{} {} {depth}", magnitude(nodes), magnitude(attrs))
}

fn canonical(node: &Node) -> Node {
    let content = match &node.content {
        Content::Text(text) => Content::Bytes(text.clone().into_bytes()),
        Content::Nodes(nodes) => Content::Nodes(nodes.iter().map(canonical).collect()),
        other => other.clone(),
    };
    Node {
        content,
        ..node.clone()
    }
}

/// Nodes, attributes, depth.
fn shape(node: &Node) -> (usize, usize, usize) {
    node.nodes()
        .iter()
        .map(shape)
        .fold((1, node.attrs.len(), 1), |(n, a, d), child| {
            (n + child.0, a + child.1, d.max(child.2 + 1))
        })
}

/// What each parser says to the node, in a word.
fn every_parser(node: &Node) -> String {
    let mut said = String::new();
    macro_rules! parse {
        ($($result:expr),* $(,)?) => {$(
            said.push_str(&answer($result, |_| "+".to_owned()));
        )*};
    }
    for origin in [Origin::Client, Origin::Server] {
        parse!(
            stanzas::ChatState::parse(node, origin),
            stanzas::Receipt::parse(node, origin),
            stanzas::RetryReceipt::parse(node, origin),
        );
    }
    parse!(
        stanzas::ClientAck::parse(node),
        stanzas::ServerAck::parse(node),
        stanzas::Ib::parse(node),
        stanzas::IqHead::parse(node),
        stanzas::KeysRequest::parse(node),
        stanzas::IncomingMessage::parse(node),
        stanzas::OutgoingMessage::parse(node),
        stanzas::Notification::parse(node),
        stanzas::Failure::parse(node),
        stanzas::StreamError::parse(node),
        stanzas::Success::parse(node),
        stanzas::iq::parse_active(node),
        stanzas::keys::parse_count(node),
        stanzas::keys::parse_fetch(node),
        stanzas::privacy::parse(node),
        stanzas::usync::ContactQuery::parse(node),
        stanzas::usync::parse_contacts(node),
        stanzas::blocklist::BlocklistRequest::parse(node),
        stanzas::blocklist::Blocklist::parse(node),
        assumed::parse_reach(node),
        assumed::parse_reach_answer(node),
    );
    said
}

fn encoded() -> Vec<Vec<u8>> {
    let options = [
        EncodeOptions::default(),
        EncodeOptions {
            compress: true,
            ..EncodeOptions::default()
        },
        EncodeOptions {
            interop: InteropJidStyle::WithServer,
            pack: false,
            compress: false,
        },
    ];
    let encode = |node: &Node| options.map(|options| encode(node, &options).unwrap_or_default());
    nodes().iter().flat_map(encode).collect()
}

fn nodes() -> Vec<Node> {
    let (phone, login) = (Jid::phone("14155551001"), Jid::interop(1, "10853634039893"));
    let server = stanzas::chat_server();
    let message = Node::new("message")
        .attr("from", phone.clone().with_device(3))
        .attr("to", &login)
        .attr("id", "3EB0AA00FF")
        .attr("type", "text")
        .attr("t", 1_790_000_000u64)
        .attr("notify", "Bea");
    let enc = Node::new("enc")
        .attr("v", "2")
        .attr("type", "pkmsg")
        .bytes([0x33; 60]);
    let iq = |kind: &str, xmlns: &str| {
        Node::new("iq")
            .attr("id", "17")
            .attr("type", kind)
            .attr("xmlns", xmlns)
            .attr("to", &server)
    };
    vec![
        message.clone().child(enc),
        message.clone().child(Node::new("body").text("text")),
        Node::new("ack")
            .attr("class", "message")
            .attr("id", "3EB0")
            .attr("from", &phone)
            .attr("t", "5"),
        Node::new("receipt")
            .attr("id", "1")
            .attr("from", &phone)
            .attr("to", &phone)
            .attr("type", "read")
            .child(Node::new("list").child(Node::new("item").attr("id", "2"))),
        Node::new("receipt")
            .attr("id", "1")
            .attr("from", &phone)
            .attr("to", &phone)
            .attr("type", "retry")
            .child(
                Node::new("retry")
                    .attr("count", "1")
                    .attr("id", "1")
                    .attr("t", "5")
                    .attr("v", "1"),
            )
            .child(Node::new("registration").bytes([0, 0, 1, 2])),
        iq("get", "encrypt").child(Node::new("count")),
        iq("result", "encrypt").child(Node::new("count").attr("value", "7")),
        iq("set", "encrypt")
            .child(Node::new("registration").bytes([0, 0, 1, 2]))
            .child(Node::new("type").bytes([5]))
            .child(Node::new("identity").bytes([1; 32]))
            .child(
                Node::new("list").child(
                    Node::new("key")
                        .child(Node::new("id").bytes([0, 0, 1]))
                        .child(Node::new("value").bytes([2; 32])),
                ),
            )
            .child(
                Node::new("skey")
                    .child(Node::new("id").bytes([0, 0, 1]))
                    .child(Node::new("value").bytes([2; 32]))
                    .child(Node::new("signature").bytes([3; 64])),
            ),
        iq("get", "encrypt").child(Node::new("key").child(Node::new("user").attr("jid", &phone))),
        iq("get", "w:p").child(Node::new("ping")),
        iq("set", "passive").child(Node::new("active")),
        iq("get", "usync").child(
            Node::new("usync")
                .attr("sid", "1")
                .attr("mode", "query")
                .child(Node::new("query").child(Node::new("contact")))
                .child(
                    Node::new("list").child(
                        Node::new("user").child(Node::new("contact").bytes(*b"+14155551001")),
                    ),
                ),
        ),
        Node::new("ib").child(
            Node::new("offline_preview")
                .attr("count", "3")
                .attr("message", "2"),
        ),
        Node::new("ib")
            .child(Node::new("edge_routing").child(Node::new("routing_info").bytes([1, 2, 3]))),
        Node::new("chatstate")
            .attr("from", &phone)
            .attr("to", &login)
            .child(Node::new("composing")),
        Node::new("notification")
            .attr("from", &server)
            .attr("id", "9")
            .attr("type", "encrypt")
            .attr("t", "5")
            .child(Node::new("count").attr("value", "3")),
        Node::new("success")
            .attr("t", "1790000000")
            .attr("lid", Jid::new("77", "lid".into())),
        Node::new("failure").attr("reason", "401"),
        Node::new("stream:error").attr("code", "515"),
        assumed::delete_account().attr("id", "20"),
        assumed::reach(&phone).attr("id", "21"),
        Node::new("a")
            .attr("m", Jid::new("100", "msgr".into()).with_device(9))
            .attr("s", &server),
    ]
}
