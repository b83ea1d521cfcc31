//! A homeserver as a bad network shows it: passes requests on, but for those that a rule lets fail or hang.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use reqwest::StatusCode;
use serde_json::json;

use crate::{Result, http};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This status, with the error code `M_UNKNOWN`. The homeserver does not hear of it.
    Refused(u16),
    /// No answer, until whoever asks gives up or the rule is taken back. The homeserver does not hear of it.
    Hangs,
}

/// Which requests have another fate than to be passed on.
#[derive(Debug, Clone)]
struct Rule {
    method: &'static str,
    contains: String,
    fate: Fate,
}

#[derive(Debug, Default)]
struct Shared {
    target: Mutex<String>,
    rules: Mutex<Vec<Rule>>,
    client: reqwest::Client,
}

/// A proxy on a loopback port; it ends with the runtime that started it.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens. Requests are passed on once [`Proxy::aim`] has said where.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            client: http::streaming()?,
            ..Shared::default()
        });
        let router = Router::new()
            .fallback(pass)
            .with_state(Arc::clone(&shared))
            .layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, shared })
    }

    /// Its base address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where requests go.
    pub fn aim(&self, target: &str) {
        target.clone_into(&mut lock(&self.shared.target));
    }

    /// From now on requests of this method (empty for any) whose decoded path and query hold this text have this fate; a `*` in it
    /// stands for anything.
    pub fn rule(&self, method: &'static str, contains: &str, fate: Fate) {
        let contains = contains.to_owned();
        lock(&self.shared.rules).push(Rule {
            method,
            contains,
            fate,
        });
    }

    /// Takes all rules back.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }
}

impl Shared {
    fn fate(&self, method: &str, path: &str) -> Option<Fate> {
        lock(&self.rules)
            .iter()
            .find(|rule| {
                (rule.method.is_empty() || rule.method == method) && holds(path, &rule.contains)
            })
            .map(|rule| rule.fate)
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let decoded = percent_decoded(&path);
    while let Some(fate) = shared.fate(parts.method.as_str(), &decoded) {
        match fate {
            Fate::Refused(status) => {
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let error = json!({"errcode": "M_UNKNOWN", "error": "a rule of the test"});
                return (status, axum::Json(error)).into_response();
            }
            // Until the rule is gone; who asks may have left by then.
            Fate::Hangs => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    let target = format!("{}{path}", lock(&shared.target));
    let mut headers = parts.headers;
    headers.remove("host");
    let sent = shared
        .client
        .request(parts.method, target)
        .headers(headers)
        .body(reqwest::Body::wrap_stream(body.into_data_stream()))
        .send()
        .await;
    match sent {
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.extend(answer.headers().clone());
                headers.remove("transfer-encoding");
            }
            response
                .body(Body::from_stream(answer.bytes_stream()))
                .unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Whether the parts of `pattern` between its `*` stand in `path`, one after the other.
fn holds(path: &str, pattern: &str) -> bool {
    let mut rest = Some(path);
    for part in pattern.split('*') {
        rest = rest
            .and_then(|rest| rest.split_once(part))
            .map(|(_, rest)| rest);
    }
    rest.is_some()
}

/// Room and event ids hold characters that stand encoded in a path.
fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                decoded.push(code);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod unit {
    use super::holds;

    #[test]
    fn a_star_stands_for_anything() {
        let path = "/rooms/!r/send/m.room.encrypted/x?user_id=@g:s&device_id=D";
        assert!(holds(path, "/rooms/!r/send/"));
        assert!(holds(path, "/rooms/!r/*?user_id=@g:s"));
        assert!(!holds(path, "/rooms/!r/*?user_id=@other:s"));
        assert!(!holds(path, "user_id=@g:s*/rooms/!r/"));
    }
}
