//! Arbitrary stanzas for property tests.

use gatekeeper::stanza::{Content, InteropJidStyle, Jid, Node, Server, Value};
use proptest::prelude::*;

/// Words of both kinds of code, digits, upper-case hexadecimal, and other text.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(
            &["message", "to", "type", "g.us", "passive", "dirty", "failure", "reaction"][..]
        )
        .prop_map(str::to_owned),
        2 => "[0-9.-]{1,130}",
        2 => "[0-9A-F]{1,130}",
        2 => "[a-z ]{0,20}",
        1 => "[^@]{0,40}",
    ]
}

/// Addresses of every form that can be written.
pub(crate) fn jid() -> impl Strategy<Value = Jid> {
    let digits = "[1-9][0-9]{0,17}";
    let ad = prop::sample::select(vec![
        Server::Whatsapp,
        Server::Lid,
        Server::Hosted,
        Server::HostedLid,
    ]);
    let pair = prop::sample::select(vec![
        Server::Group,
        Server::Other("broadcast".into()),
        Server::Other("newsletter".into()),
        Server::Other("call".into()),
    ]);
    prop_oneof![
        3 => (digits, ad, any::<u8>())
            .prop_map(|(user, server, device)| Jid::new(user, server).with_device(device.into())),
        1 => ("[0-9]{1,15}(-[0-9]{1,10})?", pair).prop_map(|(user, server)| Jid::new(user, server)),
        1 => Just(Jid::server(Server::Whatsapp)),
        3 => ("[0-9a-z.-]{1,20}", any::<u16>(), any::<u16>()).prop_map(
            |(user, device, integrator)| Jid::interop(integrator, user).with_device(device)
        ),
        1 => (digits, any::<u16>())
            .prop_map(|(user, device)| Jid::new(user, Server::Msgr).with_device(device)),
    ]
}

/// Stanzas up to four levels deep.
pub(crate) fn node() -> impl Strategy<Value = Node> {
    node_with(jid().boxed())
}

/// Stanzas whose addresses are these.
pub(crate) fn node_with(jid: BoxedStrategy<Jid>) -> impl Strategy<Value = Node> {
    let value = prop_oneof![text().prop_map(Value::Text), jid.prop_map(Value::Jid),];
    let name = text()
        .prop_filter("a name is not empty", |name| !name.is_empty())
        .boxed();
    let tag = name.clone();
    let head = (tag, prop::collection::vec((name, value), 0..5));
    let leaf = prop_oneof![
        Just(Content::Empty),
        prop::collection::vec(any::<u8>(), 0..600).prop_map(Content::Bytes),
        text().prop_map(Content::Text),
    ];
    let make = |((tag, attrs), content): ((String, Vec<(String, Value)>), Content)| Node {
        tag,
        attrs: attrs.into_iter().collect(),
        content,
    };
    (head.clone(), leaf)
        .prop_map(make)
        .prop_recursive(3, 24, 4, move |inner| {
            let children = prop::collection::vec(inner, 1..4).prop_map(Content::Nodes);
            (head.clone(), children).prop_map(make)
        })
}

/// Every form of interop addresses.
pub(crate) fn style() -> impl Strategy<Value = InteropJidStyle> {
    prop::sample::select(vec![
        InteropJidStyle::NoServer,
        InteropJidStyle::WithServer,
        InteropJidStyle::Pair,
    ])
}

/// The same stanza as readers see it: text as content is the same as its bytes.
pub(crate) fn canonical(node: &Node) -> Node {
    let content = match &node.content {
        Content::Text(text) => Content::Bytes(text.clone().into_bytes()),
        Content::Nodes(nodes) if nodes.is_empty() => Content::Empty,
        Content::Nodes(nodes) => Content::Nodes(nodes.iter().map(canonical).collect()),
        other => other.clone(),
    };
    Node {
        content,
        ..node.clone()
    }
}

/// The same stanza with attributes in alphabetical order, for peers that do not keep theirs.
pub(crate) fn sorted(node: &Node) -> Node {
    let mut attrs: Vec<_> = node.attrs.iter().collect();
    attrs.sort_by_key(|(name, _)| *name);
    let attrs = attrs
        .into_iter()
        .map(|(name, value)| (name, value.clone()))
        .collect();
    let content = match &node.content {
        Content::Nodes(nodes) => Content::Nodes(nodes.iter().map(sorted).collect()),
        other => other.clone(),
    };
    Node {
        tag: node.tag.clone(),
        attrs,
        content,
    }
}

/// Whether the word `interop` stands in the stanza as text: after an address without server it would
/// be taken for the server's name (G 3.5).
pub(crate) fn says_interop(node: &Node) -> bool {
    let interop = |text: &str| text == "interop";
    interop(&node.tag)
        || node
            .attrs
            .iter()
            .any(|(name, value)| interop(name) || interop(&value.as_str()))
        || node.content_text().is_some_and(interop)
        || node.nodes().iter().any(says_interop)
}
