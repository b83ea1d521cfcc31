//! Connections that begin with what an earlier one learned: the server's key (IK, and XXfallback when it is another one
//! by now), and routing information. The handshakes are made by an implementation that is not ours.

use gatekeeper::{
    frame::{FrameDecoder, HEADER, encode_frame, introduction},
    noise::TrustRoot,
    stanza::{self, EncodeOptions, Node},
    stanzas::{Ib, iq},
};
use sandbox::{Addresses, Config, PartnerConfig, Sandbox};
use tokio::time::timeout;
use wacore_libsignal::core::curve::{KeyPair, PrivateKey};
use wacore_noise::{
    HandshakeUtils, IkFallbackInputs, IkHandshakeState, IkServerHelloOutcome, NoiseCipher,
    NoiseHandshake,
};
use waproto::codec;

use crate::{
    client::{Chat, Pipe, User},
    partner::now,
    rig::{ALICE, Rig},
    wait::DEADLINE,
};

const FALLBACK: &str = "Noise_XXfallback_25519_AESGCM_SHA256";

/// How a connection with a remembered key went.
#[derive(Debug, PartialEq, Eq)]
enum Begun {
    Resumed,
    FellBack,
}

/// A connection whose encryption is theirs.
struct Theirs {
    pipe: Pipe,
    decoder: FrameDecoder,
    write: NoiseCipher,
    read: NoiseCipher,
    written: u32,
    taken: u32,
}

impl Theirs {
    /// Connects with the remembered key of a server.
    async fn open(
        url: &str,
        addresses: &Addresses,
        user: &User,
        remembered: [u8; 32],
        payload: Vec<u8>,
    ) -> (Self, Begun) {
        let private = PrivateKey::deserialize(user.static_key.to_bytes().as_ref()).unwrap();
        let key = KeyPair::new(private.public_key().unwrap(), private);
        let mut resuming = IkHandshakeState::new(key, remembered, payload, &HEADER).unwrap();
        let mut first = introduction(None).unwrap();
        first.extend(encode_frame(&resuming.build_client_hello().unwrap()).unwrap());
        let mut pipe = Pipe::open(url).await;
        pipe.write(first).await;
        let mut decoder = FrameDecoder::client();
        let hello = next_frame(&mut pipe, &mut decoder).await;
        let (write, read, begun) = match resuming.read_server_hello(&hello).unwrap() {
            IkServerHelloOutcome::Continue(outcome) => {
                (outcome.write_cipher, outcome.read_cipher, Begun::Resumed)
            }
            IkServerHelloOutcome::Fallback(inputs) => {
                let (finish, write, read) = fall_back(&inputs, addresses);
                pipe.write(encode_frame(&finish).unwrap()).await;
                (write, read, Begun::FellBack)
            }
        };
        let theirs = Self {
            pipe,
            decoder,
            write,
            read,
            written: 0,
            taken: 0,
        };
        (theirs, begun)
    }

    async fn next(&mut self) -> Node {
        let mut bytes = next_frame(&mut self.pipe, &mut self.decoder).await;
        let counter = self.taken;
        self.taken += 1;
        self.read
            .decrypt_in_place_with_counter(counter, &mut bytes)
            .unwrap();
        stanza::decode(&bytes).unwrap()
    }

    async fn send(&mut self, node: &Node) {
        let plain = stanza::encode(node, &EncodeOptions::default()).unwrap();
        let sealed = self
            .write
            .encrypt_with_counter(self.written, &plain)
            .unwrap();
        self.written += 1;
        self.pipe.write(encode_frame(&sealed).unwrap()).await;
    }

    /// Whether the login was taken and stanzas pass both ways.
    async fn works(&mut self) {
        assert_eq!(self.next().await.tag, "success");
        self.send(&iq::ping().attr("id", "p1")).await;
        loop {
            let node = self.next().await;
            if node.is("iq") {
                assert_eq!(node.get("id").as_deref(), Some("p1"));
                assert_eq!(node.get("type").as_deref(), Some("result"));
                return;
            }
        }
    }
}

async fn next_frame(pipe: &mut Pipe, decoder: &mut FrameDecoder) -> Vec<u8> {
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return frame.to_vec();
        }
        let bytes = timeout(DEADLINE, pipe.read()).await.unwrap();
        decoder.push(&bytes.expect("a frame"));
    }
}

/// Their client after the server has shown another key than the remembered one. The new one is checked against the root:
/// whoever remembers a key must not take any other.
fn fall_back(
    inputs: &IkFallbackInputs,
    addresses: &Addresses,
) -> (Vec<u8>, NoiseCipher, NoiseCipher) {
    let mut noise = NoiseHandshake::new(FALLBACK, &HEADER).unwrap();
    let ephemeral = &inputs.ephemeral_kp;
    noise.authenticate(ephemeral.public_key.public_key_bytes());
    let (theirs, sealed_key, sealed_chain) =
        HandshakeUtils::parse_server_hello(&inputs.server_hello_bytes).unwrap();
    noise.authenticate(&theirs);
    let ephemeral = ephemeral.private_key.serialize();
    noise.mix_shared_secret(ephemeral, &theirs).unwrap();
    let server_key: [u8; 32] = noise.decrypt(&sealed_key).unwrap().try_into().unwrap();
    noise.mix_shared_secret(ephemeral, &server_key).unwrap();
    let chain = noise.decrypt(&sealed_chain).unwrap();
    let root = hex::decode(&addresses.root).unwrap().try_into().unwrap();
    TrustRoot(root).verify(&chain, &server_key, now()).unwrap();

    let own = &inputs.static_kp;
    let sealed = noise.encrypt(own.public_key.public_key_bytes()).unwrap();
    noise
        .mix_shared_secret(own.private_key.serialize(), &theirs)
        .unwrap();
    let payload = noise.encrypt(&inputs.client_payload).unwrap();
    let finish = HandshakeUtils::build_client_finish(sealed, payload);
    let (write, read) = noise.finish().unwrap();
    (codec::handshake_message_to_vec(&finish), write, read)
}

/// The server's key, as a first connection learns it.
async fn learned(user: &User, rig: &Rig) -> [u8; 32] {
    let addresses = rig.addresses();
    let chat = user.open(&addresses.chat, &addresses, &rig.partner).await;
    chat.server_key
}

#[tokio::test]
async fn a_remembered_key_resumes_over_both_transports() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let addresses = rig.addresses();
    let key = learned(&alice, &rig).await;
    for url in [&addresses.chat, &addresses.chat_tcp] {
        let payload = alice.payload(rig.partner.token(ALICE)).to_bytes();
        let (mut chat, begun) = Theirs::open(url, &addresses, &alice, key, payload).await;
        assert_eq!(begun, Begun::Resumed);
        chat.works().await;
    }

    // The login that a resuming hello carries is checked as any other.
    let stranger = User {
        jid: alice.jid.clone(),
        ..User::new(ALICE)
    };
    let payload = alice.payload(rig.partner.token(ALICE)).to_bytes();
    let (mut chat, begun) =
        Theirs::open(&addresses.chat, &addresses, &stranger, key, payload).await;
    assert_eq!(begun, Begun::Resumed);
    let refused = chat.next().await;
    assert_eq!(
        (refused.tag.as_str(), refused.u64("reason")),
        ("failure", Some(401))
    );
}

#[tokio::test]
async fn a_key_that_has_changed_falls_back_over_both_transports() {
    let mut rig = Rig::start().await;
    let alice = rig.alice().await;
    let old = learned(&alice, &rig).await;
    // Another sandbox on the same state of the world: its keys are new, and so is its root.
    let config = Config {
        partners: vec![PartnerConfig::new(1, &rig.partner.base_url)],
        ..Config::default()
    };
    rig.restart(Sandbox::start(config)).await;
    let alice = rig.alice().await;
    let addresses = rig.addresses();
    assert_ne!(learned(&alice, &rig).await, old);
    for url in [&addresses.chat, &addresses.chat_tcp] {
        let payload = alice.payload(rig.partner.token(ALICE)).to_bytes();
        let (mut chat, begun) = Theirs::open(url, &addresses, &alice, old, payload).await;
        assert_eq!(begun, Begun::FellBack);
        chat.works().await;
    }
}

#[tokio::test]
async fn routing_information_is_given_out_and_taken_at_the_next_connection() {
    let rig = Rig::start().await;
    let alice = rig.alice().await;
    let addresses = rig.addresses();
    let mut chat = alice.login(&addresses, &rig.partner).await;
    let Ib::EdgeRouting(routing) = Ib::parse(&chat.find_tag("ib").await).unwrap() else {
        panic!("no routing information");
    };
    assert!(!routing.is_empty());
    for url in [&addresses.chat, &addresses.chat_tcp] {
        for shown in [&routing[..], b"of somewhere else"] {
            let payload = alice.payload(rig.partner.token(ALICE)).to_bytes();
            let key = alice.key();
            let mut chat = Chat::open_by(url, &addresses, key, &payload, Some(shown)).await;
            assert_eq!(chat.next().await.unwrap().tag, "success");
            let pong = chat.query(iq::ping()).await;
            assert_eq!(pong.get("type").unwrap(), "result");
        }
    }
}
