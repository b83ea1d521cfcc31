//! `cargo xtask test`: installs what the tests need and runs every test.

mod outcome;

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};

use clap::Args;
use tests::{Error, Result, binaries, cache, client, stock, synapse, web};

use self::outcome::Outcome;
use crate::{distribution, prerequisites, steps};

/// Install what the tests need (Synapse, npm packages, PostgreSQL, Chromium) and run them
#[derive(Debug, Args)]
#[command(after_help = "\
What is installed goes to $GATEHOUSE_CACHE or ~/.cache/gatehouse; PostgreSQL and Chromium come from the distribution.
Where a few tests fail, they are run once more, one by one, and those that pass then are named: several real programs on a
busy machine do not always keep to their times. The last line is `N passed, N failed`.

Examples:
  cargo xtask test
  cargo xtask test --every-failpoint
  cargo xtask test -p tests --test first_message")]
pub(crate) struct Test {
    /// Kill gatehouse at every failpoint with both databases, instead of at half of them with each
    #[arg(long)]
    every_failpoint: bool,
    /// What fails is not run once more.
    #[arg(skip)]
    strict: bool,
    /// Arguments for `cargo test` instead of `--workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    /// Every test of the workspace, with all of its deaths, once.
    pub(crate) fn everything() -> Self {
        Self {
            every_failpoint: true,
            strict: true,
            arguments: Vec::new(),
        }
    }
}

pub(crate) async fn run(arguments: &Test) -> Result<()> {
    prerequisites::to_test()?;
    distribution::install()?;
    synapse::install()?;
    client::install()?;
    stock::install()?;
    web::install()?;
    // Built as they are for use, before the tests that start them.
    let programs = binaries::build()?;
    let with_failpoints = binaries::build_with_failpoints()?;

    cache::progress("running the tests");
    let prepared = || {
        let mut command = steps::cargo();
        command
            .args(["test", "--no-fail-fast"])
            .env("GATEHOUSE_BIN", &programs.gatehouse)
            .env("SANDBOX_BIN", &programs.sandbox)
            .env("GATEHOUSE_FAILPOINTS_BIN", &with_failpoints);
        if arguments.every_failpoint {
            command.env("GATEHOUSE_FAILPOINTS", "all");
        }
        command
    };
    let mut command = prepared();
    if arguments.arguments.is_empty() {
        command.arg("--workspace");
    }
    let mut outcome = watch(command.args(&arguments.arguments))?;
    if !arguments.strict && outcome.deserves_second_try() {
        cache::progress("running what failed once more");
        let mut again = Vec::new();
        for target in &outcome.targets {
            let mut command = prepared();
            command
                .args(target)
                .args(["--", "--exact", "--test-threads=1"]);
            again.push(watch(command.args(&outcome.failed))?);
        }
        outcome.second_try(again);
        for name in &outcome.unsteady {
            steps::say(format_args!("failed, and passed at the second try: {name}"));
        }
    }
    let Outcome { passed, failed, .. } = &outcome;
    steps::say(format_args!("{passed} passed, {} failed", failed.len()));
    if outcome.is_good() {
        Ok(())
    } else if failed.is_empty() {
        Err(Error::new(
            "the tests did not build or broke off; see the messages above",
        ))
    } else {
        Err(Error::new(
            "there are failed tests; each stands above with its reason",
        ))
    }
}

/// Runs `cargo test`, shows its output as it comes, and gathers its results.
fn watch(command: &mut Command) -> Result<Outcome> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // Cargo's own words come by the error output, those of the tests by the other one.
    let complaints = std::thread::spawn(move || {
        let mut outcome = Outcome::default();
        each_line(err, |line| {
            steps::note(line);
            outcome.complaint(line);
        })?;
        Ok::<_, Error>(outcome.targets)
    });
    let mut outcome = Outcome::default();
    each_line(out, |line| {
        steps::say(line);
        outcome.result(line);
    })?;
    outcome.targets = complaints.join().unwrap_or_else(|_| Ok(Vec::new()))?;
    outcome.ended_well = child.wait()?.success();
    Ok(outcome)
}

/// Hands on each line as it comes.
fn each_line(from: Option<impl Read>, mut each: impl FnMut(&str)) -> Result<()> {
    let Some(from) = from else { return Ok(()) };
    for line in BufReader::new(from).split(b'\n') {
        each(&String::from_utf8_lossy(&line?));
    }
    Ok(())
}
