//! Signal messages.

use gatekeeper::{
    padding::pad,
    signal::{self, Bundle, EncKind, Identity, LocalKeys, Peer, PreKey, SignalError, SignedPreKey},
};
use rand::{SeedableRng, rngs::StdRng};

use super::{Decoder, Target, answer, magnitude};

const FIELDS: &[&[u8]] = &[
    b"\x33",
    b"\x34",
    b"\x08\x01",
    b"\x12\x21\x05",
    b"\x1a\x21\x05",
    b"\x22\x42\x33",
    b"\x28\xff\xff\xff\x07",
    b"\x30\x01",
    b"\x0a\x21\x05",
    b"\x10\xff\xff\xff\xff\x0f",
    b"\x18\x00",
];

/// A sender and a receiver; the first two messages.
struct Pair {
    receiver: Identity,
    keys: LocalKeys,
    first: Vec<u8>,
    /// What the receiver keeps after the first message.
    opened: Peer,
    second: Vec<u8>,
}

impl Pair {
    fn new() -> Result<Self, SignalError> {
        let mut rng = StdRng::seed_from_u64(1);
        let (sender, receiver) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
        let prekey = PreKey::generate(1, &mut rng)?;
        let signed = SignedPreKey::generate(1, &receiver, &mut rng)?;
        let bundle = Bundle {
            registration_id: receiver.registration_id(),
            identity: receiver.public(),
            signed_prekey: signed.public(),
            prekey: Some(prekey.public()),
        };
        let keys = LocalKeys {
            prekey: Some(prekey),
            signed: Some(signed),
        };
        let mut to = Peer::default();
        signal::establish(&sender, &mut to, &bundle, &mut rng)?;
        let first = signal::encrypt(&sender, &mut to, &pad(b"one".to_vec(), 3))?.bytes;

        let mut from = Peer::default();
        signal::decrypt(
            &receiver,
            &mut from,
            EncKind::PkMsg,
            &first,
            &keys,
            &mut rng,
        )?;
        let answer = signal::encrypt(&receiver, &mut from, b"answer")?;
        let none = LocalKeys::default();
        signal::decrypt(
            &sender,
            &mut to,
            answer.kind,
            &answer.bytes,
            &none,
            &mut rng,
        )?;
        let second = signal::encrypt(&sender, &mut to, b"two")?.bytes;
        Ok(Self {
            receiver,
            keys,
            first,
            opened: from,
            second,
        })
    }
}

fn pair() -> Pair {
    Pair::new().expect("a conversation")
}

/// On an error nothing has changed.
fn decrypt(pair: &Pair, mut peer: Peer, kind: EncKind, input: &[u8]) -> String {
    let before = peer.clone();
    let mut rng = StdRng::seed_from_u64(2);
    let result = signal::decrypt(&pair.receiver, &mut peer, kind, input, &pair.keys, &mut rng);
    if result.is_err() {
        assert!(
            peer.session == before.session && peer.identity == before.identity,
            "the peer has changed"
        );
    }
    answer(result, |read| {
        format!(
            "{} {:?}",
            magnitude(read.plaintext.len()),
            read.consumed_prekey
        )
    })
}

pub(super) const PREKEY_MESSAGE: Target = Target {
    name: "prekey-message",
    about: "a Signal message that opens a session, and the key ids in it",
    words: FIELDS,
    start: || {
        let pair = pair();
        Decoder::new(vec![pair.first.clone()], move |input| {
            let ids = answer(signal::prekey_ids(input), |ids| {
                format!("{} {:?}", ids.prekey.is_some(), ids.signed_prekey == 1)
            });
            format!(
                "{ids} {}",
                decrypt(&pair, Peer::default(), EncKind::PkMsg, input)
            )
        })
    },
};

pub(super) const MESSAGE: Target = Target {
    name: "signal-message",
    about: "a Signal message of a running session",
    words: FIELDS,
    start: || {
        let pair = pair();
        Decoder::new(vec![pair.second.clone()], move |input| {
            decrypt(&pair, pair.opened.clone(), EncKind::Msg, input)
        })
    },
};

pub(super) const STORED: Target = Target {
    name: "signal-stored",
    about: "sessions and keys as the database keeps them",
    words: FIELDS,
    start: || {
        let pair = pair();
        let mut seeds = vec![pair.receiver.to_bytes().to_vec()];
        seeds.extend(pair.opened.session.clone());
        seeds.extend(pair.keys.prekey.as_ref().map(|key| key.to_bytes().to_vec()));
        seeds.extend(pair.keys.signed.as_ref().map(|key| key.to_bytes().to_vec()));
        Decoder::new(seeds, move |input| {
            let peer = Peer {
                session: Some(input.to_vec()),
                ..pair.opened.clone()
            };
            let read = decrypt(&pair, peer.clone(), EncKind::Msg, &pair.second);
            let mut peer = peer;
            let written = answer(signal::encrypt(&pair.receiver, &mut peer, b"x"), |_| {
                "+".into()
            });
            format!(
                "{read} {written} {} {} {}",
                answer(Identity::from_bytes(input), |_| "+".into()),
                answer(PreKey::from_bytes(input), |_| "+".into()),
                answer(SignedPreKey::from_bytes(input), |_| "+".into()),
            )
        })
    },
};
