//! The program. See `gatehouse --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatehouse::cli::main(std::env::args_os(), |_config, _registration| async {
        Err("the flows are not wired up in this build".into())
    })
}
