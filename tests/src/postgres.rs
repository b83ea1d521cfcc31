//! A private PostgreSQL server on a free loopback port.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::Context as _;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::{Error, Result, port, process, wait};

/// A running server with its own data folder; both go with it.
#[derive(Debug)]
pub struct Postgres {
    address: String,
    programs: PathBuf,
    process: Process,
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
        let mut server = as_server(&programs.join("postgres"))?;
        server
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "max_connections=400"]);
        server.args([
            "-c",
            &format!("port={port}"),
            "-c",
            "unix_socket_directories=",
        ]);
        server.current_dir(folder.path());
        let process = Process::spawn("postgres", server, &folder.path().join("server.log"))?;
        let server = Self {
            address: format!("postgresql://gatehouse@127.0.0.1:{port}"),
            programs,
            process,
            folder,
        };
        wait::until(
            "PostgreSQL to accept connections",
            Duration::from_secs(60),
            || async {
                if let Some(status) = server.process.exited()? {
                    return Err(Error::new(format!(
                        "PostgreSQL ended with {status}\n{}",
                        server.process.tail(20)
                    )));
                }
                Ok(server.query("postgres", "SELECT 1").ok())
            },
        )
        .await?;
        Ok(server)
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

/// The programs that a server and a look into it take.
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "psql", "pg_dump"];

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
