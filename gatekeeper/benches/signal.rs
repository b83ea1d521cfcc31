//! What a message costs in Signal operations, with the peer's record read from and written to bytes
//! at every step, as the database makes it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gatekeeper::{
    message::{self, Body},
    padding::{pad, unpad},
    signal::{
        Bundle, Ciphertext, Identity, LocalKeys, Peer, PreKey, SignedPreKey, decrypt, encrypt,
        establish,
    },
    token::{Claims, Jwks, SigningKey, verify},
};
use rand::{SeedableRng as _, rngs::StdRng};

/// A text of common length.
const TEXT: &str = "Shall we meet at the station at seven? I bring the tickets, you bring the map, \
    and if the train is late we take the one after it.";

struct User {
    identity: Identity,
    keys: LocalKeys,
    peer: Peer,
    rng: StdRng,
}

impl User {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let identity = Identity::generate(&mut rng);
        let signed = SignedPreKey::generate(1, &identity, &mut rng).expect("id");
        let prekey = PreKey::generate(1, &mut rng).expect("id");
        let keys = LocalKeys {
            prekey: Some(prekey),
            signed: Some(signed),
        };
        Self {
            identity,
            keys,
            peer: Peer::default(),
            rng,
        }
    }

    fn bundle(&self) -> Bundle {
        let signed = self.keys.signed.as_ref().expect("made above");
        Bundle {
            registration_id: self.identity.registration_id(),
            identity: self.identity.public(),
            signed_prekey: signed.public(),
            prekey: self.keys.prekey.as_ref().map(PreKey::public),
        }
    }

    fn open(&mut self, bundle: &Bundle) {
        establish(&self.identity, &mut self.peer, bundle, &mut self.rng).expect("good bundle");
    }

    fn encrypt(&mut self, content: &[u8]) -> Ciphertext {
        encrypt(&self.identity, &mut self.peer, content).expect("session")
    }

    fn decrypt(&mut self, message: &Ciphertext) -> Vec<u8> {
        let opened = decrypt(
            &self.identity,
            &mut self.peer,
            message.kind,
            &message.bytes,
            &self.keys,
            &mut self.rng,
        );
        opened.expect("readable").plaintext.to_vec()
    }
}

/// Two users with a session that both have written in.
fn pair() -> (User, User) {
    let (mut alice, mut bea) = (User::new(1), User::new(2));
    alice.open(&bea.bundle());
    let hello = alice.encrypt(b"hello");
    bea.decrypt(&hello);
    let answer = bea.encrypt(b"hello");
    alice.decrypt(&answer);
    (alice, bea)
}

fn signal(c: &mut Criterion) {
    let content = pad(message::encode(&Body::text(TEXT)).expect("text"), 7);
    let mut group = c.benchmark_group("signal");
    group.throughput(Throughput::Elements(1));

    group.bench_function("open a session and encrypt", |b| {
        let bundle = User::new(2).bundle();
        let mut alice = User::new(1);
        b.iter(|| {
            alice.peer = Peer::default();
            alice.open(&bundle);
            black_box(alice.encrypt(&content))
        });
    });
    group.bench_function("decrypt a first message", |b| {
        let (mut alice, mut bea) = (User::new(1), User::new(2));
        alice.open(&bea.bundle());
        let first = alice.encrypt(&content);
        b.iter(|| {
            bea.peer = Peer::default();
            black_box(bea.decrypt(&first))
        });
    });
    group.bench_function("encrypt in a chain", |b| {
        let (mut alice, _) = pair();
        b.iter(|| black_box(alice.encrypt(&content)));
    });
    group.bench_function("decrypt in a chain", |b| {
        let (mut alice, mut bea) = pair();
        b.iter_batched(
            || alice.encrypt(&content),
            |message| black_box(bea.decrypt(&message)),
            BatchSize::NumIterations(1),
        );
    });
    group.bench_function("question and answer", |b| {
        let (mut alice, mut bea) = pair();
        b.iter(|| {
            let question = alice.encrypt(&content);
            bea.decrypt(&question);
            let answer = bea.encrypt(&content);
            black_box(alice.decrypt(&answer))
        });
    });
    group.bench_function("draw a one-time prekey", |b| {
        let mut rng = StdRng::seed_from_u64(3);
        b.iter(|| black_box(PreKey::generate(1, &mut rng)));
    });
    group.finish();
}

fn content(c: &mut Criterion) {
    let mut group = c.benchmark_group("content");
    group.throughput(Throughput::Elements(1));
    let body = Body::text(TEXT);
    let padded = pad(message::encode(&body).expect("text"), 7);
    group.bench_function("encode and pad", |b| {
        b.iter(|| black_box(message::encode(&body).map(|content| pad(content, 7))));
    });
    group.bench_function("unpad and decode", |b| {
        b.iter(|| black_box(message::decode(unpad(&padded).expect("padded"))));
    });
    group.finish();
}

fn token(c: &mut Criterion) {
    let mut group = c.benchmark_group("token");
    group.throughput(Throughput::Elements(1));
    let key = SigningKey::generate().expect("key");
    let claims = Claims::new("https://bridge.example", "gatekeeper", 1000, 3600).about("@a:b.c");
    let token = key.issue(&claims).expect("token");
    let keys = Jwks {
        keys: vec![key.jwk().clone()],
    };
    group.bench_function("issue", |b| b.iter(|| black_box(key.issue(&claims))));
    group.bench_function("verify", |b| {
        b.iter(|| black_box(verify(&token, &keys, "gatekeeper", 1000)));
    });
    group.finish();
}

criterion_group!(benches, signal, content, token);
criterion_main!(benches);
