//! Handshakes and encrypted frames per second: `cargo bench -p gatekeeper --bench noise`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gatekeeper::noise::{
    CertAuthority, Initiator, NoiseError, Responder, StaticKeyPair, Step, Transport, TrustRoot,
};

const NOW: u64 = 1_790_000_000;

/// The long-lived keys of both sides.
struct Sides {
    client: StaticKeyPair,
    server: StaticKeyPair,
    chain: Vec<u8>,
    root: TrustRoot,
}

impl Sides {
    fn new() -> Result<Self, NoiseError> {
        let mut rng = rand::rng();
        let (client, server) = (
            StaticKeyPair::generate(&mut rng),
            StaticKeyPair::generate(&mut rng),
        );
        let authority = CertAuthority::mint(&mut rng, NOW)?;
        let chain = authority.issue(&server.public(), &mut rng)?;
        Ok(Self {
            client,
            server,
            chain,
            root: authority.root(),
        })
    }

    /// A whole handshake: the transports of client and server.
    fn connect(&self) -> Result<(Transport, Transport), NoiseError> {
        let mut rng = rand::rng();
        let (initiator, hello) = Initiator::start(self.client.clone(), &mut rng)?;
        let responder = Responder::new(&self.server, &self.chain);
        let Step::Continue {
            server_hello,
            responder,
        } = responder.client_hello(&hello, &mut rng)?
        else {
            return Err(NoiseError::Message);
        };
        let trusted = initiator.server_hello(&server_hello, &self.root, NOW)?;
        let (finish, client) = trusted.client_finish(&[0x5a; 700])?;
        Ok((client, responder.client_finish(&finish)?.transport))
    }
}

fn noise(c: &mut Criterion) {
    let sides = Sides::new().expect("keys can be made");
    let mut group = c.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    group.bench_function("both sides", |b| b.iter(|| sides.connect()));
    group.finish();

    for size in [300, 65_536] {
        let plain = vec![0x5a; size];
        let mut group = c.benchmark_group(format!("frame of {size} bytes"));
        group.throughput(Throughput::Elements(1));
        let (mut client, _) = sides.connect().expect("the sides agree");
        group.bench_function("encrypt", |b| b.iter(|| client.encrypt(black_box(&plain))));
        // Each frame is read once and in its turn, so it is made just before, unmeasured.
        let (mut client, mut server) = sides.connect().expect("the sides agree");
        group.bench_function("decrypt", |b| {
            b.iter_batched(
                || client.encrypt(&plain).expect("a frame"),
                |sealed| server.decrypt(&sealed).expect("the frame in its turn"),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, noise);
criterion_main!(benches);
