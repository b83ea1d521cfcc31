//! What is refused, and that a refusal changes nothing (`User::decrypt` checks that each time).

use proptest::prelude::*;

use super::*;

#[test]
fn a_repeated_message_is_told_from_a_bad_one() {
    let (mut alice, mut bea) = pair(true);
    let first = alice.encrypt("one");
    bea.read(&first);
    assert_eq!(bea.decrypt(&first).err(), Some(SignalError::Duplicate));
    assert_eq!(SignalError::Duplicate.retry_reason(), None);

    alice.read(&bea.encrypt("two"));
    let third = alice.encrypt("three");
    bea.read(&third);
    assert_eq!(bea.decrypt(&third).err(), Some(SignalError::Duplicate));
    assert_eq!(bea.decrypt(&first).err(), Some(SignalError::Duplicate));
}

#[test]
fn no_changed_bit_gets_through() {
    let (mut alice, mut bea) = pair(true);
    let pkmsg = alice.encrypt("one");
    let tampered = |message: &Ciphertext, at: usize| {
        let mut bytes = message.bytes.clone();
        bytes[at] ^= 0x40;
        Ciphertext {
            kind: message.kind,
            bytes,
        }
    };
    let mut wrong_mac = 0;
    for at in 0..pkmsg.bytes.len() {
        // The registration id and the prekey's number are not authenticated; a wrong number finds
        // no key, a wrong registration id harms nobody.
        match bea.decrypt(&tampered(&pkmsg, at)) {
            Err(SignalError::BadMac) => wrong_mac += 1,
            Err(_) => {}
            Ok(_) => {
                let ids = prekey_ids(&tampered(&pkmsg, at).bytes).expect("parsed before");
                assert_ne!(ids.registration_id, alice.identity.registration_id());
                bea = User::new(2);
            }
        }
    }
    assert!(wrong_mac > 50, "the code is checked");
    assert_eq!(bea.read(&pkmsg), "one", "the true message still opens");

    alice.read(&bea.encrypt("two"));
    let msg = alice.encrypt("three");
    for at in 0..msg.bytes.len() {
        let error = bea.decrypt(&tampered(&msg, at)).expect_err("refused");
        assert_ne!(error, SignalError::Duplicate);
    }
    assert_eq!(bea.read(&msg), "three");
}

#[test]
fn what_is_missing_is_named() {
    let (mut alice, mut bea) = pair(true);
    let pkmsg = alice.encrypt("one");
    bea.prekeys.clear();
    assert_eq!(
        bea.decrypt(&pkmsg).err(),
        Some(SignalError::UnknownPreKey(100))
    );
    assert_eq!(
        SignalError::UnknownPreKey(100)
            .retry_reason()
            .map(RetryReason::code),
        Some(3)
    );

    let mut rotated = User::new(2);
    rotated.signed = SignedPreKey::generate(8, &rotated.identity, &mut rotated.rng).expect("id");
    assert_eq!(
        rotated.decrypt(&pkmsg).err(),
        Some(SignalError::UnknownSignedPreKey(7))
    );

    let mut bea = User::new(2);
    bea.read(&pkmsg);
    let msg = bea.encrypt("two");
    let mut stranger = User::new(3);
    assert_eq!(stranger.decrypt(&msg).err(), Some(SignalError::NoSession));
    assert_eq!(
        SignalError::NoSession.retry_reason().map(RetryReason::code),
        Some(1)
    );
    let nobody = encrypt(&stranger.identity, &mut Peer::default(), b"x");
    assert_eq!(nobody.err(), Some(SignalError::NoSession));
}

#[test]
fn a_bundle_that_the_identity_did_not_sign_is_refused() {
    let (mut alice, bea) = (User::new(1), User::new(2));
    let good = bea.bundle(true);
    let mut forged = good;
    forged.signed_prekey.signature[10] ^= 1;
    let mut swapped = good;
    swapped.signed_prekey.public = alice.signed.public().public;
    let mut other = good;
    other.identity = alice.identity.public();
    for bundle in [forged, swapped, other] {
        assert_eq!(bundle.verify(), Err(SignalError::BadSignature));
        assert_eq!(alice.establish(&bundle), Err(SignalError::BadSignature));
        assert_eq!(alice.peer, Peer::default());
    }
    let mut wide = good;
    wide.signed_prekey.id = MAX_PREKEY_ID + 1;
    assert_eq!(
        alice.establish(&wide),
        Err(SignalError::PreKeyIdRange(MAX_PREKEY_ID + 1))
    );
    assert_eq!(alice.establish(&good), Ok(IdentityChange::First));
    assert_eq!(
        SignalError::BadSignature
            .retry_reason()
            .map(RetryReason::code),
        Some(5)
    );
}

#[test]
fn only_version_three_is_spoken() {
    let (mut alice, mut bea) = pair(true);
    let mut newer = alice.encrypt("one");
    newer.bytes[0] = 0x44;
    assert_eq!(
        bea.decrypt(&newer).err(),
        Some(SignalError::UnsupportedVersion(4))
    );
    newer.bytes[0] = 0x23;
    assert_eq!(
        bea.decrypt(&newer).err(),
        Some(SignalError::UnsupportedVersion(2))
    );
    newer.bytes.clear();
    assert_eq!(bea.decrypt(&newer).err(), Some(SignalError::InvalidMessage));
}

#[test]
fn a_message_from_the_far_future_is_refused() {
    let (mut alice, mut bea) = pair(true);
    bea.read(&alice.encrypt("one"));
    alice.read(&bea.encrypt("two"));
    bea.read(&alice.encrypt("three"));
    let mut last = alice.encrypt("skipped");
    for _ in 0..2001 {
        last = alice.encrypt("skipped");
    }
    assert_eq!(bea.decrypt(&last).err(), Some(SignalError::TooFarAhead));
    assert_eq!(
        SignalError::TooFarAhead
            .retry_reason()
            .map(RetryReason::code),
        Some(6)
    );
}

#[test]
fn a_damaged_record_is_reported_and_kept() {
    let (mut alice, mut bea) = pair(true);
    let message = alice.encrypt("one");
    bea.peer.session = Some(b"not a record".to_vec());
    assert!(matches!(
        bea.decrypt(&message),
        Err(SignalError::CorruptState(_))
    ));
    let result = encrypt(&bea.identity, &mut bea.peer, b"x");
    assert!(matches!(result, Err(SignalError::CorruptState(_))));
    assert_eq!(
        bea.peer.session.as_deref(),
        Some(b"not a record".as_slice())
    );
}

proptest! {
    #[test]
    fn garbage_never_panics(mut bytes: Vec<u8>, prekey: bool, versioned: bool) {
        if let (true, Some(first)) = (versioned, bytes.first_mut()) {
            *first = 0x33;
        }
        let (mut alice, mut bea) = pair(false);
        bea.read(&alice.encrypt("one"));
        let kind = if prekey { EncKind::PkMsg } else { EncKind::Msg };
        let message = Ciphertext { kind, bytes };
        prop_assert!(bea.decrypt(&message).is_err());
    }

    #[test]
    fn truncated_messages_are_refused(cut in any::<prop::sample::Index>(), prekey: bool) {
        let (mut alice, mut bea) = pair(false);
        let mut message = alice.encrypt("one");
        if !prekey {
            bea.read(&message);
            alice.read(&bea.encrypt("two"));
            message = alice.encrypt("three");
        }
        message.bytes.truncate(cut.index(message.bytes.len()));
        prop_assert!(bea.decrypt(&message).is_err());
    }

    #[test]
    fn damaged_records_never_panic(at in any::<prop::sample::Index>(), value: u8) {
        let (mut alice, mut bea) = pair(false);
        bea.read(&alice.encrypt("one"));
        if let Some(record) = bea.peer.session.as_mut() {
            let at = at.index(record.len());
            record[at] = value;
        }
        let message = alice.encrypt("two");
        let _ = bea.decrypt(&message);
        let _ = encrypt(&bea.identity, &mut bea.peer, b"x");
    }
}
