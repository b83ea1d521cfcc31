//! What a connection needs to know.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Clock, SystemClock};
use crate::{
    noise::StaticKeyPair,
    profile::Profile,
    transport::{Endpoint, Network, Transport},
};

/// An error of whoever gives out credentials.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where and how a login connects.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Opens the channels.
    pub transport: Arc<dyn Transport>,
    /// Every choice that is not public; the root of the server's certificates among them.
    pub profile: Arc<Profile>,
    /// Names the login in the log: no address, no number, a keyed hash of one.
    pub log_label: String,
    /// Events that wait to be taken before the queue behind them fills.
    pub event_capacity: usize,
    /// How long to wait between attempts.
    pub backoff: BackoffConfig,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl ConnectionConfig {
    /// A connection over the network.
    pub fn new(endpoint: Endpoint, profile: Arc<Profile>, log_label: impl Into<String>) -> Self {
        let transport = Arc::new(Network::new(endpoint, profile.chat.clone()));
        Self::over(transport, profile, log_label)
    }

    /// A connection over any transport.
    pub fn over(
        transport: Arc<dyn Transport>,
        profile: Arc<Profile>,
        log_label: impl Into<String>,
    ) -> Self {
        Self {
            transport,
            profile,
            log_label: log_label.into(),
            event_capacity: 256,
            backoff: BackoffConfig::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// How long to wait between attempts to connect: each time twice as long, less up to half of it by
/// chance, so that logins do not all come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// A connection that lived this long, or carried a stanza of a chat, begins again with the first.
    pub stable: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(300),
            stable: Duration::from_secs(60),
        }
    }
}

/// What a login shows at one connection.
pub struct Credentials {
    /// The Noise key of the enlistment.
    pub static_key: StaticKeyPair,
    /// The number in the user's address.
    pub account_id: u64,
    /// A fresh token.
    pub token: String,
    /// What [`super::Event::RoutingInfo`] last said.
    pub routing_info: Option<Vec<u8>>,
    /// Whether others may learn what the user has read.
    pub enable_read_receipts: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("enable_read_receipts", &self.enable_read_receipts)
            .finish_non_exhaustive()
    }
}

/// Gives out the credentials of one login. It is asked at each connection.
#[async_trait]
pub trait CredentialsProvider: Send + Sync {
    /// The credentials as they are now.
    ///
    /// # Errors
    ///
    /// If there are none at the moment: it is asked again after the back-off.
    async fn credentials(&self) -> Result<Credentials, BoxError>;
}
