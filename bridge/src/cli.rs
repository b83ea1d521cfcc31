//! The command line.

mod ask;
mod doctor;
mod probe;

use std::{
    error::Error,
    ffi::OsString,
    future::Future,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use ruma::OwnedUserId;

use crate::{
    admin::{DISABLE_PATH, ERASE_PATH},
    client,
    config::{Config, EXAMPLE},
    log,
    quarantine::{Listed, Selection},
    registration::{Registration, Written},
    secrecy,
};

/// Any error: its text is for the operator.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Joins Matrix users to WhatsApp through its official third-party interface.
#[derive(Debug, Parser)]
#[command(
    name = "gatehouse",
    version,
    after_help = "Examples:\n  \
        gatehouse example-config > config.toml      write a configuration to begin with\n  \
        gatehouse registration                      make the file for the homeserver\n  \
        gatehouse doctor                            see what is missing\n  \
        gatehouse -c config.toml -r registration.yaml\n                                              run the bridge"
)]
struct Cli {
    #[command(flatten)]
    files: Files,
    /// The same as `registration`: make or check the file for the homeserver.
    #[arg(short = 'g', long, conflicts_with = "example_config")]
    generate_registration: bool,
    /// The same as `example-config`: print the example configuration.
    #[arg(short = 'e', long)]
    example_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Files {
    /// The configuration.
    #[arg(
        short,
        long,
        global = true,
        env = "GATEHOUSE_CONFIG",
        default_value = "config.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// The registration, which the homeserver reads too.
    #[arg(
        short,
        long,
        global = true,
        env = "GATEHOUSE_REGISTRATION",
        default_value = "registration.yaml",
        value_name = "FILE"
    )]
    registration: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge until it is stopped (the default).
    #[command(
        after_help = "Example:\n  gatehouse run -c /etc/gatehouse/config.toml -r /etc/gatehouse/registration.yaml"
    )]
    Run,
    /// Make the file that tells the homeserver about the bridge.
    ///
    /// New tokens are made for a new file, which only you may read. A file that is there is never changed without --force;
    /// with it, its tokens are kept.
    #[command(
        after_help = "Example:\n  gatehouse registration -c config.toml -r registration.yaml\nThen name the file in homeserver.yaml:\n  app_service_config_files: [/path/to/registration.yaml]"
    )]
    Registration {
        /// Replace a file that differs from the configuration, keeping its tokens.
        #[arg(long)]
        force: bool,
    },
    /// Print a configuration with every key, its default and what it means.
    #[command(after_help = "Example:\n  gatehouse example-config > config.toml")]
    ExampleConfig,
    /// Check everything that must be right, and say how to mend what is not.
    #[command(after_help = "Example:\n  gatehouse doctor -c config.toml -r registration.yaml")]
    Doctor,
    /// Print what crosses between Matrix and WhatsApp, and in which form.
    #[command(
        after_help = "Examples:\n  gatehouse capabilities -c config.toml\n  gatehouse capabilities --default"
    )]
    Capabilities {
        /// Of an unchanged configuration; no file is read.
        #[arg(long)]
        default: bool,
    },
    /// Show how much there is and how much waits.
    #[command(after_help = "Examples:\n  gatehouse status\n  gatehouse status --json")]
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring back what was set aside because it could not be handled.
    ///
    /// It works while the bridge runs and while it does not: then what is brought back is handled at the next start.
    #[command(
        after_help = "Examples:\n  gatehouse replay --list\n  gatehouse replay '$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg'\n  gatehouse replay --room '!ol19s:example.org'\n  gatehouse replay --all"
    )]
    Replay {
        #[command(flatten)]
        selected: Selected,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the Matrix users who are or were enlisted, and how each stands.
    #[command(after_help = "Examples:\n  gatehouse users\n  gatehouse users --json")]
    Users {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a user's registration at WhatsApp, as the bot's command `disable` does.
    ///
    /// Their chats stay as they are. The bridge must run.
    #[command(after_help = "Example:\n  gatehouse disable @alice:example.org")]
    Disable {
        /// The user's Matrix id.
        user: OwnedUserId,
    },
    /// End a user's registration and delete all that is kept of them, as the bot's command `erase` does.
    ///
    /// Contacts leave the user's rooms, which stay. It cannot be undone. The bridge must run.
    #[command(after_help = "Example:\n  gatehouse erase --yes @alice:example.org")]
    Erase {
        /// The user's Matrix id.
        user: OwnedUserId,
        /// Do it; without this nothing is done.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Selected {
    /// One, by the id that the list shows: of an event, a message or a transaction.
    #[arg(value_name = "EVENT", conflicts_with_all = ["room", "all"])]
    event: Option<String>,
    /// Everything of one room.
    #[arg(long, value_name = "ROOM", conflicts_with = "all")]
    room: Option<String>,
    /// Everything.
    #[arg(long, required_unless_present_any = ["event", "room", "list"])]
    all: bool,
    /// Only show what is set aside, and why.
    #[arg(long)]
    list: bool,
}

impl From<Selected> for Selection {
    fn from(selected: Selected) -> Self {
        match selected {
            Selected {
                event: Some(id), ..
            } => Self::One(id),
            Selected { room: Some(id), .. } => Self::Room(id),
            _ => Self::All,
        }
    }
}

/// Runs the program: reads the command line and does what it says. `run` is the bridge itself, given what is
/// loaded and checked.
pub fn main<F, Running>(arguments: impl IntoIterator<Item = OsString>, run: F) -> ExitCode
where
    F: FnOnce(Config, Registration) -> Running,
    Running: Future<Output = Result<(), Failure>>,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        // Help and version are "errors" too; clap prints them where they belong.
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match act(cli, run) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "gatehouse: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

fn act<F, Running>(cli: Cli, run: F) -> Result<ExitCode, Failure>
where
    F: FnOnce(Config, Registration) -> Running,
    Running: Future<Output = Result<(), Failure>>,
{
    let Cli {
        files,
        generate_registration,
        example_config,
        command,
    } = cli;
    let command = match command {
        Some(command) => command,
        None if generate_registration => Command::Registration { force: false },
        None if example_config => Command::ExampleConfig,
        None => Command::Run,
    };
    match command {
        Command::ExampleConfig => print(EXAMPLE)?,
        Command::Capabilities { default } => {
            let config = if default {
                Config::default()
            } else {
                Config::load(&files.config)?
            };
            print(&config.capabilities().markdown())?;
        }
        Command::Registration { force } => register(&files, force)?,
        Command::Run => {
            let (config, registration) = load(&files)?;
            log::start(&config.log)?;
            if let Err(error) = secrecy::no_core_dumps() {
                tracing::warn!(%error, "core dumps cannot be switched off: a crash may write messages to the disk");
            }
            client::install_tls();
            let runtime = runtime()?;
            let ended = runtime.block_on(run(config, registration));
            // Whoever still reads a file or asks for an address is not waited for.
            runtime.shutdown_timeout(Duration::from_secs(1));
            ended?;
        }
        Command::Doctor => {
            client::install_tls();
            let healthy =
                runtime()?.block_on(doctor::examine(&files.config, &files.registration))?;
            return Ok(if healthy {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Status { json } => {
            client::install_tls();
            let (config, registration) = load(&files)?;
            let status = runtime()?.block_on(ask::status(&config, &registration))?;
            print(&if json {
                to_json(&status)?
            } else {
                format!("{status}\n")
            })?;
        }
        Command::Replay { selected, json } => {
            client::install_tls();
            let (config, registration) = load(&files)?;
            let list = selected.list;
            let selection = selected.into();
            let found = runtime()?.block_on(async {
                if list {
                    ask::set_aside(&config, &registration, &selection).await
                } else {
                    ask::replay(&config, &registration, &selection).await
                }
            })?;
            print(&if json {
                to_json(&found)?
            } else {
                replayed(&found, list)
            })?;
        }
        Command::Users { json } => {
            client::install_tls();
            let (config, registration) = load(&files)?;
            let users = runtime()?.block_on(ask::users(&config, &registration))?;
            let text = if json {
                to_json(&users)?
            } else if users.is_empty() {
                "Nobody is enlisted yet: users write \"enable\" to the bot.\n".to_owned()
            } else {
                users.iter().map(|user| format!("{user}\n")).collect()
            };
            print(&text)?;
        }
        Command::Disable { user } => print(&leave(&files, DISABLE_PATH, user)?)?,
        Command::Erase { user, yes: true } => print(&leave(&files, ERASE_PATH, user)?)?,
        Command::Erase { user, yes: false } => {
            return Err(format!(
                "this deletes all that the bridge keeps of {user} and cannot be undone; if you mean it: gatehouse erase --yes {user}"
            )
            .into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the running bridge end a user's enlistment, in one way or the other; says what came of it.
fn leave(files: &Files, path: &str, user: OwnedUserId) -> Result<String, Failure> {
    client::install_tls();
    let (config, registration) = load(files)?;
    let erased = path == ERASE_PATH;
    let departure = runtime()?.block_on(ask::leave(&config, &registration, path, user))?;
    let mut text = match (departure.joined, erased) {
        (true, true) => "The registration has ended, and all that was kept is erased.",
        (true, false) => "The registration has ended. The user is told.",
        (false, true) => "There was no registration. What was kept is erased.",
        (false, false) => "There is no registration of this user.",
    }
    .to_owned();
    if departure.joined && !departure.confirmed {
        text.push_str(" WhatsApp's server could not be told: it ends the registration by itself after 30 days without a connection.");
    }
    text.push('\n');
    Ok(text)
}

fn replayed(found: &[Listed], list: bool) -> String {
    if found.is_empty() {
        return "Nothing of that is set aside.\n".to_owned();
    }
    let lines: String = found.iter().map(|entry| format!("{entry}\n")).collect();
    if list {
        return lines;
    }
    format!("{lines}Brought back: {}\n", found.len())
}

fn load(files: &Files) -> Result<(Config, Registration), Failure> {
    let config = Config::load(&files.config)?;
    let registration = Registration::load(&files.registration, &config)?;
    Ok((config, registration))
}

fn register(files: &Files, force: bool) -> Result<(), Failure> {
    let config = Config::load(&files.config)?;
    let path = &files.registration;
    let shown = path.display();
    print(&match Registration::write(path, &config, force)? {
        Written::New => format!(
            "Wrote {shown} with new tokens. Name it in the homeserver's app_service_config_files and restart the homeserver:\n  \
             app_service_config_files: [{}]\n",
            absolute(path).display()
        ),
        Written::Replaced => {
            format!(
                "Wrote {shown} anew with the tokens it had. Restart the homeserver, which reads it too.\n"
            )
        }
        Written::Unchanged => {
            format!("{shown} agrees with the configuration and was not changed.\n")
        }
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Prints to standard output. A reader that has left, such as `head`, is no error.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
