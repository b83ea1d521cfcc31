//! A sandbox, a partner, and whoever drives the control API.

use gatekeeper::stanza::Jid;
use reqwest::{Method, StatusCode};
use sandbox::{Addresses, Config, PartnerConfig, Sandbox};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    client::{Chat, User},
    partner::Partner,
    wait::{DEADLINE, until},
};

pub(crate) const BEA: &str = "+4915112345678";
pub(crate) const ALICE: &str = "@alice:localhost";

/// The event stream.
pub(crate) struct Events {
    answer: reqwest::Response,
    text: String,
}

impl Events {
    /// The next event of this name.
    pub(crate) async fn find(&mut self, name: &str) -> Value {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let line = |key| block.lines().find_map(|line| line.strip_prefix(key));
                if line("event: ") == Some(name) {
                    return serde_json::from_str(line("data: ").unwrap()).unwrap();
                }
            }
            let chunk = timeout(DEADLINE, self.answer.chunk())
                .await
                .expect("an event in time");
            self.text
                .push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
    }
}

pub(crate) struct Rig {
    pub(crate) partner: Partner,
    pub(crate) sandbox: Sandbox,
    http: reqwest::Client,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let partner = Partner::start().await;
        let mut config = Config {
            partners: vec![PartnerConfig::new(1, &partner.base_url)],
            seed: 1,
            ..Config::default()
        };
        change(&mut config);
        let sandbox = Sandbox::start(config).await.unwrap();
        Self {
            partner,
            sandbox,
            http: reqwest::Client::new(),
        }
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.sandbox.addresses().clone()
    }

    pub(crate) async fn try_post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.sandbox.addresses().control);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_post(path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.sandbox.addresses().control);
        let answer = self.http.get(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// Stops the sandbox and starts another one.
    pub(crate) async fn restart(
        &mut self,
        next: impl Future<Output = Result<Sandbox, sandbox::StartError>>,
    ) {
        let idle = Sandbox::start(Config::default()).await.unwrap();
        std::mem::replace(&mut self.sandbox, idle).stop().await;
        let idle = std::mem::replace(&mut self.sandbox, next.await.unwrap());
        idle.stop().await;
    }

    /// The events from now on.
    pub(crate) async fn events(&self) -> Events {
        let url = format!("{}/control/events", self.sandbox.addresses().control);
        Events {
            answer: self.http.get(url).send().await.unwrap(),
            text: String::new(),
        }
    }

    /// Makes the phone that most tests use; returns its address.
    pub(crate) async fn bea(&self) -> Jid {
        self.post("/control/phones", json!({"number": BEA, "name": "Bea"}))
            .await;
        Jid::phone(BEA.trim_start_matches('+'))
    }

    /// Enlists the user that most tests use.
    pub(crate) async fn alice(&self) -> User {
        User::enlist(&self.partner, &self.addresses(), ALICE).await
    }

    /// Enlists, logs in, uploads prekeys and opens a session with Bea.
    pub(crate) async fn talking(&self) -> (User, Chat, Jid) {
        let bea = self.bea().await;
        let mut alice = self.alice().await;
        let mut chat = alice.login(&self.addresses(), &self.partner).await;
        alice.upload(&mut chat, 1..21).await;
        alice.establish(&mut chat, &bea).await;
        (alice, chat, bea)
    }

    /// Lets Bea send a text; returns its id.
    pub(crate) async fn bea_says(&self, text: &str) -> String {
        self.bea_sends(json!({"kind": "text", "text": text})).await
    }

    /// Lets Bea send anything; returns its id.
    pub(crate) async fn bea_sends(&self, mut message: Value) -> String {
        message["to"] = ALICE.into();
        let path = format!("/control/phones/{BEA}/messages");
        let answer = self.post(&path, message).await;
        answer["id"].as_str().unwrap().to_owned()
    }

    /// A request to any address.
    pub(crate) fn request(&self, method: Method, url: String) -> reqwest::RequestBuilder {
        self.http.request(method, url)
    }

    /// What Bea's phone shows of her chat with Alice.
    pub(crate) async fn bea_sees(&self) -> Vec<Value> {
        let path = format!("/control/phones/{BEA}/messages?with={ALICE}");
        self.get(&path).await.as_array().unwrap().clone()
    }

    /// Waits until Bea's phone shows a message of this id that fits.
    pub(crate) async fn bea_sees_that(&self, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until("a message on the phone", async || {
            self.bea_sees()
                .await
                .into_iter()
                .find(|one| one["id"] == id && fits(one))
        })
        .await
    }

    /// Alice as the control API shows her.
    pub(crate) async fn account(&self) -> Value {
        let partners = self.get("/control/partners").await;
        let users = partners["partners"][0]["users"].as_array().unwrap();
        users
            .iter()
            .find(|user| user["user"] == ALICE)
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until Alice's account fits.
    pub(crate) async fn account_that(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until(what, async || {
            Some(self.account().await).filter(|one| fits(one))
        })
        .await
    }
}
