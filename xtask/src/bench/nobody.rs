//! An application service that does nothing: it takes transactions and counts what users sent in them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::extract::{DefaultBodyLimit, State};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tests::error::Context as _;
use tests::{Error, Result};
use tokio::task::JoinHandle;

use super::flow::now;
use super::rig::DEADLINE;

/// Listens where the bridge would.
pub(super) struct Nobody {
    seen: Arc<Seen>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    events: AtomicUsize,
    /// Unix time in milliseconds.
    last: AtomicU64,
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    events: Vec<Head>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    sender: String,
}

impl Nobody {
    pub(super) async fn listen(port: u16) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .context("the bridge's port")?;
        let seen = Arc::<Seen>::default();
        let router = Router::new()
            .fallback(take)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move {
            // It ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { seen, server })
    }

    /// Waits for so many events of users; says when the last came, in Unix milliseconds.
    pub(super) async fn wait_for(&self, count: usize) -> Result<u64> {
        let waited = tests::wait::until("Synapse to hand over its events", DEADLINE, || async {
            let seen = self.seen.events.load(Ordering::Relaxed);
            Ok((seen >= count).then(|| self.seen.last.load(Ordering::Relaxed)))
        });
        waited.await
    }
}

impl Drop for Nobody {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(seen): State<Arc<Seen>>, body: axum::body::Bytes) -> Json<Value> {
    let transaction: Result<Transaction, Error> =
        serde_json::from_slice(&body).map_err(Error::from);
    if let Ok(transaction) = transaction {
        let of_users =
            |head: &&Head| head.kind == "m.room.encrypted" && !head.sender.starts_with("@whatsapp");
        let count = transaction.events.iter().filter(of_users).count();
        if count > 0 {
            seen.last.store(now(), Ordering::Relaxed);
            seen.events.fetch_add(count, Ordering::Relaxed);
        }
    }
    Json(json!({}))
}
