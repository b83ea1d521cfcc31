//! Queries and their answers.

use super::server::{Peer, Rig, message, soon};
use crate::{
    connection::{Event, QueryError},
    stanza::Node,
    stanzas::{IqError, IqHead, KeysRequest, keys},
};

/// Reads a query of the client and answers it.
async fn answer_count(server: &mut Peer, count: u32) {
    let query = server.next().await;
    assert_eq!(KeysRequest::parse(&query), Ok(KeysRequest::Count));
    let head = IqHead::parse(&query).unwrap();
    server.send(&keys::count_answer(&head, count)).await;
}

fn count() -> Node {
    KeysRequest::Count.to_node()
}

#[tokio::test]
async fn an_answer_finds_its_query() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let connection = rig.connection.clone();
    let first = tokio::spawn(async move { connection.query(count()).await });
    let one = IqHead::parse(&server.next().await).unwrap();
    let connection = rig.connection.clone();
    let second = tokio::spawn(async move { connection.query(count()).await });
    let two = IqHead::parse(&server.next().await).unwrap();
    assert_ne!(one.id, two.id);
    // In the other order, and one that nobody asked for.
    server.send(&keys::count_answer(&two, 2)).await;
    server
        .send(&keys::count_answer(
            &IqHead {
                id: "nobody".into(),
                ..two.clone()
            },
            3,
        ))
        .await;
    server.send(&keys::count_answer(&one, 1)).await;
    let answer = soon("the answer", first).await.unwrap().unwrap();
    assert_eq!(keys::parse_count(&answer), Ok(1));
    let answer = soon("the answer", second).await.unwrap().unwrap();
    assert_eq!(keys::parse_count(&answer), Ok(2));
}

#[tokio::test]
async fn a_refusal_is_an_error() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    let connection = rig.connection.clone();
    let query = tokio::spawn(async move { connection.query(count().attr("id", "mine")).await });
    let head = IqHead::parse(&server.next().await).unwrap();
    assert_eq!(head.id, "mine");
    let refusal = IqError {
        code: 429,
        text: Some("rate-overlimit".into()),
        backoff: Some(9),
    };
    server.send(&head.error(&refusal)).await;
    assert_eq!(
        soon("the answer", query).await.unwrap(),
        Err(QueryError::Refused(refusal))
    );
}

#[tokio::test]
async fn no_answer_is_an_error_after_the_deadline() {
    let mut rig = Rig::with(|profile| profile.limits.query_seconds = 1);
    let mut server = rig.online().await;
    let connection = rig.connection.clone();
    let query = tokio::spawn(async move { connection.query(count()).await });
    let head = IqHead::parse(&server.next().await).unwrap();
    assert_eq!(
        soon("the error", query).await.unwrap(),
        Err(QueryError::Timeout)
    );
    // The answer that comes too late harms nobody.
    server.send(&keys::count_answer(&head, 1)).await;
    let connection = rig.connection.clone();
    let query = tokio::spawn(async move { connection.query(count()).await });
    answer_count(&mut server, 5).await;
    assert_eq!(
        keys::parse_count(&soon("it", query).await.unwrap().unwrap()),
        Ok(5)
    );
}

#[tokio::test]
async fn the_end_of_the_connection_ends_its_queries() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.connection.query(count()).await,
        Err(QueryError::NotConnected)
    );
    let mut server = rig.online().await;
    let connection = rig.connection.clone();
    let query = tokio::spawn(async move { connection.query(count()).await });
    server.next().await;
    drop(server);
    assert_eq!(
        soon("the error", query).await.unwrap(),
        Err(QueryError::NotConnected)
    );
}

#[tokio::test]
async fn answers_come_while_nobody_takes_events() {
    let mut rig = Rig::with_config(|_| {}, |config| config.event_capacity = 1);
    let mut server = rig.online().await;
    for number in 0..500 {
        server.send(&message(number).to_node()).await;
    }
    let connection = rig.connection.clone();
    let query = tokio::spawn(async move { connection.query(count()).await });
    answer_count(&mut server, 7).await;
    let answer = soon("the answer", query).await.unwrap().unwrap();
    assert_eq!(keys::parse_count(&answer), Ok(7));
    for number in 0..500 {
        assert_eq!(rig.event().await, Event::Message(message(number)));
    }
}

#[tokio::test]
async fn what_is_too_much_is_let_go_and_asked_for_again() {
    let mut rig = Rig::with_config(|_| {}, |config| config.event_capacity = 1);
    let mut server = rig.online().await;
    // More than the queue holds. The last ones are let go, and nothing overtakes them.
    for number in 0..3000 {
        server.send(&message(number).to_node()).await;
    }
    // Queries still work.
    let connection = rig.connection.clone();
    let query = tokio::spawn(async move { connection.query(count()).await });
    answer_count(&mut server, 7).await;
    soon("the answer", query).await.unwrap().unwrap();
    let mut taken = 0;
    let reason = loop {
        match rig.event().await {
            Event::Message(received) => {
                assert_eq!(received, message(taken));
                taken += 1;
            }
            Event::Disconnected { reason, .. } => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert!((2000..3000).contains(&taken), "{taken}");
    assert_eq!(reason, crate::connection::DisconnectReason::Overflow);
    // The server sends the rest again.
    let mut server = rig.online().await;
    server.send(&message(taken).to_node()).await;
    assert_eq!(rig.event().await, Event::Message(message(taken)));
}
