//! What works.

use proptest::prelude::*;
use wacore_libsignal::protocol::SignalMessage;

use super::*;

#[test]
fn the_first_messages_carry_the_keys_until_an_answer_comes() {
    for prekey in [true, false] {
        let (mut alice, mut bea) = pair(prekey);
        let first = alice.encrypt("one");
        let second = alice.encrypt("two");
        assert_eq!((first.kind, second.kind), (EncKind::PkMsg, EncKind::PkMsg));
        assert_eq!(first.bytes[0], 0x33);

        let ids = prekey_ids(&first.bytes).expect("ids");
        assert_eq!(ids.prekey, prekey.then_some(100));
        assert_eq!(ids.signed_prekey, 7);
        assert_eq!(ids.identity, alice.identity.public());
        assert_eq!(ids.registration_id, alice.identity.registration_id());

        // The second one first: either opens the session, the prekey is used up once.
        let opened = bea.decrypt(&second).expect("readable");
        assert_eq!(&*opened.plaintext, b"two");
        assert_eq!(opened.consumed_prekey, prekey.then_some(100));
        assert_eq!(opened.identity_change, IdentityChange::First);
        let late = bea
            .decrypt(&first)
            .expect("readable without the deleted prekey");
        assert_eq!(&*late.plaintext, b"one");
        assert_eq!(late.consumed_prekey, None);
        assert_eq!(late.identity_change, IdentityChange::Unchanged);

        let answer = bea.encrypt("three");
        assert_eq!(answer.kind, EncKind::Msg);
        assert_eq!(answer.bytes[0], 0x33);
        assert_eq!(alice.read(&answer), "three");
        assert_eq!(alice.encrypt("four").kind, EncKind::Msg);
    }
}

/// With counter leases on, every load would skip 64 counters and the peer would hoard skipped keys.
#[test]
fn counters_run_on_without_gaps_and_records_stay_small() {
    let (mut alice, mut bea) = pair(true);
    for counter in 0..300 {
        let message = alice.encrypt("x");
        let inner = match message.kind {
            EncKind::Msg => SignalMessage::try_from(message.bytes.as_slice()).expect("message"),
            EncKind::PkMsg => {
                wacore_libsignal::protocol::PreKeySignalMessage::try_from(message.bytes.as_slice())
                    .expect("prekey message")
                    .message()
                    .clone()
            }
        };
        assert_eq!(inner.counter(), counter);
        bea.read(&message);
    }
    for user in [&alice, &bea] {
        assert!(
            user.peer
                .session
                .as_ref()
                .is_some_and(|record| record.len() < 1000)
        );
    }
}

#[test]
fn both_sides_may_open_a_session_at_once() {
    let (mut alice, mut bea) = (User::new(1), User::new(2));
    alice.establish(&bea.bundle(true)).expect("bundle");
    bea.establish(&alice.bundle(true)).expect("bundle");
    let (from_alice, from_bea) = (alice.encrypt("a"), bea.encrypt("b"));
    assert_eq!(bea.read(&from_alice), "a");
    assert_eq!(alice.read(&from_bea), "b");
    for round in 0..5 {
        let (from_alice, from_bea) = (alice.encrypt("c"), bea.encrypt("d"));
        assert_eq!(alice.read(&from_bea), "d", "round {round}");
        assert_eq!(bea.read(&from_alice), "c", "round {round}");
    }
}

#[test]
fn the_held_keys_pad_and_open() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    let (alice, bea) = (User::new(1), User::new(2));
    let signed = bea.signed.clone();
    let bundle = bea.bundle(false);
    let (mut at_alice, mut at_bea) = (Peer::default(), Peer::default());
    let alice = HeldHere::new(alice.identity, rand::rng);
    let bea = HeldHere::new(bea.identity, rand::rng);
    runtime.block_on(async {
        let (alice, bea): (&dyn ContentKeys, &dyn ContentKeys) = (&alice, &bea);
        alice
            .establish(&mut at_alice, &bundle)
            .await
            .expect("bundle");
        let sealed = alice
            .encrypt(&mut at_alice, b"content")
            .await
            .expect("session");
        let keys = LocalKeys {
            prekey: None,
            signed: Some(signed),
        };
        let opened = bea
            .decrypt(&mut at_bea, sealed.kind, &sealed.bytes, &keys)
            .await
            .expect("readable");
        assert_eq!(&*opened.content, b"content");
        assert!(at_bea.has_session());
    });
}

/// One step of a conversation: who writes, or which waiting message arrives.
#[derive(Debug, Clone)]
enum Step {
    Write(bool),
    Arrive(bool, prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<bool>().prop_map(Step::Write),
        (any::<bool>(), any::<prop::sample::Index>()).prop_map(|(who, at)| Step::Arrive(who, at)),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the order, each message is read once, and only once.
    #[test]
    fn any_order_of_delivery_is_read(steps in steps()) {
        let (mut alice, mut bea) = pair(true);
        let hello = alice.encrypt("hello");
        bea.read(&hello);
        let mut waiting: [Vec<(String, Ciphertext)>; 2] = Default::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(by_alice) => {
                    let text = format!("message {number}");
                    let sender = if by_alice { &mut alice } else { &mut bea };
                    let sealed = sender.encrypt(&text);
                    waiting[usize::from(by_alice)].push((text, sealed));
                }
                Step::Arrive(by_alice, at) => {
                    let queue = &mut waiting[usize::from(by_alice)];
                    if queue.is_empty() {
                        continue;
                    }
                    let (text, sealed) = queue.remove(at.index(queue.len()));
                    let receiver = if by_alice { &mut bea } else { &mut alice };
                    prop_assert_eq!(receiver.read(&sealed), text);
                    prop_assert_eq!(
                        receiver.decrypt(&sealed).err(),
                        Some(SignalError::Duplicate)
                    );
                }
            }
        }
    }
}
