//! Each stanza as it stands on the wire, to be compared with G 4 and 5.4 by eye.

use std::fmt::Write as _;

use crate::{
    assumed,
    signal::{Bundle, PreKeyPublic, RetryReason, SignedPreKeyPublic},
    stanza::{Content, Jid, Node},
    stanzas::{
        ChatState, ClientAck, Digest, Enc, EncType, Failure, FetchAnswer, Ib, IncomingMessage,
        IqError, IqHead, KeyUpload, KeysRequest, Nack, Notification, NotificationKind, Origin,
        OutgoingMessage, Participant, Receipt, ReceiptKind, RetryReceipt, ServerAck, StreamError,
        Success, Typing, Wanted,
        blocklist::{Blocklist, BlocklistRequest},
        ib::{self, OfflinePreview},
        iq, keys, message, privacy, stream,
        usync::{Contact, ContactQuery, ContactState},
    },
};

/// A stanza as one would write it down.
fn write(out: &mut String, node: &Node, depth: usize) {
    let pad = "  ".repeat(depth);
    let _ = write!(out, "{pad}<{}", node.tag);
    for (name, value) in node.attrs.iter() {
        let _ = write!(out, " {name}=\"{}\"", value.as_str());
    }
    match &node.content {
        Content::Empty => out.push_str("/>\n"),
        Content::Text(text) => {
            let _ = writeln!(out, ">{text}</{}>", node.tag);
        }
        Content::Bytes(bytes) => {
            let _ = writeln!(out, ">{}</{}>", hex::encode(bytes), node.tag);
        }
        Content::Nodes(nodes) => {
            out.push_str(">\n");
            for node in nodes {
                write(out, node, depth + 1);
            }
            let _ = writeln!(out, "{pad}</{}>", node.tag);
        }
    }
}

fn xml(nodes: &[Node]) -> String {
    let mut out = String::new();
    for node in nodes {
        write(&mut out, node, 0);
    }
    out
}

fn phone() -> Jid {
    Jid::phone("14155551001")
}

fn partner() -> Jid {
    Jid::interop(1, "10853634039893")
}

fn bundle() -> Bundle {
    Bundle {
        registration_id: 0x0102,
        identity: [0x11; 32],
        signed_prekey: SignedPreKeyPublic {
            id: 0x0a_0b0c,
            public: [0x22; 32],
            signature: [0x33; 64],
        },
        prekey: Some(PreKeyPublic {
            id: 7,
            public: [0x44; 32],
        }),
    }
}

fn head(node: &Node) -> IqHead {
    IqHead::parse(&node.clone().attr("id", "77")).unwrap()
}

#[test]
fn messages() {
    let enc = Enc::new(EncType::PkMsg, vec![1, 2, 3]);
    let short = OutgoingMessage::text(phone(), "3EB0A1", enc.clone());
    let mut long = OutgoingMessage {
        edit: Some(7),
        phash: Some("2:abc".into()),
        ..short.clone()
    };
    long.kind = "media".to_owned();
    long.encs.clear();
    long.participants = vec![Participant {
        jid: phone().with_device(3),
        encs: vec![Enc {
            decrypt_fail_hide: true,
            media_type: Some("image".to_owned()),
            ..enc.clone()
        }],
    }];
    let retry = OutgoingMessage {
        device_fanout: Some(false),
        encs: vec![Enc {
            count: 2,
            ..enc.clone()
        }],
        ..short.clone()
    };
    let mut incoming = IncomingMessage::text(partner(), "3EB0A2", 1_700_000_000, enc);
    incoming.notify = Some("Alice".to_owned());
    incoming.offline = Some(1);
    let unavailable = IncomingMessage {
        encs: vec![],
        unavailable: true,
        ..incoming.clone()
    };
    insta::assert_snapshot!(xml(&[
        short.to_node(),
        long.to_node(),
        retry.to_node(),
        incoming.to_node(),
        unavailable.to_node(),
    ]));
}

#[test]
fn acks() {
    let sent = OutgoingMessage::text(phone(), "A1", Enc::new(EncType::Msg, vec![1])).to_node();
    let server = ServerAck::of(&sent, 1_700_000_000).unwrap();
    let came = IncomingMessage::text(phone(), "A2", 5, Enc::new(EncType::Msg, vec![1])).to_node();
    let client = ClientAck::of(&came).unwrap();
    let receipt = Receipt::new(phone(), ReceiptKind::Read, vec!["A3".into()], None).unwrap();
    insta::assert_snapshot!(xml(&[
        server.to_node(),
        server.clone().refusing(463).to_node(),
        client.to_node(),
        client.clone().refusing(Nack::BadProtobuf).to_node(),
        ClientAck::of(&receipt.to_node(Origin::Server))
            .unwrap()
            .to_node(),
    ]));
}

#[test]
fn receipts() {
    let message = IncomingMessage::text(phone(), "A1", 5, Enc::new(EncType::Msg, vec![1]));
    let delivery = Receipt::delivery(&message);
    let ids = ["A1", "A2", "A3"].map(str::to_owned).to_vec();
    let read = Receipt::new(phone(), ReceiptKind::Read, ids, Some(1_700_000_000)).unwrap();
    let played = Receipt {
        kind: ReceiptKind::Played,
        ids: vec!["A4".into()],
        ..read.clone()
    };
    let inactive = Receipt {
        kind: ReceiptKind::Inactive,
        ..delivery.clone()
    };
    let first = RetryReceipt::new(&message, 1, RetryReason::NoSession, 0x0102, None);
    let second = RetryReceipt::new(&message, 2, RetryReason::BadMac, 0x0102, Some(bundle()));
    insta::assert_snapshot!(xml(&[
        delivery.to_node(Origin::Client),
        read.to_node(Origin::Client),
        played.to_node(Origin::Server),
        inactive.to_node(Origin::Server),
        first.to_node(Origin::Client),
        second.to_node(Origin::Server),
    ]));
}

#[test]
fn key_queries() {
    let requests = [
        KeysRequest::Count,
        KeysRequest::Upload(KeyUpload {
            registration_id: 0x0102,
            identity: [0x11; 32],
            prekeys: vec![PreKeyPublic {
                id: 1,
                public: [0x44; 32],
            }],
            signed_prekey: bundle().signed_prekey,
        }),
        KeysRequest::Fetch(vec![
            Wanted {
                jid: phone(),
                identity_changed: false,
            },
            Wanted {
                jid: partner(),
                identity_changed: true,
            },
        ]),
        KeysRequest::Digest,
        KeysRequest::Rotate(bundle().signed_prekey),
    ];
    let mut nodes: Vec<Node> = requests.iter().map(KeysRequest::to_node).collect();
    let head = head(&nodes[0]);
    nodes.push(keys::count_answer(&head, 812));
    nodes.push(keys::fetch_answer(
        &head,
        &[
            FetchAnswer {
                jid: phone(),
                keys: Ok(bundle()),
            },
            FetchAnswer {
                jid: phone(),
                keys: Ok(Bundle {
                    prekey: None,
                    ..bundle()
                }),
            },
            FetchAnswer {
                jid: partner(),
                keys: Err(404),
            },
        ],
    ));
    let digest = Digest {
        registration_id: 0x0102,
        identity: [0x11; 32],
        signed_prekey: bundle().signed_prekey,
        prekey_ids: vec![1, 0x01_0203],
        hash: Some([0x55; 20]),
    };
    nodes.push(digest.to_node(&head));
    insta::assert_snapshot!(xml(&nodes));
}

#[test]
fn other_queries() {
    let query = ContactQuery {
        sid: "s1".into(),
        phones: vec!["+14155551001".into()],
    };
    let contacts = [
        Contact {
            phone: Some("+14155551001".into()),
            state: ContactState::In,
            jid: Some(phone()),
        },
        Contact {
            phone: Some("+14155551002".into()),
            state: ContactState::Out,
            jid: None,
        },
    ];
    let setting = privacy::Setting {
        name: privacy::READ_RECEIPTS.into(),
        value: "none".into(),
    };
    let ping = iq::ping();
    let head = head(&ping);
    let error = IqError {
        code: 429,
        text: Some("rate-overlimit".into()),
        backoff: Some(30),
    };
    let server_ping = iq::server_ping("99");
    insta::assert_snapshot!(xml(&[
        head.result(),
        head.error(&error),
        IqHead::parse(&server_ping).unwrap().client_result(),
        server_ping,
        ping,
        iq::set_active(true),
        iq::set_active(false),
        query.to_node(),
        query.answer(&head, &contacts),
        BlocklistRequest::Get.to_node(),
        BlocklistRequest::Set {
            jid: phone(),
            block: true
        }
        .to_node(),
        Blocklist {
            dhash: Some("d1".into()),
            users: vec![phone()]
        }
        .to_node(&head),
        privacy::get(),
        privacy::set(std::slice::from_ref(&setting)),
        privacy::answer(&head, &[setting]),
        assumed::delete_account(),
        assumed::reach(&phone()),
        assumed::reach_answer(&head, &phone(), assumed::Reach::Invited),
    ]));
}

#[test]
fn the_connection_itself() {
    let preview = OfflinePreview {
        count: 6,
        messages: 3,
        receipts: 2,
        notifications: 1,
    };
    let success = Success {
        t: Some(1_700_000_000),
        lid: Some("123@lid".parse().unwrap()),
        location: Some("fra".into()),
    };
    let failure = Failure {
        reason: 402,
        code: Some(101),
        expire: Some(3600),
        message: Some("slow down".into()),
    };
    let low = NotificationKind::LowPreKeys { count: 4 };
    let changed = NotificationKind::IdentityChanged;
    let typing = |typing| ChatState {
        peer: phone(),
        participant: None,
        typing,
    };
    insta::assert_snapshot!(xml(&[
        Ib::OfflinePreview(preview).to_node(),
        Ib::OfflineBatch(100).to_node(),
        Ib::OfflineDone(6).to_node(),
        Ib::EdgeRouting(vec![1, 2, 3]).to_node(),
        Ib::Dirty {
            kind: "account_sync".into(),
            timestamp: Some(5)
        }
        .to_node(),
        ib::clean("account_sync", Some(5)),
        success.to_node(),
        failure.to_node(),
        StreamError::code(515).to_node(),
        StreamError::replaced().to_node(),
        stream::end(),
        Notification::new(crate::stanzas::chat_server(), "N1", 5, low).to_node(),
        Notification::new(phone(), "N2", 5, changed).to_node(),
        typing(Typing::Composing).to_node(Origin::Client),
        typing(Typing::Recording).to_node(Origin::Server),
        typing(Typing::Paused).to_node(Origin::Client),
    ]));
}

/// G Appendix A: the beginning of a SHA-256 over the sorted addresses.
#[test]
fn the_hash_over_devices_does_not_depend_on_their_order() {
    let (one, two) = (phone(), phone().with_device(3));
    let hash = message::phash(&[one.clone(), two.clone()]);
    assert_eq!(hash, message::phash(&[two, one]));
    // python3: base64(sha256(b"14155551001.0:0@s.whatsapp.net14155551001.0:3@s.whatsapp.net")[:6])
    assert_eq!(hash, "2:M6gyEL3R");
}

/// The name of an error says where it is, and never what stood there.
#[test]
fn errors_name_the_place() {
    let node = Node::new("message")
        .attr("from", "not an address")
        .attr("id", "A");
    let error = IncomingMessage::parse(&node).unwrap_err();
    assert_eq!(error.to_string(), "attribute from of <message> is damaged");
    let error = IncomingMessage::parse(&Node::new("receipt")).unwrap_err();
    assert_eq!(error.to_string(), "expected <message>");
    let node = Node::new("message").attr("from", phone()).attr("id", "");
    let error = IncomingMessage::parse(&node).unwrap_err();
    assert_eq!(error.to_string(), "<message> has no attribute id");
    let node = Node::new("message").attr("from", phone()).attr("id", "A");
    let error = IncomingMessage::parse(&node).unwrap_err();
    assert_eq!(error.to_string(), "<message> has no <enc>");
    let iq = Node::new("iq").child(
        Node::new("rotate").child(
            Node::new("skey")
                .child(Node::new("id").bytes([1]))
                .child(Node::new("value").bytes([1])),
        ),
    );
    let error = KeysRequest::parse(&iq).unwrap_err();
    assert_eq!(error.to_string(), "content of <value> is damaged");
}
