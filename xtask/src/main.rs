//! `cargo xtask`: what a developer, a tester or a curious person runs.

mod bench;
mod ci;
mod dist;
mod distribution;
mod prerequisites;
mod screenshots;
mod steps;
mod test;
mod torture;
mod try_it;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Try, test and check gatehouse.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask try                    a whole set to play with, on this machine alone
  cargo xtask try --web              the same with a Matrix web client
  cargo xtask test                   every test
  cargo xtask test -p store          the tests of one package
  cargo xtask torture --seed 42      a random workload while everything breaks
  cargo xtask ci                     what a change must pass
  cargo xtask bench                  how fast it is, and what memory it takes, on this machine";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a homeserver, gatehouse and the sandbox, with a user and a phone that can talk
    Try(try_it::Try),
    /// Install what the tests need and run them
    Test(test::Test),
    /// Make the pictures of the README
    Screenshots(screenshots::Screenshots),
    /// Talk at random while everything breaks, and count what is lost, doubled or out of order
    Torture(torture::Torture),
    /// Check the format, lints, tests, the bridge under faults, decoders (fuzzing) and documentation
    Ci(ci::Ci),
    /// Measure the parts, the whole bridge and its memory
    Bench(bench::Bench),
    /// Build the sandbox as one static program, for a container or another machine
    Dist(dist::Dist),
    /// Serve the stand-in homeserver of the benchmark
    #[command(hide = true)]
    StandIn(bench::ServeStandIn),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> tests::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        match command {
            Command::Try(arguments) => try_it::run(&arguments).await,
            Command::Screenshots(arguments) => screenshots::run(&arguments).await,
            Command::Test(arguments) => test::run(&arguments).await,
            Command::Torture(arguments) => torture::run(&arguments).await,
            Command::Ci(arguments) => ci::run(&arguments).await,
            Command::Bench(arguments) => bench::run(&arguments).await,
            Command::Dist(arguments) => dist::run(&arguments),
            Command::StandIn(arguments) => arguments.run().await,
        }
    });
    // A compiler or an installer that still runs when we are told to stop is not waited for.
    runtime.shutdown_background();
    done
}
