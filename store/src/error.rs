//! What can go wrong with the database, told apart by what the caller should do about it.

use std::fmt;

/// An error of the store. Cheap to clone, because one failed commit answers many batches.
///
/// No variant carries content: table and constraint names only.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database cannot be reached or cannot write at present (disk full, locked, connection lost). Nothing
    /// was acknowledged; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A batch's guard or a unique key refused it: somebody did this work before, or the row is gone. The batch left no trace.
    #[error("the batch was refused: {0}")]
    Conflict(String),
    /// An earlier batch of the same [`Fence`](crate::Fence) failed; this one was not tried. It may be under a new fence.
    #[error("an earlier batch of the same series failed")]
    Fenced,
    /// A row cannot be understood or opened: damaged data, or sealed under another key.
    #[error("damaged data in {table}: {reason}")]
    Corrupt {
        /// The table the row belongs to.
        table: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Another gatehouse process works on this database.
    #[error(
        "{0} is in use by another gatehouse process. Stop that process first; two must not share one database"
    )]
    InUse(String),
    /// The database was written by a newer gatehouse.
    #[error(
        "the database has migration {0}, which this gatehouse does not know: it was written by a newer version. Run that version, or restore a backup from before the upgrade"
    )]
    Newer(i64),
    /// The key file does not open this database.
    #[error(
        "the sealing key does not fit this database. Put back the key file that was made at set-up; without it the stored keys cannot be read"
    )]
    WrongKey,
    /// The key file is missing, unreadable or not private.
    #[error("sealing key: {0}")]
    KeyFile(String),
    /// A setting that cannot work.
    #[error("database setting: {0}")]
    Config(String),
    /// The database refused a statement for a reason that trying again will not mend.
    #[error("the database refused: {0}")]
    Database(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Fenced)
    }

    /// Whether a guard or unique key refused the batch.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    pub(crate) fn corrupt(table: &'static str, reason: impl fmt::Display) -> Self {
        Self::Corrupt {
            table,
            reason: reason.to_string(),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match &error {
            sqlx::Error::Database(database) => match database.kind() {
                ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
                | ErrorKind::ExclusionViolation => Self::Conflict(database.message().to_owned()),
                _ if is_passing(database.code().as_deref()) => {
                    Self::Unavailable(database.message().to_owned())
                }
                _ => Self::Database(database.message().to_owned()),
            },
            sqlx::Error::PoolTimedOut => Self::Unavailable(
                "no connection in time: is the server running, and are host, port, user and password in database.url right?"
                    .to_owned(),
            ),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}

/// Error codes that mean "not now": SQLite busy, locked, out of memory, interrupted, I/O, full, cannot open; PostgreSQL
/// connection, resource, operator intervention, system, serialisation and read-only classes.
fn is_passing(code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    if code.len() == 5
        && code
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    {
        return ["08", "53", "57", "58", "40"]
            .iter()
            .any(|class| code.starts_with(class))
            || code == "25006";
    }
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 9 | 10 | 13 | 14))
}
