//! Databases for tests of what lies below the bridge: a SQLite file in a temporary folder, or a database on a PostgreSQL
//! server of this process.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use store::{SealingKey, Store, StoreConfig};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::postgres::Postgres;

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

/// The sealing key of all test databases.
#[must_use]
pub fn key() -> SealingKey {
    SealingKey::from_bytes([7; 32])
}
