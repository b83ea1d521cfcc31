//! What must be on the machine beforehand, checked first, with the line that installs what is missing.

use std::process::{Command, Stdio};

use tests::{Error, Result};

/// Something that must be there.
struct Prerequisite {
    name: &'static str,
    /// A command that succeeds where it is there.
    check: &'static [&'static str],
    /// What installs it on Debian and Ubuntu.
    install: &'static str,
}

/// To build: some dependencies are in C.
const COMPILER: Prerequisite = Prerequisite {
    name: "a C compiler",
    check: &["cc", "--version"],
    install: "sudo apt-get install --yes build-essential",
};

/// For Synapse.
const PYTHON: Prerequisite = Prerequisite {
    name: "Python 3.10 or newer with venv",
    check: &[
        "python3",
        "-c",
        "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))",
    ],
    install: "sudo apt-get install --yes python3 python3-venv",
};

/// For the test clients.
const NPM: Prerequisite = Prerequisite {
    name: "npm",
    check: &["npm", "--version"],
    install: "sudo apt-get install --yes npm",
};

/// For the test clients. Distributions may carry an older one, which npm replaces.
const NODE: Prerequisite = Prerequisite {
    name: "Node 20 or newer",
    check: &[
        "node",
        "-e",
        "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)",
    ],
    install: "sudo apt-get install --yes npm && sudo npm install --global n && sudo n 20",
};

/// Checks what `cargo xtask try` needs.
pub(crate) fn to_try() -> Result<()> {
    check(&[COMPILER, PYTHON])
}

/// Checks what the web client needs.
pub(crate) fn to_browse() -> Result<()> {
    check(&[NPM, NODE])
}

/// Checks what the tests need.
pub(crate) fn to_test() -> Result<()> {
    check(&[COMPILER, PYTHON, NPM, NODE])
}

fn check(all: &[Prerequisite]) -> Result<()> {
    let missing: Vec<String> = all
        .iter()
        .filter(|each| !succeeds(each.check))
        .map(|each| format!("{} is missing; install it:\n  {}", each.name, each.install))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::new(missing.join("\n")))
    }
}

/// Whether a command can be started and succeeds.
pub(crate) fn succeeds(command: &[&str]) -> bool {
    let Some((program, arguments)) = command.split_first() else {
        return false;
    };
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
