//! Running programs one after another, with their output shown.

use std::path::Path;
use std::process::Command;

use tests::{Error, Result, cache};

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
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
