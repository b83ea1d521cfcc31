//! The bridge as a process: its configuration, its registration, its life and death.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::binaries::{binaries, with_failpoints};
use crate::error::Context as _;
use crate::process::{Process, private_file};
use crate::sandbox::Addresses;
use crate::synapse::SERVER_NAME;
use crate::{Error, Result, http, port, process, wait};

/// Where a bridge listens, fixed before anything runs: its neighbours' configurations name it.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// For the homeserver.
    pub appservice: u16,
    /// For the gatekeeper.
    pub public: u16,
}

impl Ports {
    /// Two free ports.
    ///
    /// # Errors
    ///
    /// When none are free.
    pub fn free() -> Result<Self> {
        Ok(Self {
            appservice: port::free()?,
            public: port::free()?,
        })
    }

    /// Where the homeserver reaches the bridge.
    #[must_use]
    pub fn appservice_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.appservice)
    }

    /// Where the gatekeeper reaches the bridge.
    #[must_use]
    pub fn public_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.public)
    }
}

/// Over which transport the bridge talks to the gatekeeper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket.
    #[default]
    WebSocket,
    /// Plain TCP.
    Tcp,
}

/// The words of everything that a gatekeeper may show.
pub const EVERY_KIND: [&str; 12] = [
    "text", "image", "video", "gif", "audio", "document", "sticker", "location", "reaction",
    "reply", "edit", "revoke",
];

/// What a bridge's configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Address of a PostgreSQL database instead of SQLite.
    pub database: Option<String>,
    /// Where the homeserver reaches it, if not at the port it listens on.
    pub appservice_url: Option<String>,
    /// The gatekeeper's transport.
    pub transport: Transport,
    /// More lines for the end of the configuration file.
    pub more: String,
    /// More environment variables, for instance to override a key.
    pub environment: Vec<(String, String)>,
    /// Whether it is the program that can be ended at its failpoints.
    pub failpoints: bool,
}

impl Options {
    /// A bridge whose gatekeeper shows everything that it can carry. As it is delivered, the profile names only what is
    /// published.
    #[must_use]
    pub fn accepting_everything() -> Self {
        let key = "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED";
        Self {
            environment: vec![(key.to_owned(), format!("{EVERY_KIND:?}"))],
            ..Self::default()
        }
    }
}

/// The variable with which a bridge believes at once, as others do after some minutes, that the gatekeeper does not know a user any more.
#[must_use]
pub fn refusals_believed() -> (String, String) {
    let key = "GATEHOUSE_GATEKEEPER__PROFILE__FAILURES__RE_ENLIST_AFTER_SECONDS";
    (key.to_owned(), "[]".to_owned())
}

/// A bridge: its folder, and the process while it runs.
#[derive(Debug)]
pub struct Gatehouse {
    folder: PathBuf,
    ports: Ports,
    database_url: String,
    environment: Vec<(String, String)>,
    failpoints: bool,
    process: Mutex<Option<Arc<Process>>>,
}

impl Gatehouse {
    /// Writes the configuration and lets the bridge make its registration. Nothing runs yet.
    ///
    /// # Errors
    ///
    /// When the bridge does not build or refuses the configuration.
    pub fn set_up(
        folder: &Path,
        ports: Ports,
        homeserver: &str,
        gatekeeper: &Addresses,
        options: &Options,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        private_file(
            &folder.join("config.toml"),
            &config(ports, homeserver, gatekeeper, options),
        )?;
        let gatehouse = Self {
            folder: folder.to_owned(),
            ports,
            database_url: options.database.clone().unwrap_or_else(|| {
                let file = folder.join("gatehouse.db");
                format!("sqlite:{}", file.display())
            }),
            environment: options.environment.clone(),
            failpoints: options.failpoints,
            process: Mutex::default(),
        };
        gatehouse.run(&[
            "registration",
            "-c",
            "config.toml",
            "-r",
            "registration.yaml",
        ])?;
        Ok(gatehouse)
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The registration for the homeserver.
    #[must_use]
    pub fn registration(&self) -> PathBuf {
        self.folder.join("registration.yaml")
    }

    /// The address of its database.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Whether it runs: it was started, not stopped, and has not ended by itself.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running().is_some_and(|process| process.is_running())
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running().map(|process| process.pid())
    }

    /// Everything it has logged so far, over all its starts.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.log_file())?).into_owned())
    }

    /// A token out of the registration: `as_token` or `hs_token`.
    ///
    /// # Errors
    ///
    /// When the registration does not hold it.
    pub fn token(&self, name: &str) -> Result<String> {
        let text = std::fs::read_to_string(self.registration())?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .context(format!("no {name} in the registration"))?;
        Ok(line.trim().trim_matches(['"', '\'']).to_owned())
    }

    /// Starts it without waiting for anything.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn launch(&self) -> Result<Arc<Process>> {
        let mut command = self.command()?;
        command.args(["-c", "config.toml", "-r", "registration.yaml"]);
        let process = Arc::new(Process::spawn("gatehouse", command, &self.log_file())?);
        *self.lock() = Some(Arc::clone(&process));
        Ok(process)
    }

    /// Starts it and waits until it serves both its sides.
    ///
    /// # Errors
    ///
    /// When it ends at once or does not get ready; the message ends with its log.
    pub async fn start(&self) -> Result<()> {
        let process = self.launch()?;
        let jwks = format!("{}/.well-known/oauth/openid/jwks", self.ports.public_url());
        let ready = wait::until("gatehouse to serve", Duration::from_secs(60), || async {
            if let Some(status) = process.exited()? {
                return Err(Error::new(format!("gatehouse ended with {status}")));
            }
            let client = http::client()?;
            let public = client.get(&jwks).send().await;
            let appservice = client.get(self.ports.appservice_url()).send().await;
            Ok(
                (public.is_ok_and(|answer| answer.status().is_success()) && appservice.is_ok())
                    .then_some(()),
            )
        })
        .await;
        ready.map_err(|error| Error::new(format!("{error}\n{}", process.tail(40))))
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub fn kill(&self) {
        let process = self.lock().take();
        if let Some(process) = process {
            process.kill();
        }
    }

    /// Has it end itself by SIGKILL at a failpoint: `name`, or `name:3` for the third passing from now on.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn kill_at(&self, point: &str) -> Result<()> {
        // Whole at once: the bridge reads it whenever it passes a failpoint.
        let new = self.folder.join("failpoint.new");
        std::fs::write(&new, point)?;
        std::fs::rename(new, self.failpoint())?;
        Ok(())
    }

    /// Ends [`Gatehouse::kill_at`].
    ///
    /// # Errors
    ///
    /// When the file cannot be removed.
    pub fn spare(&self) -> Result<()> {
        match std::fs::remove_file(self.failpoint()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits until it has ended itself at `point`.
    ///
    /// # Errors
    ///
    /// When it has not within `deadline`, or has ended in another way.
    pub async fn wait_for_death(&self, point: &str, deadline: Duration) -> Result<()> {
        let process = self.running().context("gatehouse does not run")?;
        let status = wait::until(&format!("death at {point}"), deadline, || async {
            process.exited()
        })
        .await?;
        let name = point.split(':').next().unwrap_or(point);
        let words = format!("failpoint {name}: killed");
        let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
        if killed && process.output()?.lines().any(|line| line == words) {
            return Ok(());
        }
        Err(Error::new(format!(
            "gatehouse ended with {status} instead of at {point}\n{}",
            process.tail(20)
        )))
    }

    /// Stops it from running without its knowing; [`Gatehouse::thaw`] lets it go on.
    pub fn freeze(&self) {
        if let Some(process) = self.running() {
            process.freeze();
        }
    }

    /// Ends [`Gatehouse::freeze`].
    pub fn thaw(&self) {
        if let Some(process) = self.running() {
            process.thaw();
        }
    }

    /// One of its numbers for monitoring, without labels; `None` if it has not been counted yet.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>> {
        let url = format!("{}/metrics", self.ports.appservice_url());
        let answer = http::client()?.get(url).send().await?.error_for_status()?;
        let text = answer.text().await?;
        Ok(text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()))
    }

    /// How much waits in it, as `gatehouse status --json` has it.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn status(&self) -> Result<serde_json::Value> {
        let url = format!("{}/_gatehouse/status", self.ports.appservice_url());
        let token = self.token("as_token")?;
        let answer = http::client()?.get(url).bearer_auth(token).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// SIGTERM, and the status it ends with.
    ///
    /// # Errors
    ///
    /// When it does not run, or has not ended after 20 s.
    pub async fn stop(&self) -> Result<ExitStatus> {
        let process = self.lock().take().context("gatehouse does not run")?;
        process.terminate(Duration::from_secs(20)).await
    }

    /// Runs another of its commands to the end and gives its standard output.
    ///
    /// # Errors
    ///
    /// When the command fails; the message carries its standard error.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.command()?.args(arguments))
    }

    /// How many events and stanzas wait in it, on all ways, as its command `status` says.
    ///
    /// # Errors
    ///
    /// As [`Gatehouse::run`].
    pub fn waiting(&self) -> Result<u64> {
        let status: serde_json::Value = serde_json::from_str(&self.run(&["status", "--json"])?)?;
        let counts = ["inbox", "outbox", "sends"].map(|kind| status[kind].as_u64());
        Ok(counts.into_iter().flatten().sum())
    }

    /// The last lines of its log, for an error message.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        match self.running() {
            Some(process) => process.tail(lines),
            None => "gatehouse does not run".to_owned(),
        }
    }

    fn command(&self) -> Result<Command> {
        let program = match self.failpoints {
            true => with_failpoints()?,
            false => &binaries()?.gatehouse,
        };
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("GATEHOUSE_FAILPOINT", self.failpoint())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn failpoint(&self) -> PathBuf {
        self.folder.join("failpoint")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("gatehouse.log")
    }

    fn running(&self) -> Option<Arc<Process>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config(ports: Ports, homeserver: &str, gatekeeper: &Addresses, options: &Options) -> String {
    let endpoint = match options.transport {
        Transport::WebSocket => &gatekeeper.chat,
        Transport::Tcp => &gatekeeper.chat_tcp,
    };
    let database = options.database.as_deref().unwrap_or("sqlite:gatehouse.db");
    format!(
        r#"[homeserver]
url = "{homeserver}"
server_name = "{SERVER_NAME}"

[appservice]
url = "{appservice}"
listen = "127.0.0.1:{appservice_port}"

[public]
listen = "127.0.0.1:{public_port}"
url = "{public}"

[database]
url = "{database}"

[gatekeeper]
endpoint = "{endpoint}"
enlistment = "{enlistment}"
jwks = "{jwks}"
integrator = 1

[gatekeeper.profile.chat]
trust_root = "{root}"

[gatekeeper.profile.media]
host = "{media}"

{more}
"#,
        appservice = options
            .appservice_url
            .clone()
            .unwrap_or_else(|| ports.appservice_url()),
        appservice_port = ports.appservice,
        public_port = ports.public,
        public = ports.public_url(),
        enlistment = gatekeeper.enlistment,
        jwks = gatekeeper.jwks,
        root = gatekeeper.root,
        media = gatekeeper.http,
        more = options.more,
    )
}
