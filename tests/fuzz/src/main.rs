//! Feeds damaged input to every decoder.
//!
//! Each target has good inputs to begin with. They are altered, cut, spliced and stuffed; an input to
//! which the decoder gives an answer that it has not given yet is kept and altered further. A target
//! fails if the decoder panics, answers wrongly (what was read must mean the same when it is written
//! and read again) or takes unreasonably long. The failing input is written to a file and can be run
//! again. It needs no more than the stable toolchain; the same seed makes the same inputs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]

mod engine;
mod mutate;
mod targets;

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;

use crate::engine::Fault;

/// Feeds damaged input to the decoders.
#[derive(Parser)]
#[command(after_help = "Examples:
  cargo run -p fuzz -- --list
  cargo run -p fuzz -- stanza --seconds 60
  cargo run -p fuzz -- all --seconds 60
  cargo run -p fuzz -- stanza --input failed-stanza-1f2e3d4c5b6a7988")]
struct Arguments {
    /// The decoder, or `all` for one after the other.
    #[arg(required_unless_present = "list")]
    target: Option<String>,

    /// List the decoders.
    #[arg(long)]
    list: bool,

    /// How long to try each decoder.
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// Make the same inputs again; without it they are different in each run.
    #[arg(long)]
    seed: Option<u64>,

    /// Try the input in this file instead.
    #[arg(long)]
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for target in targets::ALL {
            println!("{:<16} {}", target.name, target.about);
        }
        return ExitCode::SUCCESS;
    }
    let name = arguments.target.as_deref().unwrap_or_default();
    let chosen: Vec<_> = targets::ALL
        .iter()
        .filter(|target| name == "all" || target.name == name)
        .collect();
    if chosen.is_empty() {
        eprintln!("there is no decoder \"{name}\": see --list");
        return ExitCode::FAILURE;
    }
    let result = match &arguments.input {
        Some(path) => match fs::read(path) {
            Ok(input) => engine::replay(&chosen, &input),
            Err(error) => {
                eprintln!("cannot read {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        },
        None => {
            let seed = arguments.seed.unwrap_or_else(rand::random);
            let time = Duration::from_secs(arguments.seconds);
            chosen
                .into_iter()
                .try_for_each(|target| engine::run(target, time, seed))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            if arguments.input.is_none() {
                eprintln!("{}", save(&fault));
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes a failing input to a file and says how to run it again.
fn save(fault: &Fault) -> String {
    let mut hasher = DefaultHasher::new();
    fault.input.hash(&mut hasher);
    let path = format!("failed-{}-{:016x}", fault.target, hasher.finish());
    match fs::write(&path, &fault.input) {
        Ok(()) => {
            format!(
                "again: cargo run -p fuzz -- {} --input {path}",
                fault.target
            )
        }
        Err(error) => format!("the input could not be written to {path}: {error}"),
    }
}
