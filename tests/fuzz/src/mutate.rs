//! Makes an input from others.

use rand::{Rng, RngExt, rngs::StdRng};

/// No input gets longer than this.
const LONGEST: usize = 1 << 16;

/// Numbers that decoders tend to get wrong.
const EDGES: &[u8] = &[0, 1, 0x7f, 0x80, 0xfe, 0xff];

/// An altered copy of an input; `others` are inputs to take pieces from, `words` such that mean
/// something to the decoder.
pub(crate) fn mutate(
    input: &[u8],
    others: &[Vec<u8>],
    words: &[&[u8]],
    rng: &mut StdRng,
) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=6) {
        change(&mut bytes, others, words, rng);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[&[u8]], rng: &mut StdRng) {
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(0..=16)).min(bytes.len());
    match rng.random_range(0..10) {
        0 => set(bytes, at, |byte| byte ^ (1 << rng.random_range(0..8))),
        1 => set(bytes, at, |_| rng.random()),
        2 => set(bytes, at, |_| pick(EDGES, rng).copied().unwrap_or_default()),
        3 => set(bytes, at, |byte| {
            byte.wrapping_add(rng.random_range(0..=8)).wrapping_sub(4)
        }),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.truncate(at),
        6 => {
            let mut noise = vec![0; rng.random_range(1..=8)];
            rng.fill_bytes(&mut noise);
            insert(bytes, at, &noise);
        }
        7 => {
            // Many of the same, as in nested or very long lists.
            let piece = bytes.get(at..end).unwrap_or_default().to_vec();
            let most = if rng.random_ratio(1, 20) { 4000 } else { 8 };
            let times = rng.random_range(1..=most);
            insert(bytes, at, &piece.repeat(times));
        }
        8 => {
            if let Some(other) = pick(others, rng) {
                let from = rng.random_range(0..=other.len());
                let to = rng.random_range(from..=other.len());
                insert(bytes, at, other.get(from..to).unwrap_or_default());
            }
        }
        _ => {
            if let Some(word) = pick(words, rng) {
                insert(bytes, at, word);
            }
        }
    }
}

fn set(bytes: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if bytes.len() + piece.len() <= LONGEST {
        drop(bytes.splice(at..at, piece.iter().copied()));
    }
}

fn pick<'a, T>(all: &'a [T], rng: &mut StdRng) -> Option<&'a T> {
    if all.is_empty() {
        None
    } else {
        all.get(rng.random_range(0..all.len()))
    }
}
