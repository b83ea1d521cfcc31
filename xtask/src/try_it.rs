//! `cargo xtask try`: a homeserver, gatehouse and the sandbox on loopback, a user and a phone, ready to talk.

use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tests::stack::{Options, Stack, enlist};
use tests::web::WebClient;
use tests::{Error, Result, binaries, cache};
use tokio::signal::unix::{SignalKind, signal};

use crate::{prerequisites, steps};

const USER: &str = "alice";
const NUMBER: &str = "+4915112345678";
const NAME: &str = "Bea";

/// Start everything on this machine and wait until it is stopped (Ctrl-C or SIGTERM)
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing leaves this machine: the gatekeeper is the sandbox, the phone is simulated. All data goes when it is stopped;
GATEHOUSE_KEEP=1 keeps the folder with configurations, databases and logs.

Examples:
  cargo xtask try --web --open
  cargo xtask try --json | head -n 1")]
pub(crate) struct Try {
    /// Print one JSON line when all is ready, for programs
    #[arg(long)]
    json: bool,
    /// Build and serve a Matrix web client too (needs Node; the first time it takes a minute)
    #[arg(long)]
    web: bool,
    /// Show the phone, and the web client if there is one, in the browser of this desktop
    #[arg(long)]
    open: bool,
}

/// What is ready.
#[derive(Serialize)]
pub(crate) struct Ready {
    /// Base address of the homeserver.
    homeserver: String,
    /// Full id of the Matrix user.
    pub(crate) user: String,
    pub(crate) password: String,
    /// Base address at which gatehouse serves the homeserver.
    gatehouse: String,
    /// Base address of the sandbox's control API.
    sandbox: String,
    /// Number of the phone, with `+`.
    phone: String,
    /// Where the phone can be looked at.
    pub(crate) phone_page: String,
    /// Where the web client is, with `--web`.
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<String>,
    /// Process ids.
    pids: Pids,
}

#[derive(Serialize)]
struct Pids {
    homeserver: Option<u32>,
    gatehouse: Option<u32>,
    sandbox: Option<u32>,
}

pub(crate) async fn run(arguments: &Try) -> Result<()> {
    // Before anything is started: a signal then ends the preparation, and what it has started with it.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stopped);
    let started = async {
        if arguments.web {
            prerequisites::to_browse()?;
        }
        let (stack, mut ready) = start().await?;
        let mut web = None;
        if arguments.web {
            let log = stack.folder().join("web-client.log");
            let served = WebClient::serve(stack.synapse.url(), &log).await?;
            ready.web = Some(served.address().to_owned());
            web = Some(served);
        }
        Ok::<_, Error>((stack, web, ready))
    };
    let (stack, _web, ready) = tokio::select! {
        started = started => started?,
        () = &mut stopped => return Ok(()),
    };
    if arguments.open {
        for page in ready.web.iter().chain([&ready.phone_page]) {
            show(page);
        }
    }
    if arguments.json {
        steps::say(serde_json::to_string(&ready)?);
    } else {
        steps::say(instructions(&stack, &ready));
    }
    let ended = tokio::select! {
        ended = part_ended(&stack) => ended,
        () = &mut stopped => Ok(()),
    };
    cache::progress("stopping");
    stack.stop().await;
    ended
}

/// Starts everything, with a user who is enlisted and a phone.
pub(crate) async fn start() -> Result<(Stack, Ready)> {
    prerequisites::to_try()?;
    // Compilers and installers block; a signal must still be heard.
    tokio::task::spawn_blocking(|| binaries::binaries().map(drop))
        .await
        .map_err(panicked)??;
    tokio::task::spawn_blocking(|| tests::synapse::install().map(drop))
        .await
        .map_err(panicked)??;
    cache::progress("starting the homeserver, the sandbox and gatehouse");
    let stack = Stack::start("try", Options::default()).await?;
    let password = password()?;
    let user = stack.synapse.register(USER, &password).await?;
    cache::progress("enlisting the user, as the bot is asked to");
    enlist(stack.synapse.url(), USER, &password, &stack.bot())
        .await
        .map_err(|error| stack.explain(error))?;
    let phone = stack.sandbox.phone(NUMBER, NAME).await?;
    let addresses = stack.sandbox.addresses();
    let ready = Ready {
        homeserver: stack.synapse.url().to_owned(),
        user,
        password,
        gatehouse: stack.gatehouse.ports().appservice_url(),
        sandbox: addresses.control.clone(),
        phone: phone.number().to_owned(),
        phone_page: phone.page(addresses),
        web: None,
        pids: Pids {
            homeserver: stack.synapse.pid(),
            gatehouse: stack.gatehouse.pid(),
            sandbox: stack.sandbox.pid(),
        },
    };
    Ok((stack, ready))
}

/// Opens an address in the desktop's browser; without a desktop its printed address has to do.
fn show(address: &str) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let opened = std::process::Command::new(opener)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opened {
        cache::progress(&format!(
            "{address} cannot be opened by itself ({opener}: {error}); open it by hand"
        ));
    }
}

/// Ends when a part ends that should go on.
async fn part_ended(stack: &Stack) -> Result<()> {
    loop {
        for (name, running) in [
            ("the homeserver", stack.synapse.is_running()),
            ("gatehouse", stack.gatehouse.is_running()),
            ("the sandbox", stack.sandbox.is_running()),
        ] {
            if !running {
                return Err(stack.explain(Error::new(format!("{name} has ended by itself"))));
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn panicked(error: tokio::task::JoinError) -> Error {
    Error::new(format!("the preparation broke off: {error}"))
}

fn password() -> Result<String> {
    tests::synapse::secret()
}

fn instructions(stack: &Stack, ready: &Ready) -> String {
    let ghost = stack.ghost_of(&ready.phone);
    let Ready {
        homeserver,
        user,
        password,
        phone,
        phone_page,
        sandbox,
        ..
    } = ready;
    let folder = stack.folder().display();
    let client = match &ready.web {
        Some(web) => format!("In the Matrix web client\n  open         {web}"),
        None => format!(
            "In a Matrix client (Element, for instance; --web brings one)\n  homeserver   {homeserver}"
        ),
    };
    format!(
        "
Ready. Nothing here reaches WhatsApp: the gatekeeper is a sandbox and {NAME}'s phone is simulated.

{NAME}'s phone
  open         {phone_page}
  or type      cargo run --package sandbox -- phone {phone} chat {user} --sandbox {sandbox}

{client}
  user         {user}
  password     {password}
  start a chat with {ghost}, or let {NAME} write first

Logs and databases are in {folder}, until this is stopped with Ctrl-C."
    )
}
