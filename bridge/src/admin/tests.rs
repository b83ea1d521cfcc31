use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use ruma::{OwnedUserId, RoomAliasId, UserId};
use store::{Batch, SealingKey, StoreConfig, logins};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::{
    appservice::{RawTransaction, SinkError},
    config::Config,
    phone::PhoneNumber,
    quarantine::Listed,
};

#[derive(Default)]
struct Sink {
    ready: AtomicBool,
}

#[async_trait]
impl TransactionSink for Sink {
    async fn transaction(&self, _: &str, _: RawTransaction) -> Result<(), SinkError> {
        Ok(())
    }

    async fn user(&self, _: &UserId) -> Result<bool, SinkError> {
        Ok(false)
    }

    async fn room(&self, _: &RoomAliasId) -> Result<bool, SinkError> {
        Ok(false)
    }

    async fn contact(&self, _: &PhoneNumber) -> Result<Option<OwnedUserId>, SinkError> {
        Ok(None)
    }

    async fn ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

/// Remembers who was to leave, and how.
#[derive(Default)]
struct Door(std::sync::Mutex<Vec<(&'static str, OwnedUserId)>>);

impl Door {
    fn note(&self, how: &'static str, user: &UserId) -> Departure {
        let mut left = self.0.lock().expect("unpoisoned");
        left.push((how, user.to_owned()));
        Departure {
            joined: true,
            confirmed: false,
        }
    }
}

#[async_trait]
impl Operator for Door {
    async fn disable(&self, user: &UserId) -> Result<Departure, SinkError> {
        Ok(self.note("disabled", user))
    }

    async fn erase(&self, user: &UserId) -> Result<Departure, SinkError> {
        Ok(self.note("erased", user))
    }

    async fn replay(&self, _: &Selection) -> Result<Vec<Listed>, store::Error> {
        Ok(Vec::new())
    }
}

struct Server {
    base: String,
    registration: Registration,
    sink: Arc<Sink>,
    door: Arc<Door>,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let key = SealingKey::generate().expect("a key");
        let store = Store::open(&StoreConfig::new(url), key)
            .await
            .expect("a database");
        let mut batch = Batch::new();
        logins::put(
            &mut batch,
            &logins::Login {
                mxid: "@alice:localhost".to_owned(),
                state: logins::State::Refused,
                jid: None,
                account_id: None,
                registration_id: 1,
                identity: None,
                noise_key: None,
                next_prekey_id: 1,
                routing_info: None,
                management_room: None,
                last_error: Some("bad_integrator".to_owned()),
                created_ts: 5,
                updated_ts: 5,
            },
        );
        store.commit(batch).await.expect("written");
        let registration = Registration::generate(&Config::default()).expect("tokens");
        let sink = Arc::new(Sink::default());
        let door = Arc::new(Door::default());
        let state = Admin::new(store, &registration, sink.clone(), door.clone());
        let listener = crate::serve::listen(([127, 0, 0, 1], 0).into(), "test")
            .await
            .expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        tokio::spawn(crate::serve::serve(
            listener,
            router(state),
            crate::serve::Bounds::NONE,
            stop.clone(),
        ));
        let client = crate::client::client().expect("a client");
        Self {
            base,
            registration,
            sink,
            door,
            client,
            _folder: folder,
            _stop: stop.drop_guard(),
        }
    }

    async fn get(&self, path: &str, token: &str) -> (u16, String) {
        let request = self
            .client
            .get(format!("{}{path}", self.base))
            .bearer_auth(token);
        let response = request.send().await.expect("an answer");
        (
            response.status().as_u16(),
            response.text().await.expect("text"),
        )
    }
}

#[tokio::test]
async fn health_readiness_and_metrics_need_no_token() {
    let server = Server::start().await;
    for path in ["/health", "/_matrix/mau/live"] {
        assert_eq!(server.get(path, "").await.0, 200, "{path}");
    }
    assert_eq!(server.get("/_matrix/mau/ready", "").await.0, 503);
    server.sink.ready.store(true, Ordering::SeqCst);
    assert_eq!(server.get("/_matrix/mau/ready", "").await.0, 200);
    let (status, text) = server.get("/metrics", "").await;
    assert_eq!(status, 200);
    assert!(text.contains("gatehouse_inbox_events 0"), "{text}");
    assert!(
        text.contains("gatehouse_logins{state=\"refused\"} 1"),
        "{text}"
    );
    assert!(!text.contains("alice"), "{text}");
}

#[tokio::test]
async fn who_uses_it_is_told_only_with_the_token() {
    let server = Server::start().await;
    for path in [STATUS_PATH, USERS_PATH] {
        assert_eq!(server.get(path, "wrong").await, (403, String::new()));
        assert_eq!(
            server
                .get(path, server.registration.hs_token.secret())
                .await
                .0,
            403
        );
    }
    let token = server.registration.as_token.secret();
    let status: Status =
        serde_json::from_str(&server.get(STATUS_PATH, token).await.1).expect("JSON");
    assert_eq!(status.logins.get("refused"), Some(&1));
    let users: Vec<User> =
        serde_json::from_str(&server.get(USERS_PATH, token).await.1).expect("JSON");
    let [user] = users.as_slice() else {
        panic!("one user")
    };
    assert_eq!(
        user.to_string(),
        "@alice:localhost  refused  (bad_integrator)"
    );
}

#[tokio::test]
async fn users_are_ended_only_with_the_token() {
    let server = Server::start().await;
    let post = async |path: &str, token: &str, body: serde_json::Value| {
        let request = server.client.post(format!("{}{path}", server.base));
        let response = request.bearer_auth(token).json(&body).send().await;
        let response = response.expect("an answer");
        (
            response.status().as_u16(),
            response.text().await.expect("text"),
        )
    };
    let token = server.registration.as_token.secret();
    let alice = json!({"user": "@alice:localhost"});
    for path in [DISABLE_PATH, ERASE_PATH] {
        assert_eq!(post(path, "wrong", alice.clone()).await.0, 403);
        let nobody = post(path, token, json!({"user": "alice"})).await;
        assert_eq!(nobody.0, 422, "{}", nobody.1);
        assert_eq!(server.get(path, token).await.0, 405, "not by looking");
    }
    assert!(server.door.0.lock().expect("unpoisoned").is_empty());
    for path in [DISABLE_PATH, ERASE_PATH] {
        let (status, answer) = post(path, token, alice.clone()).await;
        let departure: Departure = serde_json::from_str(&answer).expect("JSON");
        assert_eq!((status, departure.joined), (200, true));
    }
    let left = server.door.0.lock().expect("unpoisoned");
    let how: Vec<_> = left
        .iter()
        .map(|(how, user)| (*how, user.as_str()))
        .collect();
    assert_eq!(
        how,
        [
            ("disabled", "@alice:localhost"),
            ("erased", "@alice:localhost")
        ]
    );
}
