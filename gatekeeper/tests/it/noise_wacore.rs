//! Both sides of the handshake against wacore-noise, and its frames.

use gatekeeper::{
    frame::{FrameDecoder, HEADER, encode_frame, introduction},
    noise::{
        Accepted, CertAuthority, CertError, Initiator, NoiseError, Responder, StaticKeyPair, Step,
        Transport,
    },
};
use wacore_binary::consts::{NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER};
use wacore_libsignal::core::curve::KeyPair;
use wacore_noise::{
    HandshakeUtils, IkHandshakeState, IkServerHelloOutcome, NoiseCipher, NoiseHandshake,
    build_handshake_header, framing,
};
use waproto::{
    buffa::MessageField,
    codec,
    whatsapp::{HandshakeMessage, handshake_message::ServerHello},
};

const NOW: u64 = 1_790_000_000;

/// Our server: its key, its authority and the chain.
struct Server {
    key: StaticKeyPair,
    authority: CertAuthority,
    chain: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        let mut rng = rand::rng();
        let key = StaticKeyPair::generate(&mut rng);
        let authority = CertAuthority::mint(&mut rng, NOW).unwrap();
        let chain = authority.issue(&key.public(), &mut rng).unwrap();
        Self {
            key,
            authority,
            chain,
        }
    }

    fn client_hello(&self, hello: &[u8]) -> Result<Step, NoiseError> {
        Responder::new(&self.key, &self.chain).client_hello(hello, &mut rand::rng())
    }
}

/// What the client has after its finish.
struct Finished {
    message: Vec<u8>,
    write: NoiseCipher,
    read: NoiseCipher,
}

/// Their client from the server hello on, for XX and for XXfallback.
fn finish(
    mut noise: NoiseHandshake,
    ephemeral: &KeyPair,
    client: &KeyPair,
    server_hello: &[u8],
    server: &Server,
) -> Finished {
    let (theirs, sealed_key, sealed_chain) =
        HandshakeUtils::parse_server_hello(server_hello).unwrap();
    noise.authenticate(&theirs);
    noise
        .mix_shared_secret(ephemeral.private_key.serialize(), &theirs)
        .unwrap();
    let server_key: [u8; 32] = noise.decrypt(&sealed_key).unwrap().try_into().unwrap();
    assert_eq!(server_key, server.key.public());
    noise
        .mix_shared_secret(ephemeral.private_key.serialize(), &server_key)
        .unwrap();
    let chain = noise.decrypt(&sealed_chain).unwrap();
    server
        .authority
        .root()
        .verify(&chain, &server_key, NOW)
        .unwrap();
    let key = noise.encrypt(client.public_key.public_key_bytes()).unwrap();
    noise
        .mix_shared_secret(client.private_key.serialize(), &theirs)
        .unwrap();
    let payload = noise.encrypt(b"login").unwrap();
    let message = HandshakeUtils::build_client_finish(key, payload);
    let (write, read) = noise.finish().unwrap();
    Finished {
        message: codec::handshake_message_to_vec(&message),
        write,
        read,
    }
}

/// Both directions, with sizes beyond what generic Noise allows.
fn check_transport(ours: &mut Transport, write: &NoiseCipher, read: &NoiseCipher) {
    for (counter, size) in [0, 1, 100, 70_000].into_iter().enumerate() {
        let counter = u32::try_from(counter).unwrap();
        let plain = vec![7; size];
        let sealed = write.encrypt_with_counter(counter, &plain).unwrap();
        assert_eq!(ours.decrypt(&sealed).unwrap(), plain);
        let mut sealed = ours.encrypt(&plain).unwrap();
        read.decrypt_in_place_with_counter(counter, &mut sealed)
            .unwrap();
        assert_eq!(sealed, plain);
    }
}

fn check_accepted(
    mut accepted: Accepted,
    client: &KeyPair,
    write: &NoiseCipher,
    read: &NoiseCipher,
) {
    assert_eq!(accepted.payload, b"login");
    assert_eq!(
        accepted.client_static,
        *client.public_key.public_key_bytes()
    );
    check_transport(&mut accepted.transport, write, read);
}

#[test]
fn their_client_connects_to_our_server() {
    let server = Server::new();
    let (client, ephemeral) = (
        KeyPair::generate(&mut rand::rng()),
        KeyPair::generate(&mut rand::rng()),
    );
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_XX, &WA_CONN_HEADER).unwrap();
    noise.authenticate(ephemeral.public_key.public_key_bytes());
    let mut hello = HandshakeUtils::build_client_hello(ephemeral.public_key.public_key_bytes());
    // Fields of a handshake to come: to be ignored.
    let fields = hello.client_hello.as_option_mut().unwrap();
    fields.use_extended = Some(true);
    fields.extended_ciphertext = Some(vec![1; 100]);
    fields.padded_bytes = Some(vec![0; 50]);

    let step = server
        .client_hello(&codec::handshake_message_to_vec(&hello))
        .unwrap();
    let Step::Continue {
        server_hello,
        responder,
    } = step
    else {
        panic!("not an XX hello")
    };
    let finished = finish(noise, &ephemeral, &client, &server_hello, &server);
    let accepted = responder.client_finish(&finished.message).unwrap();
    check_accepted(accepted, &client, &finished.write, &finished.read);
}

#[test]
fn their_client_resumes_at_our_server() {
    let server = Server::new();
    let client = KeyPair::generate(&mut rand::rng());
    let mut resuming = IkHandshakeState::new(
        client.clone(),
        server.key.public(),
        b"login".to_vec(),
        &HEADER,
    )
    .unwrap();
    let hello = resuming.build_client_hello().unwrap();
    let Step::Done {
        server_hello,
        accepted,
    } = server.client_hello(&hello).unwrap()
    else {
        panic!("the hello was readable")
    };
    let IkServerHelloOutcome::Continue(outcome) =
        resuming.read_server_hello(&server_hello).unwrap()
    else {
        panic!("the server refused")
    };
    check_accepted(
        accepted,
        &client,
        &outcome.write_cipher,
        &outcome.read_cipher,
    );
}

#[test]
fn their_client_falls_back_when_our_key_has_changed() {
    let server = Server::new();
    let client = KeyPair::generate(&mut rand::rng());
    let old_key = StaticKeyPair::generate(&mut rand::rng()).public();
    let mut resuming =
        IkHandshakeState::new(client.clone(), old_key, b"login".to_vec(), &HEADER).unwrap();
    let hello = resuming.build_client_hello().unwrap();
    let Step::Continue {
        server_hello,
        responder,
    } = server.client_hello(&hello).unwrap()
    else {
        panic!("a hello for another key was taken")
    };
    let IkServerHelloOutcome::Fallback(inputs) = resuming.read_server_hello(&server_hello).unwrap()
    else {
        panic!("the client did not notice")
    };
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_XXFALLBACK, &WA_CONN_HEADER).unwrap();
    noise.authenticate(inputs.ephemeral_kp.public_key.public_key_bytes());
    let finished = finish(noise, &inputs.ephemeral_kp, &client, &server_hello, &server);
    let accepted = responder.client_finish(&finished.message).unwrap();
    check_accepted(accepted, &client, &finished.write, &finished.read);
}

#[test]
fn our_client_connects_to_their_server() {
    let mut rng = rand::rng();
    let server = Server::new();
    let client = StaticKeyPair::generate(&mut rng);
    let (initiator, hello) = Initiator::start(client.clone(), &mut rng).unwrap();

    let hello = codec::handshake_message_decode(&hello)
        .unwrap()
        .client_hello;
    let theirs = hello.as_option().unwrap().ephemeral.clone().unwrap();
    let ephemeral = KeyPair::generate(&mut rng);
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_XX, &WA_CONN_HEADER).unwrap();
    noise.authenticate(&theirs);
    noise.authenticate(ephemeral.public_key.public_key_bytes());
    noise
        .mix_shared_secret(ephemeral.private_key.serialize(), &theirs)
        .unwrap();
    let key = noise.encrypt(&server.key.public()).unwrap();
    noise
        .mix_shared_secret(server.key.to_bytes().as_ref(), &theirs)
        .unwrap();
    let payload = noise.encrypt(&server.chain).unwrap();
    let server_hello = ServerHello {
        ephemeral: Some(ephemeral.public_key.public_key_bytes().to_vec()),
        r#static: Some(key),
        payload: Some(payload),
        padding_bytes: Some(vec![0; 40]),
        ..Default::default()
    };
    let message = HandshakeMessage {
        server_hello: MessageField::some(server_hello),
        ..Default::default()
    };
    let message = codec::handshake_message_to_vec(&message);

    let trusted = initiator
        .server_hello(&message, &server.authority.root(), NOW)
        .unwrap();
    assert_eq!(trusted.info().static_key, server.key.public());
    let (finish, mut ours) = trusted.client_finish(b"login").unwrap();

    let finish = codec::handshake_message_decode(&finish)
        .unwrap()
        .client_finish;
    let finish = finish.as_option().unwrap();
    let client_key = noise.decrypt(finish.r#static.as_ref().unwrap()).unwrap();
    assert_eq!(client_key, client.public());
    noise
        .mix_shared_secret(ephemeral.private_key.serialize(), &client_key)
        .unwrap();
    assert_eq!(
        noise.decrypt(finish.payload.as_ref().unwrap()).unwrap(),
        b"login"
    );
    // The server reads with what the client writes.
    let (read, write) = noise.finish().unwrap();
    check_transport(&mut ours, &write, &read);
}

#[test]
fn their_checks_accept_our_chain_but_for_the_root() {
    let server = Server::new();
    let error =
        HandshakeUtils::verify_server_cert(&server.chain, &server.key.public()).unwrap_err();
    assert!(error.to_string().contains("intermediate"), "{error}");
    let root = gatekeeper::noise::TrustRoot::WHATSAPP;
    assert_eq!(root.0, wacore_noise::WA_CERT_PUB_KEY);
    let verified = root.verify(&server.chain, &server.key.public(), NOW);
    assert_eq!(verified, Err(CertError::Signature));
}

#[test]
fn frames_and_introductions_are_theirs() {
    for routing in [None, Some(&b"route"[..])] {
        let (header, used) = build_handshake_header(routing);
        assert_eq!(used, routing.is_some());
        assert_eq!(introduction(routing).unwrap(), header);
        let mut server = FrameDecoder::server();
        server.push(&framing::encode_frame(b"hello", Some(&header)).unwrap());
        assert_eq!(server.next_frame().unwrap().as_deref(), Some(&b"hello"[..]));
    }
    let mut theirs = framing::FrameDecoder::new();
    for size in [0, 1, 255, 70_000] {
        let payload = vec![3; size];
        let frame = encode_frame(&payload).unwrap();
        assert_eq!(frame, framing::encode_frame(&payload, None).unwrap());
        theirs.feed(&frame);
        assert_eq!(theirs.decode_frame().unwrap(), payload);
    }
}
