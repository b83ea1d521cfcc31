//! Databases for tests of what lies below the bridge: a SQLite file in a temporary folder, or a database on a PostgreSQL
//! server of this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use store::{SealingKey, Store, StoreConfig};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::postgres::Postgres;
use crate::{Error, Result};

/// An empty database of one test.
#[derive(Debug)]
pub struct Database {
    url: String,
    folder: Option<TempDir>,
}

impl Database {
    /// A SQLite file in a folder of its own, which goes with this value.
    ///
    /// # Panics
    ///
    /// When no folder can be made.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            url: format!("sqlite:{}", folder.path().join("test.db").display()),
            folder: Some(folder),
        }
    }

    /// A database on this process's PostgreSQL server, which the first call starts and which ends with the process.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed or does not start; the message says how to install it.
    pub async fn postgres() -> Self {
        static SERVER: OnceCell<Postgres> = OnceCell::const_new();
        static DATABASES: AtomicU32 = AtomicU32::new(0);

        let server = SERVER
            .get_or_init(async || Postgres::start().await.expect("a PostgreSQL server"))
            .await;
        let name = format!("test{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        Self {
            url: server.database(&name).expect("a new PostgreSQL database"),
            folder: None,
        }
    }

    /// The address for [`StoreConfig`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of the SQLite file.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(TempDir::path)
    }

    /// Runs statements on the database beside whoever has it open; `BYTES` in them is the type of binary columns.
    ///
    /// # Panics
    ///
    /// When one of them fails.
    pub async fn execute(&self, statements: &str) {
        execute(&self.url, statements)
            .await
            .expect("statements that the database takes");
    }

    /// Opens the database with [`key`].
    ///
    /// # Panics
    ///
    /// When it cannot be opened.
    pub async fn open(&self) -> Store {
        Store::open(&StoreConfig::new(&self.url), key())
            .await
            .expect("an opened store")
    }
}

/// Runs statements on a database beside whoever has it open; `BYTES` in them is the type of binary columns.
///
/// # Errors
///
/// When the database cannot be reached, or refuses one of them.
pub async fn execute(url: &str, statements: &str) -> Result<()> {
    let result = match url.strip_prefix("sqlite:") {
        Some(path) => {
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .busy_timeout(Duration::from_secs(60));
            let mut connection = SqliteConnection::connect_with(&options)
                .await
                .map_err(failed)?;
            let text = AssertSqlSafe(statements.replace("BYTES", "BLOB"));
            let result = sqlx::raw_sql(text).execute(&mut connection).await.map(drop);
            connection.close().await.map_err(failed)?;
            result
        }
        None => {
            let mut connection = PgConnection::connect(url).await.map_err(failed)?;
            let text = AssertSqlSafe(statements.replace("BYTES", "BYTEA"));
            let result = sqlx::raw_sql(text).execute(&mut connection).await.map(drop);
            connection.close().await.map_err(failed)?;
            result
        }
    };
    result.map_err(failed)
}

/// How many rows of a table fulfil a condition, beside whoever has the database open.
///
/// # Errors
///
/// When it cannot be read.
pub async fn count(url: &str, table: &str, condition: &str) -> Result<i64> {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE {condition}");
    let mut session = Session::open(url).await?;
    let sql = AssertSqlSafe(sql);
    let count = match &mut session {
        Session::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(connection).await,
        Session::Postgres(connection) => sqlx::query_scalar(sql).fetch_one(connection).await,
    };
    session.close().await?;
    count.map_err(failed)
}

/// The rows of a table by what they have in a column, beside whoever has the database open.
///
/// # Errors
///
/// When it cannot be read.
pub async fn count_by(url: &str, table: &str, column: &str) -> Result<BTreeMap<String, i64>> {
    let sql = AssertSqlSafe(format!(
        "SELECT {column}, COUNT(*) FROM {table} GROUP BY {column}"
    ));
    let mut session = Session::open(url).await?;
    let rows: std::result::Result<Vec<(String, i64)>, _> = match &mut session {
        Session::Sqlite(connection) => sqlx::query_as(sql).fetch_all(connection).await,
        Session::Postgres(connection) => sqlx::query_as(sql).fetch_all(connection).await,
    };
    session.close().await?;
    Ok(rows.map_err(failed)?.into_iter().collect())
}

/// The rows of each table, beside whoever has the database open.
///
/// # Errors
///
/// When it cannot be read.
pub async fn count_rows(url: &str) -> Result<BTreeMap<String, i64>> {
    let mut session = Session::open(url).await?;
    let tables = session.tables().await;
    session.close().await?;
    let mut rows = BTreeMap::new();
    for table in tables? {
        let found = count(url, &table, "1 = 1").await?;
        rows.insert(table, found);
    }
    Ok(rows)
}

/// Holds a database, so that nobody else can write to it; readers are not held up. It ends with the value, too.
#[derive(Debug)]
pub struct Hold {
    session: Session,
}

impl Hold {
    /// Takes hold of the whole database.
    ///
    /// # Errors
    ///
    /// When that is not possible within a minute.
    pub async fn take(url: &str) -> Result<Self> {
        let mut session = Session::open(url).await?;
        let tables = session.tables().await?.join(", ");
        match &mut session {
            Session::Sqlite(connection) => {
                connection
                    .execute("BEGIN IMMEDIATE")
                    .await
                    .map_err(failed)?;
            }
            Session::Postgres(connection) => {
                connection.execute("BEGIN").await.map_err(failed)?;
                let lock = AssertSqlSafe(format!("LOCK TABLE {tables} IN EXCLUSIVE MODE"));
                connection.execute(lock).await.map_err(failed)?;
            }
        }
        Ok(Self { session })
    }

    /// Lets go of it.
    ///
    /// # Errors
    ///
    /// When the connection does not end as it should.
    pub async fn release(self) -> Result<()> {
        self.session.close().await
    }
}

/// A connection beside whoever has the database open.
#[derive(Debug)]
enum Session {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Session {
    async fn open(url: &str) -> Result<Self> {
        let opened = match url.strip_prefix("sqlite:") {
            Some(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .busy_timeout(Duration::from_secs(60));
                let connection = SqliteConnection::connect_with(&options).await;
                connection.map(Self::Sqlite)
            }
            None => PgConnection::connect(url).await.map(Self::Postgres),
        };
        opened.map_err(failed)
    }

    async fn tables(&mut self) -> Result<Vec<String>> {
        let found = match self {
            Self::Sqlite(connection) => {
                let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
                sqlx::query_scalar(sql).fetch_all(connection).await
            }
            Self::Postgres(connection) => {
                let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
                sqlx::query_scalar(sql).fetch_all(connection).await
            }
        };
        found.map_err(failed)
    }

    async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
        .map_err(failed)
    }
}

fn failed(error: sqlx::Error) -> Error {
    Error::new(error.to_string())
}

/// The sealing key of all test databases.
#[must_use]
pub fn key() -> SealingKey {
    SealingKey::from_bytes([7; 32])
}
