//! Databases for tests: a SQLite file in a temporary folder, or a database on a private PostgreSQL server that ends with
//! the test process.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::{SealingKey, Store, StoreConfig, db::own_sql};

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
    /// When no folder can be made.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            url: format!("sqlite:{}", folder.path().join("test.db").display()),
            folder: Some(folder),
        }
    }

    /// A database on this process's PostgreSQL server, which is started by the first call.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub async fn postgres() -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);

        let server = tokio::task::spawn_blocking(server)
            .await
            .expect("the server's thread");
        let name = format!("test{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&server.url("postgres"))
            .await
            .expect("a PostgreSQL connection");
        let create = own_sql(format!("CREATE DATABASE {name}"));
        connection
            .execute(create)
            .await
            .expect("a new PostgreSQL database");
        Self {
            url: server.url(&name),
            folder: None,
        }
    }

    /// The address for [`StoreConfig`].
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of the SQLite file.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(TempDir::path)
    }

    /// Opens the database with [`key`].
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open(&self) -> Store {
        Store::open(&StoreConfig::new(&self.url), key())
            .await
            .expect("an opened store")
    }
}

/// The sealing key of all test databases.
pub fn key() -> SealingKey {
    SealingKey::from_bytes([7; 32])
}

/// The test process's PostgreSQL server, on a socket in a temporary folder.
struct Server {
    folder: PathBuf,
    /// A shell that waits for the end of its standard input, which comes with the end of this process however that ends,
    /// then stops the server and removes the folder.
    _keeper: Child,
}

const KEEPER: &str = r#"
as_owner() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
}
cd "$FOLDER" || exit 1
if [ "$(id -u)" = 0 ]; then chown postgres "$FOLDER"; fi
as_owner "$PROGRAMS/initdb" -D data --auth=trust --username=gatehouse --encoding=UTF8 --locale=C.UTF-8 --no-sync >initdb.log 2>&1 &&
as_owner "$PROGRAMS/pg_ctl" start -D data --wait --silent --log=server.log \
    -o "-c listen_addresses='' -c unix_socket_directories='$FOLDER' -c fsync=off -c max_connections=400" >start.log 2>&1
if [ $? = 0 ]; then echo ready; else cat initdb.log start.log server.log >&2; fi
cat >/dev/null
as_owner "$PROGRAMS/pg_ctl" stop -D data --mode=immediate --silent >/dev/null 2>&1
cd / && rm -rf "$FOLDER"
"#;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();

    SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .env("FOLDER", &folder)
            .env("PROGRAMS", programs())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut answer = String::new();
        let output = keeper.stdout.take().expect("the shell's output");
        BufReader::new(output)
            .read_line(&mut answer)
            .expect("the shell's answer");
        assert_eq!(answer.trim(), "ready", "PostgreSQL did not start");
        Server {
            folder,
            _keeper: keeper,
        }
    })
}

impl Server {
    fn url(&self, database: &str) -> String {
        format!(
            "postgres://gatehouse@localhost/{database}?host={}",
            self.folder.display()
        )
    }
}

/// Debian keeps the server's programs outside the path, one folder per version.
fn programs() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    folders.sort();
    folders.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders.into_iter().find(|folder| folder.join("initdb").exists()).expect(
        "PostgreSQL's initdb is missing. On Debian and Ubuntu: sudo apt-get install --yes postgresql",
    )
}
