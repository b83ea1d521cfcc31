//! The writer's own connection, and the lock that comes with it.
//!
//! SQLite: a lock on a file beside the database (held by the store as long as it lives). PostgreSQL: an advisory lock of this very
//! session; it ends with the session, so that a process which lost its connection cannot commit while another holds the
//! lock, and a killed process leaves nothing behind. When several processes come to share a database, the lock is what
//! becomes finer (one per login), not the commit.

use std::time::Duration;

use sqlx::{
    Connection as _, Executor as _, PgConnection, SqliteConnection, postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::plan::Run;
use crate::{
    Backend, Error,
    db::{own_sql, postgres_args, sqlite_args},
};

/// Any constant serves: the lock's scope is the database.
const ADVISORY_LOCK: i64 = 0x6761_7465_686f_7573;
/// How long a new session waits for the server to notice that the former one is gone.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// How to reach the database for writing.
#[derive(Clone)]
pub(crate) enum Writing {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl Writing {
    pub(super) fn engine(&self) -> Backend {
        match self {
            Self::Sqlite(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }
}

enum Session {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

pub(super) struct Connection {
    writing: Writing,
    session: Option<Session>,
}

impl Connection {
    pub(super) fn new(writing: Writing) -> Self {
        Self {
            writing,
            session: None,
        }
    }

    /// Connects if there is no connection.
    pub(super) async fn ensure(&mut self) -> Result<(), Error> {
        if self.session.is_none() {
            self.session = Some(match &self.writing {
                Writing::Sqlite(options) => {
                    Session::Sqlite(SqliteConnection::connect_with(options).await?)
                }
                Writing::Postgres(options) => Session::Postgres(lock(options).await?),
            });
        }
        Ok(())
    }

    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        self.ensure().await?;
        let begin = match self.writing {
            Writing::Sqlite(_) => "BEGIN IMMEDIATE",
            Writing::Postgres(_) => "BEGIN",
        };
        let begun = self.control(begin).await;
        if begun.is_err() {
            self.session = None;
        }
        begun
    }

    /// Makes everything since `begin` durable. After an error the connection is given up, and with it the transaction.
    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        let committed = self.control("COMMIT").await;
        if committed.is_err() {
            self.session = None;
        }
        // A commit that the database refuses is no verdict on any batch.
        committed.map_err(|error| match error {
            Error::Database(reason) | Error::Conflict(reason) => Error::Unavailable(reason),
            error => error,
        })
    }

    /// Drops the connection, whatever it was at.
    pub(super) fn give_up(&mut self) {
        self.session = None;
    }

    pub(super) async fn rollback(&mut self) {
        if let Err(error) = self.control("ROLLBACK").await {
            warn!(%error, "cannot roll back; connecting anew");
            self.session = None;
        }
    }

    /// A statement that moves no rows: transactions and savepoints.
    pub(super) async fn control(&mut self, sql: &'static str) -> Result<(), Error> {
        match self.session()? {
            Session::Sqlite(connection) => connection.execute(sql).await.map(drop),
            Session::Postgres(connection) => connection.execute(sql).await.map(drop),
        }
        .map_err(Error::from)
    }

    pub(super) async fn run(&mut self, run: &Run<'_>) -> Result<(), Error> {
        let sql = own_sql(run.sql.clone());
        let changed = match self.session()? {
            Session::Sqlite(connection) => {
                let query = sqlx::query_with(sql, sqlite_args(run.args())?);
                query.execute(connection).await?.rows_affected()
            }
            Session::Postgres(connection) => {
                let query = sqlx::query_with(sql, postgres_args(run.args())?);
                query.execute(connection).await?.rows_affected()
            }
        };
        match run.expect {
            Some(expected) if expected != changed => Err(Error::Conflict(format!(
                "{}: {changed} rows changed where {expected} were expected",
                run.table
            ))),
            _ => Ok(()),
        }
    }

    pub(super) async fn close(&mut self) {
        let closed = match self.session.take() {
            Some(Session::Sqlite(connection)) => connection.close().await,
            Some(Session::Postgres(connection)) => connection.close().await,
            None => Ok(()),
        };
        if let Err(error) = closed {
            warn!(%error, "closing the database");
        }
    }

    fn session(&mut self) -> Result<&mut Session, Error> {
        self.session
            .as_mut()
            .ok_or_else(|| Error::Unavailable("not connected".to_owned()))
    }
}

async fn lock(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(ADVISORY_LOCK)
            .fetch_one(&mut connection)
            .await?;
        if locked {
            return Ok(connection);
        }
        if Instant::now() >= deadline {
            let name = options.get_database().unwrap_or_default();
            return Err(Error::InUse(format!("the PostgreSQL database {name}")));
        }
        sleep(LOCK_PAUSE).await;
    }
}
