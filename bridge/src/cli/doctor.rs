//! `gatehouse doctor`: one line for each thing that must be right, with cause and cure where it is not.

use std::{fmt, path::Path, time::Duration};

use store::{SealingKey, Store, StoreConfig};

use super::{Failure, chain, print, probe};
use crate::{
    config::{Config, ConfigError},
    registration::{Registration, RegistrationError},
    translate,
};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// All is well; with what was seen.
    Good(String),
    /// It could not be told, or is not needed now; with why.
    Unknown(String),
    /// It is wrong: cause and cure.
    Bad {
        /// What is wrong.
        cause: String,
        /// What to do.
        cure: String,
    },
}

impl Finding {
    pub(super) fn good(seen: impl Into<String>) -> Self {
        Self::Good(seen.into())
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(why.into())
    }

    pub(super) fn bad(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Bad {
            cause: cause.into(),
            cure: cure.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good(seen) => f.write_str(seen),
            Self::Unknown(why) => f.write_str(why),
            Self::Bad { cause, cure } => write!(f, "{cause}\n       -> {cure}"),
        }
    }
}

/// Prints findings as they come, and remembers whether any was bad.
#[derive(Default)]
struct Report {
    bad: usize,
}

impl Report {
    fn line(&mut self, name: &str, finding: &Finding) -> Result<(), Failure> {
        let mark = match finding {
            Finding::Good(_) => "ok   ",
            Finding::Unknown(_) => "-    ",
            Finding::Bad { .. } => {
                self.bad += 1;
                "WRONG"
            }
        };
        print(&format!("{mark}  {name}: {finding}\n"))
    }
}

/// Examines everything; true if nothing is wrong.
pub(super) async fn examine(config: &Path, registration: &Path) -> Result<bool, Failure> {
    let mut report = Report::default();
    let Some(config) = configuration(&mut report, config)? else {
        return Ok(false);
    };
    let registration = registration_file(&mut report, registration, &config)?;
    report.line("database", &database(&config).await)?;
    report.line("media folder", &media_folder(&config))?;
    probe::homeserver(&config, registration.as_ref(), |name, finding| {
        report.line(name, &finding)
    })
    .await?;
    probe::gatekeeper(&config, |name, finding| report.line(name, &finding)).await?;
    if report.bad == 0 {
        print("Nothing is wrong.\n")?;
    } else {
        print(&format!("{} to mend; begin with the first.\n", report.bad))?;
    }
    Ok(report.bad == 0)
}

fn configuration(report: &mut Report, path: &Path) -> Result<Option<Config>, Failure> {
    match Config::load(path) {
        Ok(config) => {
            report.line("configuration", &Finding::good(path.display().to_string()))?;
            Ok(Some(config))
        }
        Err(ConfigError::Unusable(problems)) => {
            for problem in problems {
                let finding = Finding::bad(problem.cause, problem.cure);
                report.line(&format!("configuration, {}", problem.key), &finding)?;
            }
            Ok(None)
        }
        Err(error) => {
            let cure = match &error {
                ConfigError::Unreadable { .. } | ConfigError::SecretUnreadable { .. } => {
                    "see the line above"
                }
                _ => "correct it; `gatehouse example-config` shows every key",
            };
            report.line("configuration", &Finding::bad(chain(&error), cure))?;
            Ok(None)
        }
    }
}

/// The registration, also one that disagrees: the later checks say what the homeserver makes of it.
fn registration_file(
    report: &mut Report,
    path: &Path,
    config: &Config,
) -> Result<Option<Registration>, Failure> {
    let registration = match Registration::read(path) {
        Ok(registration) => registration,
        Err(error) => {
            let cure = match &error {
                RegistrationError::Unreadable { .. } => "gatehouse registration",
                _ => "gatehouse registration --force",
            };
            report.line(
                "registration",
                &Finding::bad(chain(&error), format!("run `{cure}`")),
            )?;
            return Ok(None);
        }
    };
    let disagreements = registration.disagreements(config);
    for found in &disagreements {
        let name = format!("registration, {}", found.field);
        report.line(&name, &Finding::bad(found.cause.clone(), found.cure))?;
    }
    if disagreements.is_empty() {
        report.line(
            "registration",
            &Finding::good(format!("{} agrees", path.display())),
        )?;
    }
    if is_open_to_others(path) {
        report.line(
            "registration, permissions",
            &Finding::bad(
                "others on this machine can read its tokens, and with them act as every ghost",
                format!(
                    "chmod 640 {} (owner and the homeserver's group)",
                    path.display()
                ),
            ),
        )?;
    }
    Ok(Some(registration))
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

/// Whether files can be kept for WhatsApp, and for how many there is room.
fn media_folder(config: &Config) -> Finding {
    let folder = config.media_folder();
    let shown = folder.display().to_string();
    // The first start makes it inside of what is there.
    let there = folder.ancestors().find(|path| path.is_dir());
    let there = there.unwrap_or(Path::new("."));
    if let Err(error) = tempfile::tempfile_in(there) {
        return Finding::bad(
            format!("nothing can be written in {} ({error})", there.display()),
            format!("make {shown} writable for the bridge, or name another folder in media.folder"),
        );
    }
    let largest = config.gatekeeper.profile.media.max_bytes;
    match rustix::fs::statvfs(there) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let room = translate::bytes(free);
            if free < largest.saturating_mul(2) {
                Finding::bad(
                    format!(
                        "{shown} has room for {room} only, and one file may have {}",
                        translate::bytes(largest)
                    ),
                    "make room, name a folder on another disk in media.folder, or lower gatekeeper.profile.media.max_bytes",
                )
            } else if there == folder {
                Finding::good(format!("{shown} can be written and has room for {room}"))
            } else {
                Finding::good(format!(
                    "{shown} is made at the first start, with room for {room}"
                ))
            }
        }
        Err(error) => Finding::unknown(format!(
            "{shown} can be written, but how much room there is cannot be told ({error})"
        )),
    }
}

/// Whether the database was certainly never set up.
async fn is_new(config: &Config) -> bool {
    let settings = StoreConfig::new(config.database.url.clone());
    let looked = tokio::time::timeout(Duration::from_secs(20), store::is_set_up(&settings)).await;
    matches!(looked, Ok(Ok(false)))
}

async fn database(config: &Config) -> Finding {
    if let Some(path) = config.database.file()
        && !path.exists()
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        return if folder.is_dir() {
            Finding::unknown(format!(
                "{} is not there yet; the first start makes it",
                path.display()
            ))
        } else {
            Finding::bad(
                format!("the folder {} is not there", folder.display()),
                format!("mkdir -p {}", folder.display()),
            )
        };
    }
    let key = match SealingKey::load(&config.database.sealing_key) {
        Ok(key) => key,
        Err(_) if !config.database.sealing_key.exists() && is_new(config).await => {
            return Finding::unknown("the sealing key is not there yet; the first start makes it");
        }
        Err(error) => {
            return Finding::bad(
                chain(&error),
                "mend the key file as said; if it is lost or damaged, put it back from your backup: without it the database cannot be read",
            );
        }
    };
    let settings = StoreConfig {
        readers: 1,
        ..StoreConfig::new(config.database.url.clone())
    };
    let opening = tokio::time::timeout(Duration::from_secs(20), Store::open(&settings, key)).await;
    match opening {
        Ok(Ok(store)) => {
            store.close().await;
            Finding::good("it opens, and the sealing key fits")
        }
        Ok(Err(store::Error::InUse(_))) => Finding::good("the running bridge has it open"),
        Ok(Err(error @ store::Error::WrongKey)) => Finding::bad(
            chain(&error),
            "put back the key file that belongs to this database, or correct database.sealing_key",
        ),
        Ok(Err(error)) => Finding::bad(chain(&error), "correct [database] in the configuration"),
        Err(_) => Finding::bad(
            "the database server does not answer",
            "is it running, and is its address in database.url right?",
        ),
    }
}
