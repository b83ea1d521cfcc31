//! What comes from the distribution: installed where we may, named where we may not.

use std::process::Command;

use tests::{Error, Result, cache, postgres, process, web};

use crate::prerequisites;

/// Installs PostgreSQL and a browser if they are missing.
pub(crate) fn install() -> Result<()> {
    let mut missing = database();
    if web::browser().is_err() {
        missing.extend(["chromium", "fonts-inter", "fonts-noto-color-emoji"]);
    }
    install_all(missing)
}

/// Installs PostgreSQL if it is missing.
pub(crate) fn install_postgres() -> Result<()> {
    install_all(database())
}

fn database() -> Vec<&'static str> {
    if postgres::is_installed() {
        Vec::new()
    } else {
        vec!["postgresql"]
    }
}

fn install_all(missing: Vec<&str>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    if !root || !prerequisites::succeeds(&["apt-get", "--version"]) {
        return Err(Error::new(format!(
            "these are missing: {names}; install them:\n  sudo apt-get install --yes {names}"
        )));
    }
    let mut update = Command::new("apt-get");
    cache::run(
        "reading the package lists",
        update.args(["update", "--quiet=2"]),
    )?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
        .args(missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    cache::run(&format!("installing {names}"), &mut install)
}
