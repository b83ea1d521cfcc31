//! Servers that are not who they should be, and bytes that are not what they should be.

use super::server::{Identity, NOW, Peer, Rig, message};
use crate::{
    connection::{DisconnectReason, Event},
    frame::encode_frame,
    noise::CertAuthority,
    transport::Channel,
};

/// The next channel ends in a handshake error, and the one after it works.
async fn is_refused(rig: &mut Rig) {
    let (reason, _) = rig.disconnected().await;
    assert!(
        matches!(reason, DisconnectReason::Handshake(_)),
        "{reason:?}"
    );
    rig.online().await;
}

/// Answers the handshake as somebody else would; the client goes away.
async fn impersonate(mut channel: Channel, identity: &Identity) {
    let mut decoder = crate::frame::FrameDecoder::server();
    let hello = loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            break frame;
        }
        decoder.push(&channel.reader.read().await.unwrap().unwrap());
    };
    let responder = crate::noise::Responder::new(&identity.key, &identity.chain);
    let crate::noise::Step::Continue { server_hello, .. } =
        responder.client_hello(&hello, &mut rand::rng()).unwrap()
    else {
        panic!("the client speaks XX");
    };
    channel
        .writer
        .write(encode_frame(&server_hello).unwrap().into())
        .await
        .unwrap();
    // The client must not say who it is.
    assert_eq!(channel.reader.read().await.ok().flatten(), None);
}

#[tokio::test]
async fn a_chain_of_another_root_is_refused() {
    let mut rig = Rig::new();
    impersonate(rig.channel().await, &Identity::new()).await;
    is_refused(&mut rig).await;
}

#[tokio::test]
async fn a_chain_for_another_key_is_refused() {
    let mut rig = Rig::new();
    // The right chain, shown by somebody who has not its key.
    let thief = Identity {
        chain: rig.identity.chain.clone(),
        ..Identity::new()
    };
    impersonate(rig.channel().await, &thief).await;
    is_refused(&mut rig).await;
}

#[tokio::test]
async fn a_forged_chain_is_refused() {
    let mut rig = Rig::new();
    let mut forger = Identity::new();
    let last = forger.chain.len() - 1;
    forger.chain = rig
        .identity
        .authority
        .issue(&forger.key.public(), &mut rand::rng())
        .unwrap();
    forger.chain[last / 2] ^= 1;
    impersonate(rig.channel().await, &forger).await;
    is_refused(&mut rig).await;
}

#[tokio::test]
async fn an_expired_chain_is_refused() {
    let mut rig = Rig::new();
    let mut rng = rand::rng();
    let long_ago = NOW / 2;
    let old = CertAuthority::from_bytes(&rig.identity.authority.to_bytes(), &mut rng, long_ago);
    let mut identity = Identity::new();
    identity.chain = old
        .unwrap()
        .issue(&identity.key.public(), &mut rng)
        .unwrap();
    impersonate(rig.channel().await, &identity).await;
    is_refused(&mut rig).await;
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_is_refused() {
    let mut rig = Rig::new();
    let mut channel = rig.channel().await;
    channel
        .writer
        .write(encode_frame(b"not a protobuf").unwrap().into())
        .await
        .unwrap();
    is_refused(&mut rig).await;
}

#[tokio::test]
async fn an_oversized_frame_before_the_proof_is_refused() {
    let mut rig = Rig::new();
    let mut channel = rig.channel().await;
    channel
        .writer
        .write(vec![0xff, 0xff, 0xff].into())
        .await
        .unwrap();
    let (reason, _) = rig.disconnected().await;
    assert!(matches!(reason, DisconnectReason::Damaged(_)), "{reason:?}");
    rig.online().await;
}

#[tokio::test]
async fn a_truncated_frame_is_no_stanza() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let frame = server.seal(&message(1).to_node());
    server.raw(frame[..frame.len() - 1].to_vec()).await;
    drop(server);
    let Event::Disconnected {
        reason: DisconnectReason::Closed,
        ..
    } = rig.event().await
    else {
        panic!("nothing is reported before the end");
    };
    rig.online().await;
}

#[tokio::test]
async fn a_tampered_frame_ends_the_connection() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let mut frame = server.seal(&message(1).to_node());
    let last = frame.len() - 1;
    frame[last] ^= 1;
    server.raw(frame).await;
    damaged_and_back(&mut rig).await;
}

#[tokio::test]
async fn a_repeated_frame_ends_the_connection() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let frame = server.seal(&message(1).to_node());
    server.raw(frame.clone()).await;
    assert_eq!(rig.event().await, Event::Message(message(1)));
    server.raw(frame).await;
    damaged_and_back(&mut rig).await;
}

#[tokio::test]
async fn garbage_inside_the_encryption_is_passed_over() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    for garbage in [
        &b""[..],
        b"\x00",
        b"\x02zlib?",
        b"\x00\xf8\xff",
        &[0xff; 1000],
    ] {
        garble(&mut server, garbage).await;
    }
    server.send(&message(1).to_node()).await;
    assert_eq!(rig.event().await, Event::Message(message(1)));
}

async fn garble(server: &mut Peer, garbage: &[u8]) {
    let sealed = server.sender.encrypt(garbage).unwrap();
    server.raw(encode_frame(&sealed).unwrap()).await;
}

async fn damaged_and_back(rig: &mut Rig) {
    let (reason, _) = rig.disconnected().await;
    assert!(matches!(reason, DisconnectReason::Damaged(_)), "{reason:?}");
    rig.online().await;
}
