//! A proxy for HTTP requests that refuses some or lets them hang, loses the answers to some, and has some done twice.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::rules::{Fate, Rules};
use super::transactions::{Keys, Transactions};
use crate::error::Context as _;
use crate::{Error, Result, http};

/// The longest body that is passed on, in bytes.
const LONGEST: usize = 256 << 20;
/// How long a lost answer keeps its asker waiting, in milliseconds, if it is neither an error nor a closed connection.
const SILENCE: Duration = Duration::from_secs(5);
/// How soon a request that hangs goes on after its rule is gone.
const LOOK: Duration = Duration::from_millis(100);

/// What the proxy does to requests. Shares are probabilities from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trouble {
    /// Requests that are not passed on.
    pub refuse: Option<Refuse>,
    /// Requests that are passed on, but their answer is lost: an error of a proxy comes instead, or the connection is closed, or
    /// nothing comes for some seconds.
    pub lose_answers: f64,
    /// Requests that are passed on twice; the second answer counts.
    pub twice: f64,
    /// What becomes of the to-device messages in transactions.
    pub keys: Keys,
    /// Transactions are answered and not passed on: the homeserver takes their events for told, as it does with those that it
    /// has in memory when it is restarted. [`HttpProxy::has_forgotten`] says which.
    pub forget: bool,
}

/// How requests are refused.
#[derive(Debug, Clone, Copy)]
pub struct Refuse {
    /// Which share of them.
    pub share: f64,
    /// The status of the answer: the server's own with 429 and 500, all else is a proxy's.
    pub status: u16,
}

/// A proxy before an HTTP server.
#[derive(Debug)]
pub struct HttpProxy {
    inner: Arc<Inner>,
    address: String,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    target: String,
    client: reqwest::Client,
    trouble: Mutex<Trouble>,
    dice: Mutex<SmallRng>,
    rules: Rules,
    transactions: Transactions,
    refused: AtomicU64,
}

/// An exchange that ends without an answer: the connection is closed.
type Closed = Error;

impl HttpProxy {
    /// A proxy on a free loopback port before the server at `target`, a base address.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub(super) async fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("a proxy cannot listen")?;
        let address = format!("http://{}", listener.local_addr()?);
        let inner = Arc::new(Inner {
            target: target.to_owned(),
            client: http::pooled_client()?,
            trouble: Mutex::default(),
            dice: Mutex::new(SmallRng::seed_from_u64(0)),
            rules: Rules::default(),
            transactions: Transactions::default(),
            refused: AtomicU64::new(0),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&inner)));
        Ok(Self {
            inner,
            address,
            serving,
        })
    }

    /// Its base address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it shall do from now on.
    pub fn set(&self, trouble: Trouble) {
        *lock(&self.inner.trouble) = trouble;
    }

    /// From now on requests of this method (empty for any) whose decoded path and query hold this text have this fate; a `*` in it
    /// stands for anything.
    pub fn rule(&self, method: &'static str, contains: &str, fate: Fate) {
        self.inner.rules.add(method, contains, fate);
    }

    /// How many requests rules have struck so far.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.inner.rules.struck()
    }

    /// Takes all rules back.
    pub fn heal(&self) {
        self.inner.rules.clear();
    }

    /// Starts the sequence of its dice again.
    pub fn seed(&self, seed: u64) {
        *lock(&self.inner.dice) = SmallRng::seed_from_u64(seed);
    }

    /// From the next one on transactions are numbered from 1, as by a homeserver that was set up anew.
    pub fn number_from_one(&self) {
        self.inner.transactions.number_from_one();
    }

    /// Numbers transactions after the last one as if those that were forgotten had never had a number.
    pub fn number_on(&self) {
        self.inner.transactions.number_on();
    }

    /// How many requests were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Whether this event was in a transaction that was not passed on.
    #[must_use]
    pub fn has_forgotten(&self, event_id: &str) -> bool {
        self.inner.transactions.has_forgotten(event_id)
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    // They end with the set, and it with the task that holds it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, Arc::clone(&inner)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, inner: Arc<Inner>) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let inner = Arc::clone(&inner);
        async move { inner.exchange(request.map(Body::new)).await }
    });
    // An exchange that fails closes the connection: that is how it is meant.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Inner {
    async fn exchange(&self, request: Request) -> Result<Response, Closed> {
        let trouble = *lock(&self.trouble);
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, LONGEST)
            .await
            .context("a request broke off")?;
        if let Some(refuse) = trouble.refuse
            && self.strikes(refuse.share)
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return match refuse.status {
                429 | 500 => refusal(refuse.status),
                status => page(status),
            };
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        while let Some(fate) = self.rules.fate(parts.method.as_str(), path) {
            match fate {
                Fate::Refused(status) => return refusal(status),
                Fate::Page(status) => return page(status),
                // Until the rule is gone; who asks may have left by then, which ends this exchange.
                Fate::Hangs => tokio::time::sleep(LOOK).await,
            }
        }
        let (path, body) = self.transactions.pass(path, body, trouble.keys);
        if trouble.forget && self.transactions.forget(&path, &body) {
            return Ok(Response::new(Body::from("{}")));
        }
        let forward = || self.forward(&parts.method, &path, &parts.headers, body.clone());
        let mut answer = forward().await?;
        if self.strikes(trouble.twice) {
            answer = forward().await?;
        }
        if self.strikes(trouble.lose_answers) {
            return self.lost().await;
        }
        Ok(answer)
    }

    async fn forward(
        &self,
        method: &axum::http::Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response> {
        let has_length = headers.contains_key(CONTENT_LENGTH);
        let mut headers = headers.clone();
        strip(&mut headers);
        if has_length {
            // The client would leave that of an empty body out, without which a homeserver refuses an upload.
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        let request = self
            .client
            .request(method.clone(), format!("{}{path}", self.target))
            .headers(headers)
            .body(body);
        let answer = request.send().await?;
        let status = answer.status();
        let mut headers = answer.headers().clone();
        strip(&mut headers);
        let mut response = Response::new(Body::from(answer.bytes().await?));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// What an asker sees whose answer is lost.
    async fn lost(&self) -> Result<Response, Closed> {
        let way = lock(&self.dice).random_range(0..3);
        if way == 0 {
            return refusal(504);
        }
        if way == 1 {
            tokio::time::sleep(SILENCE).await;
        }
        Err(Error::new("the answer is lost"))
    }

    fn strikes(&self, share: f64) -> bool {
        share > 0.0 && lock(&self.dice).random::<f64>() < share
    }
}

/// Takes out what concerns one connection alone.
fn strip(headers: &mut HeaderMap) {
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// An answer as Synapse gives it.
fn refusal(status: u16) -> Result<Response, Closed> {
    let body = match status {
        429 => {
            json!({"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 1500})
        }
        _ => json!({"errcode": "M_UNKNOWN", "error": "refused by a test"}),
    };
    answer(status, "application/json", body.to_string())
}

/// An answer as a proxy gives it whose server is away.
fn page(status: u16) -> Result<Response, Closed> {
    let page = "<html><body><h1>The server behind me does not answer</h1></body></html>";
    answer(status, "text/html", page.to_owned())
}

fn answer(status: u16, kind: &'static str, body: String) -> Result<Response, Closed> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).context("no status")?;
    let kind = axum::http::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
