//! Keys as they are stored and published.

use super::*;

#[test]
fn stored_keys_read_back_as_they_were() {
    let user = User::new(1);
    let identity = Identity::from_bytes(&user.identity.to_bytes()).expect("identity");
    assert_eq!(identity.public(), user.identity.public());
    assert_eq!(identity.registration_id(), user.identity.registration_id());
    assert_eq!(identity.to_bytes(), user.identity.to_bytes());
    let prekey = PreKey::from_bytes(&user.prekeys[1].to_bytes()).expect("prekey");
    assert_eq!(prekey.public(), user.prekeys[1].public());
    let signed = SignedPreKey::from_bytes(&user.signed.to_bytes()).expect("signed prekey");
    assert_eq!(signed.public(), user.signed.public());
    signed
        .public()
        .verify(&identity.public())
        .expect("signed by the identity");
}

#[test]
fn other_bytes_are_refused() {
    let user = User::new(1);
    let good = user.identity.to_bytes();
    let longer = [good.as_slice(), &[0]].concat();
    let mut other_format = good.to_vec();
    other_format[0] = 9;
    for bytes in [&[][..], &good[..36], &longer, &other_format] {
        assert!(matches!(
            Identity::from_bytes(bytes),
            Err(SignalError::CorruptState(_))
        ));
    }
    assert!(SignedPreKey::from_bytes(&good).is_err());
    let mut zero = user.prekeys[0].to_bytes();
    zero[1..5].fill(0);
    assert!(matches!(
        PreKey::from_bytes(&zero),
        Err(SignalError::PreKeyIdRange(0))
    ));
}

#[test]
fn prekey_ids_stay_in_24_bits_and_go_round() {
    let mut rng = StdRng::seed_from_u64(1);
    let (keys, next) = PreKey::generate_batch(MAX_PREKEY_ID - 1, 3, &mut rng).expect("ids");
    let ids: Vec<u32> = keys.iter().map(PreKey::id).collect();
    assert_eq!(ids, [MAX_PREKEY_ID - 1, MAX_PREKEY_ID, 1]);
    assert_eq!(next, 2);
    for id in [0, MAX_PREKEY_ID + 1] {
        assert_eq!(
            PreKey::generate(id, &mut rng).err(),
            Some(SignalError::PreKeyIdRange(id))
        );
    }
}

#[test]
fn no_secret_is_shown() {
    let (mut alice, mut bea) = pair(true);
    let message = alice.encrypt("a secret text");
    let decrypted = bea.decrypt(&message).expect("readable");
    let secrets = [
        hex::encode(&alice.identity.to_bytes()[5..]),
        format!("{:?}", &alice.identity.to_bytes()[5..]),
        format!("{:?}", &alice.prekeys[0].to_bytes()[5..]),
        format!("{:?}", &alice.signed.to_bytes()[5..37]),
        format!("{:?}", alice.peer.session.as_deref().unwrap_or_default()),
        "secret text".to_owned(),
        format!("{:?}", b"a secret text"),
    ];
    let shown = format!(
        "{:?} {:?} {:?} {:?} {decrypted:?}",
        alice.identity, alice.prekeys, alice.signed, alice.peer
    );
    for secret in secrets {
        assert!(!shown.contains(&secret), "{shown}");
    }
}
