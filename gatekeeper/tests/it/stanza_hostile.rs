//! Stanzas that want to do harm, and those at the limits.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use gatekeeper::stanza::{
    Content, DecodeError, EncodeError, EncodeOptions, Jid, JidError, Node, Server, Value, decode,
    encode, limits,
};

fn write(node: &Node) -> Result<Vec<u8>, EncodeError> {
    encode(node, &EncodeOptions::default())
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(vec![2], Compression::best());
    zlib.write_all(body).unwrap();
    zlib.finish().unwrap()
}

fn nested(depth: usize) -> Node {
    (1..depth).fold(Node::new("a"), |inner, _| Node::new("a").child(inner))
}

#[test]
fn depth_is_limited() {
    let deepest = nested(limits::DEPTH);
    assert_eq!(decode(&write(&deepest).unwrap()).unwrap(), deepest);
    assert_eq!(write(&nested(limits::DEPTH + 1)), Err(EncodeError::TooDeep));

    // As no writer of ours makes it: lists of one list, to the end of the frame.
    let mut bytes = vec![0];
    bytes.extend([0xf8, 2, 0xfc, 1, b'a', 0xf8, 1].repeat(2_000_000));
    assert_eq!(decode(&bytes), Err(DecodeError::TooDeep));
}

#[test]
fn items_are_limited() {
    let leaves = |count| Node::new("list").children((0..count).map(|_| Node::new("a")));
    let many = leaves(65_535);
    assert_eq!(decode(&write(&many).unwrap()).unwrap(), many);
    assert_eq!(
        write(&leaves(65_536)),
        Err(EncodeError::TooManyItems),
        "longer than a list"
    );

    let too_many = Node::new("lists").children((0..5).map(|_| leaves(65_000)));
    assert_eq!(write(&too_many), Err(EncodeError::TooManyItems));
    let mut bytes = vec![0, 0xf8, 2, 0xfc, 1, b'a', 0xf8, 5];
    for _ in 0..5 {
        bytes.extend([0xf8, 2, 0xfc, 1, b'a', 0xf9, 0xff, 0xff]);
        bytes.extend([0xf8, 1, 19].repeat(65_535));
    }
    assert_eq!(decode(&bytes), Err(DecodeError::TooManyItems));
}

#[test]
fn attributes_are_limited() {
    let with = |count: u32| Node {
        attrs: (0..count).map(|i| (format!("k{i}"), i)).collect(),
        ..Node::new("a")
    };
    let many = with(256);
    assert_eq!(decode(&write(&many).unwrap()).unwrap(), many);
    assert_eq!(write(&with(257)), Err(EncodeError::TooManyItems));
    // A list that says it has 32,767 attributes.
    assert_eq!(
        decode(&[0, 0xf9, 0xff, 0xff, 19]),
        Err(DecodeError::TooManyItems)
    );
}

#[test]
fn sizes_are_limited() {
    let holding = |size| Node::new("a").bytes(vec![7; size]);
    // Flag, list of two, the tag as `fc 01 61`, and four bytes of length after `fe`.
    let largest = holding(limits::STANZA - 11);
    let bytes = write(&largest).unwrap();
    assert_eq!(bytes.len(), limits::STANZA);
    assert_eq!(decode(&bytes).unwrap(), largest);
    assert_eq!(
        write(&holding(limits::STANZA - 10)),
        Err(EncodeError::TooLarge)
    );
    assert_eq!(
        write(&holding(limits::INFLATED)),
        Err(EncodeError::TooLarge)
    );
    assert_eq!(
        decode(&vec![0; limits::STANZA + 1]),
        Err(DecodeError::TooLarge)
    );
}

#[test]
fn compression_bombs_are_limited() {
    let body = |size: usize| {
        let length = u32::try_from(size - 10).unwrap();
        let mut body = vec![0xf8, 2, 0xfc, 1, b'a', 0xfe];
        body.extend(length.to_be_bytes());
        body.resize(size, 0);
        body
    };
    let largest = deflate(&body(limits::INFLATED));
    assert!(largest.len() < 100_000);
    assert_eq!(
        decode(&largest).unwrap().content_bytes().unwrap().len(),
        limits::INFLATED - 10
    );
    assert_eq!(
        decode(&deflate(&body(limits::INFLATED + 1))),
        Err(DecodeError::TooLarge)
    );
    // 160 MiB in 160 KiB: stopped after the first 16 MiB.
    assert_eq!(
        decode(&deflate(&vec![0; 160 << 20])),
        Err(DecodeError::TooLarge)
    );
}

#[test]
fn damaged_compression_is_refused() {
    let good = encode(
        &Node::new("iq").bytes([1; 500]),
        &EncodeOptions {
            compress: true,
            ..EncodeOptions::default()
        },
    )
    .unwrap();
    let mut sum = good.clone();
    *sum.last_mut().unwrap() ^= 1;
    assert_eq!(decode(&sum), Err(DecodeError::Inflate), "checksum");
    assert_eq!(decode(&[2]), Err(DecodeError::Inflate));
    assert_eq!(decode(&[2, 1, 2, 3, 4]), Err(DecodeError::Inflate));
    // Other bits of the flag byte mean nothing to us.
    let mut flags = good;
    flags[0] = 0xff;
    assert!(decode(&flags).is_ok());
}

#[test]
fn damaged_bodies_are_refused() {
    let cases: &[(&[u8], DecodeError)] = &[
        (&[], DecodeError::Truncated),
        (&[0], DecodeError::Truncated),
        (&[0, 19], DecodeError::Tag(19)),
        (&[0, 0], DecodeError::NoTag),
        (&[0, 0xf8, 0], DecodeError::NoTag),
        (&[0, 0xf8, 1, 0], DecodeError::NoTag),
        (&[0, 0xf8, 1, 0xfc, 0], DecodeError::NoTag),
        (&[0, 0xf8, 1, 240], DecodeError::Tag(240)),
        (&[0, 0xf8, 1, 0xf8], DecodeError::Tag(0xf8)),
        (&[0, 0xf8, 1, 0xfa, 6, 3], DecodeError::Tag(0xfa)),
        (&[0, 0xf8, 1, 0xfc, 1, 0xff], DecodeError::NotUtf8),
        (
            &[0, 0xf8, 1, 0xfd, 0xff, 0xff, 0xff],
            DecodeError::Truncated,
        ),
        (
            &[0, 0xf8, 1, 0xfe, 0xff, 0xff, 0xff, 0xff],
            DecodeError::Truncated,
        ),
        (&[0, 0xf8, 3, 19, 0, 6], DecodeError::NoAttributeName),
        (
            &[0, 0xf8, 5, 19, 17, 6, 17, 6],
            DecodeError::DuplicateAttribute,
        ),
        (&[0, 0xf8, 2, 19, 0xf8, 1, 6], DecodeError::Tag(6)),
        (&[0, 0xf8, 2, 19, 0xff, 0x80], DecodeError::Packed),
        (&[0, 0xf8, 2, 19, 0xff, 1, 0xcc], DecodeError::Packed),
        (
            &[0, 0xf8, 3, 19, 17, 0xfa, 0xff, 1, 0x12, 0],
            DecodeError::Jid(JidError::NoServer),
        ),
        (
            &[0, 0xf8, 3, 19, 17, 0xf7, 7, 0, 6],
            DecodeError::Jid(JidError::Domain(7)),
        ),
        (
            &[0, 0xf8, 3, 19, 17, 0xf7, 0, 1, 0],
            DecodeError::Jid(JidError::NoUser),
        ),
        (
            &[0, 0xf8, 3, 19, 17, 0xf6, 6, 0, 0, 3],
            DecodeError::Jid(JidError::Server),
        ),
        (
            &[0, 0xf8, 3, 19, 17, 0xf5, 0xfc, 1, b'@', 0, 0, 0, 1],
            DecodeError::Jid(JidError::Character),
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(bytes), Err(*error), "{bytes:02x?}");
    }
}

#[test]
fn what_has_no_form_on_the_wire_is_refused() {
    let to = |jid: Jid| write(&Node::new("a").attr("to", jid));
    assert_eq!(write(&Node::new("")), Err(EncodeError::NoTag));
    assert_eq!(
        write(&Node::new("a").attr("", "b")),
        Err(EncodeError::NoAttributeName)
    );
    assert_eq!(
        to(Jid::phone("1").with_device(256)),
        Err(JidError::Device.into())
    );
    assert_eq!(
        to(Jid::new("1", Server::Group).with_device(1)),
        Err(JidError::Device.into())
    );
    assert_eq!(to(Jid::interop(1, "")), Err(JidError::NoUser.into()));
    assert_eq!(to(Jid::phone("1@2")), Err(JidError::Character.into()));
    assert_eq!(
        to(Jid::new("1", Server::Other(String::new()))),
        Err(JidError::NoServer.into())
    );
}

#[test]
fn text_with_an_at_sign_is_not_lost_if_it_is_no_address() {
    // As Baileys writes the name "me@home now".
    let bytes = b"\x00\xf8\x03\x13\x18\xfa\xfc\x02me\xfc\x08home now";
    let node = decode(bytes).unwrap();
    assert_eq!(
        node.attrs.get("notify"),
        Some(&Value::Text("me@home now".into()))
    );
}

#[test]
fn empty_lists_and_values_are_nothing() {
    let node = decode(&[0, 0xf8, 4, 19, 17, 0, 0]).unwrap();
    assert_eq!(node, Node::new("message").attr("to", ""));
    assert_eq!(
        decode(&[0, 0xf8, 2, 19, 0xf8, 0]).unwrap().content,
        Content::Empty
    );
}
