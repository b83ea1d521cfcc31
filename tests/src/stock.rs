//! A stock WhatsApp client as a phone: npm baileys in a Node process of its own, with credentials that
//! `sandbox credentials` has written.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::driven::{self, Driven};
use crate::error::Context as _;
use crate::sandbox::Sandbox;
use crate::wait::PATIENCE;
use crate::{Error, Result, binaries};

/// Installs the pinned package, once.
///
/// # Errors
///
/// When npm is missing or cannot fetch.
pub fn install() -> Result<PathBuf> {
    let manifests = binaries::workspace().join("gatekeeper/tests/peers");
    let more = ["--ignore-scripts", "--omit=optional", "--omit=peer"];
    driven::packages("stock-clients", &manifests, &more)
}

/// How a partner's user is called by stock clients.
#[derive(Debug, Clone)]
pub struct Alias {
    /// As a phone number.
    pub number: String,
    /// As an opaque number.
    pub lid: String,
}

/// A stock client, logged in as a phone.
#[derive(Debug)]
pub struct StockClient {
    number: String,
    folder: PathBuf,
    chat: String,
    root: String,
    driven: Driven,
}

impl StockClient {
    /// Writes credentials for a phone into `folder` with the sandbox's own command.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn credentials(
        sandbox: &Sandbox,
        number: &str,
        folder: &Path,
        more: &[&str],
    ) -> Result<()> {
        let output = Command::new(&binaries::binaries()?.sandbox)
            .args(["credentials", number, "--sandbox"])
            .arg(&sandbox.addresses().control)
            .arg("--out")
            .arg(folder)
            .args(more)
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::new(format!("sandbox credentials: {said}")))
    }

    /// Starts a client with the credentials in `folder`; it does not log in yet.
    ///
    /// # Errors
    ///
    /// When Node or the package is missing.
    pub fn start(sandbox: &Sandbox, number: &str, folder: &Path) -> Result<Self> {
        let mut node = Command::new("node");
        node.arg(driven::scripts().join("stock-client.mjs"))
            .env("STOCK_PACKAGES", install()?)
            .env("NODE_EXTRA_CA_CERTS", folder.join("certificate.pem"));
        let log = folder.with_extension("log");
        let mut driven = Driven::start("stock client", node, &log)?;
        driven.name = format!("the stock client {number}");
        Ok(Self {
            number: number.to_owned(),
            folder: folder.to_owned(),
            chat: sandbox.addresses().chat.clone(),
            root: sandbox.addresses().root.clone(),
            driven,
        })
    }

    /// Writes credentials, starts a client with them and logs in.
    ///
    /// # Errors
    ///
    /// When any of it fails.
    pub async fn login(sandbox: &Sandbox, number: &str, folder: &Path) -> Result<Self> {
        Self::login_as(sandbox, number, folder, &[]).await
    }

    /// The same with what else `sandbox credentials` is to be told.
    ///
    /// # Errors
    ///
    /// When any of it fails.
    pub async fn login_as(
        sandbox: &Sandbox,
        number: &str,
        folder: &Path,
        more: &[&str],
    ) -> Result<Self> {
        Self::credentials(sandbox, number, folder, more)?;
        let client = Self::start(sandbox, number, folder)?;
        client.connect().await?;
        Ok(client)
    }

    /// Logs in, and again whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// When the login is refused.
    pub async fn connect(&self) -> Result<()> {
        self.ask("connect", self.how()).await.map(drop)
    }

    /// Logs in once and says with which status the connection ended.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn knock(&self) -> Result<u64> {
        let answer = self.ask("knock", self.how()).await?;
        answer["ended"].as_u64().context("no status")
    }

    fn how(&self) -> Value {
        json!({"folder": self.folder, "chat": self.chat, "root": self.root})
    }

    /// Its phone number, with `+`.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// Sends content in the package's own form to an address and gives the message's id.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub async fn send(&self, to: &str, content: Value) -> Result<String> {
        self.send_with(json!({"to": to, "content": content})).await
    }

    /// As [`StockClient::send`], as an answer to a message.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub async fn reply(&self, to: &str, quoted: &str, content: Value) -> Result<String> {
        self.send_with(json!({"to": to, "content": content, "quoted": quoted}))
            .await
    }

    async fn send_with(&self, message: Value) -> Result<String> {
        let answer = self.ask("send", message).await?;
        Ok(answer["id"].as_str().context("no id")?.to_owned())
    }

    /// Asks the driver for one of its other operations.
    ///
    /// # Errors
    ///
    /// What the package throws.
    pub async fn ask(&self, op: &str, arguments: Value) -> Result<Value> {
        self.driven.ask(op, arguments).await
    }

    /// What it knows of a message; null if nothing.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn message(&self, id: &str) -> Result<Value> {
        self.ask("message", json!({"message": id})).await
    }

    /// All messages, in the order in which it learned of them.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn messages(&self) -> Result<Vec<Value>> {
        let mut answer = self.ask("messages", json!({})).await?;
        Ok(serde_json::from_value(answer["messages"].take())?)
    }

    /// Waits for a message that `accept` likes.
    ///
    /// # Errors
    ///
    /// A timeout, with what there is instead.
    pub async fn wait_for(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait_long_for(what, PATIENCE, accept).await
    }

    /// As [`StockClient::wait_for`], up to `deadline`.
    ///
    /// # Errors
    ///
    /// As [`StockClient::wait_for`].
    pub async fn wait_long_for(
        &self,
        what: &str,
        deadline: Duration,
        accept: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let accept = &accept;
        let found = self.driven.until(what, deadline, || async move {
            Ok(self.messages().await?.into_iter().find(accept))
        });
        match found.await {
            Ok(message) => Ok(message),
            Err(error) => {
                let shown = json!(self.messages().await?);
                let log = self.driven.tail(20);
                Err(Error::new(format!("{error}; it has {shown:#}\n{log}")))
            }
        }
    }

    /// Waits for a text that somebody else wrote.
    ///
    /// # Errors
    ///
    /// A timeout, with what there is instead.
    pub async fn wait_for_text(&self, text: &str) -> Result<Value> {
        self.wait_for(&format!("{text:?}"), |message| {
            message["key"]["fromMe"] == false && said(message) == Some(text)
        })
        .await
    }

    /// Waits until a message of its own has come as far as `status`: 2 taken by the server, 3
    /// delivered, 4 read, 5 played.
    ///
    /// # Errors
    ///
    /// A timeout, with what there is instead.
    pub async fn wait_for_status(&self, id: &str, status: u64) -> Result<Value> {
        self.wait_for(&format!("{id} to come to {status}"), |message| {
            let statuses = message["statuses"].as_array().into_iter().flatten();
            message["id"] == id
                && statuses
                    .filter_map(Value::as_u64)
                    .any(|come| come >= status)
        })
        .await
    }

    /// Waits for something else that came in, such as `presence.update`.
    ///
    /// # Errors
    ///
    /// A timeout, with what there is instead.
    pub async fn wait_for_event(
        &self,
        name: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let accept = &accept;
        let found = self.driven.until(name, PATIENCE, || async move {
            let mut answer = self.ask("events", json!({})).await?;
            let events: Vec<Value> = serde_json::from_value(answer["events"].take())?;
            Ok(events
                .into_iter()
                .find(|event| event["name"] == name && accept(&event["data"])))
        });
        match found.await {
            Ok(event) => Ok(event),
            Err(error) => {
                let shown = self.ask("events", json!({})).await?;
                Err(Error::new(format!("{error}; there were {shown:#}")))
            }
        }
    }
}

/// The text of a message, whichever kind of text message it is.
#[must_use]
pub fn said(message: &Value) -> Option<&str> {
    let message = &message["message"];
    message["conversation"]
        .as_str()
        .or_else(|| message["extendedTextMessage"]["text"].as_str())
}

impl Sandbox {
    /// How an enlisted user is called by stock clients.
    ///
    /// # Errors
    ///
    /// When nobody of that identifier is enlisted.
    pub async fn alias(&self, user: &str) -> Result<Alias> {
        let known = self.partner_user(user).await?.context("not enlisted")?;
        let text = |name: &str| known["alias"][name].as_str().map(str::to_owned);
        Ok(Alias {
            number: text("number").context("no alias")?,
            lid: text("lid").context("no alias")?,
        })
    }
}
