//! The HTTP side of a partner: its key set, its push endpoint and the files that it hosts.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gatekeeper::token::{Claims, Jwks, SigningKey};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) const AUDIENCE: &str = "WHATSAPP";

/// One push as it came.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) token: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

/// One request for a hosted file as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) reference: String,
    pub(crate) token: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    asked: Mutex<Vec<Asked>>,
    keys: Mutex<Vec<SigningKey>>,
    pushes: Mutex<Vec<Push>>,
    push_status: AtomicU16,
    fetches: AtomicUsize,
    silent: AtomicBool,
}

/// A partner's server on a free port; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Partner {
    pub(crate) base_url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Partner {
    pub(crate) async fn start() -> Self {
        // For the tests' own HTTP clients, where the sandbox is another process. An error means that it is there already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let shared = Arc::new(Shared::default());
        shared
            .keys
            .lock()
            .unwrap()
            .push(SigningKey::generate().unwrap());
        shared.push_status.store(200, Ordering::SeqCst);
        let router = Router::new()
            .route("/whatsapp/.well-known/oauth/openid/jwks", get(jwks))
            .route("/whatsapp/push", post(push))
            .route("/whatsapp/{reference}", get(file))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/whatsapp", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            base_url,
            shared,
            task,
        }
    }

    /// A token for a user, with the newest key.
    pub(crate) fn token(&self, identifier: &str) -> String {
        self.token_for(identifier, AUDIENCE, 1)
    }

    /// A token made `age` seconds ago, good for an hour.
    pub(crate) fn token_for(&self, identifier: &str, audience: &str, age: u64) -> String {
        let issued = now() - age;
        let claims = Claims::new(&self.base_url, audience, issued, 3600).about(identifier);
        self.shared
            .keys
            .lock()
            .unwrap()
            .last()
            .unwrap()
            .issue(&claims)
            .unwrap()
    }

    /// Publishes and uses another key, and no longer the old one.
    pub(crate) fn rotate(&self) {
        *self.shared.keys.lock().unwrap() = vec![SigningKey::generate().unwrap()];
    }

    /// Publishes the key set, or answers that it cannot.
    pub(crate) fn publish(&self, on: bool) {
        self.shared.silent.store(!on, Ordering::SeqCst);
    }

    /// Hosts a file.
    pub(crate) fn host(&self, reference: &str, bytes: Vec<u8>) {
        let mut files = self.shared.files.lock().unwrap();
        files.insert(reference.to_owned(), bytes);
    }

    /// Who asked for hosted files.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub(crate) fn answer_pushes_with(&self, status: u16) {
        self.shared.push_status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn pushes(&self) -> Vec<Push> {
        self.shared.pushes.lock().unwrap().clone()
    }

    /// How often the key set was fetched.
    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Result<Json<Jwks>, StatusCode> {
    if shared.silent.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let keys = shared
        .keys
        .lock()
        .unwrap()
        .iter()
        .map(|key| key.jwk().clone())
        .collect();
    Ok(Json(Jwks { keys }))
}

async fn file(
    State(shared): State<Arc<Shared>>,
    method: Method,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    shared.asked.lock().unwrap().push(Asked {
        method: method.to_string(),
        reference: reference.clone(),
        token: token.map(|token| token.strip_prefix("Bearer ").unwrap().to_owned()),
    });
    let file = shared.files.lock().unwrap().get(&reference).cloned();
    let Some(file) = file else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Of ranges only what the tests ask for.
    match headers
        .get(header::RANGE)
        .map(|value| value.to_str().unwrap())
    {
        Some("bytes=2-3") => (
            StatusCode::PARTIAL_CONTENT,
            [(header::CONTENT_RANGE, format!("bytes 2-3/{}", file.len()))],
            file[2..4].to_vec(),
        )
            .into_response(),
        _ => file.into_response(),
    }
}

async fn push(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let text = |name| headers[name].to_str().unwrap().to_owned();
    let token = text(header::AUTHORIZATION)
        .strip_prefix("Bearer ")
        .unwrap()
        .to_owned();
    let content_type = text(header::CONTENT_TYPE);
    shared.pushes.lock().unwrap().push(Push {
        token,
        content_type,
        body,
    });
    StatusCode::from_u16(shared.push_status.load(Ordering::SeqCst)).unwrap()
}
