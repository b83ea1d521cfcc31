//! Runs a decoder on one input after the other.

use std::{
    collections::BTreeSet,
    fmt,
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

/// An input that a decoder does not stand.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The decoder.
    pub(crate) target: &'static str,
    /// What it does.
    what: String,
    /// The input.
    pub(crate) input: Vec<u8>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            what,
            input,
        } = self;
        let start = hex::encode(input.get(..64).unwrap_or(input));
        write!(f, "{target} {what} for {} bytes, {start}..", input.len())
    }
}

/// Tries a decoder for some time.
///
/// # Errors
///
/// The first fault.
pub(crate) fn run(target: &Target, time: Duration, seed: u64) -> Result<(), Fault> {
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
/// The fault.
pub(crate) fn replay(targets: &[&Target], input: &[u8]) -> Result<(), Fault> {
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

fn attempt(target: &Target, run: &mut Run, input: &[u8]) -> Result<String, Fault> {
    let start = Instant::now();
    let what = match panic::catch_unwind(AssertUnwindSafe(|| run(input))) {
        Ok(answer) if start.elapsed() < TOO_LONG => return Ok(answer),
        Ok(_) => format!("takes {:?}", start.elapsed()),
        // The panic has printed where and why.
        Err(_) => "fails".to_owned(),
    };
    Err(Fault {
        target: target.name,
        what,
        input: input.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::Decoder;

    /// Takes six bytes for a fault; the way there has answers of its own.
    const FAULTY: Target = Target {
        name: "faulty",
        about: "a decoder with a fault",
        words: &[b"dep", b"th"],
        start: || Decoder {
            seeds: vec![b"seed".to_vec()],
            run: Box::new(|input| {
                assert!(!input.starts_with(b"depth!"), "found");
                input
                    .iter()
                    .zip(b"depth!")
                    .take_while(|(a, b)| a == b)
                    .count()
                    .to_string()
            }),
        },
    };

    #[test]
    fn faults_are_found_and_come_back() {
        let fault = run(&FAULTY, Duration::from_secs(60), 1).unwrap_err();
        assert!(fault.input.starts_with(b"depth!"));
        assert!(fault.to_string().starts_with("faulty fails for "));
        replay(&[&FAULTY], &fault.input).unwrap_err();
        replay(&[&FAULTY], b"depth?").unwrap();
    }

    #[test]
    fn every_decoder_stands_its_own_seeds() {
        for target in crate::targets::ALL {
            run(target, Duration::ZERO, 1).unwrap();
        }
    }
}
