//! A peer whose identity key changes.

use super::*;

/// Bea after a reinstall: other keys, no memory of Alice.
fn reinstalled() -> User {
    User::new(20)
}

#[test]
fn a_first_message_with_another_key_is_read_and_reported() {
    let (mut alice, mut bea) = pair(true);
    bea.read(&alice.encrypt("one"));
    let late = bea.encrypt("written before the reinstall");
    let later = bea.encrypt("and another one");

    let mut bea = reinstalled();
    bea.establish(&alice.bundle(true)).expect("bundle");
    let hello = alice
        .decrypt(&bea.encrypt("hello again"))
        .expect("readable");
    assert_eq!(&*hello.plaintext, b"hello again");
    assert_eq!(hello.identity_change, IdentityChange::Changed);
    assert_eq!(alice.peer.identity, Some(bea.identity.public()));

    // Messages of the former identity that were under way are read, and are no news.
    for message in [late, later] {
        let late = alice.decrypt(&message).expect("readable");
        assert_eq!(late.identity_change, IdentityChange::Unchanged);
        assert_eq!(alice.peer.identity, Some(bea.identity.public()));
    }
    // The session of the former identity is at the front now; nothing may be written to it.
    let refused = encrypt(&alice.identity, &mut alice.peer, b"secret");
    assert_eq!(refused.err(), Some(SignalError::NoSession));
    let change = alice.establish(&bea.bundle(true)).expect("bundle");
    assert_eq!(change, IdentityChange::Unchanged);
    let message = alice.encrypt("secret");
    assert_eq!(bea.read(&message), "secret");
}

#[test]
fn a_bundle_with_another_key_is_used_and_reported() {
    let (mut alice, mut old) = pair(true);
    old.read(&alice.encrypt("one"));
    let mut bea = reinstalled();
    alice.peer.forget_session();
    assert!(!alice.peer.has_session());
    let change = alice.establish(&bea.bundle(false)).expect("bundle");
    assert_eq!(change, IdentityChange::Changed);
    let message = alice.encrypt("two");
    assert_eq!(bea.read(&message), "two");
    assert!(old.decrypt(&message).is_err());
}

#[test]
fn a_forged_first_message_does_not_change_the_identity() {
    let (mut alice, mut bea) = pair(true);
    bea.read(&alice.encrypt("one"));
    let mut mallory = User::new(30);
    mallory.establish(&alice.bundle(false)).expect("bundle");
    let mut forged = mallory.encrypt("trust me");
    if let Some(last) = forged.bytes.iter_mut().rev().nth(12) {
        *last ^= 1;
    }
    assert!(alice.decrypt(&forged).is_err());
    assert_eq!(alice.peer.identity, Some(bea.identity.public()));
}
