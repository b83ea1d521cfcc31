//! Signal sessions with npm `libsignal`, the library that Baileys uses.

use gatekeeper::signal::{
    Bundle, Ciphertext, EncKind, Identity, IdentityChange, LocalKeys, Peer as PeerState, PreKey,
    PreKeyPublic, SignalError, SignedPreKey, SignedPreKeyPublic, decrypt, encrypt, establish,
    prekey_ids,
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::peer::Peer;

/// Our side, stored and loaded at each step.
struct Ours {
    identity: Identity,
    signed: SignedPreKey,
    prekey: Option<PreKey>,
    peer: PeerState,
    rng: StdRng,
}

impl Ours {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let identity = Identity::generate(&mut rng);
        let signed = SignedPreKey::generate(9, &identity, &mut rng).expect("id");
        let prekey = Some(PreKey::generate(300, &mut rng).expect("id"));
        Self {
            identity,
            signed,
            prekey,
            peer: PeerState::default(),
            rng,
        }
    }

    fn bundle(&self, prekey: bool) -> Value {
        let signed = self.signed.public();
        let prekey = self
            .prekey
            .as_ref()
            .filter(|_| prekey)
            .map(|key| key.public());
        json!({
            "registration_id": self.identity.registration_id(),
            "identity": hex::encode(self.identity.public()),
            "signed_prekey": {
                "id": signed.id,
                "public": hex::encode(signed.public),
                "signature": hex::encode(signed.signature),
            },
            "prekey": prekey.map(|key| json!({"id": key.id, "public": hex::encode(key.public)})),
        })
    }

    fn encrypt(&mut self, text: &str) -> Ciphertext {
        encrypt(&self.identity, &mut self.peer, text.as_bytes()).expect("session")
    }

    fn decrypt(&mut self, message: &Ciphertext) -> Result<String, SignalError> {
        let mut keys = LocalKeys {
            prekey: None,
            signed: Some(self.signed.clone()),
        };
        if message.kind == EncKind::PkMsg {
            let wanted = prekey_ids(&message.bytes)?.prekey;
            keys.prekey = self.prekey.clone().filter(|key| Some(key.id()) == wanted);
        }
        let peer = &mut self.peer;
        let rng = &mut self.rng;
        let decrypted = decrypt(
            &self.identity,
            peer,
            message.kind,
            &message.bytes,
            &keys,
            rng,
        )?;
        if decrypted.consumed_prekey.is_some() {
            self.prekey = None;
        }
        Ok(String::from_utf8(decrypted.plaintext.to_vec()).expect("text"))
    }
}

/// The peer's side.
struct Theirs(Peer);

impl Theirs {
    fn new() -> Self {
        Self(Peer::start("libsignal_session.mjs"))
    }

    fn bundle(&mut self, prekey: bool) -> Bundle {
        let bundle = self.0.call(json!({"call": "bundle"}));
        let signed = &bundle["signed_prekey"];
        let one_time = &bundle["prekey"];
        Bundle {
            registration_id: number(&bundle["registration_id"]),
            identity: array(&bundle["identity"]),
            signed_prekey: SignedPreKeyPublic {
                id: number(&signed["id"]),
                public: array(&signed["public"]),
                signature: array(&signed["signature"]),
            },
            prekey: prekey.then(|| PreKeyPublic {
                id: number(&one_time["id"]),
                public: array(&one_time["public"]),
            }),
        }
    }

    fn encrypt(&mut self, text: &str) -> Ciphertext {
        let message = self.0.call(json!({"call": "encrypt", "text": text}));
        let kind = message["kind"].as_str().expect("kind");
        Ciphertext {
            kind: kind.parse().expect("known kind"),
            bytes: hex::decode(message["bytes"].as_str().expect("bytes")).expect("hex"),
        }
    }

    fn decrypt(&mut self, message: &Ciphertext) -> Result<String, String> {
        let text = self.0.try_call(json!({
            "call": "decrypt",
            "kind": message.kind.as_str(),
            "message": hex::encode(&message.bytes),
        }))?;
        Ok(text.as_str().expect("text").to_owned())
    }
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|number| number.try_into().ok())
        .expect("number")
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    let bytes = hex::decode(value.as_str().expect("hex")).expect("hex");
    bytes.try_into().expect("length")
}

/// The last byte of the message's authentication code is changed.
fn tampered(message: &Ciphertext) -> Ciphertext {
    let mut bytes = message.bytes.clone();
    match message.kind {
        EncKind::Msg => *bytes.last_mut().expect("not empty") ^= 1,
        // Behind the message stand registration id and signed prekey id; the code is before them.
        EncKind::PkMsg => {
            let at = bytes.len() - 12;
            bytes[at] ^= 1;
        }
    }
    Ciphertext {
        kind: message.kind,
        bytes,
    }
}

/// Both write, out of order, some tampered with, some repeated.
fn converse(ours: &mut Ours, theirs: &mut Theirs) {
    for round in 0..10 {
        let sent: Vec<_> = (0..4).map(|n| format!("ours {round}.{n} é 👋")).collect();
        let messages: Vec<_> = sent.iter().map(|text| ours.encrypt(text)).collect();
        for at in [2, 0, 3, 1] {
            assert!(theirs.decrypt(&tampered(&messages[at])).is_err());
            assert_eq!(theirs.decrypt(&messages[at]).as_ref(), Ok(&sent[at]));
            assert!(theirs.decrypt(&messages[at]).is_err(), "a repetition");
        }
        let sent: Vec<_> = (0..4).map(|n| format!("theirs {round}.{n}")).collect();
        let messages: Vec<_> = sent.iter().map(|text| theirs.encrypt(text)).collect();
        for at in [1, 3, 0, 2] {
            let refused = ours.decrypt(&tampered(&messages[at])).err();
            assert_eq!(refused, Some(SignalError::BadMac));
            assert_eq!(ours.decrypt(&messages[at]).as_ref(), Ok(&sent[at]));
            let repeated = ours.decrypt(&messages[at]).err();
            assert_eq!(repeated, Some(SignalError::Duplicate));
            assert_eq!(messages[at].kind, EncKind::Msg);
        }
    }
}

#[test]
fn we_open_the_session() {
    for prekey in [true, false] {
        let (mut ours, mut theirs) = (Ours::new(1), Theirs::new());
        let bundle = theirs.bundle(prekey);
        let change = establish(&ours.identity, &mut ours.peer, &bundle, &mut ours.rng);
        assert_eq!(change, Ok(IdentityChange::First));
        let first = ours.encrypt("one");
        let second = ours.encrypt("two");
        assert_eq!((first.kind, first.bytes[0]), (EncKind::PkMsg, 0x33));
        assert!(theirs.decrypt(&tampered(&second)).is_err());
        assert_eq!(theirs.decrypt(&second), Ok("two".to_owned()));
        assert_eq!(theirs.decrypt(&first), Ok("one".to_owned()));
        assert!(theirs.decrypt(&first).is_err(), "a repetition");
        let left = theirs.0.call(json!({"call": "prekeys"}));
        assert_eq!(left, if prekey { json!([]) } else { json!([500]) });
        converse(&mut ours, &mut theirs);
    }
}

#[test]
fn the_peer_opens_the_session() {
    for prekey in [true, false] {
        let (mut ours, mut theirs) = (Ours::new(2), Theirs::new());
        theirs
            .0
            .call(json!({"call": "establish", "bundle": ours.bundle(prekey)}));
        let first = theirs.encrypt("one");
        let second = theirs.encrypt("two");
        assert_eq!(first.kind, EncKind::PkMsg);
        let ids = prekey_ids(&first.bytes).expect("ids");
        assert_eq!((ids.prekey, ids.signed_prekey), (prekey.then_some(300), 9));
        assert!(ours.decrypt(&tampered(&second)).is_err());
        assert!(ours.prekey.is_some(), "a forgery uses no prekey up");
        assert_eq!(ours.decrypt(&second), Ok("two".to_owned()));
        assert_eq!(ours.prekey.is_none(), prekey);
        assert_eq!(ours.decrypt(&first), Ok("one".to_owned()));
        assert_eq!(ours.decrypt(&first), Err(SignalError::Duplicate));
        assert_eq!(ours.encrypt("three").kind, EncKind::Msg);
        converse(&mut ours, &mut theirs);
    }
}

/// The peer itself takes any signature when it opens a session; its check alone is good.
#[test]
fn signatures_are_checked() {
    let (mut ours, mut theirs) = (Ours::new(3), Theirs::new());
    let good = theirs.bundle(true);
    assert_eq!(good.verify(), Ok(()));
    let mut forged = good;
    forged.signed_prekey.signature[3] ^= 1;
    let refused = establish(&ours.identity, &mut ours.peer, &forged, &mut ours.rng);
    assert_eq!(refused, Err(SignalError::BadSignature));
    assert!(!ours.peer.has_session());

    let mut verify = |bundle: &Value| theirs.0.call(json!({"call": "verify", "bundle": bundle}));
    assert_eq!(verify(&ours.bundle(false)), json!(true));
    let mut forged = ours.bundle(false);
    forged["identity"] = json!(hex::encode(good.identity));
    assert_eq!(verify(&forged), json!(false));
}

#[test]
fn a_reinstalled_peer_is_met_again() {
    let (mut ours, mut theirs) = (Ours::new(4), Theirs::new());
    theirs
        .0
        .call(json!({"call": "establish", "bundle": ours.bundle(true)}));
    let hello = theirs.encrypt("hello");
    assert_eq!(ours.decrypt(&hello), Ok("hello".to_owned()));

    let mut again = Theirs::new();
    again
        .0
        .call(json!({"call": "establish", "bundle": ours.bundle(false)}));
    let hello = again.encrypt("it is me");
    let keys = LocalKeys {
        prekey: None,
        signed: Some(ours.signed.clone()),
    };
    let rng = &mut ours.rng;
    let opened = decrypt(
        &ours.identity,
        &mut ours.peer,
        hello.kind,
        &hello.bytes,
        &keys,
        rng,
    );
    let opened = opened.expect("readable");
    assert_eq!(&*opened.plaintext, b"it is me");
    assert_eq!(opened.identity_change, IdentityChange::Changed);
    converse(&mut ours, &mut again);
}
