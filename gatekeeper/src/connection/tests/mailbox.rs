//! Draining the mailbox in batches.

use super::server::{Peer, Rig, message};
use crate::{
    connection::Event,
    frame::encode_frame,
    stanza::Node,
    stanzas::{Ib, IncomingMessage, ib::OfflinePreview, iq},
};

async fn offline(server: &mut Peer, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let queued = IncomingMessage {
            offline: Some(1),
            ..message(number)
        };
        server.send(&queued.to_node()).await;
    }
}

#[tokio::test]
async fn the_mailbox_is_asked_for_batch_by_batch() {
    let mut rig = Rig::with(|profile| profile.offline.batch = 10);
    let mut server = rig.online().await;
    let preview = OfflinePreview {
        count: 25,
        messages: 25,
        ..OfflinePreview::default()
    };
    server.send(&Ib::OfflinePreview(preview).to_node()).await;
    assert_eq!(rig.event().await, Event::OfflinePending(25));
    assert_eq!(Ib::parse(&server.next().await), Ok(Ib::OfflineBatch(10)));
    offline(&mut server, 0..10).await;
    assert_eq!(Ib::parse(&server.next().await), Ok(Ib::OfflineBatch(10)));
    offline(&mut server, 10..20).await;
    assert_eq!(Ib::parse(&server.next().await), Ok(Ib::OfflineBatch(10)));
    offline(&mut server, 20..25).await;
    server.send(&Ib::OfflineDone(25).to_node()).await;
    for number in 0..25 {
        let queued = IncomingMessage {
            offline: Some(1),
            ..message(number)
        };
        assert_eq!(rig.event().await, Event::Message(queued));
    }
    assert_eq!(rig.event().await, Event::OfflineDone(25));
    // Live again: nothing more is asked for.
    offline(&mut server, 30..50).await;
    server.send(&iq::server_ping("p")).await;
    assert_eq!(server.next().await.get("id").as_deref(), Some("p"));
}

/// What the bridge has no use for, and what nobody can read, are of a batch too.
#[tokio::test]
async fn everything_of_a_batch_counts() {
    let mut rig = Rig::with(|profile| profile.offline.batch = 10);
    let mut server = rig.online().await;
    let preview = OfflinePreview {
        count: 12,
        messages: 8,
        ..OfflinePreview::default()
    };
    server.send(&Ib::OfflinePreview(preview).to_node()).await;
    assert_eq!(rig.event().await, Event::OfflinePending(12));
    assert_eq!(Ib::parse(&server.next().await), Ok(Ib::OfflineBatch(10)));
    let call = Node::new("call")
        .attr("id", "C")
        .attr("from", "491511@s.whatsapp.net")
        .attr("offline", "0");
    server.send(&call).await;
    // A list of a size that is none.
    let sealed = server.sender.encrypt(&[0, 248, 2, 255]).unwrap();
    server.raw(encode_frame(&sealed).unwrap()).await;
    offline(&mut server, 0..8).await;
    let ack = server.next().await;
    assert_eq!(ack.get("id").as_deref(), Some("C"));
    assert_eq!(Ib::parse(&server.next().await), Ok(Ib::OfflineBatch(10)));
}

#[tokio::test]
async fn the_next_batch_waits_until_the_last_one_is_taken() {
    let mut rig = Rig::with_config(
        |profile| profile.offline.batch = 10,
        |config| config.event_capacity = 1,
    );
    let mut server = rig.online().await;
    let preview = OfflinePreview {
        count: 20,
        messages: 20,
        ..OfflinePreview::default()
    };
    server.send(&Ib::OfflinePreview(preview).to_node()).await;
    assert_eq!(Ib::parse(&server.next().await), Ok(Ib::OfflineBatch(10)));
    offline(&mut server, 0..10).await;
    // Nobody takes events, so the pong comes without another request before it.
    server.send(&iq::server_ping("p")).await;
    assert_eq!(server.next().await.get("id").as_deref(), Some("p"));
    assert_eq!(rig.event().await, Event::OfflinePending(20));
    for _ in 0..10 {
        rig.event().await;
    }
    assert_eq!(Ib::parse(&server.next().await), Ok(Ib::OfflineBatch(10)));
}
