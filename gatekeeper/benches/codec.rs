//! Stanzas written and read per second: `cargo bench -p gatekeeper --bench codec`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatekeeper::stanza::{EncodeOptions, InteropJidStyle, Jid, Node, decode, encode};

/// A message as the server sends it, with ciphertext of a short text.
fn message() -> Node {
    Node::new("message")
        .attr("from", Jid::phone("14155551001").with_device(3))
        .attr("to", Jid::interop(1, "10853634039893"))
        .attr("id", "3EB0C431C26A1916E07E")
        .attr("type", "text")
        .attr("t", 1_790_000_000u64)
        .attr("notify", "Bea")
        .child(
            Node::new("enc")
                .attr("v", "2")
                .attr("type", "msg")
                .bytes([0x5a; 180]),
        )
}

/// An upload of many prekeys.
fn upload() -> Node {
    let key = |id: u32| {
        let [_, id @ ..] = id.to_be_bytes();
        Node::new("key")
            .child(Node::new("id").bytes(id))
            .child(Node::new("value").bytes([0x5a; 32]))
    };
    Node::new("iq")
        .attr("id", "1")
        .attr("xmlns", "encrypt")
        .attr("type", "set")
        .attr("to", Jid::server("s.whatsapp.net".into()))
        .child(Node::new("list").children((0..812).map(key)))
}

fn codec(c: &mut Criterion) {
    let plain = EncodeOptions {
        interop: InteropJidStyle::WithServer,
        ..EncodeOptions::default()
    };
    let compressed = EncodeOptions {
        compress: true,
        ..plain
    };
    for (name, node, options) in [
        ("message", message(), plain),
        ("message, compressed", message(), compressed),
        ("812 prekeys", upload(), plain),
    ] {
        let bytes = encode(&node, &options).expect("the stanza has a form on the wire");
        assert_eq!(decode(&bytes).as_ref(), Ok(&node));
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        group.bench_function("write", |b| b.iter(|| encode(black_box(&node), &options)));
        group.bench_function("read", |b| b.iter(|| decode(black_box(&bytes))));
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
