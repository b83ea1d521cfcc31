//! Running the bridge: opens what it needs, serves both sides, and ends in order.

use std::{
    io,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use gatekeeper::token::Jwks;
use puppeting::{HomeserverConfig, PuppetOptions, Puppets, Token};
use store::{Batch, SealingKey, Store, StoreConfig, prune};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin},
    appservice::{self, Appservice, SinkError},
    catch_up,
    cli::Failure,
    client,
    config::Config,
    core::{Core, Wake},
    inbox::Intake,
    later::backoff,
    leaving::AtOnce,
    media::{Hosted, Media, MediaError},
    outages,
    passes::Hold,
    public::{self, Keys, Public, PushSink},
    receipts,
    registration::Registration,
    serve::{Bounds, listen, serve},
    tokens, watch,
};

/// How often the keys of ghosts that nobody speaks to are put away.
const TIDYING: Duration = Duration::from_secs(300);
/// Room keys are kept this long at least, in milliseconds: clients use one for a week.
const ROOM_KEYS_MS: i64 = 30 * 24 * 3600 * 1000;
/// How long the neighbours may take to let go at the end. Together with [`CLOSING`] and what the runtime is given it stays under
/// five seconds, after which service managers lose their patience.
const GRACE: Duration = Duration::from_secs(2);
/// How long the database may take to write what is under way and to close. What it has not written was acknowledged to nobody.
const CLOSING: Duration = Duration::from_millis(1500);

/// Why the bridge cannot start. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum StartError {
    /// The database.
    #[error("the database cannot be opened: {0}")]
    Store(#[from] store::Error),
    /// The key file is gone, the database is not.
    #[error(
        "there is a database, but its sealing key {} is missing; put back the key file from your backup. \
         No new one was made: it could not open this database", .0.display()
    )]
    KeyMissing(PathBuf),
    /// The homeserver's address.
    #[error("the homeserver cannot be spoken to: {0}")]
    Homeserver(#[from] puppeting::HttpError),
    /// The HTTP client.
    #[error("no HTTP client can be made: {0}")]
    Http(#[from] reqwest::Error),
    /// Files.
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// Runs the bridge until it is told to stop.
///
/// # Errors
///
/// What keeps it from starting, with its cure.
pub async fn run(config: Config, registration: Registration) -> Result<(), Failure> {
    // Both addresses first: a second gatehouse notices here, before it touches the database.
    let from_homeserver = listen(config.appservice.listen, "appservice.listen").await?;
    let from_gatekeeper = listen(config.public.listen, "public.listen").await?;
    let core = open(config, &registration).await?;
    let config = Arc::new(core.config.clone());
    let intake = Arc::new(Intake::new(core.clone()));
    let hs_token = registration.hs_token.secret().to_owned();
    let inner = appservice::router(Appservice::new(config.clone(), hs_token, intake.clone()))
        .merge(admin::router(Admin::new(
            core.store.clone(),
            &registration,
            intake,
            Arc::new(AtOnce(core.clone())),
        )));
    let keys = Keys::new(config.gatekeeper.jwks.clone(), core.http.clone());
    let outer = public::router(Public::new(
        config,
        keys,
        Arc::new(Doorbell(core.clone())),
        Arc::new(Hosted(core.clone())),
    ));

    let stop = CancellationToken::new();
    let inside = tokio::spawn(serve(from_homeserver, inner, Bounds::NONE, stop.clone()));
    let outside = tokio::spawn(serve(from_gatekeeper, outer, Bounds::PUBLIC, stop.clone()));
    start(&core);
    tracing::info!("gatehouse runs");
    let ended = tokio::select! {
        () = asked_to_stop() => {
            tracing::info!("asked to stop");
            Ok(())
        }
        // A listener that ends by itself is a fault; the other one is stopped with it.
        end = inside => Err(ListenerEnded::new("appservice.listen", end)),
        end = outside => Err(ListenerEnded::new("public.listen", end)),
    };
    stop.cancel();
    crate::run::stop(&core).await;
    Ok(ended?)
}

/// A listener has ended although nobody asked for it.
#[derive(Debug, thiserror::Error)]
#[error("the listener of {key} has ended")]
struct ListenerEnded {
    /// The key of the configuration that gives its address.
    key: &'static str,
    /// Why.
    source: io::Error,
}

impl ListenerEnded {
    fn new(key: &'static str, end: Result<io::Result<()>, JoinError>) -> Self {
        let source = match end {
            Ok(Ok(())) => io::Error::other("it takes no more connections"),
            Ok(Err(error)) => error,
            Err(panic) => io::Error::other(panic),
        };
        Self { key, source }
    }
}

/// Ends with SIGTERM or SIGINT.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without it Ctrl-C still works.
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Wakes a login at the gatekeeper's push, and publishes the key set.
struct Doorbell(Arc<Core>);

#[async_trait]
impl PushSink for Doorbell {
    async fn jwks(&self) -> Result<Jwks, SinkError> {
        let set = tokens::jwks(&self.0)
            .await
            .map_err(|hold| SinkError::Unavailable(hold.reason.into()))?;
        if set.keys.is_empty() {
            // Whoever fetched an empty set would keep it for a while.
            return Err(SinkError::Unavailable("the first key is being made".into()));
        }
        Ok(set)
    }

    async fn push(&self, identifier: &str) -> Result<bool, SinkError> {
        let core = &self.0;
        let login = store::logins::get(&core.store, identifier)
            .await
            .map_err(|error| SinkError::Unavailable(Box::new(error)))?;
        if !login.is_some_and(|login| login.state == store::logins::State::Active) {
            return Ok(false);
        }
        core.logins.start(core, identifier);
        if let Some(running) = core.logins.get(identifier) {
            running.connection.wake();
        }
        Ok(true)
    }
}

/// The bridge with its database open; nothing is asked of anybody yet.
async fn open(config: Config, registration: &Registration) -> Result<Arc<Core>, StartError> {
    let store = open_store(&config).await?;
    let homeserver = HomeserverConfig {
        url: config.homeserver.url.to_string(),
        server_name: config.homeserver.server_name.clone(),
        appservice_id: registration.id.clone(),
        as_token: Token::new(registration.as_token.secret()),
        bot: config.bot_id(),
    };
    let options = PuppetOptions {
        open_machines: config.limits.open_machines,
        ..PuppetOptions::default()
    };
    let puppets = Puppets::new(homeserver, store.clone(), options)?;
    let http = client::client()?;
    let profile = config.gatekeeper.profile.clone();
    let media = Media::open(&config).await?;
    let core = Core::new(config, store, puppets, profile, http, media);
    core.resume_arrivals().await?;
    catch_up::remember(&core).await?;
    Ok(core)
}

/// Opens the database; one that is not up yet is waited for.
async fn open_store(config: &Config) -> Result<Store, StartError> {
    let mut options = StoreConfig::new(&config.database.url);
    options.readers = config.database.connections;
    let mut attempts = 0;
    loop {
        let opened = async {
            let key = sealing_key(&options, &config.database.sealing_key).await?;
            Ok(Store::open(&options, key).await?)
        };
        match opened.await {
            Err(StartError::Store(error)) if error.is_retryable() => {
                let delay = backoff(attempts);
                attempts += 1;
                tracing::warn!(%error, ?delay, "the database does not answer; it is tried again");
                tokio::time::sleep(delay).await;
            }
            result => return result,
        }
    }
}

/// The key of the database, made when neither exists. For a database that is there no key is made: the old one is lost, and a
/// new one would stand in its place.
async fn sealing_key(database: &StoreConfig, path: &Path) -> Result<SealingKey, StartError> {
    if matches!(path.try_exists(), Ok(false)) && store::is_set_up(database).await? {
        return Err(StartError::KeyMissing(path.to_owned()));
    }
    Ok(SealingKey::load_or_create(path)?)
}

/// Starts all work: the logins at once, the Matrix side as soon as the homeserver answers.
fn start(core: &Arc<Core>) {
    keep_going(core, start_logins);
    keep_going(core, start_matrix);
    keep_going(core, upkeep);
    keep_going(core, watch::run);
    core.wake(Wake::Media);
    keep_going(core, tidying);
}

/// Runs a task of the bridge; one that panics is begun anew.
fn keep_going<Work, Running>(core: &Arc<Core>, work: Work)
where
    Work: Fn(Arc<Core>) -> Running + Send + 'static,
    Running: Future<Output = ()> + Send + 'static,
{
    let core = core.clone();
    tokio::spawn(async move {
        while AssertUnwindSafe(work(core.clone()))
            .catch_unwind()
            .await
            .is_err()
        {
            tracing::error!("a task of the bridge ended by a panic; it is begun anew");
            tokio::time::sleep(backoff(3)).await;
        }
    });
}

async fn start_logins(core: Arc<Core>) {
    let mut attempts = 0;
    loop {
        let result = async {
            // No login can connect without a key to sign its token.
            tokens::keep_up(&core).await?;
            Ok::<_, Hold>(core.start_logins().await?)
        };
        match result.await {
            Ok(count) => {
                tracing::info!(count, "logins started");
                return;
            }
            Err(hold) => {
                let delay = backoff(attempts);
                attempts += 1;
                tracing::warn!(reason = %hold.reason, ?delay, "the logins cannot be started; tried again");
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// Greets the homeserver: the bot, a ping (which has Synapse deliver at once what it held back), then the devices'
/// inboxes, which hold the room keys that no transaction brought.
async fn start_matrix(core: Arc<Core>) {
    let mut attempts = 0;
    loop {
        match greet(&core).await {
            Ok(()) => break,
            Err(hold) => {
                let delay = hold.after.unwrap_or_else(|| backoff(attempts));
                attempts += 1;
                tracing::warn!(reason = %hold.reason, ?delay, "the homeserver does not answer as it should; tried again, nothing is lost meanwhile");
                tokio::time::sleep(delay).await;
            }
        }
    }
    tracing::info!("the homeserver is reached");
    keep_going(&core, catch_up::keep_up);
    keep_going(&core, outages::watch);
    let mut rooms = Vec::new();
    match core.puppets.sweep_all(|key| rooms.push(key)).await {
        Ok(result) => {
            for user in result.failed {
                core.later.wake_after(Wake::Sweep(user), backoff(2));
            }
        }
        Err(error) => tracing::warn!(%error, "the devices' inboxes could not be read"),
    }
    core.keys_arrived(&rooms);
}

async fn greet(core: &Arc<Core>) -> Result<(), Hold> {
    core.bot_puppet().await?;
    core.wake_all().await?;
    receipts::wake_all(core).await?;
    core.puppets.ping(None).await?;
    Ok(())
}

/// Deletes what is old, at the start and then a few times a day; then it also empties the `/sync` inboxes of ghosts and renews
/// token keys, which the start does by itself.
async fn upkeep(core: Arc<Core>) {
    let every = Duration::from_secs(core.config.database.prune_seconds.into());
    loop {
        prune(&core).await;
        tokio::time::sleep(every).await;
        if let Err(hold) = tokens::keep_up(&core).await {
            tracing::warn!(reason = %hold.reason, "the token keys could not be looked after");
        }
        // What came in transactions lies in these inboxes too, until somebody reads them.
        for user in core.take_unswept() {
            core.wake(Wake::Sweep(user));
        }
    }
}

/// Deletes what is old.
async fn prune(core: &Core) {
    let keep = i64::from(core.config.database.keep_seconds) * 1000;
    let now = core.now();
    let before = now.saturating_sub(keep);
    let mut batch = Batch::new();
    prune::transactions(&mut batch, before);
    prune::messages(&mut batch, before);
    prune::undecryptable(&mut batch, before);
    prune::megolm_indexes(&mut batch, before);
    prune::reports(&mut batch, before);
    prune::quarantine(&mut batch, before);
    let room_keys = before.min(now.saturating_sub(ROOM_KEYS_MS));
    puppeting::crypto_store::prune_room_keys(&mut batch, now, room_keys);
    puppeting::crypto_store::prune_message_hashes(&mut batch, before);
    puppeting::crypto_store::prune_sessions(&mut batch, before);
    if let Err(error) = core.store.commit(batch).await {
        tracing::warn!(%error, "old rows could not be deleted");
    }
}

/// Gives memory back when nobody asks for puppets, who otherwise see to it themselves.
async fn tidying(core: Arc<Core>) {
    loop {
        tokio::time::sleep(TIDYING).await;
        core.puppets.close_idle();
    }
}

/// Ends all work: no new stanzas, and what is being written is written.
async fn stop(core: &Arc<Core>) {
    let neighbours = async { tokio::join!(core.logins.stop_all(), core.media.stop()) };
    if tokio::time::timeout(GRACE, neighbours).await.is_err() {
        tracing::warn!(
            "a neighbour does not let go; what it has not taken is kept for the next start"
        );
    }
    if tokio::time::timeout(CLOSING, core.store.close())
        .await
        .is_err()
    {
        tracing::warn!(
            "the database does not close; what it has not written comes again at the next start"
        );
    }
    tracing::info!("stopped");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_ends_is_named_with_its_cause() {
        let broken = Ok(Err(io::Error::other("no more")));
        let ended = ListenerEnded::new("public.listen", broken);
        let text = crate::cli::chain(&ended);
        assert_eq!(text, "the listener of public.listen has ended: no more");
    }

    #[tokio::test]
    async fn a_lost_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gatehouse.db");
        let options = StoreConfig::new(format!("sqlite:{}", file.display()));
        let path = folder.path().join("gatehouse.key");
        sealing_key(&options, &path).await.unwrap();
        let key = std::fs::read(&path).unwrap();
        std::fs::write(&file, "a database").unwrap();
        sealing_key(&options, &path).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), key);

        std::fs::remove_file(&path).unwrap();
        let refused = sealing_key(&options, &path).await.unwrap_err().to_string();
        assert!(refused.contains("gatehouse.key is missing"), "{refused}");
        assert!(!path.exists());
    }
}
