//! How connections end, and what follows.

use std::{sync::atomic::Ordering, time::Duration};

use super::server::{Rig, message, soon};
use crate::{
    connection::{DisconnectReason, Event, State},
    profile::FailureClass,
    stanza::Node,
    stanzas::{Failure, Origin, Receipt, StreamError, Success, stream},
};

#[tokio::test]
async fn a_lost_identity_is_not_tried_again_before_it_is_asked_for() {
    let mut rig = Rig::with(|profile| profile.failures.re_enlist_after_seconds = Vec::new());
    let mut server = rig.accept().await;
    server.send(&Failure::new(401).to_node()).await;
    assert_eq!(
        rig.disconnected().await,
        (DisconnectReason::LoginFailed(401), None)
    );
    let Event::LoginRefused(FailureClass::ReEnlist(text)) = rig.event().await else {
        panic!("the user has to enlist again");
    };
    assert!(text.contains("enlist again"));
    assert_eq!(*rig.connection.state().borrow(), State::Refused);
    assert_eq!(rig.opened(), 1);
    rig.connection.wake();
    rig.online().await;
    assert_eq!(rig.opened(), 2);
}

/// A token of a clock that is ahead is refused in the same way.
#[tokio::test]
async fn a_lost_identity_is_believed_when_it_is_said_again() {
    let mut rig = Rig::with(|profile| profile.failures.re_enlist_after_seconds = vec![0, 1]);
    let refusal = DisconnectReason::LoginFailed(401);
    for seconds in [0, 1] {
        rig.accept().await.send(&Failure::new(401).to_node()).await;
        let wait = Some(Duration::from_secs(seconds));
        assert_eq!(rig.disconnected().await, (refusal.clone(), wait));
    }
    // A good login: the count begins anew.
    drop(rig.online().await);
    rig.disconnected().await;
    for wait in [Some(0), Some(1), None] {
        rig.accept().await.send(&Failure::new(401).to_node()).await;
        let wait = wait.map(Duration::from_secs);
        assert_eq!(rig.disconnected().await, (refusal.clone(), wait));
    }
    assert!(matches!(rig.event().await, Event::LoginRefused(_)));
}

#[tokio::test]
async fn a_ban_is_waited_for_whoever_calls() {
    let mut rig = Rig::new();
    let mut server = rig.accept().await;
    let ban = Failure {
        code: Some(101),
        expire: Some(3600),
        ..Failure::new(402)
    };
    server.send(&ban.to_node()).await;
    let (reason, retry_in) = rig.disconnected().await;
    assert_eq!(reason, DisconnectReason::LoginFailed(402));
    assert!(retry_in.unwrap() >= Duration::from_secs(3600));
    rig.connection.wake();
    rig.connection.stop().await;
    assert_eq!(rig.opened(), 1);
}

#[tokio::test]
async fn a_refusal_for_good_shows_its_cause() {
    let mut rig = Rig::new();
    let mut server = rig.accept().await;
    server.send(&Failure::new(405).to_node()).await;
    rig.disconnected().await;
    assert_eq!(
        rig.event().await,
        Event::LoginRefused(
            crate::profile::Profile::default().classify_failure(&Failure::new(405))
        )
    );
}

#[tokio::test]
async fn a_panic_ends_a_connection_and_not_the_login() {
    let mut rig = Rig::new();
    let server = rig.online().await;
    rig.account.panics.store(2, Ordering::SeqCst);
    drop(server);
    let (reason, _) = rig.disconnected().await;
    assert_eq!(reason, DisconnectReason::Closed);
    for _ in 0..2 {
        let (reason, retry_in) = rig.disconnected().await;
        assert_eq!(reason, DisconnectReason::Panicked);
        assert!(retry_in.unwrap() > Duration::ZERO);
    }
    let server = rig.online().await;
    assert_eq!(
        server.payload.connect_attempts,
        Some(3),
        "they count as failures"
    );
    rig.connection.stop().await;
    assert_eq!(*rig.connection.state().borrow(), State::Stopped);
}

#[tokio::test]
async fn a_restart_of_the_server_is_waited_for() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let mut server = rig.online().await;
        server.send(&StreamError::code(503).to_node()).await;
        let (reason, retry_in) = rig.disconnected().await;
        assert_eq!(reason, DisconnectReason::StreamError(Some(503)));
        assert!(retry_in.unwrap() > Duration::ZERO);
    }
    let server = rig.accept().await;
    assert_eq!(server.payload.connect_attempts, Some(3));
    assert_eq!(server.payload.connect_reason, Some(3));
}

#[tokio::test]
async fn a_connection_that_was_of_use_begins_the_waits_anew() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        let mut server = rig.online().await;
        server.send(&StreamError::code(503).to_node()).await;
        rig.disconnected().await;
    }
    let mut server = rig.online().await;
    server.send(&message(1).to_node()).await;
    server.send(&StreamError::code(503).to_node()).await;
    rig.disconnected().await;
    assert_eq!(rig.accept().await.payload.connect_attempts, Some(1));
}

#[tokio::test]
async fn on_515_it_connects_at_once_but_not_for_ever() {
    let mut rig = Rig::new();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let mut server = rig.online().await;
        server.send(&StreamError::code(515).to_node()).await;
        waits.push(rig.disconnected().await.1.unwrap());
    }
    assert_eq!(waits[..3], [Duration::ZERO; 3]);
    assert!(waits[3] > Duration::ZERO);
}

#[tokio::test]
async fn two_connections_do_not_throw_each_other_out_for_ever() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    server.send(&StreamError::replaced().to_node()).await;
    let (reason, retry_in) = rig.disconnected().await;
    assert_eq!(reason, DisconnectReason::Replaced);
    assert!(retry_in.unwrap() >= Duration::from_secs(60));
    rig.connection.wake();
    rig.online().await;
}

#[tokio::test]
async fn a_removed_device_has_to_enlist_again() {
    let mut rig = Rig::with(|profile| profile.failures.re_enlist_after_seconds = Vec::new());
    let mut server = rig.online().await;
    let removed = StreamError {
        code: Some(401),
        conflict: Some("device_removed".to_owned()),
    };
    server.send(&removed.to_node()).await;
    assert_eq!(rig.disconnected().await.1, None);
    assert!(matches!(
        rig.event().await,
        Event::LoginRefused(FailureClass::ReEnlist(_))
    ));
}

#[tokio::test]
async fn an_orderly_end_is_no_damage() {
    let mut rig = Rig::new();
    let mut server = rig.online().await;
    server.send(&stream::end()).await;
    assert_eq!(rig.disconnected().await.0, DisconnectReason::Ended);
    let server = rig.online().await;
    drop(server);
    assert_eq!(rig.disconnected().await.0, DisconnectReason::Closed);
    rig.online().await;
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let mut rig = Rig::with(|profile| {
        profile.limits.keepalive_min_seconds = 1;
        profile.limits.keepalive_max_seconds = 1;
        profile.limits.pong_seconds = 1;
    });
    let mut server = rig.online().await;
    // The first ping is answered: the connection stays.
    let ping = server.next().await;
    assert_eq!(ping.get("xmlns").as_deref(), Some("w:p"));
    let head = crate::stanzas::IqHead::parse(&ping).unwrap();
    server.send(&head.result()).await;
    // The second one is not.
    assert_eq!(server.next().await.get("xmlns").as_deref(), Some("w:p"));
    assert_eq!(rig.disconnected().await.0, DisconnectReason::Silent);
    rig.online().await;
}

#[tokio::test]
async fn a_call_to_a_standing_connection_tests_it() {
    let mut rig = Rig::with(|profile| profile.limits.pong_seconds = 1);
    let mut server = rig.online().await;
    rig.connection.wake();
    assert!(server.next().await.child_named("ping").is_some());
    assert_eq!(rig.disconnected().await.0, DisconnectReason::Silent);
    rig.online().await;
}

#[tokio::test]
async fn a_call_cuts_the_wait_short() {
    let mut rig = Rig::with_config(
        |_| {},
        |config| {
            config.backoff.first = Duration::from_secs(3600);
            config.backoff.max = Duration::from_secs(3600);
        },
    );
    let server = rig.online().await;
    drop(server);
    assert!(rig.disconnected().await.1.unwrap() >= Duration::from_secs(1800));
    rig.connection.wake();
    let server = rig.accept().await;
    assert_eq!(server.payload.connect_reason, Some(0), "a push woke it");
}

#[tokio::test]
async fn a_server_that_does_not_take_bytes_is_given_up() {
    let mut rig = Rig::with(|profile| profile.limits.write_seconds = 1);
    let server = rig.online().await;
    let connection = rig.connection.clone();
    let sending = tokio::spawn(async move {
        let mut receipt = Receipt::delivery(&message(0));
        receipt.ids = (0..1000).map(|id| format!("{id:032X}")).collect();
        while connection
            .send(receipt.to_node(Origin::Client))
            .await
            .is_ok()
        {}
    });
    assert_eq!(rig.disconnected().await.0, DisconnectReason::Stalled);
    soon("the end of sending", sending).await.unwrap();
    drop(server);
    rig.online().await;
}

#[tokio::test]
async fn a_server_that_never_lets_in_is_given_up() {
    let mut rig = Rig::with(|profile| profile.limits.handshake_seconds = 1);
    let silent = rig.channel().await;
    assert_eq!(rig.disconnected().await.0, DisconnectReason::Deadline);
    drop(silent);
    let undecided = rig.accept().await;
    assert_eq!(rig.disconnected().await.0, DisconnectReason::Deadline);
    drop(undecided);
    rig.online().await;
}

#[tokio::test]
async fn a_connection_without_a_listener_ends() {
    let mut rig = Rig::new();
    let mut server = rig.accept().await;
    let Rig {
        connection, events, ..
    } = rig;
    drop(events);
    server.send(&Success::default().to_node()).await;
    let mut state = connection.state();
    soon("the end", state.wait_for(|state| *state == State::Stopped))
        .await
        .unwrap();
    assert!(connection.send(Node::new("presence")).await.is_err());
}
