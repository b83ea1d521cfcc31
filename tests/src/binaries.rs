//! The programs under test, as they are built for use.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::error::Context as _;
use crate::{Error, Result, cache};

/// The workspace's folder. Cargo tells it to what it runs; the folder of the build would be another one where checkouts
/// share a target folder.
#[must_use]
pub fn workspace() -> PathBuf {
    let built_in = || env!("CARGO_MANIFEST_DIR").into();
    let member = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(built_in, PathBuf::from);
    member
        .parent()
        .map_or_else(|| ".".into(), Path::to_path_buf)
}

/// The programs of this workspace that the harness starts.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The bridge.
    pub gatehouse: PathBuf,
    /// The gatekeeper to test against.
    pub sandbox: PathBuf,
}

/// Builds both programs once per process, or takes those that `GATEHOUSE_BIN` and `SANDBOX_BIN` name
/// (`cargo xtask test` builds them beforehand, so that tests do not wait for one another).
///
/// # Errors
///
/// When they do not build; the compiler's messages went to standard error.
pub fn binaries() -> Result<&'static Binaries> {
    static BUILT: OnceLock<Result<Binaries>> = OnceLock::new();
    match BUILT.get_or_init(from_environment_or_build) {
        Ok(binaries) => Ok(binaries),
        Err(error) => Err(Error::new(error.to_string())),
    }
}

fn from_environment_or_build() -> Result<Binaries> {
    let given = |name| std::env::var_os(name).map(PathBuf::from);
    match (given("GATEHOUSE_BIN"), given("SANDBOX_BIN")) {
        (Some(gatehouse), Some(sandbox)) => Ok(Binaries { gatehouse, sandbox }),
        _ => build(),
    }
}

/// Builds both programs with cargo.
///
/// # Errors
///
/// When they do not build.
pub fn build() -> Result<Binaries> {
    cache::progress("building gatehouse and the sandbox");
    let built = build_programs(&["gatehouse", "sandbox"], &[])?;
    match built.as_slice() {
        [gatehouse, sandbox] => Ok(Binaries {
            gatehouse: gatehouse.clone(),
            sandbox: sandbox.clone(),
        }),
        _ => Err(Error::new("cargo built other programs than were asked for")),
    }
}

/// The bridge with its failpoints (see the crate `failpoints`), built once per process, or the one that
/// `GATEHOUSE_FAILPOINTS_BIN` names. It is a program of its own beside the one for use.
///
/// # Errors
///
/// When it does not build.
pub fn with_failpoints() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf>> = OnceLock::new();
    let find = || match std::env::var_os("GATEHOUSE_FAILPOINTS_BIN") {
        Some(given) => Ok(given.into()),
        None => build_with_failpoints(),
    };
    match BUILT.get_or_init(find) {
        Ok(program) => Ok(program),
        Err(error) => Err(Error::new(error.to_string())),
    }
}

/// Builds the bridge with its failpoints.
///
/// # Errors
///
/// When it does not build.
pub fn build_with_failpoints() -> Result<PathBuf> {
    const NAME: &str = "gatehouse-failpoints";
    cache::progress("building gatehouse with its failpoints");
    // Together with the sandbox, so that the dependencies are those that are built already.
    let packages = ["gatehouse", "sandbox"];
    let only = ["--bin", NAME, "--features", "gatehouse/failpoints"];
    let built = cargo_build(&packages, &only, &[NAME])?;
    built.into_iter().next().context("cargo built no program")
}

/// Builds packages whose program has the package's name; the programs come in the order of `packages`. `more` are
/// further arguments for cargo, for instance `--release`.
///
/// # Errors
///
/// When they do not build; the compiler's messages went to standard error.
pub fn build_programs(packages: &[&str], more: &[&str]) -> Result<Vec<PathBuf>> {
    let more: Vec<&str> = ["--bins"].iter().chain(more).copied().collect();
    cargo_build(packages, &more, packages)
}

/// Runs `cargo build` and gives the programs with these names.
fn cargo_build(packages: &[&str], more: &[&str], programs: &[&str]) -> Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .arg("build")
        .args(packages.iter().flat_map(|name| ["--package", name]))
        .args(more)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        return Err(Error::new(format!(
            "{} cannot be built; see the compiler's messages above",
            packages.join(", ")
        )));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = |name: &str| {
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|message| message["target"]["name"] == name && message["executable"].is_string())
            .and_then(|message| message["executable"].as_str().map(PathBuf::from))
            .context(format!("cargo built no program {name}"))
    };
    programs.iter().map(|name| executable(name)).collect()
}
