//! Each stanza survives the wire, and nothing that comes over it can do harm.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    assumed,
    signal::{Bundle, PreKeyPublic, RetryReason, SignedPreKeyPublic},
    stanza::{self, EncodeOptions, InteropJidStyle, Jid, Node},
    stanzas::{
        ChatState, ClientAck, Digest, Enc, EncType, Failure, FetchAnswer, Ib, IncomingMessage,
        IqError, IqHead, KeyUpload, KeysRequest, Nack, Notification, NotificationKind, Origin,
        OutgoingMessage, Participant, Receipt, ReceiptKind, RetryReceipt, ServerAck, StreamError,
        Success, Typing, Wanted,
        blocklist::{Blocklist, BlocklistRequest},
        ib::OfflinePreview,
        iq, keys, privacy,
        usync::{self, Contact, ContactQuery, ContactState},
    },
};

/// The stanza as the other side reads it.
fn over_the_wire(node: &Node) -> Node {
    let mut read = None;
    for interop in [
        InteropJidStyle::NoServer,
        InteropJidStyle::WithServer,
        InteropJidStyle::Pair,
    ] {
        let options = EncodeOptions {
            interop,
            ..EncodeOptions::default()
        };
        let node = stanza::decode(&stanza::encode(node, &options).unwrap()).unwrap();
        assert_eq!(read.get_or_insert_with(|| node.clone()), &node);
    }
    read.unwrap()
}

fn user() -> impl Strategy<Value = Jid> {
    prop_oneof![
        "[1-9][0-9]{5,14}".prop_map(Jid::phone),
        ("[1-9][0-9]{5,14}", 1..99u16)
            .prop_map(|(user, device)| Jid::phone(user).with_device(device)),
        (1..500u16, "[0-9]{5,14}").prop_map(|(integrator, user)| Jid::interop(integrator, user)),
        "[0-9]{5,14}@lid".prop_map(|text| text.parse().unwrap()),
    ]
}

fn id() -> impl Strategy<Value = String> {
    "[0-9A-F]{1,32}|[a-zA-Z0-9.-]{1,20}"
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{1,20}"
}

fn enc() -> impl Strategy<Value = Enc> {
    let kind = select(vec!["msg", "pkmsg", "skmsg", "future"]);
    (
        kind,
        1..4u8,
        0..6u8,
        any::<bool>(),
        option::of("[a-z]{3,8}"),
        vec(any::<u8>(), 0..300),
    )
        .prop_map(|(kind, version, count, hide, media_type, ciphertext)| Enc {
            kind: EncType::from(kind),
            version,
            count,
            decrypt_fail_hide: hide,
            media_type,
            ciphertext,
        })
}

fn prekey() -> impl Strategy<Value = PreKeyPublic> {
    (0..1u32 << 24, any::<[u8; 32]>()).prop_map(|(id, public)| PreKeyPublic { id, public })
}

fn signed() -> impl Strategy<Value = SignedPreKeyPublic> {
    (prekey(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(key, one, two)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&one);
        signature[32..].copy_from_slice(&two);
        SignedPreKeyPublic {
            id: key.id,
            public: key.public,
            signature,
        }
    })
}

fn bundle() -> impl Strategy<Value = Bundle> {
    (
        any::<u32>(),
        any::<[u8; 32]>(),
        signed(),
        option::of(prekey()),
    )
        .prop_map(
            |(registration_id, identity, signed_prekey, prekey)| Bundle {
                registration_id,
                identity,
                signed_prekey,
                prekey,
            },
        )
}

fn outgoing() -> impl Strategy<Value = OutgoingMessage> {
    let participant = (user(), vec(enc(), 1..3)).prop_map(|(jid, encs)| Participant { jid, encs });
    (
        user(),
        id(),
        option::of(1..9u8),
        option::of(any::<bool>()),
        vec(enc(), 1..3),
        vec(participant, 0..3),
    )
        .prop_map(
            |(to, id, edit, device_fanout, encs, participants)| OutgoingMessage {
                to,
                id,
                kind: "text".to_owned(),
                edit,
                phash: None,
                device_fanout,
                encs,
                participants,
            },
        )
}

fn incoming() -> impl Strategy<Value = IncomingMessage> {
    let who = (user(), option::of(user()), option::of(user()));
    let more = (
        any::<u64>(),
        option::of(text()),
        option::of(0..9u32),
        option::of(1..9u8),
    );
    (who, id(), more, vec(enc(), 1..3)).prop_map(
        |((from, participant, recipient), id, (t, notify, offline, edit), encs)| IncomingMessage {
            from,
            id,
            t,
            kind: "media".to_owned(),
            participant,
            recipient,
            notify,
            offline,
            edit,
            encs,
            unavailable: false,
        },
    )
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let kind = select(vec![
        None,
        Some("inactive"),
        Some("read"),
        Some("read-self"),
        Some("played"),
        Some("played-self"),
        Some("sender"),
        Some("future"),
    ]);
    let ids = prop::collection::btree_set(id(), 1..6);
    (
        user(),
        kind,
        ids,
        option::of(user()),
        option::of(any::<u64>()),
    )
        .prop_map(|(peer, kind, ids, participant, t)| Receipt {
            peer,
            kind: ReceiptKind::from_word(kind),
            ids: ids.into_iter().collect(),
            participant,
            recipient: None,
            t,
            offline: None,
        })
}

fn retry() -> impl Strategy<Value = RetryReceipt> {
    (
        incoming(),
        1..9u8,
        0..10u64,
        any::<u32>(),
        option::of(bundle()),
    )
        .prop_map(|(message, count, reason, registration_id, keys)| {
            let keys = keys.map(|keys| Bundle {
                registration_id,
                ..keys
            });
            let reason = RetryReason::from_code(reason);
            RetryReceipt::new(&message, count, reason, registration_id, keys)
        })
}

fn origin() -> impl Strategy<Value = Origin> {
    select(vec![Origin::Client, Origin::Server])
}

fn head(node: &Node) -> IqHead {
    IqHead::parse(&over_the_wire(&node.clone().attr("id", "7"))).unwrap()
}

/// Trees of words that mean something, in places where they mean nothing.
fn anything() -> impl Strategy<Value = Node> {
    let tags = vec![
        "message",
        "receipt",
        "ack",
        "iq",
        "ib",
        "notification",
        "chatstate",
        "success",
        "failure",
        "stream:error",
        "enc",
        "participants",
        "to",
        "list",
        "item",
        "user",
        "key",
        "skey",
        "keys",
        "id",
        "value",
        "signature",
        "registration",
        "identity",
        "type",
        "count",
        "retry",
        "digest",
        "usync",
        "contact",
        "offline",
        "offline_preview",
        "edge_routing",
        "routing_info",
        "dirty",
        "conflict",
        "error",
        "composing",
        "paused",
        "privacy",
        "category",
        "reach",
        "rotate",
        "hash",
    ];
    let names = vec![
        "id",
        "from",
        "to",
        "type",
        "t",
        "count",
        "class",
        "participant",
        "jid",
        "v",
        "code",
        "value",
        "name",
        "action",
        "error",
        "reason",
        "offline",
        "edit",
        "sid",
        "status",
        "mode",
    ];
    let values = vec![
        "",
        "0",
        "1",
        "get",
        "set",
        "result",
        "error",
        "msg",
        "retry",
        "encrypt",
        "14155551001@s.whatsapp.net",
        "1-5@interop",
        "99999999999999999999",
        "-1",
        "block",
        "in",
        "text",
    ];
    let attrs = move || vec((select(names.clone()), select(values.clone())), 0..6);
    let node = {
        let attrs = attrs.clone();
        move |content: BoxedStrategy<Node>, tags: Vec<&'static str>| {
            (select(tags), attrs(), vec(content, 0..5)).prop_map(|(tag, attrs, children)| {
                attrs
                    .into_iter()
                    .fold(Node::new(tag), |node, (name, value)| node.attr(name, value))
                    .children(children)
            })
        }
    };
    let leaf =
        (select(tags.clone()), attrs(), vec(any::<u8>(), 0..40)).prop_map(|(tag, attrs, bytes)| {
            attrs
                .into_iter()
                .fold(Node::new(tag), |node, (name, value)| node.attr(name, value))
                .bytes(bytes)
        });
    leaf.prop_recursive(4, 40, 5, move |inner| node(inner.boxed(), tags.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages(outgoing in outgoing(), incoming in incoming()) {
        prop_assert_eq!(OutgoingMessage::parse(&over_the_wire(&outgoing.to_node())), Ok(outgoing));
        prop_assert_eq!(IncomingMessage::parse(&over_the_wire(&incoming.to_node())), Ok(incoming));
    }

    #[test]
    fn acks(incoming in incoming(), outgoing in outgoing(), receipt in receipt(), code in 400..600u16) {
        let client = ClientAck::of(&over_the_wire(&incoming.to_node())).unwrap();
        prop_assert_eq!(&client, &incoming.ack());
        let client = client.refusing(Nack::from(code));
        prop_assert_eq!(ClientAck::parse(&over_the_wire(&client.to_node())), Ok(client));
        let server = ServerAck::of(&outgoing.to_node(), 5).unwrap().refusing(code);
        prop_assert_eq!(ServerAck::parse(&over_the_wire(&server.to_node())), Ok(server));
        let of = ClientAck::of(&over_the_wire(&receipt.to_node(Origin::Server))).unwrap();
        prop_assert_eq!(receipt.ack(), of);
    }

    #[test]
    fn receipts(receipt in receipt(), retry in retry(), origin in origin()) {
        let node = over_the_wire(&receipt.to_node(origin));
        prop_assert_eq!(Receipt::parse(&node, origin), Ok(receipt));
        let node = over_the_wire(&retry.to_node(origin));
        prop_assert_eq!(ClientAck::of(&node), (origin == Origin::Server).then(|| retry.ack()));
        prop_assert_eq!(RetryReceipt::parse(&node, origin), Ok(retry));
    }

    #[test]
    fn key_requests(
        bundle in bundle(),
        prekeys in vec(prekey(), 0..5),
        users in vec((user(), any::<bool>()), 0..4),
    ) {
        let upload = KeyUpload {
            registration_id: bundle.registration_id,
            identity: bundle.identity,
            prekeys,
            signed_prekey: bundle.signed_prekey,
        };
        let users =
            users.into_iter().map(|(jid, identity_changed)| Wanted { jid, identity_changed });
        for request in [
            KeysRequest::Count,
            KeysRequest::Digest,
            KeysRequest::Rotate(bundle.signed_prekey),
            KeysRequest::Upload(upload),
            KeysRequest::Fetch(users.collect()),
        ] {
            let node = over_the_wire(&request.to_node().attr("id", "1"));
            prop_assert!(IqHead::parse(&node).unwrap().asks(keys::XMLNS));
            prop_assert_eq!(KeysRequest::parse(&node), Ok(request));
        }
    }

    #[test]
    fn key_answers(
        users in vec((user(), prop_oneof![bundle().prop_map(Ok), (400..600u16).prop_map(Err)]), 0..4),
        bundle in bundle(),
        ids in vec(0..1u32 << 24, 0..5),
        hash in option::of(any::<[u8; 20]>()),
        count in any::<u32>(),
    ) {
        let head = head(&KeysRequest::Count.to_node());
        prop_assert_eq!(keys::parse_count(&over_the_wire(&keys::count_answer(&head, count))), Ok(count));
        let users: Vec<_> =
            users.into_iter().map(|(jid, keys)| FetchAnswer { jid, keys }).collect();
        prop_assert_eq!(keys::parse_fetch(&over_the_wire(&keys::fetch_answer(&head, &users))), Ok(users));
        let digest = Digest {
            registration_id: bundle.registration_id,
            identity: bundle.identity,
            signed_prekey: bundle.signed_prekey,
            prekey_ids: ids,
            hash,
        };
        prop_assert_eq!(Digest::parse(&over_the_wire(&digest.to_node(&head))), Ok(digest));
    }

    #[test]
    fn other_queries(
        phones in vec("\\+[1-9][0-9]{5,14}", 0..4),
        users in vec(user(), 0..4),
        jid in user(),
        block in any::<bool>(),
        (code, words, backoff) in (any::<u16>(), option::of(text()), option::of(any::<u64>())),
    ) {
        let query = ContactQuery { sid: "s".to_owned(), phones: phones.clone() };
        prop_assert_eq!(ContactQuery::parse(&over_the_wire(&query.to_node())), Ok(query.clone()));
        let head = head(&query.to_node());
        let contacts: Vec<_> = phones
            .into_iter()
            .zip([ContactState::In, ContactState::Out, ContactState::Invalid].into_iter().cycle())
            .map(|(phone, state)| Contact { phone: Some(phone), state, jid: Some(jid.clone()) })
            .collect();
        let answer = over_the_wire(&query.answer(&head, &contacts));
        prop_assert_eq!(usync::parse_contacts(&answer), Ok(contacts));

        let request = BlocklistRequest::Set { jid: jid.clone(), block };
        prop_assert_eq!(BlocklistRequest::parse(&over_the_wire(&request.to_node())), Ok(request));
        let list = Blocklist { dhash: Some("d".to_owned()), users };
        prop_assert_eq!(Blocklist::parse(&over_the_wire(&list.to_node(&head))), Ok(list));

        let setting = privacy::Setting { name: "readreceipts".into(), value: "all".into() };
        let settings = vec![setting];
        prop_assert_eq!(privacy::parse(&over_the_wire(&privacy::set(&settings))), Ok(settings));

        let error = IqError { code, text: words, backoff };
        prop_assert_eq!(IqError::of(&over_the_wire(&head.error(&error))), Some(error));
        prop_assert_eq!(IqError::of(&head.result()), None);

        prop_assert_eq!(assumed::parse_reach(&over_the_wire(&assumed::reach(&jid))), Ok(jid.clone()));
        for reach in [assumed::Reach::Reachable, assumed::Reach::Invited, assumed::Reach::Unreachable] {
            let answer = over_the_wire(&assumed::reach_answer(&head, &jid, reach));
            prop_assert_eq!(assumed::parse_reach_answer(&answer), Ok(reach));
        }
    }

    #[test]
    fn the_connection_itself(
        count in any::<u32>(),
        blob in vec(any::<u8>(), 0..100),
        t in option::of(any::<u64>()),
        reason in any::<u16>(),
        code in option::of(any::<u16>()),
        from in user(),
        id in id(),
        origin in origin(),
    ) {
        let preview = OfflinePreview { count, messages: 1, receipts: 2, notifications: 3 };
        for ib in [
            Ib::OfflinePreview(preview),
            Ib::OfflineBatch(count),
            Ib::OfflineDone(count),
            Ib::EdgeRouting(blob),
            Ib::Dirty { kind: "groups".to_owned(), timestamp: t },
            Ib::Other,
        ] {
            prop_assert_eq!(Ib::parse(&over_the_wire(&ib.to_node())), Ok(ib));
        }
        let success = Success { t, lid: Some(from.clone()), location: None };
        prop_assert_eq!(Success::parse(&over_the_wire(&success.to_node())), Ok(success));
        let failure = Failure { reason, code, expire: t, message: None };
        prop_assert_eq!(Failure::parse(&over_the_wire(&failure.to_node())), Ok(failure));
        let error = StreamError { code, conflict: Some("replaced".to_owned()) };
        prop_assert_eq!(StreamError::parse(&over_the_wire(&error.to_node())), Ok(error));
        for kind in [
            NotificationKind::IdentityChanged,
            NotificationKind::LowPreKeys { count },
            NotificationKind::Other("w:gp2".to_owned()),
        ] {
            let notification = Notification::new(from.clone(), id.clone(), 5, kind);
            let node = over_the_wire(&notification.to_node());
            prop_assert_eq!(ClientAck::of(&node), Some(notification.ack()));
            prop_assert_eq!(Notification::parse(&node), Ok(notification));
        }
        for typing in [Typing::Composing, Typing::Recording, Typing::Paused] {
            let state = ChatState { peer: from.clone(), participant: None, typing };
            prop_assert_eq!(ChatState::parse(&over_the_wire(&state.to_node(origin)), origin), Ok(state));
        }
        for active in [true, false] {
            prop_assert_eq!(iq::parse_active(&over_the_wire(&iq::set_active(active))), Ok(active));
        }
    }

    /// What is new in a stanza is passed over.
    #[test]
    fn unknown_parts_change_nothing(message in incoming(), receipt in receipt(), new in "x[a-z]{3,9}") {
        let add = |node: Node| node.attr(new.clone(), "1").child(Node::new(new.clone()).bytes([1]));
        prop_assert_eq!(IncomingMessage::parse(&add(message.to_node())), Ok(message));
        let node = add(receipt.to_node(Origin::Server));
        prop_assert_eq!(Receipt::parse(&node, Origin::Server), Ok(receipt));
    }

    #[test]
    fn nothing_that_decodes_does_harm(node in anything()) {
        for origin in [Origin::Client, Origin::Server] {
            let _ = (Receipt::parse(&node, origin), RetryReceipt::parse(&node, origin));
            let _ = ChatState::parse(&node, origin);
        }
        let _ = (OutgoingMessage::parse(&node), IncomingMessage::parse(&node), Enc::parse(&node));
        let _ = (ClientAck::parse(&node), ServerAck::parse(&node), ClientAck::of(&node));
        let _ = (KeysRequest::parse(&node), keys::parse_fetch(&node), keys::parse_count(&node));
        let _ = (Digest::parse(&node), ContactQuery::parse(&node), usync::parse_contacts(&node));
        let _ = (BlocklistRequest::parse(&node), Blocklist::parse(&node), privacy::parse(&node));
        let _ = (Ib::parse(&node), Notification::parse(&node), Success::parse(&node));
        let _ = (Failure::parse(&node), StreamError::parse(&node), IqHead::parse(&node));
        let _ = (IqError::of(&node), iq::parse_active(&node), assumed::parse_reach(&node));
    }
}

#[test]
fn a_deletion_is_known_from_other_queries() {
    let delete = assumed::delete_account().attr("id", "1");
    assert!(assumed::is_delete_account(&over_the_wire(&delete)));
    assert!(!assumed::is_delete_account(&iq::ping().attr("id", "1")));
    assert!(!assumed::is_delete_account(&Node::new("iq")));
}

#[test]
fn a_refusal_is_no_other_receipt() {
    let peer = Jid::phone("4915112345678");
    let node = assumed::unsupported(peer.clone(), "3EB0".to_owned(), 5).expect("an id");
    let node = over_the_wire(&node);
    assert_eq!(node.u64("error"), Some(assumed::UNSUPPORTED));
    let receipt = Receipt::parse(&node, Origin::Server).expect("a receipt");
    assert!(assumed::is_unsupported(&receipt));
    assert_eq!(
        (receipt.peer.clone(), receipt.ids.as_slice()),
        (peer, &["3EB0".to_owned()][..])
    );
    let delivery = Receipt {
        kind: ReceiptKind::Delivery,
        ..receipt
    };
    assert!(!assumed::is_unsupported(&delivery));
}
