//! The channel below the frames: a WebSocket or raw TCP, with or without TLS (G 2.1; U2).
//!
//! A [`Transport`] opens [`Channel`]s; nothing above it sees a socket. A channel carries bytes in
//! pieces of any size: frames may come split or merged, whatever the transport.

mod endpoint;
mod network;
mod stream;
mod websocket;

use std::{fmt, io};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::{
    endpoint::{Endpoint, EndpointError},
    network::Network,
};

/// Opens channels to one endpoint.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Opens a channel.
    ///
    /// # Errors
    ///
    /// If the endpoint cannot be reached, or does not speak the protocol.
    async fn open(&self) -> Result<Channel, TransportError>;
}

/// Both directions of an open channel.
pub struct Channel {
    /// From the peer.
    pub reader: Box<dyn Reader>,
    /// To the peer.
    pub writer: Box<dyn Writer>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

/// The direction from the peer.
#[async_trait]
pub trait Reader: Send {
    /// The next bytes, at least one; nothing at the orderly end. May be dropped before it is ready
    /// without losing any.
    ///
    /// # Errors
    ///
    /// If the channel has broken.
    async fn read(&mut self) -> Result<Option<Bytes>, TransportError>;
}

/// The direction to the peer.
#[async_trait]
pub trait Writer: Send {
    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// If the channel has broken.
    async fn write(&mut self, bytes: Bytes) -> Result<(), TransportError>;

    /// Ends the direction in order.
    async fn close(&mut self);
}

/// A channel that could not be opened, or has broken. Says nothing of what was sent.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The network.
    #[error("network: {0}")]
    Io(#[from] io::Error),
    /// The peer does not speak WebSocket, or broke its rules.
    #[error("websocket: {0}")]
    WebSocket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// The peer sent text where bytes are due.
    #[error("websocket: text where bytes are due")]
    Text,
    /// The endpoint or a setting cannot be used.
    #[error("{0}")]
    Setting(&'static str),
}

impl From<tokio_tungstenite::tungstenite::Error> for TransportError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        match error {
            tokio_tungstenite::tungstenite::Error::Io(error) => Self::Io(error),
            error => Self::WebSocket(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests;
