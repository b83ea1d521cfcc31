//! Between the bridge and the homeserver: counts requests, and loses one of them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};

/// Which way the unlucky request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Lost on its way to the homeserver.
    Request,
    /// Done by the homeserver; its answer is lost.
    Answer,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    pub(crate) url: String,
}

struct Inner {
    target: String,
    client: reqwest::Client,
    seen: AtomicUsize,
    lose: Mutex<Option<(usize, Loss)>>,
}

impl Proxy {
    /// Passes requests to `target` as long as the test runs.
    pub(crate) async fn start(target: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            target: target.to_owned(),
            client: reqwest::Client::new(),
            seen: AtomicUsize::new(0),
            lose: Mutex::new(None),
        });
        let app = Router::new().fallback(pass).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { inner, url }
    }

    /// Requests seen.
    pub(crate) fn seen(&self) -> usize {
        self.inner.seen.load(Ordering::SeqCst)
    }

    /// Loses the `nth` request from now on (from 1).
    pub(crate) fn lose(&self, nth: usize, loss: Loss) {
        *self.inner.lose.lock().unwrap() = Some((self.seen() + nth, loss));
    }

    /// Whether the unlucky request came.
    pub(crate) fn lost(&self) -> bool {
        self.inner.lose.lock().unwrap().is_none()
    }

    pub(crate) fn spare(&self) {
        *self.inner.lose.lock().unwrap() = None;
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let number = inner.seen.fetch_add(1, Ordering::SeqCst) + 1;
    let unlucky = inner
        .lose
        .lock()
        .unwrap()
        .take_if(|(nth, _)| *nth == number);
    let gone = || {
        Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(Body::empty())
            .unwrap()
    };
    if matches!(unlucky, Some((_, Loss::Request))) {
        return gone();
    }
    let (parts, body) = request.into_parts();
    let url = format!("{}{}", inner.target, parts.uri);
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut onward = inner.client.request(parts.method, url).body(body);
    for (name, value) in &parts.headers {
        if name != "host" && name != "content-length" {
            onward = onward.header(name, value);
        }
    }
    let answer = onward.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get("content-type") {
        response = response.header("content-type", kind);
    }
    let body = answer.bytes().await.unwrap();
    if unlucky.is_some() {
        gone()
    } else {
        response.body(Body::from(body)).unwrap()
    }
}
