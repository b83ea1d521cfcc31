//! Handshakes that are not what they should be.

use gatekeeper::noise::{
    AwaitFinish, CertAuthority, CertError, Initiator, NoiseError, Responder, StaticKeyPair, Step,
    TrustRoot,
};
use proptest::prelude::*;

const NOW: u64 = 1_790_000_000;

/// A client's state, its server's state, the server hello and what the client should trust.
struct Handshake {
    initiator: Initiator,
    responder: AwaitFinish,
    server_hello: Vec<u8>,
    root: TrustRoot,
}

/// A handshake up to the server hello, with a chain for the key that `certified` gives.
fn handshake(certified: impl FnOnce(&StaticKeyPair) -> [u8; 32]) -> Handshake {
    let mut rng = rand::rng();
    let server_key = StaticKeyPair::generate(&mut rng);
    let authority = CertAuthority::mint(&mut rng, NOW).unwrap();
    let chain = authority.issue(&certified(&server_key), &mut rng).unwrap();
    let (initiator, hello) = Initiator::start(StaticKeyPair::generate(&mut rng), &mut rng).unwrap();
    let step = Responder::new(&server_key, &chain)
        .client_hello(&hello, &mut rng)
        .unwrap();
    let Step::Continue {
        server_hello,
        responder,
    } = step
    else {
        panic!("not an XX hello")
    };
    Handshake {
        initiator,
        responder,
        server_hello,
        root: authority.root(),
    }
}

fn good() -> Handshake {
    handshake(StaticKeyPair::public)
}

#[test]
fn server_with_the_wrong_key_is_refused() {
    let Handshake {
        initiator,
        server_hello,
        root,
        ..
    } = handshake(|_| [9; 32]);
    let refused = initiator
        .server_hello(&server_hello, &root, NOW)
        .unwrap_err();
    assert_eq!(refused, NoiseError::Certificate(CertError::Key));
}

#[test]
fn server_under_another_root_is_refused() {
    let Handshake {
        initiator,
        server_hello,
        ..
    } = good();
    let refused = initiator
        .server_hello(&server_hello, &TrustRoot::WHATSAPP, NOW)
        .unwrap_err();
    assert_eq!(refused, NoiseError::Certificate(CertError::Signature));
}

#[test]
fn server_whose_certificate_has_expired_is_refused() {
    let Handshake {
        initiator,
        server_hello,
        root,
        ..
    } = good();
    let in_twenty_years = NOW + 20 * 365 * 86_400;
    let refused = initiator
        .server_hello(&server_hello, &root, in_twenty_years)
        .unwrap_err();
    assert_eq!(refused, NoiseError::Certificate(CertError::Expired));
}

#[test]
fn answer_to_another_client_is_refused() {
    let (mine, theirs) = (good(), good());
    let refused = mine
        .initiator
        .server_hello(&theirs.server_hello, &theirs.root, NOW)
        .unwrap_err();
    assert_eq!(refused, NoiseError::Decrypt);
}

#[test]
fn no_altered_server_hello_is_accepted() {
    let length = good().server_hello.len();
    for at in 0..length {
        let Handshake {
            initiator,
            mut server_hello,
            root,
            ..
        } = good();
        // Lengths of messages vary with their numbers.
        let Some(byte) = server_hello.get_mut(at) else {
            continue;
        };
        *byte ^= 1;
        assert!(
            initiator.server_hello(&server_hello, &root, NOW).is_err(),
            "byte {at}"
        );
    }
    for cut in 0..length {
        let Handshake {
            initiator,
            server_hello,
            root,
            ..
        } = good();
        let server_hello = server_hello.get(..cut.min(server_hello.len() - 1)).unwrap();
        assert!(
            initiator.server_hello(server_hello, &root, NOW).is_err(),
            "first {cut}"
        );
    }
}

#[test]
fn no_altered_client_finish_is_accepted() {
    let finish = |Handshake {
                      initiator,
                      responder,
                      server_hello,
                      root,
                  }| {
        let trusted = initiator.server_hello(&server_hello, &root, NOW).unwrap();
        (trusted.client_finish(b"login").unwrap().0, responder)
    };
    let length = finish(good()).0.len();
    for at in 0..length {
        let (mut message, responder) = finish(good());
        message[at] ^= 1;
        assert!(responder.client_finish(&message).is_err(), "byte {at}");
        let (message, responder) = finish(good());
        assert!(
            responder.client_finish(&message[..at]).is_err(),
            "first {at}"
        );
    }
    // The finish of another handshake, such as one that was recorded.
    let (message, _) = finish(good());
    assert_eq!(
        good().responder.client_finish(&message).unwrap_err(),
        NoiseError::Decrypt
    );
}

#[test]
fn messages_out_of_turn_are_refused() {
    let mut rng = rand::rng();
    let key = StaticKeyPair::generate(&mut rng);
    let (_, hello) = Initiator::start(key.clone(), &mut rng).unwrap();
    let Handshake {
        initiator,
        responder,
        server_hello,
        root,
    } = good();
    let refused = initiator.server_hello(&hello, &root, NOW).unwrap_err();
    assert_eq!(refused, NoiseError::Missing("the server hello"));
    let refused = responder.client_finish(&server_hello).unwrap_err();
    assert_eq!(refused, NoiseError::Missing("the client finish"));
    let refused = Responder::new(&key, &[])
        .client_hello(&server_hello, &mut rng)
        .unwrap_err();
    assert_eq!(refused, NoiseError::Missing("the client hello"));
}

#[test]
fn client_keys_that_share_no_secret_are_refused() {
    let mut rng = rand::rng();
    let key = StaticKeyPair::generate(&mut rng);
    let hello = |ephemeral: &[u8]| {
        let length = u8::try_from(ephemeral.len()).unwrap();
        let mut hello = vec![0x12, length + 2, 0x0a, length];
        hello.extend_from_slice(ephemeral);
        Responder::new(&key, &[])
            .client_hello(&hello, &mut rand::rng())
            .map(drop)
    };
    assert_eq!(hello(&[0; 32]), Err(NoiseError::Key), "small order");
    assert_eq!(hello(&[7; 31]), Err(NoiseError::Key));
    assert_eq!(hello(&[7; 33]), Err(NoiseError::Key));
    assert_eq!(hello(&[7; 32]), Ok(()));
}

#[test]
fn nothing_secret_is_shown() {
    let Handshake {
        initiator,
        responder,
        server_hello,
        root,
    } = good();
    assert_eq!(
        format!("{initiator:?} {responder:?}"),
        "Initiator(..) AwaitFinish(..)"
    );
    let trusted = initiator.server_hello(&server_hello, &root, NOW).unwrap();
    let (_, transport) = trusted.client_finish(b"login").unwrap();
    assert_eq!(
        format!("{transport:?}"),
        "Transport { sender: Sender(..), receiver: Receiver(..) }"
    );
}

proptest! {
    #[test]
    fn random_messages_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let Handshake { initiator, responder, root, .. } = good();
        let key = StaticKeyPair::from_bytes([1; 32]);
        let _ = Responder::new(&key, &[]).client_hello(&bytes, &mut rand::rng());
        prop_assert!(initiator.server_hello(&bytes, &root, NOW).is_err());
        prop_assert!(responder.client_finish(&bytes).is_err());
        prop_assert!(root.verify(&bytes, &[1; 32], NOW).is_err());
    }
}
