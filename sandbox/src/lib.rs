//! A gatekeeper that anyone can run.
//!
//! It does what the published documents say WhatsApp's side of the interoperability interface does:
//! it enlists partners' users, checks their tokens against the key set that it fetches from the
//! partner, speaks the chat protocol over WebSocket and TCP, keeps mailboxes for thirty days, and
//! pushes. It also carries *phones*, simulated WhatsApp users with Signal keys of their own, which a
//! control API moves. Nothing in it reaches WhatsApp.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sandbox::{Config, PartnerConfig, Sandbox};
//!
//! let partners = vec![PartnerConfig::new(1, "http://127.0.0.1:29334")];
//! let sandbox = Sandbox::start(Config { partners, ..Config::default() }).await?;
//! println!("chat at {}", sandbox.addresses().chat);
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```

mod account;
pub mod assumed;
mod chat;
pub mod cli;
mod clock;
mod config;
mod control;
mod edge;
mod events;
mod faults;
mod keys;
mod mailbox;
mod media;
mod partner;
mod phone;
mod push;
mod record;
mod state;
mod stock;
mod tls;
mod world;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::{
    clock::Clock,
    keys::ServerKeys,
    media::Files,
    record::Recorder,
    tls::{Certificate, TlsListener},
    world::{Parts, Work, World},
};
pub use self::{
    config::{Config, DEFAULT_AUDIENCE, PARTNER_JWKS_PATH, PartnerConfig, PartnerError},
    control::Addresses,
    edge::{CHAT_PATH, ENLIST_PATH, JWKS_PATH},
    faults::{
        Faults, FaultsChange, MediaFault, MediaFaultChange, NoFault, TokenFault, TokenFaultChange,
    },
    keys::KeysError,
    phone::{
        NotANumber, Number,
        log::{Card, Encrypted, Entry, MediaState, Place, Reaction, Status},
    },
    state::StateError,
    tls::TlsError,
};

/// Time that connections get to say goodbye when the sandbox stops.
const STOPPING: Duration = Duration::from_secs(3);

/// Time to connect for a file.
const MEDIA_CONNECT: Duration = Duration::from_secs(10);

/// Time in which the next bytes of a file must come.
const MEDIA_SILENCE: Duration = Duration::from_secs(60);

/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// A running sandbox. Dropping it stops it at once; [`Sandbox::stop`] says goodbye and saves.
#[derive(Debug)]
pub struct Sandbox {
    world: Arc<World>,
    addresses: Addresses,
    state: Option<PathBuf>,
    tasks: Vec<JoinHandle<()>>,
    connections: TaskTracker,
}

/// Why a sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or the address is not this machine's.
    #[error(
        "cannot listen on {address} for {what}: {source}; choose another with --{what} (port 0 takes a free one)"
    )]
    Listen {
        /// What listens there.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The record cannot be written.
    #[error("cannot write the record {path}: {source}")]
    Record {
        /// Its file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder of files cannot be made.
    #[error("the folder for files cannot be made: {0}; see whether the disk has room")]
    Files(io::Error),
    /// The keys cannot be made.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The state file cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
}

impl Sandbox {
    /// Starts a sandbox: when this returns, all its ports take connections.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // Fails when the process has a provider already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = tls::client(|builder| builder)?;
        let media_http = tls::client(|builder| {
            builder
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(MEDIA_CONNECT)
                .read_timeout(MEDIA_SILENCE)
        })?;
        let files = Files::open(config.state.as_deref()).map_err(StartError::Files)?;
        let recorder = match &config.record {
            None => Recorder::default(),
            Some(path) => Recorder::create(path).map_err(|source| StartError::Record {
                path: path.clone(),
                source,
            })?,
        };
        let mut saved = config
            .state
            .as_deref()
            .map(state::load)
            .transpose()?
            .flatten();
        let kept = saved.as_mut().and_then(state::Saved::take_certificate);
        let certificate = Certificate::for_names(kept, &config.tls_names)?;
        let acceptor = certificate.acceptor()?;
        let (keys, clock) = match &saved {
            Some(saved) => (saved.keys()?, Clock::ahead_by(saved.ahead_ms())),
            None => (ServerKeys::generate()?, Clock::default()),
        };
        let parts = Parts {
            keys,
            clock,
            recorder,
            http,
            media_http,
            files,
            certificate,
        };
        let (world, Work { pushed, wanted }) = World::new(&config, parts);
        let world = Arc::new(world);
        if let Some(saved) = saved {
            saved.restore(&world)?;
        }

        let control = listen("control", config.control).await?;
        let http = listen("http", config.http).await?;
        let https = listen("https", config.https).await?;
        let tcp = listen("tcp", config.tcp).await?;
        let addresses = addresses(&world, &control.1, &http.1, &https.1, &tcp.1);
        world.listens_at(&addresses.http, &addresses.https);
        let (https, handshakes) = TlsListener::new(https.0, https.1, acceptor);

        let connections = TaskTracker::new();
        let stopping = world.stopping.clone();
        let mut tasks = vec![
            serve(
                "control",
                control.0,
                control::router(
                    Arc::clone(&world),
                    addresses.clone(),
                    config.control_names.clone(),
                ),
                &world,
            ),
            serve(
                "http",
                http.0,
                edge::router(Arc::clone(&world), connections.clone()),
                &world,
            ),
            serve(
                "https",
                https,
                edge::router(Arc::clone(&world), connections.clone()),
                &world,
            ),
            tokio::spawn(until(stopping.clone(), handshakes)),
            tokio::spawn(accept(Arc::clone(&world), tcp.0, connections.clone())),
            tokio::spawn(until(
                stopping.clone(),
                push::deliver(Arc::clone(&world), pushed),
            )),
            tokio::spawn(until(
                stopping.clone(),
                media::deliver(Arc::clone(&world), wanted),
            )),
            tokio::spawn(until(
                stopping.clone(),
                partner::keep_fresh(Arc::clone(&world), config.jwks_interval),
            )),
            tokio::spawn(until(stopping.clone(), sweep(Arc::clone(&world)))),
        ];
        if let Some(path) = &config.state {
            state::save(&world, path)?;
            let keep = keep_saved(Arc::clone(&world), path.clone());
            tasks.push(tokio::spawn(until(stopping, keep)));
        }
        world.push_what_waits();
        world.fetch_what_is_missing();
        info!(control = %addresses.control, http = %addresses.http, "the sandbox listens");
        Ok(Self {
            world,
            addresses,
            state: config.state,
            tasks,
            connections,
        })
    }

    /// Where its parts listen.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Stops: connections get an `<xmlstreamend/>`, and the state is saved.
    pub async fn stop(mut self) {
        self.world.stopping.cancel();
        self.connections.close();
        if tokio::time::timeout(STOPPING, self.connections.wait())
            .await
            .is_err()
        {
            warn!("some connections did not end in time");
        }
        for task in self.tasks.drain(..) {
            task.abort();
            // Aborted or ended by itself: both are what is wanted.
            let _ = task.await;
        }
        if let Some(path) = &self.state
            && let Err(error) = state::save(&self.world, path)
        {
            warn!(%error, "the state could not be saved");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.world.stopping.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn addresses(
    world: &World,
    control: &SocketAddr,
    http: &SocketAddr,
    https: &SocketAddr,
    tcp: &SocketAddr,
) -> Addresses {
    Addresses {
        control: format!("http://{control}"),
        http: format!("http://{http}"),
        https: format!("https://{https}"),
        enlistment: format!("http://{http}{ENLIST_PATH}"),
        jwks: format!("http://{http}{JWKS_PATH}"),
        chat: format!("ws://{http}{CHAT_PATH}"),
        chat_tls: format!("wss://{https}{CHAT_PATH}"),
        chat_tcp: format!("tcp://{tcp}"),
        phone_page: format!("http://{control}/phone/"),
        root: hex::encode(world.keys.root),
    }
}

async fn listen(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        what,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn serve(
    what: &'static str,
    listener: impl Listener<Addr: std::fmt::Debug>,
    router: axum::Router,
    world: &World,
) -> JoinHandle<()> {
    let stopping = world.stopping.clone();
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stopping.cancelled_owned())
            .await;
        if let Err(error) = served {
            warn!(what, %error, "a listener ended");
        }
    })
}

/// Takes TCP connections to the chat.
async fn accept(world: Arc<World>, listener: TcpListener, connections: TaskTracker) {
    loop {
        tokio::select! {
            () = world.stopping.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serve_tcp(&world, stream, &connections),
                // Out of file descriptors, or the client left: the next one may succeed.
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn serve_tcp(world: &Arc<World>, stream: TcpStream, connections: &TaskTracker) {
    connections.spawn(chat::serve_tcp(Arc::clone(world), stream));
}

async fn until(stopping: tokio_util::sync::CancellationToken, work: impl Future<Output = ()>) {
    // Either way there is nothing left to do.
    let _ = stopping.run_until_cancelled(work).await;
}

async fn sweep(world: Arc<World>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        world.sweep();
    }
}

/// Saves the state when something has changed, at most a tenth of the time.
async fn keep_saved(world: Arc<World>, path: PathBuf) {
    let mut pause = Duration::from_secs(1);
    loop {
        tokio::time::sleep(pause).await;
        if world.take_changed() {
            let begun = std::time::Instant::now();
            save(&world, &path).await;
            pause = (begun.elapsed() * 10).max(Duration::from_secs(1));
        }
    }
}

async fn save(world: &Arc<World>, path: &Path) {
    let (saved, path) = (Arc::clone(world), path.to_owned());
    match tokio::task::spawn_blocking(move || state::save(&saved, &path)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            world.touch();
            warn!(%error, "the state could not be saved");
        }
        Err(error) => warn!(%error, "saving the state was interrupted"),
    }
}

/// Locks. A panic elsewhere leaves data that is whole: no code panics half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
