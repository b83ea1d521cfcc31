//! The program. See `gatehouse --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatehouse::cli::main(std::env::args_os(), gatehouse::run::run)
}
