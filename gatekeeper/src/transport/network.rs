//! Channels over the network.

use std::sync::Arc;

use async_trait::async_trait;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{
    client::IntoClientRequest as _,
    handshake::client::Request,
    http::{HeaderValue, header::ORIGIN},
};

use super::{Channel, Endpoint, Transport, TransportError, websocket};
use crate::profile::ChatProfile;

/// Opens channels to an endpoint of the network.
#[derive(Clone)]
pub struct Network {
    endpoint: Endpoint,
    profile: ChatProfile,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Channels to this endpoint. TLS trusts the authorities that browsers trust.
    pub fn new(endpoint: Endpoint, profile: ChatProfile) -> Self {
        Self {
            endpoint,
            profile,
            tls: None,
        }
    }

    /// The same channels with other rules for TLS, such as an authority of one's own.
    #[must_use]
    pub fn with_tls(self, tls: Arc<ClientConfig>) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, TransportError> {
        match &self.tls {
            Some(tls) => Ok(tls.clone()),
            None => public_tls(),
        }
    }

    fn request(&self, resource: &str) -> Result<Request, TransportError> {
        let scheme = if self.endpoint.tls { "wss" } else { "ws" };
        let resource = if resource == "/" {
            self.profile.websocket_path.as_str()
        } else {
            resource
        };
        let mut request =
            format!("{scheme}://{}{resource}", self.endpoint.authority()).into_client_request()?;
        let headers = request.headers_mut();
        if !self.profile.websocket_origin.is_empty() {
            let origin = HeaderValue::from_str(&self.profile.websocket_origin).map_err(|_| {
                TransportError::Setting("profile.chat.websocket_origin is no header value")
            })?;
            headers.insert(ORIGIN, origin);
        }
        Ok(request)
    }
}

#[async_trait]
impl Transport for Network {
    async fn open(&self) -> Result<Channel, TransportError> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await?;
        // Stanzas are gathered before they are written; waiting any longer only delays them.
        stream.set_nodelay(true)?;
        let request = match &self.endpoint.websocket {
            Some(resource) => Some(self.request(resource)?),
            None => None,
        };
        if !self.endpoint.tls {
            return match request {
                Some(request) => websocket::open(request, stream).await,
                None => Ok(Channel::over(stream)),
            };
        }
        let name = ServerName::try_from(self.endpoint.host.clone()).map_err(|_| {
            TransportError::Setting("the endpoint's host is no name that TLS can check")
        })?;
        let stream = TlsConnector::from(self.tls()?)
            .connect(name, stream)
            .await?;
        match request {
            Some(request) => websocket::open(request, stream).await,
            None => Ok(Channel::over(stream)),
        }
    }
}

/// TLS that trusts the authorities that browsers trust. Made once: the list is long.
fn public_tls() -> Result<Arc<ClientConfig>, TransportError> {
    static CONFIG: std::sync::OnceLock<Option<Arc<ClientConfig>>> = std::sync::OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Some(Arc::new(config))
    });
    config
        .clone()
        .ok_or(TransportError::Setting("TLS cannot be set up"))
}
