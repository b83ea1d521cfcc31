//! The folder outside the tree that keeps what is slow to install: `$GATEHOUSE_CACHE`, else `~/.cache/gatehouse`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Context as _;
use crate::{Error, Result};

/// The cache folder, made if absent.
///
/// # Errors
///
/// When there is no home folder or it cannot be written.
pub fn folder() -> Result<PathBuf> {
    let folder = match std::env::var_os("GATEHOUSE_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()
            .context("no home folder; name one with GATEHOUSE_CACHE=/some/folder")?
            .join(".cache/gatehouse"),
    };
    fs::create_dir_all(&folder).context(format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Installs something once under `name`, whichever of several tests or processes comes first.
///
/// `install` gets the empty folder. A marker is written last, so a broken-off installation is done again.
///
/// # Errors
///
/// What `install` returns, or the folder's own errors.
pub fn once(name: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = folder()?;
    let target = cache.join(name);
    let marker = target.join(".installed");
    if marker.exists() {
        return Ok(target);
    }
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()
        .context(format!("cannot lock {name} in {}", cache.display()))?;
    if !marker.exists() {
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        fs::create_dir_all(&target)?;
        install(&target)?;
        fs::write(&marker, "")?;
    }
    Ok(target)
}

/// Runs an installing command with its output shown, so that long work shows progress.
///
/// # Errors
///
/// When the program is missing or ends with a failure.
pub fn run(step: &str, command: &mut Command) -> Result<()> {
    progress(step);
    let status = command
        .stdout(std::io::stderr()) // standard output may carry a machine-read line
        .status()
        .context(format!("{step}: cannot start {:?}", command.get_program()))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::new(format!(
            "{step}: {command:?} ended with {status}"
        )))
    }
}

/// One line of progress, on standard error.
#[expect(clippy::print_stderr, reason = "progress of a developer's command")]
pub fn progress(step: &str) {
    eprintln!("==> {step}");
}
