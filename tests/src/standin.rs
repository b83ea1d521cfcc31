//! A homeserver that costs next to nothing: what an application service and its users need of one, kept in memory.
//!
//! It is for measuring. Behind Synapse a bridge's own speed cannot be seen; this one stores keys, rooms and events, hands out
//! one-time keys once each, and pushes transactions as Synapse does (one at a time, a hundred events at most, the
//! counts of keys with them), so the encryption of both sides is real. What it leaves out: authorisation of events beyond
//! membership, federation, limits, and keeping anything over its end.

mod auth;
mod keys;
mod push;
mod rooms;
mod routes;
mod state;
mod sync;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Notify, watch};

use crate::error::Context as _;
use crate::gatehouse::Gatehouse;
use crate::process::Process;
use crate::{Error, Result, http, wait};

use state::State;

/// The application service that it serves: what a registration says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Appservice {
    /// Where transactions go.
    pub url: String,
    /// What the application service shows to the homeserver.
    pub as_token: String,
    /// What the homeserver shows to the application service.
    pub hs_token: String,
    /// Who speaks when no user is named, without `@` and server.
    pub sender: String,
}

impl Appservice {
    /// The bridge, as its registration has it.
    ///
    /// # Errors
    ///
    /// When the registration cannot be read.
    pub fn of(gatehouse: &Gatehouse) -> Result<Self> {
        Ok(Self {
            url: gatehouse.ports().appservice_url(),
            as_token: gatehouse.token("as_token")?,
            hs_token: gatehouse.token("hs_token")?,
            sender: gatehouse.token("sender_localpart")?,
        })
    }
}

/// A stand-in in a process of its own.
#[derive(Debug)]
pub struct StandIn {
    url: String,
    process: Process,
}

impl StandIn {
    /// Starts `command`, which must [`serve`] on this port, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends or does not answer; the message ends with its log.
    pub async fn start(command: Command, port: u16, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let process = Process::spawn("the stand-in", command, &folder.join("standin.log"))?;
        let url = format!("http://127.0.0.1:{port}");
        let client = http::client()?;
        let ready = wait::until("the stand-in", Duration::from_secs(20), || async {
            if let Some(status) = process.exited()? {
                return Err(Error::new(format!("the stand-in ended with {status}")));
            }
            let versions = client.get(format!("{url}/_matrix/client/versions"));
            Ok(versions.send().await.ok().map(drop))
        })
        .await;
        ready.map_err(|error| Error::new(format!("{error}\n{}", process.tail(20))))?;
        Ok(Self { url, process })
    }

    /// The base address of its client-server interface.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Registers an ordinary user at the stand-in behind `url` and gives its full id.
///
/// # Errors
///
/// When the name is taken.
pub async fn register(url: &str, localpart: &str, password: &str) -> Result<String> {
    let body = json!({"username": localpart, "password": password, "inhibit_login": true,
                      "auth": {"type": "m.login.dummy"}});
    let request = http::client()?.post(format!("{url}/_matrix/client/v3/register"));
    let answer: serde_json::Value = request.json(&body).send().await?.json().await?;
    match answer["user_id"].as_str() {
        Some(user_id) => Ok(user_id.to_owned()),
        None => Err(Error::new(format!(
            "{localpart} was not registered: {answer}"
        ))),
    }
}

/// An event for [`LOAD_PATH`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadedEvent {
    /// The room.
    pub room_id: String,
    /// Who sent it; must be a member.
    pub sender: String,
    /// Its content, as `m.room.encrypted` has it.
    pub content: Box<serde_json::value::RawValue>,
}

/// Takes a list of [`LoadedEvent`]s at once, as if their senders had sent them at the same moment. Answers
/// `{"at": Unix time in milliseconds}`: when the first of them could be pushed.
pub const LOAD_PATH: &str = "/standin/events";

/// A homeserver on loopback. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Homeserver {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    appservice: Appservice,
    http: reqwest::Client,
    state: Mutex<State>,
    /// Rings when something waits for the application service.
    push: Notify,
    /// The position of the newest change, for those who wait for one.
    position: watch::Sender<u64>,
}

impl Homeserver {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then tells who waits for a change.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, position, pushes) = {
            let mut state = self.lock();
            let result = change(&mut state);
            (result, state.position, state.has_pushes())
        };
        self.inner.position.send_if_modified(|known| {
            let newer = *known < position;
            *known = position.max(*known);
            newer
        });
        if pushes {
            self.inner.push.notify_one();
        }
        result
    }
}

/// Serves on `port` of loopback for as long as the future is polled.
///
/// # Errors
///
/// When the port is taken.
pub async fn serve(port: u16, server_name: &str, appservice: Appservice) -> Result<()> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .context("the stand-in cannot listen")?;
    let state = State::new(server_name, &appservice.sender);
    let homeserver = Homeserver {
        inner: Arc::new(Inner {
            http: http::pooled_client()?,
            appservice,
            state: Mutex::new(state),
            push: Notify::new(),
            position: watch::Sender::new(0),
        }),
    };
    let router = routes::router(homeserver.clone());
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        () = push::push(homeserver) => Ok(()),
    }
}
