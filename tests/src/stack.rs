//! Everything together: Synapse, the sandbox and gatehouse, each knowing the others.

use std::path::Path;

use crate::between::Between;
use crate::client::{Client, Login};
use crate::error::Context as _;
use crate::gatehouse::{Gatehouse, Ports};
use crate::plain::PlainUser;
use crate::sandbox::{Phone, Sandbox, digits};
use crate::scratch::Scratch;
use crate::synapse::{self, SERVER_NAME, Synapse};
use crate::{Error, Result, gatehouse};

/// The password of every test user.
pub const PASSWORD: &str = "a password for trying";

/// How a stack differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The homeserver.
    pub synapse: synapse::Options,
    /// The bridge.
    pub gatehouse: gatehouse::Options,
    /// More settings of the partner in the sandbox, for instance an audience that the bridge does not name.
    pub partner: Option<String>,
    /// Whether there are proxies around the bridge that can get in its way: [`Stack::between`].
    pub between: bool,
}

/// A homeserver, a bridge and a gatekeeper, running on loopback.
#[derive(Debug)]
pub struct Stack {
    /// The bridge.
    pub gatehouse: Gatehouse,
    /// The gatekeeper.
    pub sandbox: Sandbox,
    /// The homeserver.
    pub synapse: Synapse,
    between: Option<Between>,
    // Last, so that the folder goes after those who write in it.
    scratch: Scratch,
}

impl Stack {
    /// Starts everything, and waits until everything serves.
    ///
    /// # Errors
    ///
    /// When a part cannot be installed, built or started; the message names it.
    pub async fn start(name: &str, options: Options) -> Result<Self> {
        let stack = Self::prepare(name, options).await?;
        stack.gatehouse.start().await?;
        Ok(stack)
    }

    /// As [`Stack::start`], but the bridge does not run yet.
    ///
    /// # Errors
    ///
    /// As [`Stack::start`].
    pub async fn prepare(name: &str, options: Options) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let folder = |part: &str| scratch.path().join(part);
        let ports = Ports::free()?;
        let homeserver_port = Synapse::reserve()?;
        let homeserver = format!("http://127.0.0.1:{homeserver_port}");
        let mut partner = format!("base_url={}", ports.public_url());
        if let Some(more) = &options.partner {
            partner.push_str(&format!(",{more}"));
        }
        let sandbox = Sandbox::start(&folder("sandbox"), &partner).await?;
        let mut of_bridge = options.gatehouse;
        let mut addresses = sandbox.addresses().clone();
        let between = match options.between {
            true => Some(Between::start(&homeserver, &ports.appservice_url(), &addresses).await?),
            false => None,
        };
        if let Some(between) = &between {
            addresses = between.addresses(&addresses);
            of_bridge.appservice_url = Some(between.to_bridge.address().to_owned());
        }
        let gatehouse = Gatehouse::set_up(
            &folder("gatehouse"),
            ports,
            between
                .as_ref()
                .map_or(&*homeserver, |between| between.to_homeserver.address()),
            &addresses,
            &of_bridge,
        )?;
        let mut synapse = options.synapse;
        synapse.registrations.push(gatehouse.registration());
        let synapse = Synapse::start(&folder("synapse"), homeserver_port, &synapse).await?;
        Ok(Self {
            gatehouse,
            sandbox,
            synapse,
            between,
            scratch,
        })
    }

    /// The folder that holds every part's files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// What can get in the bridge's way.
    ///
    /// # Errors
    ///
    /// When the stack was started without: [`Options::between`].
    pub fn between(&self) -> Result<&Between> {
        self.between
            .as_ref()
            .context("there are no proxies around this bridge")
    }

    /// The bridge's bot.
    #[must_use]
    pub fn bot(&self) -> String {
        format!("@whatsappbot:{SERVER_NAME}")
    }

    /// The ghost of a phone.
    #[must_use]
    pub fn ghost(&self, phone: &Phone) -> String {
        self.ghost_of(phone.number())
    }

    /// The ghost of a number.
    #[must_use]
    pub fn ghost_of(&self, number: &str) -> String {
        format!("@whatsapp_{}:{SERVER_NAME}", digits(number))
    }

    /// Registers a Matrix user and logs a careful, encrypting client in.
    ///
    /// # Errors
    ///
    /// When the name is taken or the client does not start.
    pub async fn client(&self, user: &str) -> Result<Client> {
        self.synapse.register(user, PASSWORD).await?;
        self.login(user).await
    }

    /// Logs one more client of a registered user in.
    ///
    /// # Errors
    ///
    /// When the client does not start.
    pub async fn login(&self, user: &str) -> Result<Client> {
        let login = Login {
            homeserver: self.synapse.url(),
            user,
            password: PASSWORD,
            accepts_insecure: false,
        };
        Client::login(&login, &self.folder().join(format!("client-{user}.log"))).await
    }

    /// Registers a user and enlists it over plain HTTP, so that it can be spoken of to the sandbox.
    ///
    /// # Errors
    ///
    /// When the bot or the gatekeeper refuses.
    pub async fn enlisted(&self, user: &str) -> Result<String> {
        let user_id = self.synapse.register(user, PASSWORD).await?;
        enlist(self.synapse.url(), user, PASSWORD, &self.bot()).await?;
        Ok(user_id)
    }

    /// Registers a user, enlists it, and logs its careful client in.
    ///
    /// # Errors
    ///
    /// When any of it fails.
    pub async fn enlisted_client(&self, user: &str) -> Result<Client> {
        self.enlisted(user).await?;
        self.login(user).await
    }

    /// Stops everything, downstream first, so that nobody misses a neighbour on the way out. Whatever does not stop
    /// is killed.
    pub async fn stop(&self) {
        let _ = self.gatehouse.stop().await;
        let _ = self.sandbox.stop().await;
        let _ = self.synapse.stop().await;
    }

    /// Adds to a failed test what the bridge has logged last.
    #[must_use]
    pub fn explain(&self, error: Error) -> Error {
        Error::new(format!("{error}\n{}", self.gatehouse.tail(60)))
    }
}

/// Opts a user in by talking to the bot, as a person would: `enable`, read the warning, `accept`.
///
/// # Errors
///
/// When the bot or the gatekeeper refuses.
pub async fn enlist(homeserver: &str, user: &str, password: &str, bot: &str) -> Result<()> {
    let plain = PlainUser::login(homeserver, user, password).await?;
    let room = plain.chat_with(bot).await?;
    // The bot greets with its commands at some moment of its own: that is no answer to these.
    let is_answer =
        |said: &str| said.starts_with("You are joined") || said.starts_with("WhatsApp refused");
    let shown = |said: &str| said.contains("if you agree") || is_answer(said);
    let mut answer = plain.ask(&room, "enable", shown).await?;
    // Who has accepted before is not asked again.
    if !is_answer(&answer) {
        answer = plain.ask(&room, "accept", is_answer).await?;
    }
    if !answer.starts_with("You are joined") {
        return Err(Error::new(format!("{user} was not enlisted: {answer}")));
    }
    plain.logout().await
}
