//! What is measured, put together: homeserver, bridge and gatekeeper as processes; users who encrypt and phones.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tests::encrypting::Encrypting;
use tests::error::Context as _;
use tests::gatehouse::{self, Gatehouse, Ports};
use tests::process::private_file;
use tests::sandbox::{Phone, Sandbox, digits};
use tests::scratch::Scratch;
use tests::standin::{self, Appservice, StandIn};
use tests::synapse::{self, SERVER_NAME, Synapse};
use tests::{Error, Result, cache, http, port, stack, usage, wait};

use super::report::Processor;

/// Users enlisted, and chats opened, at a time.
const AT_ONCE: usize = 8;

/// Which homeserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    StandIn,
    Synapse,
}

/// The homeserver that runs.
#[derive(Debug)]
pub(super) enum Server {
    StandIn(StandIn),
    Synapse(Synapse),
}

/// A chat of a user and a phone.
#[derive(Debug)]
pub(super) struct Chat {
    /// Place in [`Rig::users`].
    pub(super) user: usize,
    pub(super) room: String,
    pub(super) ghost: String,
    pub(super) phone: Phone,
}

/// All of it.
pub(super) struct Rig {
    pub(super) gatehouse: Gatehouse,
    pub(super) sandbox: Sandbox,
    pub(super) server: Server,
    pub(super) users: Vec<Arc<Encrypting>>,
    pub(super) chats: Vec<Chat>,
    /// For requests in great number.
    pub(super) http: reqwest::Client,
    // Last, so that the folder goes after those who write in it.
    _scratch: Scratch,
}

impl Server {
    pub(super) fn url(&self) -> &str {
        match self {
            Self::StandIn(server) => server.url(),
            Self::Synapse(server) => server.url(),
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::StandIn(server) => Some(server.pid()),
            Self::Synapse(server) => server.pid(),
        }
    }

    async fn register(&self, user: &str) -> Result<String> {
        match self {
            Self::StandIn(server) => standin::register(server.url(), user, stack::PASSWORD).await,
            Self::Synapse(server) => server.register(user, stack::PASSWORD).await,
        }
    }
}

impl Rig {
    /// Starts everything, enlists `users`, opens `rooms` chats, and lets a message cross each way in each.
    pub(super) async fn start(kind: Kind, users: usize, rooms: usize) -> Result<Self> {
        let mut rig = Self::bare(kind).await?;
        let opened = async {
            cache::progress(&format!("enlisting {users} users"));
            rig.users = rig.enlist(users).await?;
            cache::progress(&format!("opening {rooms} chats"));
            rig.chats = rig.open(rooms).await?;
            rig.warm().await
        }
        .await;
        match opened {
            Ok(()) => Ok(rig),
            Err(error) => Err(rig.explain(error)),
        }
    }

    /// Starts everything, with nobody there yet.
    pub(super) async fn bare(kind: Kind) -> Result<Self> {
        cache::progress(&format!("starting gatehouse, the sandbox and {kind}"));
        let scratch = Scratch::new("bench")?;
        let folder = |name: &str| scratch.path().join(name);
        let (ports, port) = (Ports::free()?, port::free()?);
        let partner = format!("base_url={}", ports.public_url());
        let sandbox = Sandbox::start_with(&folder("sandbox"), &partner, &[]).await?;
        let options = gatehouse::Options::default();
        let url = format!("http://127.0.0.1:{port}");
        let addresses = sandbox.addresses();
        let gatehouse = Gatehouse::set_up(&folder("gatehouse"), ports, &url, addresses, &options)?;
        let server = match kind {
            Kind::StandIn => {
                Server::StandIn(start_standin(&gatehouse, port, &folder("standin")).await?)
            }
            Kind::Synapse => {
                let options = synapse::Options {
                    registrations: vec![gatehouse.registration()],
                    ..synapse::Options::default()
                };
                Server::Synapse(Synapse::start(&folder("synapse"), port, &options).await?)
            }
        };
        gatehouse.start().await?;
        Ok(Self {
            gatehouse,
            sandbox,
            server,
            users: Vec::new(),
            chats: Vec::new(),
            http: http::pooled_client()?,
            _scratch: scratch,
        })
    }

    async fn enlist(&self, users: usize) -> Result<Vec<Arc<Encrypting>>> {
        let url = self.server.url();
        let bot = format!("@whatsappbot:{SERVER_NAME}");
        let bot = &bot;
        stream::iter(0..users)
            .map(|number| async move {
                let name = format!("user{number}");
                self.server.register(&name).await?;
                stack::enlist(url, &name, stack::PASSWORD, bot).await?;
                let user = Encrypting::login(url, &name, stack::PASSWORD).await?;
                Ok(Arc::new(user))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn open(&self, rooms: usize) -> Result<Vec<Chat>> {
        stream::iter(0..rooms)
            .map(|number| async move {
                let phone = format!("+49151{number:07}");
                let phone = self.sandbox.phone(&phone, "Bea").await?;
                let ghost = format!("@whatsapp_{}:{SERVER_NAME}", digits(phone.number()));
                let user = number % self.users.len();
                let place = self.users.get(user).context("no user")?;
                let room = place.chat_with(&ghost).await?;
                wait::until("the ghost to join", wait::PATIENCE, || async {
                    let members = place.members(&room).await?;
                    Ok(members.contains(&ghost).then_some(()))
                })
                .await?;
                place.share_key(&room, &[&ghost]).await?;
                Ok(Chat {
                    user,
                    room,
                    ghost,
                    phone,
                })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    pub(super) fn user(&self, chat: &Chat) -> Result<&Arc<Encrypting>> {
        self.users.get(chat.user).context("a chat without a user")
    }

    /// Adds to an error what the bridge has logged last.
    pub(super) fn explain(&self, error: Error) -> Error {
        Error::new(format!("{error}\n{}", self.gatehouse.tail(30)))
    }

    /// Lets a phone write a text.
    pub(super) async fn write(&self, chat: &Chat, text: &str) -> Result<()> {
        let url = format!(
            "{}/control/phones/{}/messages",
            self.sandbox.addresses().control,
            chat.phone.number()
        );
        let to = self.user(chat)?.user_id();
        let body = serde_json::json!({"to": to, "kind": "text", "text": text});
        let answer = self.http.post(url).json(&body).send().await?;
        answer.error_for_status()?.bytes().await?;
        Ok(())
    }

    /// What a phone shows of a chat after a message.
    pub(super) async fn shown(&self, chat: &Chat, after: Option<&str>) -> Result<Vec<Value>> {
        let url = format!(
            "{}/control/phones/{}/messages",
            self.sandbox.addresses().control,
            chat.phone.number()
        );
        let mut request = self.http.get(url);
        request = request.query(&[("with", self.user(chat)?.user_id())]);
        if let Some(after) = after {
            request = request.query(&[("after", after)]);
        }
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// What each process has used so far.
    pub(super) fn processor(&self) -> Result<Processor> {
        let seconds = |pid: Option<u32>| match pid {
            Some(pid) => Ok(usage::processor(pid)?.as_secs_f64()),
            None => Ok::<_, Error>(0.0),
        };
        Ok(Processor {
            gatehouse: seconds(self.gatehouse.pid())?,
            sandbox: seconds(self.sandbox.pid())?,
            homeserver: seconds(self.server.pid())?,
            load: seconds(Some(std::process::id()))?,
        })
    }

    /// Commits of the bridge so far, and batches in them.
    pub(super) async fn commits(&self) -> Result<(f64, f64)> {
        if self.gatehouse.pid().is_none() {
            return Ok((0.0, 0.0));
        }
        let (commits, batches) = (
            self.gatehouse.metric("gatehouse_commits_total").await?,
            self.gatehouse
                .metric("gatehouse_committed_batches_total")
                .await?,
        );
        Ok((commits.unwrap_or(0.0), batches.unwrap_or(0.0)))
    }
}

/// This very program serves the stand-in, in a process of its own.
async fn start_standin(gatehouse: &Gatehouse, port: u16, folder: &Path) -> Result<StandIn> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("appservice.json");
    let appservice = serde_json::to_string(&Appservice::of(gatehouse)?)?;
    private_file(&file, &appservice)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("stand-in")
        .args(["--port", &port.to_string()])
        .arg("--appservice")
        .arg(&file);
    StandIn::start(command, port, folder).await
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StandIn => "the stand-in",
            Self::Synapse => "Synapse",
        })
    }
}

/// How long anything may take before it counts as lost.
pub(super) const DEADLINE: Duration = Duration::from_secs(600);
