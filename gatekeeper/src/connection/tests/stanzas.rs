//! What is reported, what is acknowledged here, and what is left to the bridge.

use super::server::{NOW, Rig, message};
use crate::{
    connection::{Event, State},
    login::Product,
    signal::RetryReason,
    stanza::{Jid, Node},
    stanzas::{
        ChatState, ClientAck, Ib, Nack, Notification, NotificationKind, Origin, Receipt,
        ReceiptKind, RetryReceipt, ServerAck, Typing, iq,
    },
};

fn peer() -> Jid {
    Jid::phone("14155551001")
}

/// Asks for a pong: whatever the client had to say about earlier stanzas comes before it.
async fn said_until_pong(server: &mut super::server::Peer) -> Vec<Node> {
    server.send(&iq::server_ping("last")).await;
    let mut said = Vec::new();
    loop {
        let node = server.next().await;
        if node.is("iq") && node.get("id").as_deref() == Some("last") {
            return said;
        }
        said.push(node);
    }
}

#[tokio::test]
async fn the_login_says_who_it_is() {
    let mut rig = Rig::new();
    let server = rig.accept().await;
    assert_eq!(server.payload.product, Product::Interop);
    assert_eq!(server.payload.connect_attempts, Some(0));
    let data = server.payload.interop.unwrap();
    assert_eq!(data.account_id, 10_853_634_039_893);
    assert_eq!(data.token, b"header.claims.signature");
    assert!(data.enable_read_receipts);
    assert!(!rig.connection.is_connected());
}

#[tokio::test]
async fn a_message_is_left_to_the_bridge() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    assert!(rig.connection.is_connected());
    server.send(&message(1).to_node()).await;
    assert_eq!(said_until_pong(&mut server).await, []);
    let Event::Message(received) = rig.event().await else {
        panic!("a message")
    };
    assert_eq!(received, message(1));
    rig.connection
        .send(Receipt::delivery(&received).to_node(Origin::Client))
        .await
        .unwrap();
    let receipt = Receipt::parse(&server.next().await, Origin::Client).unwrap();
    assert_eq!(
        (receipt.kind, receipt.ids),
        (ReceiptKind::Delivery, vec!["M1".to_owned()])
    );
    assert_eq!(receipt.peer, peer());
}

#[tokio::test]
async fn what_must_be_stored_first_is_not_acknowledged() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let receipt = Receipt::new(
        peer(),
        ReceiptKind::Read,
        vec!["A".into(), "B".into()],
        Some(NOW),
    );
    let receipt = receipt.unwrap();
    let retry = RetryReceipt::new(&message(2), 1, RetryReason::NoSession, 77, None);
    let identity = Notification::new(peer(), "N1", NOW, NotificationKind::IdentityChanged);
    server.send(&receipt.to_node(Origin::Server)).await;
    server.send(&retry.to_node(Origin::Server)).await;
    server.send(&identity.to_node()).await;
    assert_eq!(said_until_pong(&mut server).await, []);
    assert_eq!(rig.event().await, Event::Receipt(receipt));
    assert_eq!(rig.event().await, Event::Retry(retry));
    assert_eq!(rig.event().await, Event::IdentityChanged(identity.clone()));
    assert_eq!(
        identity.ack().to_node(),
        ClientAck::of(&identity.to_node()).unwrap().to_node()
    );
}

#[tokio::test]
async fn other_notifications_are_acknowledged_here() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let low = NotificationKind::LowPreKeys { count: 3 };
    let low = Notification::new(crate::stanzas::chat_server(), "N1", NOW, low);
    let other = Notification::new(
        peer(),
        "N2",
        NOW,
        NotificationKind::Other("account_sync".to_owned()),
    );
    server.send(&low.to_node()).await;
    server.send(&other.to_node()).await;
    let said = said_until_pong(&mut server).await;
    assert_eq!(said, [low.ack().to_node(), other.ack().to_node()]);
    assert_eq!(rig.event().await, Event::LowPrekeys(3));
    assert_eq!(rig.event().await, Event::Notification(other));
}

#[tokio::test]
async fn receipts_that_concern_nobody_are_acknowledged_and_not_reported() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let receipt = Receipt::new(peer(), ReceiptKind::Sender, vec!["A".into()], None).unwrap();
    server.send(&receipt.to_node(Origin::Server)).await;
    assert_eq!(
        said_until_pong(&mut server).await,
        [receipt.ack().to_node()]
    );
    server.send(&message(1).to_node()).await;
    assert_eq!(rig.event().await, Event::Message(message(1)));
}

#[tokio::test]
async fn acks_and_typing_are_reported() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let stanza = Node::new("message").attr("id", "A").attr("to", peer());
    let ack = ServerAck::of(&stanza, NOW).unwrap();
    let receipt_ack = ServerAck {
        class: "receipt".to_owned(),
        ..ack.clone()
    };
    let typing = ChatState {
        peer: peer(),
        participant: None,
        typing: Typing::Recording,
    };
    server.send(&receipt_ack.to_node()).await;
    server.send(&ack.to_node()).await;
    server.send(&typing.to_node(Origin::Server)).await;
    assert_eq!(said_until_pong(&mut server).await, []);
    assert_eq!(rig.event().await, Event::Ack(receipt_ack));
    assert_eq!(rig.event().await, Event::Ack(ack));
    assert_eq!(rig.event().await, Event::ChatState(typing));
}

#[tokio::test]
async fn a_stanza_that_cannot_be_read_is_refused_and_the_next_one_is_read() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let bare = Node::new("message").attr("from", peer()).attr("id", "BAD");
    server.send(&bare).await;
    // Nobody could answer this one.
    server
        .send(&Node::new("message").attr("from", peer()))
        .await;
    server
        .send(
            &Node::new("unheard-of")
                .attr("id", "X")
                .child(Node::new("thing")),
        )
        .await;
    server
        .send(&Node::new("call").attr("from", peer()).attr("id", "C"))
        .await;
    server
        .send(
            &message(1)
                .to_node()
                .attr("new", "attribute")
                .child(Node::new("new")),
        )
        .await;
    let said = said_until_pong(&mut server).await;
    assert_eq!(said.len(), 2, "{said:?}");
    let nack = ClientAck::parse(&said[0]).unwrap();
    assert_eq!((nack.id.as_str(), nack.error), ("BAD", Some(Nack::Parse)));
    assert_eq!(ClientAck::parse(&said[1]).unwrap().class, "call");
    assert_eq!(rig.event().await, Event::Message(message(1)));
}

#[tokio::test]
async fn dirty_states_are_cleaned() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let dirty = Ib::Dirty {
        kind: "account_sync".to_owned(),
        timestamp: Some(NOW),
    };
    server.send(&dirty.to_node()).await;
    let clean = server.next().await;
    assert_eq!(
        clean.get("xmlns").as_deref(),
        Some("urn:xmpp:whatsapp:dirty")
    );
    assert!(clean.get("id").is_some());
    let inner = clean.child_named("clean").unwrap();
    assert_eq!(inner.get("type").as_deref(), Some("account_sync"));
    assert_eq!(inner.u64("timestamp"), Some(NOW));
}

#[tokio::test]
async fn routing_information_is_reported_and_shown_at_the_next_connection() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    assert_eq!(server.routing(), None);
    server.send(&Ib::EdgeRouting(vec![9; 5000]).to_node()).await;
    server.send(&Ib::EdgeRouting(vec![1, 2, 3]).to_node()).await;
    let Event::RoutingInfo(blob) = rig.event().await else {
        panic!("routing information")
    };
    assert_eq!(
        blob,
        [1, 2, 3],
        "a blob of unreasonable size is not worth keeping"
    );
    *rig.account.routing.lock().await = Some(blob);
    rig.connection.reconnect();
    let mut server = rig.online().await;
    assert_eq!(server.routing().as_deref(), Some(&[1, 2, 3][..]));
    // What is known is not reported again.
    server.send(&Ib::EdgeRouting(vec![1, 2, 3]).to_node()).await;
    server.send(&Ib::EdgeRouting(vec![4]).to_node()).await;
    assert_eq!(rig.event().await, Event::RoutingInfo(vec![4]));
}

#[tokio::test]
async fn split_and_merged_frames_are_the_same() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let mut bytes = server.seal(&message(1).to_node());
    bytes.extend(server.seal(&message(2).to_node()));
    bytes.extend(server.seal(&message(3).to_node()));
    for piece in bytes.chunks(7) {
        server.raw(piece.to_vec()).await;
    }
    for number in 1..=3 {
        assert_eq!(rig.event().await, Event::Message(message(number)));
    }
}

#[tokio::test]
async fn what_comes_before_the_servers_word_is_not_lost() {
    let mut rig = Rig::new();
    let mut server = rig.accept().await;
    let mut bytes = server.seal(&Ib::EdgeRouting(vec![5]).to_node());
    bytes.extend(server.seal(&Node::new("success")));
    bytes.extend(server.seal(&message(1).to_node()));
    server.raw(bytes).await;
    assert!(matches!(rig.event().await, Event::Connected(_)));
    assert_eq!(rig.event().await, Event::RoutingInfo(vec![5]));
    assert_eq!(rig.event().await, Event::Message(message(1)));
}

#[tokio::test]
async fn stopping_writes_what_was_handed_over() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    for number in 0..10 {
        rig.connection
            .send(Receipt::delivery(&message(number)).to_node(Origin::Client))
            .await
            .unwrap();
    }
    rig.connection.stop().await;
    assert_eq!(*rig.connection.state().borrow(), State::Stopped);
    for number in 0..10 {
        assert_eq!(server.next().await.get("id").unwrap(), format!("M{number}"));
    }
    assert_eq!(server.try_next().await, None);
    assert_eq!(rig.events.recv().await, None);
    assert!(rig.connection.send(Node::new("presence")).await.is_err());
}

#[tokio::test]
async fn it_ends_with_its_last_handle() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let Rig {
        connection,
        mut events,
        ..
    } = rig;
    drop(connection);
    assert_eq!(server.try_next().await, None);
    assert_eq!(super::server::soon("the end", events.recv()).await, None);
}
