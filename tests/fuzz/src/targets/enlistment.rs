//! Enlistment, identity tokens, login.

use gatekeeper::{
    enlist::{EnlistAnswer, EnlistForm},
    login::{ClientPayload, ConnectReason, InteropData},
    signal::{Identity, SignedPreKey},
    token::{Claims, Jwks, KeyRing, SigningKey, verify},
};
use rand::{SeedableRng, rngs::StdRng};

use super::{Decoder, Target, answer, magnitude};

const NOW: u64 = 1_790_000_000;

pub(super) const FORM: Target = Target {
    name: "enlist-form",
    about: "the arguments of an enlistment",
    words: &[
        b"authkey=",
        b"&e_keytype=BQ",
        b"&e_regid=",
        b"&e_ident=",
        b"&e_skey_id=",
        b"&token=",
        b"%00",
        b"%",
        b"+",
        b"==",
        b"AAAA",
    ],
    start: || {
        let mut rng = StdRng::seed_from_u64(1);
        let identity = Identity::generate(&mut rng);
        let key = SignedPreKey::generate(1, &identity, &mut rng)
            .expect("a key")
            .public();
        let form = EnlistForm::new([7; 32], &identity, key, "token".to_owned()).to_form();
        Decoder::new(vec![form.into_bytes()], |input| {
            answer(EnlistForm::parse(input), |form| {
                assert!(EnlistForm::parse(form.to_form().as_bytes()) == Ok(form.clone()));
                format!("{:?}", form.verify())
            })
        })
    },
};

pub(super) const ANSWER: Target = Target {
    name: "enlist-answer",
    about: "the gatekeeper's answer to an enlistment",
    words: &[
        br#""status":"ok""#,
        br#""login":"#,
        br#""reason":null"#,
        b"[",
        b"{",
        b"1e999",
    ],
    start: || {
        let seeds = vec![
            br#"{"login":"1-10853634039893@interop","status":"ok"}"#.to_vec(),
            br#"{"reason":"bad_integrator","status":"fail"}"#.to_vec(),
        ];
        Decoder::new(seeds, |input| {
            answer(EnlistAnswer::parse(input), |read| {
                assert_eq!(
                    EnlistAnswer::parse(read.to_json().as_bytes()),
                    Ok(read.clone())
                );
                match read {
                    EnlistAnswer::Ok { .. } => "ok".to_owned(),
                    EnlistAnswer::Fail { reason } => format!("fail {}", magnitude(reason.len())),
                }
            })
        })
    },
};

pub(super) const TOKEN: Target = Target {
    name: "token",
    about: "an identity token",
    words: &[b".", b"eyJ", b"e30", b"=", b"bm9uZQ"],
    start: || {
        let mut ring = KeyRing::default();
        ring.add(SigningKey::generate().expect("a key"), NOW);
        let keys = ring.jwks();
        let good = ring
            .issue(&Claims::new("issuer", "audience", NOW, 60))
            .expect("a token");
        Decoder::new(vec![good.clone().into_bytes()], move |input| {
            let Ok(token) = std::str::from_utf8(input) else {
                return "no text".to_owned();
            };
            answer(verify(token, &keys, "audience", NOW), |_| {
                assert_eq!(token, good, "a token that we did not sign");
                "good".to_owned()
            })
        })
    },
};

pub(super) const JWKS: Target = Target {
    name: "jwks",
    about: "a published key set, and a token checked with it",
    words: &[
        br#""keys":["#,
        br#""kty":"RSA""#,
        br#""e":"AQAB""#,
        br#""n":"""#,
        b"null",
        b"[[[[",
    ],
    start: || {
        let mut ring = KeyRing::default();
        ring.add(SigningKey::generate().expect("a key"), NOW);
        let good = ring
            .issue(&Claims::new("issuer", "audience", NOW, 60))
            .expect("a token");
        let seed = serde_json::to_vec(&ring.jwks()).expect("JSON");
        Decoder::new(vec![seed], move |input| {
            answer(
                serde_json::from_slice::<Jwks>(input).map_err(|error| error.classify()),
                |keys| {
                    let known = keys == ring.jwks();
                    let checked = verify(&good, &keys, "audience", NOW);
                    assert!(!known || checked.is_ok());
                    format!("{} {:?}", magnitude(keys.keys.len()), checked.map(drop))
                },
            )
        })
    },
};

pub(super) const LOGIN: Target = Target {
    name: "login",
    about: "the login payload",
    words: &[
        b"\x18\x00",
        b"\xa0\x01\x02",
        b"\xb2\x02\x0f",
        b"\x2a\x04\x12\x02\x08\x02",
        b"\x68\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
    start: || {
        let data = InteropData {
            account_id: 10_853_634_039_893,
            token: b"token".to_vec(),
            enable_read_receipts: true,
        };
        let payload = ClientPayload::interop(data).because(ConnectReason::Push, 3);
        Decoder::new(vec![payload.to_bytes()], |input| {
            answer(ClientPayload::parse(input), |payload| {
                assert!(ClientPayload::parse(&payload.to_bytes()) == Ok(payload.clone()));
                format!("{:?} {:?}", payload.product, payload.interop.is_some())
                    .replace(|c: char| c.is_ascii_digit(), "")
            })
        })
    },
};
