//! One Synapse for all tests of this binary, a bridge per test.

use std::{path::PathBuf, sync::Arc};

use puppeting::{
    DecryptError, DecryptedEvent, GhostProfile, HomeserverConfig, Puppet, PuppetOptions, Puppets,
    Token,
};
use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId, TransactionId, UserId, serde::Raw};
use serde_json::{Value, json, value::to_raw_value};
use store::{Batch, SealingKey, Store, StoreConfig};
use tests::{
    scratch::Scratch,
    synapse::{Options, SERVER_NAME, Synapse},
};
use tokio::sync::OnceCell;

const AS_TOKEN: &str = "as_token_of_the_tests";
pub(crate) const HS_TOKEN: &str = "hs_token_of_the_tests";
const ID: &str = "gatehouse";

/// The homeserver, and the port at which it looks for the bridge.
pub(crate) struct Rig {
    synapse: Synapse,
    pub(crate) bridge_port: u16,
    scratch: Scratch,
}

static RIG: OnceCell<Rig> = OnceCell::const_new();

pub(crate) async fn rig() -> &'static Rig {
    RIG.get_or_init(|| async {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let scratch = Scratch::new("puppeting").unwrap();
        let bridge_port = Synapse::reserve().unwrap();
        let registration = scratch.path().join("registration.yaml");
        let ours = |regex: &str| json!([{ "regex": regex, "exclusive": true }]);
        let text = json!({
            "id": ID, "url": format!("http://127.0.0.1:{bridge_port}"),
            "as_token": AS_TOKEN, "hs_token": HS_TOKEN,
            "sender_localpart": "whatsappbot", "rate_limited": false,
            "namespaces": {
                "users": ours(&format!("@whatsapp_.*:{SERVER_NAME}")),
                "aliases": ours(&format!("#whatsapp_.*:{SERVER_NAME}")), "rooms": [],
            },
            "receive_ephemeral": true, "de.sorunome.msc2409.push_ephemeral": true,
            "org.matrix.msc3202": true, "io.element.msc4190": true,
        });
        std::fs::write(&registration, text.to_string()).unwrap();
        let options = Options {
            registrations: vec![registration],
            ..Options::default()
        };
        let port = Synapse::reserve().unwrap();
        let folder = scratch.path().join("synapse");
        let synapse = Synapse::start(&folder, port, &options).await.unwrap();
        Rig {
            synapse,
            bridge_port,
            scratch,
        }
    })
    .await
}

impl Rig {
    pub(crate) fn url(&self) -> &str {
        self.synapse.url()
    }

    /// A new database's place.
    pub(crate) fn database(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.db"))
    }

    /// Asks the homeserver past the code under test.
    pub(crate) async fn ask(&self, user: &UserId, path: &str, body: Option<Value>) -> Value {
        let client = reqwest::Client::new();
        let url = format!("{}{path}", self.url());
        let request = if body.is_some() {
            client.post(url)
        } else {
            client.get(url)
        };
        let request = request
            .bearer_auth(AS_TOKEN)
            .query(&[("user_id", user.as_str())]);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The one device of a ghost; fails unless it is signed by the ghost's self-signing key, and that by its master key.
    pub(crate) async fn signed_device(&self, user: &UserId) -> Device {
        let keys = self
            .ask(
                user,
                "/_matrix/client/v3/keys/query",
                Some(json!({"device_keys": {user.as_str(): []}})),
            )
            .await;
        let devices = keys["device_keys"][user.as_str()].as_object().unwrap();
        assert_eq!(devices.len(), 1, "{devices:?}");
        let (id, device) = devices.iter().next().unwrap();
        let key_of = |kind: &str| {
            let keys = keys[kind][user.as_str()]["keys"].as_object().unwrap();
            keys.keys().next().unwrap().clone()
        };
        let (master, signing) = (key_of("master_keys"), key_of("self_signing_keys"));
        let by = &device["signatures"][user.as_str()];
        assert!(
            by[&signing].is_string(),
            "the device is not cross-signed: {device}"
        );
        let by = &keys["self_signing_keys"][user.as_str()]["signatures"][user.as_str()];
        assert!(
            by[&master].is_string(),
            "the self-signing key is not signed"
        );
        Device {
            id: id.clone(),
            master,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) master: String,
}

/// One life of the bridge's process.
pub(crate) struct Bridge {
    pub(crate) store: Store,
    pub(crate) puppets: Puppets,
}

impl Bridge {
    /// Starts on the database at `path`, with the homeserver at `url`.
    pub(crate) async fn start(path: &std::path::Path, url: &str) -> Self {
        Self::with(path, url, PuppetOptions::default()).await
    }

    /// Starts with other options.
    pub(crate) async fn with(path: &std::path::Path, url: &str, options: PuppetOptions) -> Self {
        let key = SealingKey::load_or_create(&path.with_extension("key")).unwrap();
        let config = StoreConfig::new(path.to_str().unwrap());
        let store = Store::open(&config, key).await.unwrap();
        let config = HomeserverConfig {
            url: url.to_owned(),
            server_name: SERVER_NAME.try_into().unwrap(),
            appservice_id: ID.to_owned(),
            as_token: Token::new(AS_TOKEN),
            bot: user("whatsappbot"),
        };
        let puppets = Puppets::new(config, store.clone(), options).unwrap();
        Self { store, puppets }
    }

    /// Ends as a killed process does: what is not committed is gone.
    pub(crate) async fn end(self) {
        drop(self.puppets);
        self.store.close().await;
    }

    pub(crate) async fn ghost(&self, name: &str) -> Arc<Puppet> {
        self.puppets
            .ensure(&user(name), GhostProfile::default())
            .await
            .unwrap()
    }
}

pub(crate) fn user(localpart: &str) -> OwnedUserId {
    OwnedUserId::try_from(format!("@{localpart}:{SERVER_NAME}")).unwrap()
}

/// Encrypts, commits and sends a text to `to`.
pub(crate) async fn say(
    from: &Arc<Puppet>,
    room: &RoomId,
    to: &[&Arc<Puppet>],
    text: &str,
) -> OwnedEventId {
    let to: Vec<_> = to
        .iter()
        .map(|puppet| puppet.user_id().to_owned())
        .collect();
    from.prepare(room, &to).await.unwrap();
    let content = to_raw_value(&json!({ "msgtype": "m.text", "body": text })).unwrap();
    let encrypted = from.encrypt(room, "m.room.message", content).await.unwrap();
    from.commit_with(Batch::new()).await.unwrap();
    send(from, room, encrypted.into_json()).await
}

pub(crate) async fn send(
    from: &Puppet,
    room: &RoomId,
    content: Box<serde_json::value::RawValue>,
) -> OwnedEventId {
    let txn = TransactionId::new();
    from.send(room, &txn, "m.room.encrypted", content, None)
        .await
        .unwrap()
}

/// Reads an event from the homeserver and decrypts it.
pub(crate) async fn hear(
    puppet: &Puppet,
    room: &RoomId,
    event: &EventId,
) -> Result<DecryptedEvent, DecryptError> {
    let event = puppet
        .get_event(room, event)
        .await
        .unwrap()
        .expect("the event is visible");
    puppet
        .decrypt(room, &Raw::from_json(event.into_json()))
        .await
}

pub(crate) fn body(event: &DecryptedEvent) -> String {
    let event: Value = event.raw.deserialize_as_unchecked().unwrap();
    event["content"]["body"].as_str().unwrap().to_owned()
}
