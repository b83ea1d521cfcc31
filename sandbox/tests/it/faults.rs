//! Faults on demand.

use std::collections::BTreeSet;

use gatekeeper::stanzas::{Ib, iq};
use serde_json::json;

use crate::{
    client::{User, delivery},
    rig::Rig,
};

#[tokio::test]
async fn lost_acks_make_the_client_send_again_and_the_phone_shows_it_once() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    rig.post("/control/faults", json!({"lose_acks": 1.0})).await;
    let message = alice.text(&bea, "3EB01", "hi").to_node();
    chat.send(&message).await;
    chat.query(iq::ping()).await;
    rig.bea_sees_that("3EB01", |_| true).await;
    rig.post("/control/faults", json!({"reset": true})).await;
    // The first ack that comes is for the second sending.
    chat.deliver(&message).await;
    assert_eq!(rig.bea_sees().await.len(), 1);
}

#[tokio::test]
async fn a_mailbox_is_drained_twice_if_its_acks_are_ignored() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    rig.post("/control/faults", json!({"ignore_acks": 1.0}))
        .await;
    let id = rig.bea_says("hi").await;
    let message = chat.find_tag("message").await;
    alice.read(&message).unwrap();
    chat.send(&delivery(&message)).await;
    chat.query(iq::ping()).await;
    rig.post("/control/faults", json!({"reset": true})).await;
    drop(chat);
    let mut again = alice.login(&rig.addresses(), &rig.partner).await;
    again.send(&Ib::OfflineBatch(100).to_node()).await;
    let message = again.find_tag("message").await;
    assert_eq!(message.get("id").unwrap(), id);
}

#[tokio::test]
async fn stanzas_are_duplicated_and_carry_unknown_things() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    rig.post(
        "/control/faults",
        json!({"duplicate": 1.0, "unknown_extras": 1.0}),
    )
    .await;
    let id = rig.bea_says("hi").await;
    for _ in 0..2 {
        let message = chat.find_tag("message").await;
        assert_eq!(message.get("id").unwrap(), id);
        assert!(message.get("sandbox").is_some() && message.child_named("sandbox").is_some());
        if alice.peers.values().all(|peer| peer.has_session()) {
            let _ = alice.read(&message);
        }
    }
}

#[tokio::test]
async fn a_damaged_ciphertext_is_mended_by_a_retry() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    rig.post("/control/faults", json!({"corrupt": 1.0})).await;
    rig.bea_says("hi").await;
    let damaged = chat.find_tag("message").await;
    assert!(alice.read(&damaged).is_err());
    rig.post("/control/faults", json!({"reset": true})).await;
    let message = gatekeeper::stanzas::IncomingMessage::parse(&damaged).unwrap();
    let reason = gatekeeper::signal::RetryReason::BadMac;
    let retry = gatekeeper::stanzas::RetryReceipt::new(
        &message,
        1,
        reason,
        alice.identity.registration_id(),
        None,
    );
    chat.deliver(&retry.to_node(gatekeeper::stanzas::Origin::Client))
        .await;
    let again = chat.find_tag("message").await;
    assert_eq!(alice.read(&again).unwrap(), "hi");
}

#[tokio::test]
async fn a_stream_error_ends_each_connection_once() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    rig.post("/control/faults", json!({"stream_error": 515}))
        .await;
    let last = chat.rest().await.pop().unwrap();
    assert_eq!(
        (last.tag.as_str(), last.u64("code")),
        ("stream:error", Some(515))
    );
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    chat.query(iq::ping()).await;

    // With nobody connected it waits for the next one.
    drop(chat);
    rig.account_that("the user to be away", |one| one["connected"] == false)
        .await;
    rig.post("/control/faults", json!({"stream_error": 503}))
        .await;
    let mut chat = alice
        .open(&rig.addresses().chat, &rig.addresses(), &rig.partner)
        .await;
    let last = chat.rest().await.pop().unwrap();
    assert_eq!(
        (last.tag.as_str(), last.u64("code")),
        ("stream:error", Some(503))
    );
}

#[tokio::test]
async fn nothing_is_lost_over_cut_connections() {
    const MESSAGES: usize = 60;
    let rig = Rig::start().await;
    rig.bea().await;
    let mut alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    alice.upload(&mut chat, 1..101).await;
    drop(chat);
    rig.post(
        "/control/faults",
        json!({"drop_connection_every": 20, "seed": 5}),
    )
    .await;
    for number in 0..MESSAGES {
        rig.bea_says(&number.to_string()).await;
    }

    let mut texts = Vec::new();
    let mut known = BTreeSet::new();
    let mut connections = 0;
    while rig.account().await["mailbox"] != 0 {
        connections += 1;
        assert!(connections < 100, "no progress");
        drain(&rig, &mut alice, &mut known, &mut texts).await;
    }
    let expected: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
    assert!(
        connections > 3,
        "the connection was cut {connections} times"
    );
}

/// Takes messages over one connection until it ends or nothing is left.
async fn drain(rig: &Rig, alice: &mut User, known: &mut BTreeSet<String>, texts: &mut Vec<String>) {
    let mut chat = alice
        .open(&rig.addresses().chat, &rig.addresses(), &rig.partner)
        .await;
    while let Some(node) = chat.next().await {
        match node.tag.as_str() {
            "ib" => match Ib::parse(&node).unwrap() {
                Ib::OfflinePreview(_) => chat.send(&Ib::OfflineBatch(1000).to_node()).await,
                Ib::OfflineDone(0) => return,
                _ => {}
            },
            "message" => {
                if known.insert(node.get("id").unwrap().into_owned()) {
                    texts.push(alice.read(&node).unwrap());
                }
                chat.send(&delivery(&node)).await;
            }
            "ack" if rig.account().await["mailbox"] == 0 => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn exhausted_prekeys_still_make_sessions() {
    let rig = Rig::start().await;
    rig.post("/control/faults", json!({"prekeys_exhausted": true}))
        .await;
    let (mut alice, mut chat, bea) = rig.talking().await;
    chat.deliver(&alice.text(&bea, "3EB01", "hi").to_node())
        .await;
    assert_eq!(rig.bea_sees().await[0]["text"], "hi");
}

#[tokio::test]
async fn reordered_and_delayed_stanzas_all_arrive() {
    let rig = Rig::start().await;
    let (mut alice, mut chat, _) = rig.talking().await;
    rig.post(
        "/control/faults",
        json!({"reorder": 0.5, "delay_ms": 30, "seed": 3}),
    )
    .await;
    let mut expected = Vec::new();
    for number in 0..12 {
        rig.bea_says(&number.to_string()).await;
        expected.push(number.to_string());
    }
    let mut texts = Vec::new();
    while texts.len() < expected.len() {
        let message = chat.find_tag("message").await;
        texts.push(alice.read(&message).unwrap());
    }
    assert_ne!(texts, expected);
    texts.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(texts, expected);
}
