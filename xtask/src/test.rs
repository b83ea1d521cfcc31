//! `cargo xtask test`: installs what the tests need and runs every test.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use clap::Args;
use tests::{Error, Result, binaries, cache, client, stock, synapse, web};

use crate::{distribution, prerequisites, steps};

/// Install what the tests need (Synapse, npm packages, PostgreSQL, Chromium) and run them
#[derive(Debug, Args)]
#[command(after_help = "\
What is installed goes to $GATEHOUSE_CACHE or ~/.cache/gatehouse; PostgreSQL and Chromium come from the distribution.
The last line is `N passed, N failed`.

Examples:
  cargo xtask test
  cargo xtask test --every-failpoint --large-file
  cargo xtask test -p tests --test first_message")]
pub(crate) struct Test {
    /// Kill gatehouse at every failpoint with both databases, instead of at half of them with each
    #[arg(long)]
    every_failpoint: bool,
    /// Carry a file of 1 GiB each way, instead of one of 256 MiB, to see what memory that takes
    #[arg(long)]
    large_file: bool,
    /// Arguments for `cargo test` instead of `--workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    /// Every test of the workspace, with all of its deaths and the largest file.
    pub(crate) fn everything() -> Self {
        Self {
            every_failpoint: true,
            large_file: true,
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
    let mut command = steps::cargo();
    command.args(["test", "--no-fail-fast"]);
    if arguments.arguments.is_empty() {
        command.arg("--workspace");
    }
    command
        .args(&arguments.arguments)
        .env("GATEHOUSE_BIN", &programs.gatehouse)
        .env("SANDBOX_BIN", &programs.sandbox)
        .env("GATEHOUSE_FAILPOINTS_BIN", &with_failpoints);
    if arguments.every_failpoint {
        command.env("GATEHOUSE_FAILPOINTS", "all");
    }
    if arguments.large_file {
        command.env("GATEHOUSE_LARGE_FILE", (1_u64 << 30).to_string());
    }
    let (passed, failed, success) = count(&mut command)?;
    steps::say(format_args!("{passed} passed, {failed} failed"));
    if success && failed == 0 {
        Ok(())
    } else if failed > 0 {
        Err(Error::new(
            "there are failed tests; each stands above with its reason",
        ))
    } else {
        Err(Error::new(
            "the tests did not build or broke off; see the messages above",
        ))
    }
}

/// Runs `cargo test`, shows its output as it comes, and adds up its results.
fn count(command: &mut Command) -> Result<(u64, u64, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (mut passed, mut failed) = (0, 0);
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            steps::say(&line);
            if let Some((ok, not)) = result(&line) {
                passed += ok;
                failed += not;
            }
        }
    }
    Ok((passed, failed, child.wait()?.success()))
}

/// Reads `test result: ok. 3 passed; 0 failed; ...`.
fn result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| {
        counts
            .split("; ")
            .find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
    };
    Some((number(" passed")?, number(" failed")?))
}

#[cfg(test)]
mod unit {
    use super::result;

    #[test]
    fn results_are_read_and_other_lines_are_not() {
        let ok = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(result(ok), Some((12, 0)));
        let failed = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        assert_eq!(result(failed), Some((3, 2)));
        assert_eq!(result("test passes ... ok"), None);
        assert_eq!(result("running 3 tests"), None);
    }
}
