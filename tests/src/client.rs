//! A real encrypting Matrix client: matrix-js-sdk with its Rust crypto, in a Node process of its own.
//!
//! `tests/clients/matrix-client.mjs` is driven over JSON lines. The client cross-signs its own device and, unless
//! told otherwise, excludes insecure devices: it gives no keys to unsigned devices and shows none of their messages.

mod attachments;
mod devices;
mod events;
mod types;

use std::collections::HashMap;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::error::Context as _;
use crate::process::Process;
use crate::{Error, Result, binaries, cache};

pub use types::{Download, Login, Room, TimelineEvent, Upload};

/// How long a client may take to answer: longer than the longest outage that a test makes.
const ANSWER: Duration = Duration::from_secs(1200);

/// Where the driver scripts and their pinned package list are.
fn scripts() -> PathBuf {
    binaries::workspace().join("tests/clients")
}

/// Installs the clients' npm packages, exactly those of the lock file, and gives the folder that holds them.
///
/// # Errors
///
/// When npm is missing or cannot fetch.
pub fn install() -> Result<PathBuf> {
    let lock = std::fs::read(scripts().join("package-lock.json"))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &lock);
    let version = hex::encode(digest.as_ref().get(..6).unwrap_or_default());
    cache::once(&format!("clients-{version}"), |folder| {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(scripts().join(name), folder.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder);
        cache::run("installing the test clients (npm)", &mut npm)
    })
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value>>>>>;

/// A logged-in Matrix client with its own device and keys.
#[derive(Debug)]
pub struct Client {
    user_id: String,
    device_id: String,
    stdin: Mutex<ChildStdin>,
    waiting: Waiting,
    changed: watch::Receiver<u64>,
    next: AtomicU64,
    process: Process,
}

impl Client {
    /// Starts a client that excludes insecure devices and logs in; `log` takes what it has to say.
    ///
    /// # Errors
    ///
    /// When Node or its packages are missing, or the homeserver refuses.
    pub async fn login(login: &Login<'_>, log: &Path) -> Result<Self> {
        Self::start(login, true, log).await
    }

    /// As [`Client::login`], but the user has no cross-signing keys and the device is signed by nobody: what a
    /// careful client must not trust.
    ///
    /// # Errors
    ///
    /// As [`Client::login`].
    pub async fn login_unsigned(login: &Login<'_>, log: &Path) -> Result<Self> {
        Self::start(login, false, log).await
    }

    async fn start(login: &Login<'_>, signed: bool, log: &Path) -> Result<Self> {
        let packages = install()?;
        let mut node = Command::new("node");
        node.arg(scripts().join("matrix-client.mjs"))
            .env("GATEHOUSE_CLIENTS", packages);
        let process = Process::spawn_piped("matrix client", node, log)?;
        let (stdin, stdout) = process.take_pipes().context("the client's pipes")?;
        let waiting = Waiting::default();
        let (change, changed) = watch::channel(0);
        let answers = Arc::clone(&waiting);
        // A thread, not a task: clients outlive the runtime of a single test.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout)
                .lines()
                .map_while(std::result::Result::ok)
            {
                dispatch(&line, &answers, &change);
            }
            lock(&answers).clear(); // whoever still waits learns that the client is gone
        });
        let mut client = Self {
            user_id: String::new(),
            device_id: String::new(),
            stdin: Mutex::new(stdin),
            waiting,
            changed,
            next: AtomicU64::new(1),
            process,
        };
        let session = client
            .ask(
                "login",
                json!({
                    "homeserver": login.homeserver, "user": login.user, "password": login.password,
                    "exclude_insecure": !login.accepts_insecure, "cross_sign": signed,
                     "device_name": "test client",
                }),
            )
            .await?;
        let said = |name: &str| {
            let said = session[name].as_str().map(str::to_owned);
            said.context(format!("login gave no {name}"))
        };
        (client.user_id, client.device_id) = (said("user_id")?, said("device_id")?);
        Ok(client)
    }

    /// The full Matrix id.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Opens an encrypted direct chat, encrypted from its first event, and gives its room id.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn direct_chat(&self, with: &str) -> Result<String> {
        self.create_room(json!({"invite": [with], "encrypted": true, "is_direct": true}))
            .await
    }

    /// Opens a room; the keys are those of the driver's `create_room`.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn create_room(&self, options: Value) -> Result<String> {
        let answer = self.ask("create_room", options).await?;
        Ok(answer["room_id"].as_str().context("no room id")?.to_owned())
    }

    /// Every room this client knows.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn rooms(&self) -> Result<Vec<Room>> {
        self.ask_for("rooms", json!({})).await
    }

    /// Joins a room it is invited to.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn join(&self, room: &str) -> Result<()> {
        self.ask("join", json!({"room_id": room})).await.map(drop)
    }

    /// Leaves a room.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.ask("leave", json!({"room_id": room})).await.map(drop)
    }

    /// Sends a text, encrypted if the room is, and gives the event id. Sends to one room keep their order.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn send(&self, room: &str, text: &str) -> Result<String> {
        self.send_with(room, json!({"body": text})).await
    }

    /// Sends a text with its HTML form.
    ///
    /// # Errors
    ///
    /// When it cannot be encrypted or sent.
    pub async fn send_html(&self, room: &str, text: &str, html: &str) -> Result<String> {
        self.send_with(room, json!({"body": text, "formatted_body": html}))
            .await
    }

    async fn send_with(&self, room: &str, mut message: Value) -> Result<String> {
        message["room_id"] = json!(room);
        let answer = self.ask("send", message).await?;
        Ok(answer["event_id"]
            .as_str()
            .context("no event id")?
            .to_owned())
    }

    /// Forgets the room's key: the next message comes with a new one.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn discard_session(&self, room: &str) -> Result<()> {
        self.ask("discard_session", json!({"room_id": room}))
            .await
            .map(drop)
    }

    /// What the room shows from the `from`-th event on, in the server's order, state events included.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn timeline_from(&self, room: &str, from: usize) -> Result<Vec<TimelineEvent>> {
        let mut answer = self
            .ask("timeline", json!({"room_id": room, "from": from}))
            .await?;
        Ok(serde_json::from_value(answer["events"].take())?)
    }

    /// The whole of [`Client::timeline_from`].
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn timeline(&self, room: &str) -> Result<Vec<TimelineEvent>> {
        self.timeline_from(room, 0).await
    }

    /// A client-server request as this user, for what has no function of its own.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        query: Value,
        body: Value,
    ) -> Result<Value> {
        let body = if body.is_null() {
            json!({})
        } else {
            json!({"body": body})
        };
        let mut ask = json!({"method": method, "path": path, "query": query});
        if let Some(body) = body.get("body") {
            ask["body"] = body.clone();
        }
        self.ask("request", ask).await
    }

    /// Looks at `probe` again whenever what the client shows has changed, until it gives `Some`.
    ///
    /// # Errors
    ///
    /// The probe's error, or a timeout that names `what` was waited for.
    pub async fn until<T, F, Fut>(&self, what: &str, deadline: Duration, mut probe: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        let mut changed = self.changed.clone();
        let looking = async {
            loop {
                changed.mark_unchanged();
                if let Some(value) = probe().await? {
                    return Ok(value);
                }
                changed.changed().await.context("the client has ended")?;
            }
        };
        match tokio::time::timeout(deadline, looking).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(format!(
                "{} waited {} s for {what}",
                self.user_id,
                deadline.as_secs()
            ))),
        }
    }

    /// Waits for an event in the room that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with what the room shows instead.
    pub async fn wait_for(
        &self,
        room: &str,
        what: &str,
        accept: impl Fn(&TimelineEvent) -> bool,
    ) -> Result<TimelineEvent> {
        let accept = &accept;
        let found = self
            .until(what, crate::wait::PATIENCE, || async move {
                Ok(self.timeline(room).await?.into_iter().find(accept))
            })
            .await;
        match found {
            Ok(event) => Ok(event),
            Err(error) => {
                let shown = self.timeline(room).await?;
                let lines: Vec<String> = shown.iter().map(TimelineEvent::summary).collect();
                Err(Error::new(format!(
                    "{error}; the room shows\n{}",
                    lines.join("\n")
                )))
            }
        }
    }

    /// Waits for this text from this sender.
    ///
    /// # Errors
    ///
    /// A timeout, with what the room shows instead.
    pub async fn wait_for_text(
        &self,
        room: &str,
        sender: &str,
        text: &str,
    ) -> Result<TimelineEvent> {
        self.wait_for(room, &format!("{text:?} from {sender}"), |event| {
            event.sender == sender && event.body() == Some(text)
        })
        .await
    }

    /// Waits until it is invited by `inviter` and gives the room.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_for_invite(&self, inviter: &str) -> Result<Room> {
        self.until(
            &format!("an invitation from {inviter}"),
            crate::wait::PATIENCE,
            || async {
                let rooms = self.rooms().await?;
                Ok(rooms.into_iter().find(|room| {
                    room.membership == "invite" && room.inviter.as_deref() == Some(inviter)
                }))
            },
        )
        .await
    }

    /// Waits until `user` has joined the room.
    ///
    /// # Errors
    ///
    /// A timeout.
    pub async fn wait_for_member(&self, room: &str, user: &str) -> Result<()> {
        self.until(
            &format!("{user} to join"),
            crate::wait::PATIENCE,
            || async {
                let rooms = self.rooms().await?;
                let found = rooms.into_iter().find(|each| each.room_id == room);
                Ok(found
                    .filter(|room| room.members.get(user).is_some_and(|is| is == "join"))
                    .map(drop))
            },
        )
        .await
    }

    async fn ask_for<T: DeserializeOwned>(&self, op: &str, arguments: Value) -> Result<T> {
        Ok(serde_json::from_value(self.ask(op, arguments).await?)?)
    }

    async fn ask(&self, op: &str, mut arguments: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        arguments["id"] = json!(id);
        arguments["op"] = json!(op);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        writeln!(lock(&self.stdin), "{arguments}").context("the client does not listen")?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(result)) => {
                result.map_err(|error| Error::new(format!("{op} by {}: {error}", self.user_id)))
            }
            Ok(Err(_)) => Err(Error::new(format!(
                "the client ended during {op}\n{}",
                self.process.tail(20)
            ))),
            Err(_) => Err(Error::new(format!(
                "no answer to {op} in {} s\n{}",
                ANSWER.as_secs(),
                self.process.tail(20)
            ))),
        }
    }
}

fn dispatch(line: &str, waiting: &Waiting, change: &watch::Sender<u64>) {
    let Ok(mut message) = serde_json::from_str::<Value>(line) else {
        return;
    };
    if let Some(id) = message["id"].as_u64() {
        let result = match message["error"].as_str() {
            Some(error) => Err(Error::new(error)),
            None => Ok(message["ok"].take()),
        };
        if let Some(sender) = lock(waiting).remove(&id) {
            let _ = sender.send(result);
        }
    } else if message["changed"] == true {
        change.send_modify(|count| *count += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
