//! `cargo xtask ci`: what a change must pass.

use std::time::Duration;

use clap::Args;
use tests::{Result, cache};

use crate::{steps, test, torture};

/// Check the format, lints, tests, the bridge under faults, decoders and documentation, in this order; the first failure ends it
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cargo xtask ci --fuzz-seconds 5")]
pub(crate) struct Ci {
    /// How long damaged input is fed to each decoder
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    fuzz_seconds: u64,
    /// How long people talk while everything breaks, half of it with each database
    #[arg(long, value_name = "TIME", value_parser = torture::time, default_value = "5m")]
    torture: Duration,
}

pub(crate) async fn run(arguments: &Ci) -> Result<()> {
    steps::run(
        "checking the format",
        steps::cargo().args(["fmt", "--all", "--check"]),
    )?;
    let mut clippy = steps::cargo();
    clippy.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    steps::run("checking the lints", &mut clippy)?;
    test::run(&test::Test::everything()).await?;
    cache::progress("talking while everything breaks");
    torture::with_both_databases(arguments.torture).await?;
    let seconds = arguments.fuzz_seconds.to_string();
    let mut fuzz = steps::cargo();
    fuzz.args([
        "run",
        "--package",
        "fuzz",
        "--",
        "all",
        "--seconds",
        &seconds,
    ]);
    steps::run(
        &format!("feeding damaged input to the decoders, {seconds} s each"),
        &mut fuzz,
    )?;
    let mut doc = steps::cargo();
    doc.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ])
    .env("RUSTDOCFLAGS", "-D warnings");
    steps::run("building the documentation", &mut doc)
}
