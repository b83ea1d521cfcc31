//! A client in a Node process of its own, driven by JSON lines: `{"id":1,"op":…}` goes in, `{"id":1,"ok":…}` or
//! `{"id":1,"error":…}` comes back, and `{"changed":true}` whenever it is worth looking again.

use std::collections::HashMap;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::error::Context as _;
use crate::process::Process;
use crate::{Error, Result, binaries, cache};

/// How long a client may take to answer: longer than the longest outage that a test makes.
const ANSWER: Duration = Duration::from_secs(1200);

/// How often is looked when nothing has changed.
const AGAIN: Duration = Duration::from_secs(5);

/// Where the driver scripts of the clients are.
pub(crate) fn scripts() -> PathBuf {
    binaries::workspace().join("tests/clients")
}

/// Installs the npm packages of a folder's lock file, exactly those, once; gives the folder that holds them.
///
/// # Errors
///
/// When npm is missing or cannot fetch.
pub(crate) fn packages(name: &str, manifests: &Path, more: &[&str]) -> Result<PathBuf> {
    let lock = std::fs::read(manifests.join("package-lock.json"))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &lock);
    let version = hex::encode(digest.as_ref().get(..6).unwrap_or_default());
    cache::once(&format!("{name}-{version}"), |folder| {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(manifests.join(name), folder.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .args(more)
            .current_dir(folder);
        cache::run(&format!("installing the test {name} (npm)"), &mut npm)
    })
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value>>>>>;

/// A running client.
#[derive(Debug)]
pub(crate) struct Driven {
    /// Whose it is, for messages.
    pub(crate) name: String,
    stdin: Mutex<ChildStdin>,
    waiting: Waiting,
    changed: watch::Receiver<u64>,
    next: AtomicU64,
    process: Process,
}

impl Driven {
    /// Starts a Node command; `log` takes what it has to say.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn start(name: &'static str, node: Command, log: &Path) -> Result<Self> {
        let process = Process::spawn_piped(name, node, log)?;
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
        Ok(Self {
            name: name.to_owned(),
            stdin: Mutex::new(stdin),
            waiting,
            changed,
            next: AtomicU64::new(1),
            process,
        })
    }

    /// Asks it something and waits for the answer.
    ///
    /// # Errors
    ///
    /// What it answers, or that it does not.
    pub(crate) async fn ask(&self, op: &str, mut arguments: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        arguments["id"] = json!(id);
        arguments["op"] = json!(op);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        writeln!(lock(&self.stdin), "{arguments}").context("the client does not listen")?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(result)) => {
                result.map_err(|error| Error::new(format!("{op} by {}: {error}", self.name)))
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

    /// Looks at `probe` again whenever something may have changed, and now and then, until it gives `Some`.
    ///
    /// # Errors
    ///
    /// The probe's error, or a timeout that names `what` was waited for.
    pub(crate) async fn until<T, F, Fut>(
        &self,
        what: &str,
        deadline: Duration,
        mut probe: F,
    ) -> Result<T>
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
                // The probe may have failed at a server that was away for a moment, which is no change.
                if let Ok(changed) = tokio::time::timeout(AGAIN, changed.changed()).await {
                    changed.context("the client has ended")?;
                }
            }
        };
        match tokio::time::timeout(deadline, looking).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(format!(
                "{} waited {} s for {what}",
                self.name,
                deadline.as_secs()
            ))),
        }
    }

    /// The last lines that it logged.
    pub(crate) fn tail(&self, lines: usize) -> String {
        self.process.tail(lines)
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
