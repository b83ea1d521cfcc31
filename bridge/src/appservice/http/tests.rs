use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use http::Method;
use ruma::{OwnedUserId, user_id};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

/// Remembers what it got, and fails when it is told to.
#[derive(Default)]
struct Sink {
    taken: Mutex<Vec<(String, usize)>>,
    broken: AtomicBool,
}

impl Sink {
    fn works(&self) -> Result<(), SinkError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(SinkError::Unavailable("secret detail".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl TransactionSink for Sink {
    async fn transaction(&self, txn_id: &str, body: RawTransaction) -> Result<(), SinkError> {
        self.works()?;
        self.taken
            .lock()
            .expect("unpoisoned")
            .push((txn_id.to_owned(), body.events.len()));
        Ok(())
    }

    async fn user(&self, user: &UserId) -> Result<bool, SinkError> {
        self.works()?;
        Ok(user != user_id!("@whatsapp_4900000000:localhost"))
    }

    async fn room(&self, alias: &RoomAliasId) -> Result<bool, SinkError> {
        Ok(alias.as_str() == "#whatsapp_known:localhost")
    }

    async fn contact(&self, phone: &PhoneNumber) -> Result<Option<OwnedUserId>, SinkError> {
        self.works()?;
        Ok(Some(Config::default().ghost_id(phone)))
    }

    async fn ready(&self) -> bool {
        self.works().is_ok()
    }
}

struct Server {
    base: String,
    sink: Arc<Sink>,
    client: reqwest::Client,
    _stop: DropGuard,
}

impl Server {
    async fn start() -> Self {
        let listener = crate::serve::listen(([127, 0, 0, 1], 0).into(), "test")
            .await
            .expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let sink = Arc::new(Sink::default());
        let mut config = Config::default();
        config.limits.transaction_bytes = 10_000;
        let state = Appservice::new(Arc::new(config), "right".to_owned(), sink.clone());
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
            sink,
            client,
            _stop: stop.drop_guard(),
        }
    }

    /// Status, error code and body of a request with the right token.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, String, Value) {
        self.ask_with(method, path, Some("Bearer right"), body)
            .await
    }

    async fn ask_with(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (u16, String, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .body(body);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let body: Value = response.json().await.expect("JSON");
        (
            status,
            body["errcode"].as_str().unwrap_or_default().to_owned(),
            body,
        )
    }

    fn taken(&self) -> Vec<(String, usize)> {
        self.sink.taken.lock().expect("unpoisoned").clone()
    }
}

const TRANSACTION: &str = "/_matrix/app/v1/transactions/7";

#[tokio::test]
async fn the_token_is_checked() {
    let server = Server::start().await;
    for (path, header, expected) in [
        (TRANSACTION, None, (401, "M_UNAUTHORIZED")),
        (TRANSACTION, Some("right"), (401, "M_UNAUTHORIZED")),
        (TRANSACTION, Some("Basic right"), (401, "M_UNAUTHORIZED")),
        (TRANSACTION, Some("Bearer wrong"), (403, "M_FORBIDDEN")),
        (TRANSACTION, Some("Bearer right2"), (403, "M_FORBIDDEN")),
        (TRANSACTION, Some("Bearer "), (401, "M_UNAUTHORIZED")),
        (
            "/_matrix/app/v1/transactions/7?access_token=wrong",
            None,
            (403, "M_FORBIDDEN"),
        ),
        (
            "/_matrix/app/v1/transactions/7?access_token=right",
            Some("Bearer wrong"),
            (403, "M_FORBIDDEN"),
        ),
    ] {
        let (status, code, _) = server.ask_with(Method::PUT, path, header, "{}").await;
        assert_eq!((status, code.as_str()), expected, "{path} {header:?}");
    }
    assert_eq!(server.taken(), []);
    // As other servers send it: in the query, or in both places.
    let query = "/_matrix/app/v1/transactions/8?access_token=right";
    assert_eq!(server.ask_with(Method::PUT, query, None, "{}").await.0, 200);
    assert_eq!(
        server
            .ask_with(Method::PUT, query, Some("bearer right"), "{}")
            .await
            .0,
        200
    );
    for (method, path) in [
        (
            Method::GET,
            "/_matrix/app/v1/users/@whatsapp_4915112345678:localhost",
        ),
        (
            Method::GET,
            "/_matrix/app/v1/rooms/%23whatsapp_known:localhost",
        ),
        (Method::POST, "/_matrix/app/v1/ping"),
        (Method::GET, "/_matrix/app/v1/thirdparty/protocol/whatsapp"),
        (
            Method::GET,
            "/_matrix/app/v1/thirdparty/user/whatsapp?phone=%2B4915112345678",
        ),
    ] {
        assert_eq!(
            server
                .ask_with(method.clone(), path, Some("Bearer wrong"), "{}")
                .await
                .0,
            403,
            "{path}"
        );
        assert_eq!(server.ask(method, path, "{}").await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn transactions_reach_the_sink_whole() {
    let server = Server::start().await;
    let event =
        json!({"event_id": "$e", "room_id": "!r:b", "sender": "@a:b", "type": "m.x", "new": 1});
    let body = json!({"events": [event], "org.example.unknown": {"a": [1]}}).to_string();
    assert_eq!(
        server.ask(Method::PUT, TRANSACTION, body.clone()).await,
        (200, String::new(), json!({}))
    );
    // The sink decides what a repetition is; the router hands it over.
    assert_eq!(
        server.ask(Method::PUT, TRANSACTION, body.clone()).await.0,
        200
    );
    assert_eq!(
        server
            .ask(Method::PUT, "/transactions/a%2Fb%20c", body)
            .await
            .0,
        200
    );
    let expected = [("7", 1), ("7", 1), ("a/b c", 1)].map(|(id, events)| (id.to_owned(), events));
    assert_eq!(server.taken(), expected);
}

#[tokio::test]
async fn bad_bodies_are_refused_and_change_nothing() {
    let server = Server::start().await;
    for (body, expected) in [
        ("not json".to_owned(), (400, "M_NOT_JSON")),
        (String::new(), (400, "M_NOT_JSON")),
        ("[]1".to_owned(), (400, "M_BAD_JSON")),
        ("{\"events\": 1}".to_owned(), (400, "M_BAD_JSON")),
        (
            format!("{{\"events\": [], \"x\": \"{}\"}}", "y".repeat(10_000)),
            (413, "M_TOO_LARGE"),
        ),
    ] {
        let (status, code, _) = server.ask(Method::PUT, TRANSACTION, body).await;
        assert_eq!((status, code.as_str()), expected);
    }
    assert_eq!(server.taken(), []);
}

#[tokio::test]
async fn the_homeserver_comes_again_when_storing_fails() {
    let server = Server::start().await;
    server.sink.broken.store(true, Ordering::SeqCst);
    let (status, _, body) = server.ask(Method::PUT, TRANSACTION, "{}").await;
    assert_eq!(status, 503);
    assert!(!body.to_string().contains("secret detail"));
    server.sink.broken.store(false, Ordering::SeqCst);
    assert_eq!(server.ask(Method::PUT, TRANSACTION, "{}").await.0, 200);
}

#[tokio::test]
async fn users_and_rooms() {
    let server = Server::start().await;
    for (path, status) in [
        (
            "/_matrix/app/v1/users/%40whatsapp_4915112345678%3Alocalhost",
            200,
        ),
        ("/users/@whatsappbot:localhost", 200),
        ("/_matrix/app/v1/users/@whatsapp_4900000000:localhost", 404),
        ("/_matrix/app/v1/users/@whatsapp_1:localhost", 404),
        ("/_matrix/app/v1/users/@alice:localhost", 404),
        (
            "/_matrix/app/v1/users/@whatsapp_4915112345678:elsewhere",
            404,
        ),
        ("/_matrix/app/v1/users/nonsense", 404),
        ("/_matrix/app/v1/rooms/%23whatsapp_known%3Alocalhost", 200),
        ("/rooms/%23whatsapp_other%3Alocalhost", 404),
        ("/_matrix/app/v1/rooms/nonsense", 404),
    ] {
        let answer = server.ask(Method::GET, path, "").await;
        assert_eq!(
            (answer.0, answer.1.as_str()),
            (status, if status == 200 { "" } else { "M_NOT_FOUND" }),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_number_is_found_and_a_ghost_is_read() {
    let server = Server::start().await;
    let bea = json!([{
        "userid": "@whatsapp_4915112345678:localhost", "protocol": "whatsapp",
        "fields": {"phone": "+4915112345678"}
    }]);
    for (path, found) in [
        (
            "/_matrix/app/v1/thirdparty/user/whatsapp?phone=%2B4915112345678",
            &bea,
        ),
        (
            "/_matrix/app/v1/thirdparty/user/whatsapp?phone=+4915112345678",
            &bea,
        ),
        (
            "/_matrix/app/unstable/thirdparty/user/whatsapp?phone=0049%20151%2012345678&x=y",
            &bea,
        ),
        (
            "/_matrix/app/v1/thirdparty/user?userid=@whatsapp_4915112345678:localhost",
            &bea,
        ),
        (
            "/_matrix/app/v1/thirdparty/user/whatsapp?phone=nonsense",
            &json!([]),
        ),
        ("/_matrix/app/v1/thirdparty/user/whatsapp", &json!([])),
        (
            "/_matrix/app/v1/thirdparty/user?userid=@alice:localhost",
            &json!([]),
        ),
        (
            "/_matrix/app/v1/thirdparty/location/whatsapp?x=y",
            &json!([]),
        ),
        (
            "/_matrix/app/v1/thirdparty/location?alias=%23a:b",
            &json!([]),
        ),
    ] {
        let (status, _, body) = server.ask(Method::GET, path, "").await;
        assert_eq!((status, &body), (200, found), "{path}");
    }
    let (status, _, body) = server
        .ask(
            Method::GET,
            "/_matrix/app/v1/thirdparty/protocol/whatsapp",
            "",
        )
        .await;
    assert_eq!((status, &body["user_fields"]), (200, &json!(["phone"])));
    let other = server
        .ask(Method::GET, "/_matrix/app/v1/thirdparty/protocol/irc", "")
        .await;
    assert_eq!((other.0, other.1.as_str()), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn what_is_not_there() {
    let server = Server::start().await;
    for (method, path, expected) in [
        (
            Method::GET,
            "/_matrix/app/v1/unknown",
            (404, "M_UNRECOGNIZED"),
        ),
        (Method::GET, "/", (404, "M_UNRECOGNIZED")),
        (
            Method::PUT,
            "/_matrix/app/v1/transactions/",
            (404, "M_UNRECOGNIZED"),
        ),
        (Method::GET, TRANSACTION, (405, "M_UNRECOGNIZED")),
        (Method::PUT, "/_matrix/app/v1/ping", (405, "M_UNRECOGNIZED")),
    ] {
        let (status, code, _) = server.ask(method.clone(), path, "").await;
        assert_eq!((status, code.as_str()), expected, "{method} {path}");
    }
}
