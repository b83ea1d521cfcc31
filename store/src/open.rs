//! Opening a database: lock, migrate, check the key.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{Error, db::Readers, meta, writer::Writing};

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

/// How long a reader waits for a free connection, and SQLite for a lock.
const PATIENCE: Duration = Duration::from_secs(10);
/// Prepared statements kept per connection: about forty shapes, some in seven sizes.
const STATEMENTS: usize = 400;

/// Where the database is and how it is used.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:/path/to/file.db` (or a plain path), or `postgres://user:password@host/database`.
    pub url: String,
    /// Connections for reading.
    pub readers: u32,
    /// Batches that may wait to be written before [`Store::commit`](crate::Store::commit) itself waits.
    pub queue: usize,
}

impl StoreConfig {
    /// The defaults: four readers, a queue of 4,096 batches.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            readers: 4,
            queue: 4096,
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address of a PostgreSQL database may carry its password.
        f.debug_struct("StoreConfig")
            .field("backend", &Backend::of(&self.url))
            .field("readers", &self.readers)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// The engine behind a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Embedded; one file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Backend {
    fn of(url: &str) -> Self {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::Postgres
        } else {
            Self::Sqlite
        }
    }
}

/// An opened, migrated database.
pub(crate) struct Opened {
    pub(crate) readers: Readers,
    pub(crate) writing: Writing,
    pub(crate) backend: Backend,
    /// Held until the writer ends.
    pub(crate) lock: Option<File>,
}

pub(crate) async fn open(config: &StoreConfig) -> Result<Opened, Error> {
    match Backend::of(&config.url) {
        Backend::Sqlite => sqlite(config).await,
        Backend::Postgres => postgres(config).await,
    }
}

fn sqlite_path(url: &str) -> Result<&Path, Error> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains(":memory:") {
        return Err(Error::Config(
            "SQLite needs a file, for example sqlite:/var/lib/gatehouse/gatehouse.db".to_owned(),
        ));
    }
    Ok(Path::new(path))
}

async fn sqlite(config: &StoreConfig) -> Result<Opened, Error> {
    let path = sqlite_path(&config.url)?;
    let lock = lock_file(path)?;
    private_file(path)?;

    let writing = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(STATEMENTS)
        // Sorting must not spill into files, and an idle WAL must not stay large.
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-16384");
    // One connection brings the file up to date; readers come after it, when WAL mode is on.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(writing.clone())
        .await?;
    let migrated = SQLITE.run(&pool).await;
    pool.close().await;
    migrated.map_err(migration)?;

    let readers = SqlitePoolOptions::new()
        .max_connections(config.readers.max(1))
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .connect_with(writing.clone().read_only(true))
        .await?;
    Ok(Opened {
        readers: Readers::Sqlite(readers),
        writing: Writing::Sqlite(writing),
        backend: Backend::Sqlite,
        lock: Some(lock),
    })
}

fn postgres_options(config: &StoreConfig) -> Result<PgConnectOptions, Error> {
    Ok(PgConnectOptions::from_str(&config.url)
        .map_err(|e| Error::Config(format!("the PostgreSQL address cannot be read: {e}")))?
        .application_name("gatehouse")
        .statement_cache_capacity(STATEMENTS)
        .options([("synchronous_commit", "on")]))
}

async fn postgres(config: &StoreConfig) -> Result<Opened, Error> {
    let writing = postgres_options(config)?;
    let readers = PgPoolOptions::new()
        .max_connections(config.readers.max(1))
        .acquire_timeout(PATIENCE)
        .connect_with(writing.clone())
        .await?;
    POSTGRES.run(&readers).await.map_err(migration)?;
    Ok(Opened {
        readers: Readers::Postgres(readers),
        writing: Writing::Postgres(writing),
        backend: Backend::Postgres,
        lock: None,
    })
}

/// Whether a database was set up before, so that there is a key somewhere which opens it. It only looks: nothing is made.
///
/// # Errors
/// [`Error::Unavailable`] if a server does not answer, [`Error::Config`] for an address that cannot be read.
pub async fn is_set_up(config: &StoreConfig) -> Result<bool, Error> {
    match Backend::of(&config.url) {
        Backend::Sqlite => Ok(sqlite_path(&config.url)?.exists()),
        Backend::Postgres => {
            let mut connection = PgConnection::connect_with(&postgres_options(config)?).await?;
            let table = "SELECT to_regclass('meta') IS NOT NULL";
            let mut found: bool = sqlx::query_scalar(table).fetch_one(&mut connection).await?;
            if found {
                found = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM meta WHERE key = $1)")
                    .bind(meta::SEAL_CHECK)
                    .fetch_one(&mut connection)
                    .await?;
            }
            connection.close().await?;
            Ok(found)
        }
    }
}

fn migration(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => Error::Newer(version),
        MigrateError::Execute(error) => error.into(),
        error => Error::Database(error.to_string()),
    }
}

/// Two processes on one SQLite file would each think they were alone. The lock goes with the process, however it ends.
fn lock_file(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = open_private(&name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse(path.display().to_string())),
        Err(std::fs::TryLockError::Error(e)) => Err(Error::Config(format!(
            "cannot lock {}: {e}",
            name.display()
        ))),
    }
}

/// SQLite gives its WAL the mode of the database file.
fn private_file(path: &Path) -> Result<(), Error> {
    open_private(path).map(drop)
}

fn open_private(path: &Path) -> Result<File, Error> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|e| {
        Error::Config(format!(
            "cannot open {}: {e}. The folder must exist and be writable for gatehouse",
            path.display()
        ))
    })
}
