//! What happens in the sandbox, as it happens.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{Error, Result, http, wait};

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// `receipt`, `typing`, `message`, ...
    pub name: String,
    /// What is known of it.
    pub data: Value,
}

/// Everything that has happened since the listening began, oldest first.
#[derive(Debug)]
pub struct Events {
    seen: Arc<Mutex<Vec<Event>>>,
    listening: JoinHandle<()>,
}

impl Events {
    pub(super) async fn listen(control: &str) -> Result<Self> {
        let url = format!("{control}/control/events");
        let client = reqwest::Client::builder();
        // Installs the TLS provider; the client of the harness itself gives up after a minute.
        drop(http::client()?);
        let mut answer = client.build()?.get(url).send().await?.error_for_status()?;
        let seen: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            let mut rest = String::new();
            while let Ok(Some(bytes)) = answer.chunk().await {
                rest.push_str(&String::from_utf8_lossy(&bytes));
                while let Some((block, later)) = rest.split_once("\n\n") {
                    let event = parse(block);
                    rest = later.to_owned();
                    sink.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(event);
                }
            }
        });
        Ok(Self { seen, listening })
    }

    /// What has happened so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Event> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until something has happened that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with what happened instead.
    pub async fn wait_for(&self, what: &str, accept: impl Fn(&Event) -> bool) -> Result<Event> {
        let accept = &accept;
        let found = wait::until(what, wait::PATIENCE, || async {
            Ok(self.seen().into_iter().find(accept))
        })
        .await;
        found.map_err(|error| Error::new(format!("{error}; the sandbox saw {:#?}", self.seen())))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One server-sent event; comments that keep the connection alive are none.
fn parse(block: &str) -> Option<Event> {
    let line = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(Event {
        name: line("event")?.to_owned(),
        data: serde_json::from_str(line("data")?).ok()?,
    })
}
