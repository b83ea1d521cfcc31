//! The sandbox gatekeeper as a process, and its control API.

mod events;
mod phone;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::binaries::binaries;
use crate::error::Context as _;
use crate::process::Process;
use crate::{Error, Result, http, port};

pub use events::{Event, Events};
pub use phone::{Message, Phone, PhoneUpload, digits};

/// How long a program may take to print its ready line on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Where the sandbox's parts are; its ready line.
#[derive(Debug, Clone, Deserialize)]
pub struct Addresses {
    /// Base address of the control API.
    pub control: String,
    /// Base address of the gatekeeper's HTTP side: enlistment, the chat's WebSocket, media.
    pub http: String,
    /// The same over TLS, for stock clients.
    pub https: String,
    /// Where users are enlisted.
    pub enlistment: String,
    /// The key set that verifies pushes.
    pub jwks: String,
    /// The chat's WebSocket.
    pub chat: String,
    /// The chat over plain TCP.
    pub chat_tcp: String,
    /// Root key of the chat's certificate chain, in hexadecimal.
    pub root: String,
    /// The page that shows a phone, up to its number.
    pub phone_page: String,
}

/// A sandbox on fixed loopback ports, so that it can be stopped and come back where it was.
#[derive(Debug)]
pub struct Sandbox {
    folder: PathBuf,
    arguments: Vec<String>,
    addresses: Addresses,
    process: Mutex<Option<Arc<Process>>>,
}

impl Sandbox {
    /// Starts a sandbox with one partner, integrator 1; `partner` holds its other settings, at least
    /// `base_url=` of its key set and push endpoint. It records all that the partner sends, and keeps its state
    /// over a restart.
    ///
    /// # Errors
    ///
    /// When it does not build or does not get ready.
    pub async fn start(folder: &Path, partner: &str) -> Result<Self> {
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let keep = [
            "--state",
            &file("state.json"),
            "--record",
            &file("wire.bin"),
        ];
        Self::start_with(folder, partner, &keep).await
    }

    /// As [`Sandbox::start`], with other arguments than those that keep and record: with none it keeps nothing, and is
    /// the faster for it.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::start`].
    pub async fn start_with(folder: &Path, partner: &str, more: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut arguments = vec!["serve".to_owned(), "--json".to_owned()];
        for name in ["--control", "--http", "--https", "--tcp"] {
            arguments.extend([name.to_owned(), format!("127.0.0.1:{}", port::free()?)]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments.extend(["--partner".to_owned(), format!("integrator=1,{partner}")]);
        let (process, addresses) = launch(folder, &arguments).await?;
        let process = Mutex::new(Some(Arc::new(process)));
        Ok(Self {
            folder: folder.to_owned(),
            arguments,
            addresses,
            process,
        })
    }

    /// Where its parts are.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether it runs: it was started, not stopped, and has not ended by itself.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.lock()
            .as_ref()
            .is_some_and(|process| process.is_running())
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(|process| process.pid())
    }

    /// Stops it politely; it keeps its state.
    ///
    /// # Errors
    ///
    /// When it had to be killed.
    pub async fn stop(&self) -> Result<()> {
        let process = self.lock().take();
        match process {
            Some(process) => process.terminate(Duration::from_secs(20)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Lets it hang: its ports stay open and nothing answers. [`Sandbox::thaw`] lets it go on.
    pub fn freeze(&self) {
        if let Some(process) = self.lock().as_ref() {
            process.freeze();
        }
    }

    /// Ends [`Sandbox::freeze`].
    pub fn thaw(&self) {
        if let Some(process) = self.lock().as_ref() {
            process.thaw();
        }
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    ///
    /// When it does not get ready.
    pub async fn go_on(&self) -> Result<()> {
        let (process, _) = launch(&self.folder, &self.arguments).await?;
        *self.lock() = Some(Arc::new(process));
        Ok(())
    }

    /// Adds a phone.
    ///
    /// # Errors
    ///
    /// When the number is taken or is none.
    pub async fn phone(&self, number: &str, name: &str) -> Result<Phone> {
        self.post("phones", json!({"number": number, "name": name}))
            .await?;
        Ok(Phone::new(self.addresses.control.clone(), number))
    }

    /// Changes the faults: the keys are those of the control API.
    ///
    /// # Errors
    ///
    /// When the sandbox refuses.
    pub async fn faults(&self, faults: Value) -> Result<()> {
        self.post("faults", faults).await.map(drop)
    }

    /// Moves the sandbox's clock forward.
    ///
    /// # Errors
    ///
    /// When the sandbox refuses.
    pub async fn advance_clock(&self, seconds: u64) -> Result<()> {
        self.post("clock", json!({"advance_seconds": seconds}))
            .await
            .map(drop)
    }

    /// What it knows of an enlisted user; `None` if there is none of that identifier.
    ///
    /// # Errors
    ///
    /// When the sandbox is gone.
    pub async fn partner_user(&self, user: &str) -> Result<Option<Value>> {
        let answer = request(
            &self.addresses.control,
            reqwest::Method::GET,
            "partners",
            None,
        )
        .await?;
        let users = answer["partners"][0]["users"]
            .as_array()
            .context("the answer lists no users")?;
        Ok(users.iter().find(|each| each["user"] == user).cloned())
    }

    /// Listens to what happens in it from now on.
    ///
    /// # Errors
    ///
    /// When the sandbox is gone.
    pub async fn events(&self) -> Result<Events> {
        Events::listen(&self.addresses.control).await
    }

    /// Every byte that the partner sent: as it came, and decrypted out of Noise.
    ///
    /// # Errors
    ///
    /// When the record cannot be read.
    pub async fn wire(&self) -> Result<Vec<u8>> {
        let url = format!("{}/control/wire", self.addresses.control);
        let answer = http::client()?.get(url).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        request(
            &self.addresses.control,
            reqwest::Method::POST,
            path,
            Some(body),
        )
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn launch(folder: &Path, arguments: &[String]) -> Result<(Process, Addresses)> {
    let mut command = Command::new(&binaries()?.sandbox);
    command.args(arguments).current_dir(folder);
    let process = Process::spawn("sandbox", command, &folder.join("sandbox.log"))?;
    let addresses = process
        .wait_for_line("the sandbox's ready line", START, |line| {
            serde_json::from_str(line).ok()
        })
        .await?;
    Ok((process, addresses))
}

/// One request to the control API; its errors carry cause and cure.
pub(crate) async fn request(
    control: &str,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value> {
    let mut request = http::client()?.request(method, format!("{control}/control/{path}"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        return Err(Error::new(format!(
            "the sandbox answered {status} to {path}: {text}"
        )));
    }
    Ok(if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text)?
    })
}
