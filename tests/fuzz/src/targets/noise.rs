//! Frames, the handshake's messages, certificates.

use gatekeeper::{
    frame::{FrameDecoder, encode_frame, introduction},
    noise::{
        AwaitFinish, CertAuthority, Initiator, NoiseError, Responder, StaticKeyPair, Step,
        Transport, TrustRoot,
    },
};
use rand::{SeedableRng, rngs::StdRng};

use super::{Decoder, Target, answer, magnitude};

const NOW: u64 = 1_790_000_000;

/// Protobuf field heads of the handshake and of certificates.
const FIELDS: &[&[u8]] = &[
    b"\x12\x22",
    b"\x1a\x22",
    b"\x22\x22",
    b"\x0a\x20",
    b"\x12\x30",
    b"\x1a\x30",
    b"\x0a\x00",
    b"\x08\x00",
    b"\x10\x01",
    b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x12\x40",
    b"\x20\x01",
    b"\x48\x05",
];

pub(super) const FRAMES: Target = Target {
    name: "frames",
    about: "a connection's byte stream; its first byte chooses the side and the pieces",
    words: &[
        b"WA\x06\x03",
        b"ED\x00\x01",
        b"\x00\x00\x03abc",
        b"\x00\x00\x00",
        b"\xff\xff\xff",
    ],
    start: || {
        let stream = |head: u8, routing: Option<&[u8]>| {
            let mut stream = vec![head];
            stream.extend(introduction(routing).unwrap_or_default());
            for payload in [&b"hello"[..], b"", &[7; 300]] {
                stream.extend(encode_frame(payload).unwrap_or_default());
            }
            stream
        };
        let seeds = vec![
            stream(1, None),
            stream(9, Some(b"route")),
            stream(255, Some(b"")),
        ];
        Decoder::new(seeds, frames)
    },
};

/// However the stream is cut, the same frames come out.
fn frames(input: &[u8]) -> String {
    let Some((head, stream)) = input.split_first() else {
        return "empty".to_owned();
    };
    let read = |piece: usize| {
        let mut decoder = if head % 2 == 1 {
            FrameDecoder::server()
        } else {
            FrameDecoder::client()
        };
        decoder.set_limit(4096);
        let mut frames = Vec::new();
        for piece in stream.chunks(piece) {
            decoder.push(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Err(error)),
                }
            }
        }
        let introduction = decoder.introduction().cloned();
        (frames, Ok(introduction))
    };
    let (frames, end) = read(1 + usize::from(head / 2));
    let (whole, whole_end) = read(stream.len().max(1));
    assert_eq!(frames, whole);
    // Of two faults, what comes first in pieces may come later in the whole.
    assert_eq!(end.is_ok(), whole_end.is_ok());
    answer(end, |introduction| {
        let routing = introduction.map(|told| told.routing.map(|routing| magnitude(routing.len())));
        format!("{} {routing:?}", magnitude(frames.len()))
    })
}

/// Both sides of one handshake, the same each time.
struct Sides {
    server_key: StaticKeyPair,
    chain: Vec<u8>,
    root: TrustRoot,
}

impl Sides {
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let server_key = StaticKeyPair::generate(&mut rng);
        let authority = CertAuthority::mint(&mut rng, NOW).expect("a key");
        let chain = authority
            .issue(&server_key.public(), &mut rng)
            .expect("a chain");
        Self {
            server_key,
            chain,
            root: authority.root(),
        }
    }

    fn client(&self) -> (Initiator, Vec<u8>) {
        let mut rng = StdRng::seed_from_u64(2);
        Initiator::start(StaticKeyPair::generate(&mut rng), &mut rng).expect("a hello")
    }

    fn hello(&self, hello: &[u8]) -> Result<Step, NoiseError> {
        Responder::new(&self.server_key, &self.chain)
            .client_hello(hello, &mut StdRng::seed_from_u64(3))
    }

    fn server(&self) -> (AwaitFinish, Vec<u8>) {
        match self.hello(&self.client().1) {
            Ok(Step::Continue {
                server_hello,
                responder,
            }) => (responder, server_hello),
            other => panic!("no XX hello: {other:?}"),
        }
    }

    fn finish(&self) -> (Vec<u8>, Transport) {
        let trusted = self
            .client()
            .0
            .server_hello(&self.server().1, &self.root, NOW);
        trusted
            .and_then(|trusted| trusted.client_finish(b"login"))
            .expect("a finish")
    }
}

pub(super) const CLIENT_HELLO: Target = Target {
    name: "client-hello",
    about: "the client's first handshake message",
    words: FIELDS,
    start: || {
        let sides = Sides::new();
        Decoder::new(vec![sides.client().1], move |input| {
            answer(sides.hello(input), |step| match step {
                Step::Continue { .. } => "continue".to_owned(),
                Step::Done { .. } => panic!("resumed without the client's key"),
            })
        })
    },
};

pub(super) const SERVER_HELLO: Target = Target {
    name: "server-hello",
    about: "the server's handshake message",
    words: FIELDS,
    start: || {
        let sides = Sides::new();
        Decoder::new(vec![sides.server().1], move |input| {
            answer(
                sides.client().0.server_hello(input, &sides.root, NOW),
                |trusted| {
                    assert_eq!(trusted.info().static_key, sides.server_key.public());
                    "trusted".to_owned()
                },
            )
        })
    },
};

pub(super) const CLIENT_FINISH: Target = Target {
    name: "client-finish",
    about: "the client's last handshake message",
    words: FIELDS,
    start: || {
        let sides = Sides::new();
        Decoder::new(vec![sides.finish().0], move |input| {
            answer(sides.server().0.client_finish(input), |accepted| {
                assert_eq!(accepted.payload, b"login");
                "accepted".to_owned()
            })
        })
    },
};

pub(super) const CERTIFICATES: Target = Target {
    name: "certificates",
    about: "the server's certificate chain",
    words: FIELDS,
    start: || {
        let sides = Sides::new();
        let key = sides.server_key.public();
        Decoder::new(vec![sides.chain.clone()], move |input| {
            answer(sides.root.verify(input, &key, NOW), |certificate| {
                assert_eq!(certificate.serial, 2);
                "accepted".to_owned()
            })
        })
    },
};

pub(super) const TRANSPORT: Target = Target {
    name: "transport",
    about: "an encrypted frame",
    words: &[],
    start: || {
        let sides = Sides::new();
        let good = sides.finish().1.encrypt(b"stanza").expect("a frame");
        Decoder::new(vec![good.clone()], move |input| {
            let accepted = sides.server().0.client_finish(&sides.finish().0);
            let mut transport = accepted.expect("a client").transport;
            answer(transport.decrypt(input), |plain| {
                assert_eq!((input, plain.as_slice()), (good.as_slice(), &b"stanza"[..]));
                "read".to_owned()
            })
        })
    },
};
