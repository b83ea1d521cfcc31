//! The way out of a connection, and the queries that wait for their answers.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    profile::Profile,
    stanza::{self, EncodeError, EncodeOptions, Node},
    stanzas::IqError,
};

/// Stanzas of the bridge that wait to be written.
const STANZAS: usize = 64;

/// Stanzas of the connection itself that wait to be written: acks and pings.
const CONTROL: usize = 1024;

/// Queries that wait for an answer.
const QUERIES: usize = 4096;

/// A stanza that could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection; try again after [`super::Event::Connected`].
    #[error("not connected")]
    NotConnected,
    /// The stanza cannot be written at all.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A query without an answer, or with a refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is no connection, or it ended before the answer came.
    #[error("not connected")]
    NotConnected,
    /// No answer came in time.
    #[error("the server did not answer the query in time")]
    Timeout,
    /// Too many queries wait already.
    #[error("too many queries wait for an answer")]
    Busy,
    /// The stanza cannot be written at all.
    #[error(transparent)]
    Encode(EncodeError),
    /// The server refuses; see [`crate::profile::Profile::classify_query`].
    #[error(transparent)]
    Refused(IqError),
}

impl From<SendError> for QueryError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotConnected => Self::NotConnected,
            SendError::Encode(error) => Self::Encode(error),
        }
    }
}

/// The way out of one connection.
#[derive(Debug)]
pub(super) struct Link {
    stanzas: mpsc::Sender<Vec<u8>>,
    control: mpsc::Sender<Vec<u8>>,
    /// None once the connection has ended.
    queries: Mutex<Option<HashMap<String, oneshot::Sender<Node>>>>,
    options: EncodeOptions,
    prefix: u32,
    counter: AtomicU64,
    ended: CancellationToken,
}

/// The writer's end of a [`Link`].
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) stanzas: mpsc::Receiver<Vec<u8>>,
    pub(super) control: mpsc::Receiver<Vec<u8>>,
}

impl Link {
    /// A way out; `prefix` makes the ids of this connection's queries differ from others'.
    pub(super) fn new(profile: &Profile, prefix: u32) -> (Self, Outgoing) {
        let (stanzas, stanzas_out) = mpsc::channel(STANZAS);
        let (control, control_out) = mpsc::channel(CONTROL);
        let link = Self {
            stanzas,
            control,
            queries: Mutex::new(Some(HashMap::new())),
            options: EncodeOptions {
                interop: profile.interop_jids,
                ..EncodeOptions::default()
            },
            prefix,
            counter: AtomicU64::new(1),
            ended: CancellationToken::new(),
        };
        (
            link,
            Outgoing {
                stanzas: stanzas_out,
                control: control_out,
            },
        )
    }

    /// Hands a stanza to the writer; waits while others are before it.
    pub(super) async fn send(&self, node: &Node) -> Result<(), SendError> {
        let bytes = stanza::encode(node, &self.options)?;
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(SendError::NotConnected),
            sent = self.stanzas.send(bytes) => sent.map_err(|_| SendError::NotConnected),
        }
    }

    /// Hands a stanza of the connection itself to the writer, without waiting. False if the writer
    /// is so far behind that the connection is of no use.
    pub(super) fn control(&self, node: &Node) -> bool {
        match stanza::encode(node, &self.options) {
            Ok(bytes) => self.control.try_send(bytes).is_ok(),
            // Made of what the server sent; whatever it is, it cannot be answered.
            Err(_) => true,
        }
    }

    /// An id that no other stanza of this connection has.
    pub(super) fn fresh_id(&self) -> String {
        format!(
            "{:08X}{:X}",
            self.prefix,
            self.counter.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Sends a query and waits for its answer.
    pub(super) async fn query(&self, mut node: Node, within: Duration) -> Result<Node, QueryError> {
        let id = match node.get("id") {
            Some(id) => id.into_owned(),
            None => {
                let id = self.fresh_id();
                node = node.attr("id", id.as_str());
                id
            }
        };
        let (answer, answered) = oneshot::channel();
        let _waiting = Waiting::register(self, id, answer)?;
        let exchange = async {
            self.send(&node).await?;
            answered.await.map_err(|_| QueryError::NotConnected)
        };
        let node = tokio::time::timeout(within, exchange)
            .await
            .map_err(|_| QueryError::Timeout)??;
        match IqError::of(&node) {
            None => Ok(node),
            Some(error) => Err(QueryError::Refused(error)),
        }
    }

    /// Gives an answer to the query that waits for it, if one does.
    pub(super) fn answer(&self, id: &str, node: Node) {
        let query = match self
            .queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            Some(queries) => queries.remove(id),
            None => None,
        };
        if let Some(query) = query {
            // Whoever asked may have lost interest.
            let _ = query.send(node);
        }
    }

    /// The connection has ended: nothing can be sent any more, and no query will be answered.
    pub(super) fn end(&self) {
        self.ended.cancel();
        self.queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// A query that waits; forgotten when dropped.
struct Waiting<'a> {
    link: &'a Link,
    id: String,
}

impl<'a> Waiting<'a> {
    fn register(
        link: &'a Link,
        id: String,
        answer: oneshot::Sender<Node>,
    ) -> Result<Self, QueryError> {
        let mut queries = link.queries.lock().unwrap_or_else(PoisonError::into_inner);
        let queries = queries.as_mut().ok_or(QueryError::NotConnected)?;
        if queries.len() >= QUERIES {
            return Err(QueryError::Busy);
        }
        queries.insert(id.clone(), answer);
        Ok(Self { link, id })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queries = self
            .link
            .queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(queries) = queries.as_mut() {
            queries.remove(&self.id);
        }
    }
}
