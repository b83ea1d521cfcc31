//! Messages, receipts, keys and lists between a partner's user and phones.

use gatekeeper::{
    stanza::{Jid, Node},
    stanzas::{
        ChatState, ClientAck, Ib, Origin, RetryReceipt, Typing,
        blocklist::{Blocklist, BlocklistRequest},
        ib, iq,
        keys::{self, KeysRequest},
        retry::WITH_KEYS,
        usync::{self, ContactQuery, ContactState},
    },
};
use serde_json::json;

use crate::{
    client::{delivery, read_receipt},
    rig::{ALICE, BEA, Rig},
};

#[tokio::test]
async fn text_crosses_both_ways_with_ticks() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;

    let ack = chat
        .deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    assert_eq!(ack.jid("from").unwrap(), bea);
    assert!(ack.u64("t").is_some() && ack.get("error").is_none());
    let receipt = chat.find_tag("receipt").await;
    assert_eq!(
        (receipt.get("id").unwrap().as_ref(), receipt.get("type")),
        ("3EB01", None)
    );
    assert_eq!(receipt.jid("from").unwrap(), bea);
    chat.send(&ClientAck::of(&receipt).unwrap().to_node()).await;

    let seen = rig.bea_sees().await;
    assert_eq!(seen.len(), 1);
    for (field, value) in [
        ("id", json!("3EB01")),
        ("from_me", json!(false)),
        ("kind", json!("text")),
        ("text", json!("hi")),
        ("status", json!("delivered")),
        ("encrypted", json!("pkmsg")),
        ("undecryptable", json!(false)),
        ("reactions", json!([])),
    ] {
        assert_eq!(seen[0][field], value, "{field}");
    }

    // The answer opens the session to the other side, so the next message is a normal one.
    let id = rig.bea_says("hello").await;
    let message = chat.find_tag("message").await;
    assert_eq!(message.get("id").unwrap(), id);
    assert_eq!(message.jid("from").unwrap(), bea);
    assert_eq!(alice.read(&message).unwrap(), "hello");
    assert_eq!(rig.bea_sees().await[1]["status"], "sent");
    chat.deliver(&delivery(&message)).await;
    rig.bea_sees_that(&id, |one| one["status"] == "delivered")
        .await;
    chat.deliver(&read_receipt(&bea, &[&id])).await;
    rig.bea_sees_that(&id, |one| one["status"] == "read").await;

    chat.deliver(&alice.text(&bea, "3EB02", "how are you?").to_node())
        .await;
    assert_eq!(rig.bea_sees().await[2]["encrypted"], "msg");
    rig.account_that("an empty mailbox", |one| one["mailbox"] == 1)
        .await;

    let receipts = format!("/control/phones/{BEA}/receipts");
    rig.post(
        &receipts,
        json!({"to": ALICE, "type": "read", "ids": ["3EB01", "3EB02"]}),
    )
    .await;
    let read = chat
        .find(|node| node.get("type").as_deref() == Some("read"))
        .await;
    assert_eq!(read.child_named("list").unwrap().nodes().len(), 1);
    assert_eq!(rig.bea_sees().await[0]["status"], "read");
}

#[tokio::test]
async fn the_phone_writes_first_with_a_prekey_of_the_user() {
    let rig = Rig::start().await;
    rig.bea().await;
    let mut alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    alice.upload(&mut chat, 1..11).await;
    rig.bea_says("who is this?").await;
    let message = chat.find_tag("message").await;
    assert_eq!(
        message.child_named("enc").unwrap().get("type").unwrap(),
        "pkmsg"
    );
    assert_eq!(alice.read(&message).unwrap(), "who is this?");
    let count = chat.query(KeysRequest::Count.to_node()).await;
    assert_eq!(keys::parse_count(&count).unwrap(), 9);
}

#[tokio::test]
async fn the_same_message_again_is_acknowledged_and_shown_once() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let message = alice.text(&bea, "3EB01", "once").to_node();
    for _ in 0..3 {
        chat.deliver(&message).await;
    }
    // After a reconnect too, when the server may have forgotten.
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    chat.deliver(&message).await;
    assert_eq!(rig.bea_sees().await.len(), 1);
}

#[tokio::test]
async fn what_waits_is_announced_sent_in_order_and_sent_again_until_acknowledged() {
    let rig = Rig::start().await;
    rig.bea().await;
    let mut alice = rig.alice().await;
    let ids = [
        rig.bea_says("1").await,
        rig.bea_says("2").await,
        rig.bea_says("3").await,
    ];

    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    let preview = chat
        .find(|node| node.child_named("offline_preview").is_some())
        .await;
    let Ib::OfflinePreview(preview) = Ib::parse(&preview).unwrap() else {
        unreachable!()
    };
    assert_eq!((preview.count, preview.messages), (3, 3));
    chat.send(&Ib::OfflineBatch(100).to_node()).await;
    let mut taken = Vec::new();
    for id in &ids {
        let message = chat.find_tag("message").await;
        assert_eq!(message.get("id").unwrap(), id.as_str());
        assert!(message.get("offline").is_some());
        taken.push(message);
    }
    let done = chat
        .find(|node| node.child_named("offline").is_some())
        .await;
    assert_eq!(Ib::parse(&done).unwrap(), Ib::OfflineDone(3));

    // The first is acknowledged, the second receipted; the third comes again.
    chat.send(&ClientAck::of(&taken[0]).unwrap().to_node())
        .await;
    chat.deliver(&delivery(&taken[1])).await;
    rig.account_that("one message left", |one| one["mailbox"] == 1)
        .await;
    drop(chat);
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    chat.send(&Ib::OfflineBatch(100).to_node()).await;
    let again = chat.find_tag("message").await;
    assert_eq!(again.get("id").unwrap(), ids[2].as_str());
    for (message, text) in taken.iter().zip(["1", "2", "3"]) {
        assert_eq!(alice.read(message).unwrap(), text);
    }
}

#[tokio::test]
async fn a_passive_connection_gets_nothing_until_it_is_active() {
    let rig = Rig::start().await;
    rig.bea().await;
    let alice = rig.alice().await;
    rig.bea_says("hello").await;
    let mut payload = alice.payload(rig.partner.token(ALICE));
    payload.passive = true;
    let addresses = rig.addresses();
    let mut chat = crate::client::Chat::open(
        &addresses.chat,
        &addresses,
        alice.key(),
        &payload.to_bytes(),
    )
    .await;
    // Answers come; the mailbox is not even announced.
    chat.query(iq::ping()).await;
    let first = chat.next().await.unwrap();
    assert_eq!(first.tag, "success");
    let second = chat.next().await.unwrap();
    assert!(second.child_named("edge_routing").is_some());
    chat.query(iq::set_active(true)).await;
    // This client never asks for a batch: the server sends after a moment all the same.
    assert!(chat.find_tag("message").await.get("offline").is_some());
}

#[tokio::test]
async fn the_phone_asks_again_for_what_it_cannot_read() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let good = alice.text(&bea, "3EB01", "hi");
    let mut bad = good.clone();
    *bad.encs[0].ciphertext.last_mut().unwrap() ^= 1;
    chat.deliver(&bad.to_node()).await;
    let retry = chat
        .find(|node| node.get("type").as_deref() == Some("retry"))
        .await;
    let retry = RetryReceipt::parse(&retry, Origin::Server).unwrap();
    assert_eq!((retry.id.as_str(), retry.count), ("3EB01", 1));
    assert!(retry.keys.is_none());
    assert_eq!(rig.bea_sees().await[0]["undecryptable"], true);

    // Still bad: the next one brings keys for a new session.
    bad.encs[0].count = 1;
    chat.deliver(&bad.to_node()).await;
    let retry = chat.find(|node| node.child_named("keys").is_some()).await;
    let retry = RetryReceipt::parse(&retry, Origin::Server).unwrap();
    assert_eq!(retry.count, WITH_KEYS);
    let peer = alice.peers.get_mut(&bea).unwrap();
    peer.forget_session();
    let bundle = retry.keys.unwrap();
    gatekeeper::signal::establish(&alice.identity, peer, &bundle, &mut rand::rng()).unwrap();
    let mut again = alice.text(&bea, "3EB01", "hi");
    again.encs[0].count = 2;
    chat.deliver(&again.to_node()).await;
    let seen = rig.bea_sees().await;
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&seen[0]["text"], &seen[0]["undecryptable"]),
        (&json!("hi"), &json!(false))
    );
}

#[tokio::test]
async fn the_phone_answers_when_it_is_asked_again() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let id = rig.bea_says("hello").await;
    let message = chat.find_tag("message").await;
    // The user has lost everything about the session and cannot read this one.
    alice.peers.remove(&bea);
    let incoming = gatekeeper::stanzas::IncomingMessage::parse(&message).unwrap();
    for count in 1..=2u8 {
        let keys = (count >= WITH_KEYS).then(|| gatekeeper::signal::Bundle {
            registration_id: alice.identity.registration_id(),
            identity: alice.identity.public(),
            signed_prekey: alice.signed.public(),
            prekey: Some(alice.prekeys[&20].public()),
        });
        let reason = gatekeeper::signal::RetryReason::NoSession;
        let registration_id = alice.identity.registration_id();
        let retry = RetryReceipt::new(&incoming, count, reason, registration_id, keys);
        chat.deliver(&retry.to_node(Origin::Client)).await;
        let again = chat.find_tag("message").await;
        assert_eq!(again.get("id").unwrap(), id);
        assert_eq!(
            again.child_named("enc").unwrap().u64("count"),
            Some(count.into())
        );
        if count == 2 {
            assert_eq!(
                again.child_named("enc").unwrap().get("type").unwrap(),
                "pkmsg"
            );
            assert_eq!(alice.read(&again).unwrap(), "hello");
        }
    }
}

#[tokio::test]
async fn an_identity_change_is_announced_and_mended() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    rig.post(&format!("/control/phones/{BEA}/identity"), json!({}))
        .await;
    let note = chat.find_tag("notification").await;
    assert_eq!(note.jid("from").unwrap(), bea);
    assert!(note.child_named("identity").is_some());
    chat.send(&ClientAck::of(&note).unwrap().to_node()).await;

    let before = alice.peers[&bea].identity;
    alice.establish(&mut chat, &bea).await;
    assert_ne!(alice.peers[&bea].identity, before);
    chat.deliver(&alice.text(&bea, "3EB02", "is that you?").to_node())
        .await;
    let seen = rig
        .bea_sees_that("3EB02", |one| one["undecryptable"] == false)
        .await;
    assert_eq!(seen["encrypted"], "pkmsg");
}

#[tokio::test]
async fn contacts_are_found_by_number() {
    let rig = Rig::start().await;
    let bea = rig.bea().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    let phones = [BEA, "+4915100000000", "nonsense"]
        .map(str::to_owned)
        .to_vec();
    let query = ContactQuery {
        sid: "s1".to_owned(),
        phones,
    };
    let contacts = usync::parse_contacts(&chat.query(query.to_node()).await).unwrap();
    let states: Vec<_> = contacts.iter().map(|one| one.state).collect();
    assert_eq!(
        states,
        [ContactState::In, ContactState::Out, ContactState::Invalid]
    );
    assert_eq!(contacts[0].jid, Some(bea.clone()));

    let options = format!("/control/phones/{BEA}/options");
    rig.post(&options, json!({"third_party_chats": false}))
        .await;
    let contacts = usync::parse_contacts(&chat.query(query.to_node()).await).unwrap();
    assert_eq!(contacts[0].state, ContactState::Out);
    let fetched = chat.query(KeysRequest::fetch(bea).to_node()).await;
    assert_eq!(keys::parse_fetch(&fetched).unwrap()[0].keys, Err(404));
}

#[tokio::test]
async fn messages_that_cannot_arrive_are_refused_or_wait() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let options = format!("/control/phones/{BEA}/options");

    let mut nobody = alice.text(&bea, "3EB01", "hi");
    nobody.to = Jid::phone("4915100000000");
    assert_eq!(
        chat.deliver(&nobody.to_node()).await.u64("error"),
        Some(404)
    );

    rig.post(&options, json!({"third_party_chats": false}))
        .await;
    let refused = alice.text(&bea, "3EB02", "hi");
    assert_eq!(
        chat.deliver(&refused.to_node()).await.u64("error"),
        Some(463)
    );

    rig.post(
        &options,
        json!({"third_party_chats": true, "online": false}),
    )
    .await;
    let late = alice.text(&bea, "3EB03", "hi");
    assert_eq!(chat.deliver(&late.to_node()).await.get("error"), None);
    assert!(rig.bea_sees().await.is_empty());
    rig.post(&options, json!({"online": true})).await;
    assert_eq!(rig.bea_sees().await[0]["text"], "hi");
    assert_eq!(chat.find_tag("receipt").await.get("id").unwrap(), "3EB03");
}

#[tokio::test]
async fn blocking_works_from_either_side() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    let set = |block| {
        BlocklistRequest::Set {
            jid: bea.clone(),
            block,
        }
        .to_node()
    };
    let list = Blocklist::parse(&chat.query(set(true)).await).unwrap();
    assert_eq!(list.users, std::slice::from_ref(&bea));
    rig.bea_says("can you hear me?").await;
    assert_eq!(rig.account().await["mailbox"], 0);
    let list = Blocklist::parse(&chat.query(set(false)).await).unwrap();
    assert!(list.users.is_empty());
    let list = chat.query(BlocklistRequest::Get.to_node()).await;
    assert!(Blocklist::parse(&list).unwrap().users.is_empty());

    let block = format!("/control/phones/{BEA}/block");
    rig.post(&block, json!({"to": ALICE, "blocked": true}))
        .await;
    assert!(
        chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
            .await
            .get("error")
            .is_none()
    );
    assert_eq!(rig.bea_sees().await.len(), 1, "only her own");
    rig.post(&block, json!({"to": ALICE, "blocked": false}))
        .await;
}

#[tokio::test]
async fn typing_passes_in_both_directions() {
    let rig = Rig::start().await;
    let (_alice, mut chat, bea) = rig.talking().await;
    let typing = format!("/control/phones/{BEA}/typing");
    rig.post(&typing, json!({"to": ALICE, "state": "recording"}))
        .await;
    let state = ChatState::parse(&chat.find_tag("chatstate").await, Origin::Server).unwrap();
    assert_eq!((state.peer, state.typing), (bea.clone(), Typing::Recording));

    let mut events = rig.events().await;
    let state = ChatState {
        peer: bea,
        participant: None,
        typing: Typing::Composing,
    };
    chat.send(&state.to_node(Origin::Client)).await;
    let event = events.find("typing").await;
    assert_eq!(
        (&event["with"], &event["state"]),
        (&json!(ALICE), &json!("composing"))
    );
}

#[tokio::test]
async fn keys_are_counted_rotated_and_announced_when_low() {
    let rig = Rig::start().await;
    rig.bea().await;
    let mut alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    alice.upload(&mut chat, 1..6).await;
    rig.bea_says("hi").await;
    let note = chat.find_tag("notification").await;
    assert_eq!(note.child_named("count").unwrap().u64("value"), Some(4));

    let next = gatekeeper::signal::SignedPreKey::generate(2, &alice.identity, &mut rand::rng());
    let next = next.unwrap();
    let rotated = chat
        .query(KeysRequest::Rotate(next.public()).to_node())
        .await;
    assert_eq!(rotated.get("type").unwrap(), "result");
    let digest = chat.query(KeysRequest::Digest.to_node()).await;
    let digest = keys::Digest::parse(&digest).unwrap();
    assert_eq!(digest.signed_prekey, next.public());
    assert_eq!(digest.prekey_ids, [2, 3, 4, 5]);

    // A signed prekey of another identity is refused, and so is another identity.
    let other = gatekeeper::signal::Identity::generate(&mut rand::rng());
    let forged = gatekeeper::signal::SignedPreKey::generate(3, &other, &mut rand::rng()).unwrap();
    let refused = chat
        .query(KeysRequest::Rotate(forged.public()).to_node())
        .await;
    assert_eq!(refused.get("type").unwrap(), "error");
}

#[tokio::test]
async fn the_rest_of_the_queries_is_answered() {
    let rig = Rig::start().await;
    let bea = rig.bea().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    let clean = chat.query(ib::clean("account_sync", Some(1))).await;
    assert_eq!(clean.get("type").unwrap(), "result");
    let reach = chat.query(gatekeeper::assumed::reach(&bea)).await;
    let reach = gatekeeper::assumed::parse_reach_answer(&reach).unwrap();
    assert_eq!(reach, gatekeeper::assumed::Reach::Reachable);
    let privacy = chat.query(gatekeeper::stanzas::privacy::get()).await;
    assert_eq!(
        gatekeeper::stanzas::privacy::parse(&privacy).unwrap()[0].value,
        "all"
    );

    let gone = chat.query(gatekeeper::assumed::delete_account()).await;
    assert_eq!(gone.get("type").unwrap(), "result");
    let last = chat.rest().await.pop().unwrap();
    assert_eq!(last.tag, "stream:error");
    assert_eq!(rig.account().await["enlisted"], false);
    let (status, answer) = rig
        .try_post(
            &format!("/control/phones/{BEA}/messages"),
            json!({"to": ALICE, "kind": "text", "text": "still there?"}),
        )
        .await;
    assert_eq!(status, 409, "{answer}");
}

#[tokio::test]
async fn reactions_edits_revokes_and_replies_are_shown() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    let base = format!("/control/phones/{BEA}");
    let body = json!({"to": ALICE, "message": "3EB01", "emoji": "👍"});
    rig.post(&format!("{base}/reactions"), body).await;
    let stanza = chat.find_tag("message").await;
    assert_eq!(stanza.get("type").unwrap(), "reaction");
    assert_eq!(
        rig.bea_sees().await[0]["reactions"],
        json!([{"from": BEA, "emoji": "👍"}])
    );

    let reply = json!({"to": ALICE, "kind": "text", "text": "yes", "reply_to": "3EB01"});
    let id = rig.post(&format!("{base}/messages"), reply).await["id"].clone();
    assert_eq!(rig.bea_sees().await[1]["reply_to"], "3EB01");
    rig.post(
        &format!("{base}/edits"),
        json!({"to": ALICE, "message": id, "text": "no"}),
    )
    .await;
    assert_eq!(rig.bea_sees().await[1]["text"], "no");
    assert_eq!(rig.bea_sees().await[1]["edited"], true);
    rig.post(
        &format!("{base}/revokes"),
        json!({"to": ALICE, "message": id}),
    )
    .await;
    let seen = rig.bea_sees().await;
    assert_eq!(
        (&seen[1]["revoked"], &seen[1]["text"]),
        (&json!(true), &json!(null))
    );
    let edits: Vec<_> = {
        let mut edits = Vec::new();
        while edits.len() < 3 {
            edits.push(
                chat.find_tag("message")
                    .await
                    .get("edit")
                    .map(|edit| edit.into_owned()),
            );
        }
        edits
    };
    assert_eq!(edits, [None, Some("1".to_owned()), Some("7".to_owned())]);
}

#[tokio::test]
async fn unreadable_stanzas_are_refused_by_their_ack() {
    let rig = Rig::start().await;
    let (_alice, mut chat, bea) = rig.talking().await;
    let empty = Node::new("message")
        .attr("id", "3EB01")
        .attr("to", bea)
        .attr("type", "text");
    assert_eq!(chat.deliver(&empty).await.u64("error"), Some(479));
    assert!(rig.bea_sees().await.is_empty());
}
