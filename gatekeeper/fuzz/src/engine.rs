//! Runs a decoder on one input after the other.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    mutate::mutate,
    targets::{Run, Target},
};

/// A decoder that needs longer for an input of 64 KiB has gone astray, even on a busy machine.
const TOO_LONG: Duration = Duration::from_secs(20);

/// Most inputs that are kept.
const CORPUS: usize = 4096;

const PROGRESS: Duration = Duration::from_secs(10);

/// Tries a decoder for some time.
///
/// # Errors
///
/// The failure and how to see it again.
pub(crate) fn run(target: &Target, time: Duration, seed: u64) -> Result<(), String> {
    println!("{}: {} s with --seed {seed}", target.name, time.as_secs());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut decoder = (target.start)();
    let mut corpus = decoder.seeds;
    let mut answers = BTreeSet::new();
    for input in &corpus {
        answers.insert(attempt(target, &mut decoder.run, input)?);
    }
    let start = Instant::now();
    let mut shown = start;
    let mut count = 0u64;
    while start.elapsed() < time {
        let at = rng.random_range(0..corpus.len().max(1));
        let input = corpus.get(at).map(Vec::as_slice).unwrap_or_default();
        let input = mutate(input, &corpus, target.words, &mut rng);
        let answer = attempt(target, &mut decoder.run, &input)?;
        if corpus.len() < CORPUS && answers.insert(answer) {
            corpus.push(input);
        }
        count += 1;
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            println!("{}: {count} inputs, {} kept", target.name, corpus.len());
        }
    }
    println!(
        "{}: good, {count} inputs, {} different answers",
        target.name,
        answers.len()
    );
    Ok(())
}

/// Tries one input.
///
/// # Errors
///
/// The failure.
pub(crate) fn replay(targets: &[&Target], input: &[u8]) -> Result<(), String> {
    for target in targets {
        let mut decoder = (target.start)();
        println!(
            "{}: {}",
            target.name,
            attempt(target, &mut decoder.run, input)?
        );
    }
    Ok(())
}

fn attempt(target: &Target, run: &mut Run, input: &[u8]) -> Result<String, String> {
    let start = Instant::now();
    let fault = match panic::catch_unwind(AssertUnwindSafe(|| run(input))) {
        Ok(answer) if start.elapsed() < TOO_LONG => return Ok(answer),
        Ok(_) => format!("takes {:?}", start.elapsed()),
        // The panic has printed where and why.
        Err(_) => "fails".to_owned(),
    };
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let path = format!("failed-{}-{:016x}", target.name, hasher.finish());
    let saved = match fs::write(&path, input) {
        Ok(()) => format!("the input is in {path}; again: --input {path}"),
        Err(error) => format!("the input could not be saved: {error}"),
    };
    let start = hex::encode(input.get(..64).unwrap_or(input));
    Err(format!(
        "{} {fault} for {} bytes, {start}..\n{saved}",
        target.name,
        input.len()
    ))
}
