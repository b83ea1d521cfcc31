//! Synapse in a Python virtual environment, installed once into the cache folder.

use std::path::PathBuf;
use std::process::Command;

use crate::{Result, cache};

/// The release that the tests run against.
pub const VERSION: &str = "1.163.2";

/// Installs Synapse if it is not there yet and gives its Python interpreter.
///
/// # Errors
///
/// When Python 3 with `venv` is missing, or the packages cannot be fetched.
pub fn install() -> Result<PathBuf> {
    let folder = cache::once(&format!("synapse-{VERSION}"), |folder| {
        cache::run(
            "making a Python environment for Synapse",
            Command::new("python3").args(["-m", "venv"]).arg(folder),
        )?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
            "--quiet",
        ];
        // psycopg2 comes as a binary: the PostgreSQL variant then needs no headers.
        cache::run(
            &format!("installing Synapse {VERSION} (about half a minute)"),
            Command::new(folder.join("bin/python"))
                .args(pip)
                .arg(format!("matrix-synapse=={VERSION}"))
                .arg("psycopg2-binary==2.9.11"),
        )
    })?;
    Ok(folder.join("bin/python"))
}
