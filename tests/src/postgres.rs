//! A private PostgreSQL server on a free loopback port.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::Context as _;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::{Error, Result, port, process, wait};

/// A running server with its own data folder; both go with it.
#[derive(Debug)]
pub struct Postgres {
    address: String,
    port: u16,
    programs: PathBuf,
    process: Mutex<Process>,
    folder: Scratch,
}

impl Postgres {
    /// Makes a cluster with the collation C and starts it. `fsync` is off: it dies with the test.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is not installed; the message says how to install it.
    pub async fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = Scratch::new("postgres")?;
        let data = folder.path().join("data");
        if is_root()? {
            // PostgreSQL refuses to run as root: the folder and the server belong to its own user.
            process::output(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let mut init = as_server(&programs.join("initdb"))?;
        init.args([
            "--auth=trust",
            "--username=gatehouse",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        process::output(init.arg(&data).current_dir(folder.path()))
            .context("PostgreSQL's initdb")?;

        let port = port::free()?;
        let server = Self {
            address: format!("postgresql://gatehouse@127.0.0.1:{port}"),
            port,
            process: Mutex::new(launch(&programs, folder.path(), port)?),
            programs,
            folder,
        };
        server.ready().await?;
        Ok(server)
    }

    /// Ends it at once, with all its connections.
    ///
    /// # Errors
    ///
    /// When it cannot be told to.
    pub fn stop(&self) -> Result<()> {
        let mut stop = as_server(&self.programs.join("pg_ctl"))?;
        stop.args(["stop", "--mode=immediate", "--silent", "-D"])
            .arg(self.folder.path().join("data"))
            .current_dir(self.folder.path());
        process::output(&mut stop).map(drop)
    }

    /// Starts it again after [`Postgres::stop`], with the same data and port.
    ///
    /// # Errors
    ///
    /// When it does not get ready.
    pub async fn go_on(&self) -> Result<()> {
        *self.lock() = launch(&self.programs, self.folder.path(), self.port)?;
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        let what = "PostgreSQL to accept connections";
        wait::until(what, Duration::from_secs(60), || async {
            let process = self.lock();
            if let Some(status) = process.exited()? {
                let tail = process.tail(20);
                return Err(Error::new(format!(
                    "PostgreSQL ended with {status}\n{tail}"
                )));
            }
            drop(process);
            Ok(self.query("postgres", "SELECT 1").ok())
        })
        .await
        .map(drop)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an empty database and gives its address.
    ///
    /// # Errors
    ///
    /// When the name is taken.
    pub fn database(&self, name: &str) -> Result<String> {
        self.query("postgres", &format!("CREATE DATABASE \"{name}\""))?;
        Ok(format!("{}/{name}", self.address))
    }

    /// The folder of its data, its write-ahead log and its own log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything a database holds, as SQL text: for looking for what must not be in it.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn dump(&self, name: &str) -> Result<String> {
        process::output(
            Command::new(self.programs.join("pg_dump")).arg(format!("{}/{name}", self.address)),
        )
    }

    fn query(&self, database: &str, sql: &str) -> Result<String> {
        let address = format!("{}/{database}", self.address);
        process::output(
            Command::new(self.programs.join("psql"))
                .args(["-qAt", "-c", sql])
                .arg(address),
        )
    }
}

fn launch(programs: &Path, folder: &Path, port: u16) -> Result<Process> {
    let mut server = as_server(&programs.join("postgres"))?;
    server
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
        .args(["-c", "max_connections=400"])
        .args(["-c", "unix_socket_directories="])
        .args(["-c", &format!("port={port}")])
        .current_dir(folder);
    Process::spawn("postgres", server, &folder.join("server.log"))
}

/// The programs that a server and a look into it take.
const PROGRAMS: [&str; 5] = ["initdb", "postgres", "pg_ctl", "psql", "pg_dump"];

/// Debian keeps the server's programs outside the path, by version; elsewhere they are on it.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
                .collect()
        })
        .unwrap_or_default();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .find(|folder| PROGRAMS.iter().all(|program| folder.join(program).exists()))
        .context(
            "PostgreSQL's server is missing; install it: sudo apt-get install --yes postgresql",
        )
}

/// Whether PostgreSQL's programs are on this machine.
#[must_use]
pub fn is_installed() -> bool {
    programs().is_ok()
}

fn is_root() -> Result<bool> {
    Ok(process::output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn as_server(program: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    Ok(command)
}
