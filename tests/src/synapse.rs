//! A real Synapse on a free loopback port, in a folder of its own.

mod config;
mod install;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::error::Context as _;
use crate::process::{Process, private_file};
use crate::{Error, Result, http, port, process, wait};

pub use config::secret;
pub use install::{VERSION, install};

/// The name of every test homeserver.
pub const SERVER_NAME: &str = "localhost";

/// How a homeserver differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The default room version; `None` leaves Synapse's own (12).
    pub room_version: Option<u8>,
    /// Registration files of application services.
    pub registrations: Vec<PathBuf>,
    /// A `postgresql://user@host:port/name` address instead of SQLite. The database must have the collation C.
    pub database: Option<String>,
    /// The largest file it takes, such as `1M`; `None` for 2 GiB and more.
    pub max_upload: Option<String>,
}

/// A homeserver: its files, and the process while it runs.
#[derive(Debug)]
pub struct Synapse {
    folder: PathBuf,
    python: PathBuf,
    url: String,
    registration_secret: String,
    process: std::sync::Mutex<Option<std::sync::Arc<Process>>>,
}

impl Synapse {
    /// A free port for [`Synapse::start`]: a bridge's configuration names the homeserver before it runs.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub fn reserve() -> Result<u16> {
        port::free()
    }

    /// Installs Synapse if needed, writes its configuration into `folder`, starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it cannot be installed or does not get ready; the message ends with its log.
    pub async fn start(folder: &Path, port: u16, options: &Options) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let python = install()?;
        let registration_secret = secret()?;
        let homeserver = config::homeserver(folder, port, options, &registration_secret)?;
        private_file(&folder.join("homeserver.yaml"), &homeserver)?;
        private_file(&folder.join("log.yaml"), &config::log(folder))?;
        process::output(synapse(&python, folder).arg("--generate-keys"))
            .context("Synapse's signing key")?;

        let synapse = Self {
            folder: folder.to_owned(),
            python,
            url: format!("http://127.0.0.1:{port}"),
            registration_secret,
            process: std::sync::Mutex::default(),
        };
        synapse.go_on().await?;
        Ok(synapse)
    }

    /// The base address of its client-server interface.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its configuration, database and logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running().map(|process| process.pid())
    }

    /// Whether it runs: it was started, not stopped, and has not ended by itself.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running().is_some_and(|process| process.is_running())
    }

    /// Starts it again after [`Synapse::stop`] or [`Synapse::kill`], with the same data and port.
    ///
    /// # Errors
    ///
    /// When it does not get ready.
    pub async fn go_on(&self) -> Result<()> {
        let command = synapse(&self.python, &self.folder);
        let process = Process::spawn("synapse", command, &self.folder.join("synapse.out"))?;
        let health = format!("{}/health", self.url);
        let client = http::client()?;
        let ready = wait::until("Synapse to answer", Duration::from_secs(120), || async {
            if let Some(status) = process.exited()? {
                return Err(Error::new(format!("Synapse ended with {status}")));
            }
            Ok(match client.get(&health).send().await {
                Ok(answer) if answer.status().is_success() => Some(()),
                _ => None,
            })
        })
        .await;
        ready.map_err(|error| Error::new(format!("{error}\n{}", process.tail(40))))?;
        *self
            .process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(process.into());
        Ok(())
    }

    /// Stops it politely; its data stays.
    ///
    /// # Errors
    ///
    /// When it had to be killed.
    pub async fn stop(&self) -> Result<()> {
        match self.take() {
            Some(process) => process.terminate(Duration::from_secs(30)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Ends it by SIGKILL; its data stays.
    pub fn kill(&self) {
        if let Some(process) = self.take() {
            process.kill();
        }
    }

    /// Lets it hang: its port stays open and nothing answers. [`Synapse::thaw`] lets it go on.
    pub fn freeze(&self) {
        if let Some(process) = self.running() {
            process.freeze();
        }
    }

    /// Ends [`Synapse::freeze`].
    pub fn thaw(&self) {
        if let Some(process) = self.running() {
            process.thaw();
        }
    }

    /// Registers a user by the shared secret and gives its full id.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses, for instance because the name is taken.
    pub async fn register(&self, localpart: &str, password: &str) -> Result<String> {
        let url = format!("{}/_synapse/admin/v1/register", self.url);
        let client = http::client()?;
        let nonce: Value = client.get(&url).send().await?.json().await?;
        let nonce = nonce["nonce"].as_str().context("Synapse gave no nonce")?;
        let signed = [nonce, localpart, password, "notadmin"].join("\0");
        let key = hmac::Key::new(
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            self.registration_secret.as_bytes(),
        );
        let mac = hex::encode(hmac::sign(&key, signed.as_bytes()));
        let body = json!({"nonce": nonce, "username": localpart, "password": password, "admin": false, "mac": mac});
        let answer: Value = client.post(&url).json(&body).send().await?.json().await?;
        match answer["user_id"].as_str() {
            Some(user_id) => Ok(user_id.to_owned()),
            None => Err(Error::new(format!(
                "Synapse did not register {localpart}: {answer}"
            ))),
        }
    }

    fn running(&self) -> Option<std::sync::Arc<Process>> {
        self.process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn take(&self) -> Option<std::sync::Arc<Process>> {
        self.process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }
}

fn synapse(python: &Path, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "synapse.app.homeserver", "--config-path"])
        .arg(folder.join("homeserver.yaml"))
        .current_dir(folder);
    command
}
