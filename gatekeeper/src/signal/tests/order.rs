//! What headers tell of the order of messages.

use super::*;

fn position(message: &Ciphertext) -> Position {
    Position::of(message.kind, &message.bytes).expect("a header")
}

impl User {
    fn turn_of(&self, message: &Ciphertext) -> Turn {
        turn(&self.peer, &position(message)).expect("a session that can be read")
    }
}

fn missing(of: &Ciphertext, from: u32, to: u32) -> Span {
    let chain = position(of).chain;
    Span { chain, from, to }
}

#[test]
fn an_overtaken_message_is_missed_and_then_late() {
    let (mut alice, mut bea) = pair(true);
    let sent: Vec<_> = ["0", "1", "2", "3"].map(|text| alice.encrypt(text)).into();
    // Nothing was read yet: these open the session.
    assert_eq!(bea.turn_of(&sent[0]), Turn::Next);
    assert_eq!(
        bea.turn_of(&sent[2]),
        Turn::After(vec![missing(&sent[0], 0, 2)])
    );
    bea.read(&sent[0]);
    assert_eq!(bea.turn_of(&sent[1]), Turn::Next);
    let gap = missing(&sent[0], 1, 3);
    assert_eq!(bea.turn_of(&sent[3]), Turn::After(vec![gap.clone()]));
    assert!(gap.contains(&position(&sent[2])) && !gap.contains(&position(&sent[3])));
    bea.read(&sent[3]);
    assert_eq!(bea.turn_of(&sent[1]), Turn::Late);
    assert_eq!(bea.turn_of(&sent[3]), Turn::Late, "it was read");
}

#[test]
fn the_end_of_the_chain_before_is_missed_too() {
    let (mut alice, mut bea) = pair(true);
    let first: Vec<_> = ["0", "1", "2", "3"].map(|text| alice.encrypt(text)).into();
    bea.read(&first[0]);
    bea.read(&first[1]);
    let answer = bea.encrypt("go on");
    alice.read(&answer);
    let then: Vec<_> = ["4", "5"].map(|text| alice.encrypt(text)).into();
    assert_ne!(position(&then[0]).chain, position(&first[0]).chain);
    let before = missing(&first[0], 2, 4);
    assert_eq!(bea.turn_of(&then[0]), Turn::After(vec![before.clone()]));
    assert_eq!(
        bea.turn_of(&then[1]),
        Turn::After(vec![before, missing(&then[0], 0, 1)])
    );
    bea.read(&first[2]);
    bea.read(&first[3]);
    assert_eq!(bea.turn_of(&then[0]), Turn::Next);
    bea.read(&then[0]);
    assert_eq!(bea.turn_of(&then[1]), Turn::Next);
}

/// The header says 0 for one message and for none: nobody waits for what may not exist.
#[test]
fn a_chain_of_one_message_is_not_waited_for() {
    let (mut alice, mut bea) = pair(true);
    let hello = alice.encrypt("hello");
    bea.read(&hello);
    let answer = bea.encrypt("0");
    alice.read(&answer);
    bea.read(&alice.encrypt("hello again"));
    let overtaken = bea.encrypt("1");
    assert_eq!(alice.turn_of(&overtaken), Turn::Next);
    alice.read(&overtaken);
}

#[test]
fn a_message_of_an_earlier_session_has_its_place_there() {
    let (mut alice, mut bea) = pair(true);
    let old: Vec<_> = ["0", "1", "2"].map(|text| alice.encrypt(text)).into();
    bea.read(&old[0]);
    // A new session from the same keys, as after a retry receipt that carries keys.
    let bundle = bea.bundle(false);
    alice.peer.forget_session();
    alice.establish(&bundle).expect("good keys");
    let new = alice.encrypt("new");
    assert_eq!(bea.turn_of(&new), Turn::Next);
    bea.read(&new);
    assert_eq!(bea.turn_of(&old[1]), Turn::Next);
    assert_eq!(
        bea.turn_of(&old[2]),
        Turn::After(vec![missing(&old[0], 1, 2)])
    );
}

#[test]
fn what_is_too_far_ahead_is_not_waited_for() {
    let (mut alice, mut bea) = pair(true);
    bea.read(&alice.encrypt("0"));
    for _ in 0..2000 {
        alice.encrypt("lost");
    }
    let last = alice.encrypt("last");
    assert_eq!(
        bea.turn_of(&last),
        Turn::After(vec![missing(&last, 1, 2001)])
    );
    assert_eq!(bea.turn_of(&alice.encrypt("one more")), Turn::Next);
}

#[test]
fn what_is_no_message_has_no_place() {
    for bytes in [&[][..], &[0x33], &[0x33; 8], &[0x33; 64], &[0x22; 64]] {
        assert!(Position::of(EncKind::Msg, bytes).is_err());
        assert!(Position::of(EncKind::PkMsg, bytes).is_err());
    }
    let alone = Peer::default();
    let (mut alice, _) = pair(true);
    let first = position(&alice.encrypt("0"));
    assert_eq!(turn(&alone, &first), Ok(Turn::Next));
}
