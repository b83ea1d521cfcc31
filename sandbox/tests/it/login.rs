//! Connections: who is let in, who is not, and what ends them.

use gatekeeper::{
    login::ClientPayload,
    noise::StaticKeyPair,
    stanza::Node,
    stanzas::{Ib, iq},
};

use crate::{
    client::{Chat, Pipe, User},
    rig::{ALICE, Rig},
};

/// The reason of the `<failure>` that a login gets.
async fn failure(mut chat: Chat) -> u64 {
    let node = chat.next().await.expect("an answer to the login");
    assert_eq!(node.tag, "failure");
    assert!(chat.rest().await.is_empty());
    node.u64("reason").unwrap()
}

#[tokio::test]
async fn both_transports_lead_to_success() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let addresses = rig.addresses();
    for url in [&addresses.chat, &addresses.chat_tcp] {
        let mut chat = alice.open(url, &addresses, &rig.partner).await;
        let success = chat.next().await.unwrap();
        assert_eq!(success.tag, "success");
        assert!(success.u64("t").is_some());
        let routing = chat.find_tag("ib").await;
        assert!(matches!(Ib::parse(&routing).unwrap(), Ib::EdgeRouting(_)));
        let done = chat.find_tag("ib").await;
        assert_eq!(Ib::parse(&done).unwrap(), Ib::OfflineDone(0));
        let pong = chat.query(iq::ping()).await;
        assert_eq!(pong.get("type").unwrap(), "result");
    }
}

#[tokio::test]
async fn only_the_enlisted_user_is_let_in() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    let alice = rig.alice().await;
    let carol = User::enlist(&rig.partner, &addresses, "@carol:localhost").await;
    let url = &addresses.chat;

    let good = alice.payload(rig.partner.token(ALICE)).to_bytes();
    let other_key = StaticKeyPair::generate(&mut rand::rng());
    assert_eq!(
        failure(Chat::open(url, &addresses, other_key, &good).await).await,
        401
    );

    let others_token = alice
        .payload(rig.partner.token(&carol.identifier))
        .to_bytes();
    assert_eq!(
        failure(Chat::open(url, &addresses, alice.key(), &others_token).await).await,
        401
    );

    for token in [
        rig.partner.token_for(ALICE, "WHATSAPP", 7200),
        rig.partner.token_for(ALICE, "somebody", 1),
        "not.a.token".to_owned(),
    ] {
        let payload = alice.payload(token).to_bytes();
        let chat = Chat::open(url, &addresses, alice.key(), &payload).await;
        assert_eq!(failure(chat).await, 401);
    }

    let mut ordinary = ClientPayload::parse(&good).unwrap();
    ordinary.product = gatekeeper::login::Product::Whatsapp;
    let ordinary = ordinary.to_bytes();
    assert_eq!(
        failure(Chat::open(url, &addresses, alice.key(), &ordinary).await).await,
        400
    );

    let garbage = [0xff; 40];
    assert_eq!(
        failure(Chat::open(url, &addresses, alice.key(), &garbage).await).await,
        400
    );

    let mut nobody = ClientPayload::parse(&good).unwrap();
    nobody.interop.as_mut().unwrap().account_id = 1;
    let nobody = nobody.to_bytes();
    assert_eq!(
        failure(Chat::open(url, &addresses, alice.key(), &nobody).await).await,
        401
    );
}

#[tokio::test]
async fn a_second_connection_replaces_the_first() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let mut first = alice.login(&rig.addresses(), &rig.partner).await;
    let mut second = alice.login(&rig.addresses(), &rig.partner).await;
    let last = first.rest().await.pop().unwrap();
    assert_eq!(last.tag, "stream:error");
    assert_eq!(
        last.child_named("conflict").unwrap().get("type").unwrap(),
        "replaced"
    );
    assert_eq!(
        second.query(iq::ping()).await.get("type").unwrap(),
        "result"
    );
    assert_eq!(rig.account().await["connected"], true);
}

#[tokio::test]
async fn enlisting_anew_ends_the_connection_of_the_old_keys() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    let again = rig.alice().await;
    assert_eq!(again.jid, alice.jid);
    let last = chat.rest().await.pop().unwrap();
    assert_eq!(last.tag, "stream:error");
    assert_eq!(
        last.child_named("conflict").unwrap().get("type").unwrap(),
        "device_removed"
    );
    again.login(&rig.addresses(), &rig.partner).await;
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let rig = Rig::start().await;
    let addresses = rig.addresses();
    let alice = rig.alice().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"WA\x05\x03\0\0\x24",
        b"WA\x06\x03\xff\xff\xff",
        b"WA\x06\x03\0\0\x04abcd",
        b"ED\0\x01\xff\xff\xff",
    ] {
        let mut pipe = Pipe::open(&addresses.chat_tcp).await;
        pipe.write(bytes.to_vec()).await;
        assert!(pipe.read().await.is_none(), "{bytes:?}");
    }

    // After the login: a stanza that is none, and a frame that does not decrypt.
    let mut chat = alice.login(&addresses, &rig.partner).await;
    chat.send_bytes(b"\0\xf8").await;
    let last = chat.rest().await.pop().unwrap();
    assert_eq!(last.tag, "stream:error");
    assert!(last.child_named("xml-not-well-formed").is_some());

    let mut chat = alice.login(&addresses, &rig.partner).await;
    chat.pipe.write(b"\0\0\x10aaaaaaaaaaaaaaaa".to_vec()).await;
    assert!(!chat.rest().await.iter().any(|node| node.is("stream:error")));

    let mut chat = alice.login(&addresses, &rig.partner).await;
    assert_eq!(chat.query(iq::ping()).await.get("type").unwrap(), "result");
}

#[tokio::test]
async fn unknown_stanzas_do_no_harm() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    for node in [
        Node::new("presence").attr("type", "available"),
        Node::new("never-heard-of").attr("id", "1"),
        Node::new("message"),
        Node::new("message").attr("to", "x").attr("id", "1"),
        Node::new("receipt").attr("id", "1"),
        Node::new("ack"),
        Node::new("ib"),
        Node::new("chatstate"),
        Node::new("iq"),
    ] {
        chat.send(&node).await;
    }
    let refused = chat.query(iq::get("never:heard:of")).await;
    assert_eq!(refused.get("type").unwrap(), "error");
    let malformed = chat
        .query(iq::set("encrypt").child(Node::new("list")))
        .await;
    assert_eq!(
        malformed.child_named("error").unwrap().u64("code"),
        Some(400)
    );
    assert_eq!(chat.query(iq::ping()).await.get("type").unwrap(), "result");
}

#[tokio::test]
async fn stopping_ends_the_stream_in_order() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let mut chat = alice.login(&rig.addresses(), &rig.partner).await;
    let Rig {
        sandbox, partner, ..
    } = rig;
    let (rest, ()) = tokio::join!(chat.rest(), sandbox.stop());
    assert_eq!(rest.last().unwrap().tag, "xmlstreamend");
    drop(partner);
}

#[tokio::test]
async fn a_key_set_out_of_reach_refuses_for_now_only() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let addresses = rig.addresses();
    rig.partner.rotate();
    rig.partner.publish(false);
    let chat = alice.open(&addresses.chat, &addresses, &rig.partner).await;
    assert_eq!(failure(chat).await, 503);
    rig.partner.publish(true);
    alice.login(&addresses, &rig.partner).await;
}
