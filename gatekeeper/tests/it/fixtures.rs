//! Published and agreed bytes (G 3.4, 3.5, appendix A).

use gatekeeper::{
    frame::{FrameDecoder, encode_frame, introduction},
    noise::{Initiator, StaticKeyPair},
    stanza::{EncodeOptions, InteropJidStyle, Jid, Node, Server, decode, encode},
};

/// The sample stanza of the published overview. Its last length byte was 14 for 21 bytes of text;
/// here it is mended, and the flag byte is put before it.
pub(crate) fn published_sample() -> Vec<u8> {
    let mut sample = hex::decode(concat!(
        "00",
        "f80c1311faff8614155551001f0306faff8614155551000f03",
        "08fc063132333435360438",
        "18fc036a6f65f801f802ed75fc15",
    ))
    .unwrap();
    sample.extend(b"this is 21 bytes long");
    sample
}

fn sample_node() -> Node {
    Node::new("message")
        .attr("to", Jid::phone("14155551001"))
        .attr("from", Jid::phone("14155551000"))
        .attr("id", "123456")
        .attr("type", "text")
        .attr("notify", "joe")
        .child(Node::new("body").bytes(*b"this is 21 bytes long"))
}

#[test]
pub(crate) fn published_sample_is_read_and_written() {
    assert_eq!(decode(&published_sample()).unwrap(), sample_node());
    let unpacked = EncodeOptions {
        pack: false,
        ..EncodeOptions::default()
    };
    assert_eq!(
        encode(&sample_node(), &unpacked).unwrap(),
        published_sample()
    );
}

#[test]
fn interop_addresses_have_their_bytes() {
    // Digits, device, integrator; then the server's name or not.
    let no_server = "f5ff07108536340398930000 0001".replace(' ', "");
    let with_server = format!("{no_server}fc07696e7465726f70");
    let pair = "faff081a10853634039893fc07696e7465726f70";
    let node = Node::new("message").attr("to", Jid::interop(1, "10853634039893"));
    for (interop, bytes) in [
        (InteropJidStyle::NoServer, no_server.as_str()),
        (InteropJidStyle::WithServer, &with_server),
        (InteropJidStyle::Pair, pair),
    ] {
        let stanza = hex::decode(format!("00f8031311{bytes}")).unwrap();
        let options = EncodeOptions {
            interop,
            ..EncodeOptions::default()
        };
        assert_eq!(encode(&node, &options).unwrap(), stanza, "{interop:?}");
        assert_eq!(decode(&stanza).unwrap(), node, "{interop:?}");
    }
    assert_eq!(node.get("to").as_deref(), Some("1-10853634039893@interop"));
}

#[test]
fn addresses_of_every_tag_have_their_bytes() {
    for (jid, bytes) in [
        (Jid::phone("14155551001"), "faff8614155551001f03"),
        (
            Jid::phone("14155551001").with_device(3),
            "f70003ff8614155551001f",
        ),
        (
            Jid::new("100200", Server::Lid).with_device(1),
            "f70101ff03100200",
        ),
        (
            Jid::new("100200", Server::Hosted).with_device(99),
            "f78063ff03100200",
        ),
        (
            Jid::new("100200", Server::HostedLid).with_device(99),
            "f78163ff03100200",
        ),
        (
            Jid::new("100200", Server::Msgr).with_device(258),
            "f6ff031002000102cc",
        ),
        (Jid::new("1-2", Server::Group), "faff821a2f1c"),
        (Jid::server(Server::Whatsapp), "fa0003"),
        (
            Jid::interop(258, "700700").with_device(772),
            "f5ff0370070003040102",
        ),
    ] {
        let stanza = hex::decode(format!("00f8031311{bytes}")).unwrap();
        let node = Node::new("message").attr("to", &jid);
        assert_eq!(
            hex::encode(encode(&node, &EncodeOptions::default()).unwrap()),
            hex::encode(&stanza)
        );
        assert_eq!(decode(&stanza).unwrap().jid("to"), Some(jid));
    }
    // Further domain bytes of hosted accounts are read, too.
    let hosted = decode(&hex::decode("00f8031311f78405ff03100200").unwrap()).unwrap();
    assert_eq!(
        hosted.jid("to"),
        Some(Jid::new("100200", Server::Hosted).with_device(5))
    );
}

#[test]
fn interop_address_without_server_leaves_the_next_value_alone() {
    let options = EncodeOptions::default();
    let jid = Jid::interop(1, "10853634039893");
    for next in ["iq", "interoperable", "5"] {
        let node = Node::new("message")
            .attr("to", &jid)
            .attr(next, "x")
            .child(Node::new(next));
        assert_eq!(
            decode(&encode(&node, &options).unwrap()).unwrap(),
            node,
            "{next}"
        );
    }
    let last = Node::new("message")
        .attr("to", &jid)
        .child(Node::new("enc"));
    assert_eq!(decode(&encode(&last, &options).unwrap()).unwrap(), last);
}

#[test]
fn digits_of_an_even_and_an_odd_number() {
    let node = Node::new("iq")
        .attr("id", "10853634039893")
        .attr("t", "123");
    let bytes = encode(&node, &EncodeOptions::default()).unwrap();
    assert_eq!(
        hex::encode(bytes),
        "00f8051908ff071085363403989 31aff82123f".replace(' ', "")
    );
}

#[test]
fn first_bytes_of_a_connection() {
    let key = StaticKeyPair::generate(&mut rand::rng());
    let (_, hello) = Initiator::start(key, &mut rand::rng()).unwrap();
    assert_eq!(hello.len(), 36);
    let mut bytes = introduction(None).unwrap();
    bytes.extend(encode_frame(&hello).unwrap());
    assert_eq!(bytes[..7], [0x57, 0x41, 0x06, 0x03, 0x00, 0x00, 0x24]);
    // The message: field 2 with field 1 of 32 bytes in it.
    assert_eq!(hello[..4], [0x12, 0x22, 0x0a, 0x20]);
    let mut server = FrameDecoder::server();
    server.push(&bytes);
    assert_eq!(server.next_frame().unwrap().as_deref(), Some(&hello[..]));
}
