use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use gatekeeper::token::{Claims, SigningKey};
use reqwest::Url;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

mod media;

#[derive(Default)]
struct Sink {
    woken: Mutex<Vec<String>>,
}

#[async_trait]
impl PushSink for Sink {
    async fn jwks(&self) -> Result<Jwks, SinkError> {
        Ok(Jwks {
            keys: vec![key("ours").jwk().clone()],
        })
    }

    async fn push(&self, identifier: &str) -> Result<bool, SinkError> {
        self.woken
            .lock()
            .expect("unpoisoned")
            .push(identifier.to_owned());
        Ok(identifier == "@alice:localhost")
    }
}

/// One key pair for all tests: drawing primes takes long. Only its name differs.
fn key(kid: &str) -> SigningKey {
    static PKCS8: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
    PKCS8
        .get_or_init(|| SigningKey::generate().expect("a key"))
        .clone()
        .named(kid)
}

/// The gatekeeper's key set, at an address.
struct Gatekeeper {
    published: Arc<Mutex<Vec<&'static str>>>,
    asked: Arc<AtomicUsize>,
    url: Url,
    _stop: DropGuard,
}

impl Gatekeeper {
    async fn start(kids: &[&'static str]) -> Self {
        let published = Arc::new(Mutex::new(kids.to_vec()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (set, count) = (published.clone(), asked.clone());
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let kids = set.lock().expect("unpoisoned").clone();
            let keys = kids.iter().map(|kid| key(kid).jwk().clone()).collect();
            async move { axum::Json(Jwks { keys }) }
        };
        let (address, stop) = start(Router::new().route("/jwks", get(answer))).await;
        let url = Url::parse(&format!("{address}/jwks")).expect("an address");
        Self {
            published,
            asked,
            url,
            _stop: stop,
        }
    }
}

async fn start(router: Router) -> (String, DropGuard) {
    let listener = crate::serve::listen(([127, 0, 0, 1], 0).into(), "test")
        .await
        .expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = CancellationToken::new();
    tokio::spawn(crate::serve::serve(
        listener,
        router,
        crate::serve::Bounds::PUBLIC,
        stop.clone(),
    ));
    (address, stop.drop_guard())
}

/// Files as the media folder and the database would give them.
#[derive(Default)]
struct Files {
    held: Mutex<Vec<(String, tempfile::NamedTempFile)>>,
    gone: Mutex<Vec<String>>,
}

#[async_trait]
impl Shelf for Files {
    async fn find(&self, reference: &crate::media::Reference) -> Result<Found, SinkError> {
        if self
            .gone
            .lock()
            .expect("unpoisoned")
            .iter()
            .any(|gone| gone == reference.as_str())
        {
            return Ok(Found::Gone);
        }
        let held = self.held.lock().expect("unpoisoned");
        let found = held.iter().find(|(name, _)| name == reference.as_str());
        Ok(match found {
            Some((_, file)) => Found::File(file.reopen().expect("the file").into()),
            None => Found::Unknown,
        })
    }
}

struct Bridge {
    address: String,
    sink: Arc<Sink>,
    files: Arc<Files>,
    client: reqwest::Client,
    _stop: DropGuard,
}

impl Bridge {
    async fn start(jwks: Url) -> Self {
        Self::start_with(jwks, Config::default()).await
    }

    async fn start_with(jwks: Url, mut config: Config) -> Self {
        let client = crate::client::client().expect("a client");
        config.public.url = Url::parse("https://foobar.com/whatsapp").expect("an address");
        let sink = Arc::new(Sink::default());
        let files = Arc::new(Files::default());
        let state = Public::new(
            Arc::new(config),
            Keys::new(jwks, client.clone()),
            sink.clone(),
            files.clone(),
        );
        let (address, stop) = start(router(state)).await;
        Self {
            address,
            sink,
            files,
            client,
            _stop: stop,
        }
    }

    async fn push(&self, authorization: Option<String>, body: &str) -> u16 {
        let mut request = self
            .client
            .post(format!("{}/whatsapp/push", self.address))
            .body(body.to_owned());
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.send().await.expect("an answer").status().as_u16()
    }

    fn woken(&self) -> Vec<String> {
        self.sink.woken.lock().expect("unpoisoned").clone()
    }
}

fn bearer_of(kid: &str, claims: &Claims) -> Option<String> {
    Some(format!(
        "Bearer {}",
        key(kid).issue(claims).expect("a token")
    ))
}

fn claims() -> Claims {
    Claims::new("WHATSAPP", "https://foobar.com", now(), 3600)
}

const ALICE: &str = "{\"to\":\"@alice:localhost\"}";

#[tokio::test]
async fn a_genuine_push_wakes_the_user() {
    let gatekeeper = Gatekeeper::start(&["1aXf8"]).await;
    let bridge = Bridge::start(gatekeeper.url.clone()).await;
    let token = || bearer_of("1aXf8", &claims());
    assert_eq!(bridge.push(token(), ALICE).await, 200);
    // The same again is no fault, and the audience may be the whole base address.
    assert_eq!(bridge.push(token(), ALICE).await, 200);
    let base = Claims::new("WHATSAPP", "https://foobar.com/whatsapp", now(), 3600);
    assert_eq!(bridge.push(bearer_of("1aXf8", &base), ALICE).await, 200);
    assert_eq!(bridge.woken(), ["@alice:localhost"; 3]);
    assert_eq!(gatekeeper.asked.load(Ordering::SeqCst), 1);
    assert_eq!(
        bridge
            .push(token(), "{\"to\":\"@nobody:localhost\",\"new\":1}")
            .await,
        404
    );
    for body in ["", "{}", "to=alice", "{\"to\":7}"] {
        assert_eq!(bridge.push(token(), body).await, 400, "{body}");
    }
}

#[tokio::test]
async fn forged_pushes_are_refused() {
    let gatekeeper = Gatekeeper::start(&["1aXf8"]).await;
    let bridge = Bridge::start(gatekeeper.url.clone()).await;
    let elsewhere = Claims::new("WHATSAPP", "https://elsewhere.com", now(), 3600);
    let expired = Claims::new("WHATSAPP", "https://foobar.com", now() - 7200, 3600);
    let other = Claims::new("SOMEBODY", "https://foobar.com", now(), 3600);
    let stranger = SigningKey::generate().expect("a key").named("1aXf8");
    for (authorization, why) in [
        (None, "no token"),
        (Some("Bearer garbage".to_owned()), "garbage"),
        (bearer_of("1aXf8", &elsewhere), "audience"),
        (bearer_of("1aXf8", &expired), "expired"),
        (bearer_of("1aXf8", &other), "issuer"),
        (bearer_of("unknown", &claims()), "key"),
        (
            Some(format!(
                "Bearer {}",
                stranger.issue(&claims()).expect("a token")
            )),
            "signature",
        ),
    ] {
        assert_eq!(bridge.push(authorization, ALICE).await, 401, "{why}");
    }
    assert_eq!(bridge.woken(), [""; 0]);
}

#[tokio::test]
async fn a_new_key_is_fetched_but_not_without_end() {
    let gatekeeper = Gatekeeper::start(&["old"]).await;
    let bridge = Bridge::start(gatekeeper.url.clone()).await;
    assert_eq!(bridge.push(bearer_of("old", &claims()), ALICE).await, 200);
    *gatekeeper.published.lock().expect("unpoisoned") = vec!["new"];
    assert_eq!(bridge.push(bearer_of("new", &claims()), ALICE).await, 200);
    // The withdrawn key is not in the set any more.
    assert_eq!(bridge.push(bearer_of("old", &claims()), ALICE).await, 401);
    for attempt in 0..20 {
        let kid = format!("forged-{attempt}");
        assert_eq!(bridge.push(bearer_of(&kid, &claims()), ALICE).await, 401);
    }
    assert!(
        gatekeeper.asked.load(Ordering::SeqCst) <= 4,
        "{:?}",
        gatekeeper.asked
    );
    assert_eq!(bridge.push(bearer_of("new", &claims()), ALICE).await, 200);
}

#[tokio::test]
async fn without_the_gatekeepers_keys_a_push_should_come_again() {
    // A port that was free a moment ago: nobody listens there.
    let listener = crate::serve::listen(([127, 0, 0, 1], 0).into(), "test")
        .await
        .expect("a port");
    let url = Url::parse(&format!(
        "http://{}/jwks",
        listener.local_addr().expect("an address")
    ));
    drop(listener);
    let bridge = Bridge::start(url.expect("an address")).await;
    assert_eq!(bridge.push(bearer_of("1aXf8", &claims()), ALICE).await, 503);
    assert_eq!(bridge.woken(), [""; 0]);
}

#[tokio::test]
async fn the_key_set_is_published_in_the_published_form() {
    let bridge = Bridge::start(Url::parse("http://127.0.0.1:9/").expect("an address")).await;
    let response = bridge
        .client
        .get(format!("{}{JWKS_PATH}", bridge.address))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let set: serde_json::Value = response.json().await.expect("JSON");
    let key = &set["keys"][0];
    for (member, value) in [
        ("kid", "ours"),
        ("kty", "RSA"),
        ("alg", "RS256"),
        ("use", "sig"),
        ("e", "AQAB"),
    ] {
        assert_eq!(key[member], value);
    }
}
