//! A Matrix web client in a real browser: the interface of matrix-react-sdk, built once into the cache folder, served on
//! loopback, and driven by scripts through Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::error::Context as _;
use crate::process::Process;
use crate::{Error, Result, binaries, cache, port};

/// What the client is built of, beside its packages.
const SOURCES: [&str; 5] = [
    "app.js",
    "buffer.js",
    "build.mjs",
    "index.html",
    "worker.js",
];

/// Names under which the browser is installed.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// How long a conversation may take on a busy machine, the client's start in the browser included.
pub const PATIENCE: Duration = Duration::from_secs(300);

fn scripts() -> PathBuf {
    binaries::workspace().join("tests/clients/web")
}

fn digest(files: &[&str]) -> Result<String> {
    let mut all = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for name in files {
        all.update(&std::fs::read(scripts().join(name))?);
    }
    let digest = all.finish();
    Ok(hex::encode(digest.as_ref().get(..6).unwrap_or_default()))
}

/// The client and what it takes to drive it.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The folder with its npm packages.
    packages: PathBuf,
    /// The built client.
    client: PathBuf,
}

/// Installs the packages, exactly those of the lock file, and builds the client, each once.
///
/// # Errors
///
/// When Node or npm is missing, or the packages cannot be fetched.
pub fn install() -> Result<Installed> {
    let lock = "package-lock.json";
    let packages = cache::once(&format!("web-packages-{}", digest(&[lock])?), |folder| {
        for name in ["package.json", lock] {
            std::fs::copy(scripts().join(name), folder.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .args(["--legacy-peer-deps", "--loglevel=error"])
            .current_dir(folder);
        cache::run(
            "installing the web client's packages (npm, half a minute)",
            &mut npm,
        )
    })?;
    let mut parts = SOURCES.to_vec();
    parts.push(lock);
    let client = cache::once(&format!("web-client-{}", digest(&parts)?), |folder| {
        let mut node = Command::new("node");
        node.arg(scripts().join("build.mjs"))
            .arg(scripts())
            .arg(&packages)
            .arg(folder);
        cache::run("building the web client", &mut node)
    })?;
    Ok(Installed { packages, client })
}

/// Where the browser is: what `CHROMIUM` names, else Chromium or Chrome on the path.
///
/// # Errors
///
/// When there is none, with the line that installs it.
pub fn browser() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = BROWSERS
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|file| file.is_file());
    found.context(
        "Chromium is missing; install it:\n  \
         sudo apt-get install --yes chromium fonts-inter fonts-noto-color-emoji",
    )
}

/// The web client, served on loopback.
#[derive(Debug)]
pub struct WebClient {
    installed: Installed,
    address: String,
    process: Process,
}

impl WebClient {
    /// Installs and builds it if need be, and serves it for one homeserver; `log` takes what the server says.
    ///
    /// # Errors
    ///
    /// As [`install`], or when it does not get ready.
    pub async fn serve(homeserver: &str, log: &Path) -> Result<Self> {
        let installed = tokio::task::spawn_blocking(install)
            .await
            .map_err(|error| Error::new(format!("the build broke off: {error}")))??;
        let port = port::free()?;
        let mut node = Command::new("node");
        node.arg(scripts().join("serve.mjs"))
            .arg(&installed.client)
            .args([&port.to_string(), homeserver]);
        let process = Process::spawn("web client", node, log)?;
        process
            .wait_for_line("the web client", Duration::from_secs(30), |line| {
                (line == "serving").then_some(())
            })
            .await?;
        Ok(Self {
            installed,
            address: format!("http://127.0.0.1:{port}"),
            process,
        })
    }

    /// Where to open it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is still served.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Runs a script of `tests/clients/web` with a browser to its end; `arguments` is what it reads, `patience` how long it may
    /// take.
    ///
    /// # Errors
    ///
    /// When there is no browser, or the script fails: the message holds what it said.
    pub async fn run(
        &self,
        script: &str,
        arguments: &Value,
        log: &Path,
        patience: Duration,
    ) -> Result<()> {
        let mut node = Command::new("node");
        node.arg(scripts().join(script))
            .arg(arguments.to_string())
            .env("GATEHOUSE_WEB", &self.installed.packages)
            .env("CHROMIUM", browser()?);
        let process = Process::spawn(script, node, log)?;
        let what = format!("{script} to end");
        let ended = crate::wait::until(&what, patience, || async { process.exited() }).await;
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::new(format!("{status}\n{}", process.tail(60)))),
            Err(error) => Err(Error::new(format!("{error}\n{}", process.tail(60)))),
        }
    }
}
