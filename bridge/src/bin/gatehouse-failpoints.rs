//! The bridge with its failpoints, for the tests that end it there. See the crate `failpoints`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatehouse::cli::main(std::env::args_os(), gatehouse::run::run)
}
