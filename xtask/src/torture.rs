//! `cargo xtask torture`: nothing lost, nothing twice, in order, whatever breaks.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tests::postgres::Postgres;
use tests::torture::Torture as Run;
use tests::torture::faults::Fault;
use tests::torture::plan::Mix;
use tests::torture::report::{Outcome, Table};
use tests::{Error, Result, cache};

use crate::steps;

/// Arguments of `torture`.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(crate) struct Torture {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs, each with the next seed
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Messages in a run, both ways
    #[arg(long, default_value_t = 1000)]
    messages: usize,
    /// Matrix users; each talks to every contact
    #[arg(long, default_value_t = 2)]
    users: usize,
    /// Contacts
    #[arg(long, default_value_t = 3)]
    contacts: usize,
    /// Over how long the messages of a run are spread: 90s, 10m, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "3m")]
    spread: Duration,
    /// Faults by name, separated by commas; `none` for a quiet run [default: all]
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// How long a fault lasts that lasts [default: 3 to 9 s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    spell: Option<Duration>,
    /// Texts alone: no files, changes, deletions, reactions or receipts
    #[arg(long)]
    texts: bool,
    /// Keep the bridge's data in PostgreSQL instead of SQLite
    #[arg(long)]
    postgres: bool,
    /// Write what comes of each run to the end of this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Run nothing; print the table of the runs in this file
    #[arg(long, value_name = "FILE")]
    show: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask torture                              a run of 1,000 messages while one fault after the other strikes
  cargo xtask torture --seed 42                    run 42, again if it was run before
  cargo xtask torture --seeds 100                  a hundred runs, seeds 1 to 100, and the table of docs/reliability.md
  cargo xtask torture --seeds 10 --record runs.jsonl   ten runs, and what came of them at the end of a file
  cargo xtask torture --show runs.jsonl            the table of the runs in a file
  cargo xtask torture --for 10m --faults kill,drop two faults only, over ten minutes
  cargo xtask torture --faults homeserver-kill --spell 10m
                                                   how long the way back takes after ten minutes without homeserver";

fn after_help() -> String {
    let mut help = format!("{EXAMPLES}\n\nFaults:\n");
    for fault in Fault::ALL {
        help.push_str(&format!("  {:24} {}\n", fault.name(), fault.about()));
    }
    help
}

impl Torture {
    /// One run with every fault, over this time.
    fn over(spread: Duration, seed: u64, postgres: bool) -> Self {
        Self {
            seed,
            seeds: 1,
            messages: 250,
            users: 2,
            contacts: 3,
            spread,
            faults: Vec::new(),
            spell: None,
            texts: false,
            postgres,
            record: None,
            show: None,
        }
    }

    /// How to have this run again.
    fn command(&self) -> String {
        let postgres = if self.postgres { " --postgres" } else { "" };
        format!(
            "cargo xtask torture --seed {} --messages {} --users {} --contacts {} --for {}s{postgres}",
            self.seed,
            self.messages,
            self.users,
            self.contacts,
            self.spread.as_secs()
        )
    }
}

/// Half of the time with each database, each time with a seed that nobody chose; says how to have each again.
pub(crate) async fn with_both_databases(spread: Duration) -> Result<()> {
    for postgres in [false, true] {
        let run_over = Torture::over(spread / 2, any_seed(), postgres);
        cache::progress(&run_over.command());
        run(&run_over)
            .await
            .map_err(|error| Error::new(format!("{}: {error}", run_over.command())))?;
    }
    Ok(())
}

/// A seed of at most six digits, another one each time.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

/// Reads a time such as `90s`, `10m` or `1h`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write 90s, 10m or 1h");
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number * seconds))
}

fn mix(arguments: &Torture) -> Mix {
    let mix = Mix {
        messages: arguments.messages,
        users: arguments.users,
        contacts: arguments.contacts,
        ..Mix::default()
    };
    if !arguments.texts {
        return mix;
    }
    Mix {
        files: 0,
        edits: 0,
        deletions: 0,
        reactions: 0,
        reads: 0,
        ..mix
    }
}

/// Runs it; fails if anything was lost, doubled, reordered or wrong.
pub(crate) async fn run(arguments: &Torture) -> Result<()> {
    if let Some(file) = &arguments.show {
        steps::say(recorded(file)?);
        return Ok(());
    }
    let faults = match arguments.faults.as_slice() {
        [] => Fault::usual(arguments.postgres, arguments.spread),
        [none] if none == "none" => Vec::new(),
        names => names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_>>()?,
    };
    let mut table = Table::default();
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        cache::progress(&format!("seed {seed}: {} messages", arguments.messages));
        let postgres = match arguments.postgres {
            true => Some(Arc::new(Postgres::start().await?)),
            false => None,
        };
        let mut stack = tests::stack::Options::default();
        if let Some(server) = &postgres {
            stack.gatehouse.database = Some(server.database("gatehouse")?);
        }
        let run = Run {
            seed,
            mix: mix(arguments),
            faults: faults.clone(),
            spread: Some(arguments.spread),
            spell: arguments.spell,
            patience: Duration::from_secs(180),
            postgres,
            stack,
        };
        let outcome = run.run().await?;
        table.add(&outcome);
        steps::say(&outcome);
        if let Some(file) = &arguments.record {
            record(file, &outcome)?;
        }
    }
    steps::say(&table);
    if table.is_clean() {
        return Ok(());
    }
    Err(Error::new(
        "not everything arrived as it must; --seed with the number of the run repeats it, GATEHOUSE_KEEP=1 keeps its logs",
    ))
}

/// Writes a run to the end of a file.
fn record(file: &Path, outcome: &Outcome) -> Result<()> {
    let mut line = serde_json::to_vec(outcome)?;
    line.push(b'\n');
    let mut file = File::options().create(true).append(true).open(file)?;
    Ok(file.write_all(&line)?)
}

/// Adds up the runs in a file.
fn recorded(file: &Path) -> Result<Table> {
    let text = fs::read_to_string(file)
        .map_err(|error| Error::new(format!("{} cannot be read: {error}", file.display())))?;
    let mut table = Table::default();
    for (number, line) in text.lines().enumerate() {
        let outcome: Outcome = serde_json::from_str(line).map_err(|error| {
            Error::new(format!(
                "line {} of {} is no run: {error}",
                number + 1,
                file.display()
            ))
        })?;
        table.add(&outcome);
    }
    Ok(table)
}
