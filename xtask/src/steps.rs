//! Running programs one after another, with their output shown.

use std::process::Command;

use tests::{Error, Result, binaries, cache};

/// The cargo that runs us, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(binaries::workspace());
    command
}

/// Shows what begins, runs it, and fails as it fails.
pub(crate) fn run(step: &str, command: &mut Command) -> Result<()> {
    cache::progress(step);
    let status = command.status().map_err(|error| {
        Error::new(format!(
            "{step}: cannot start {:?}: {error}",
            command.get_program()
        ))
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::new(format!("{step}: ended with {status}")))
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
pub(crate) fn say(text: impl std::fmt::Display) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a command's complaint")]
pub(crate) fn complain(error: &Error) {
    eprintln!("error: {error}");
}
