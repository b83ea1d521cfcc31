//! The gatekeeper's HTTP side over TLS, with a certificate of the sandbox's own.
//!
//! Stock clients fetch and upload files over TLS whatever they are told, so there is a second listener
//! for them. The certificate signs itself: a client trusts it by being given the file.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, warn};

/// Names that the certificate always has.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Time that a client has for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Handshakes at the same time.
const AT_ONCE: usize = 64;

/// A certificate with its key, and the names that it is for.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Certificate {
    names: Vec<String>,
    der: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A certificate that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be made.
    #[error(
        "the TLS certificate cannot be made: {0}; see whether the names of --tls-name are names"
    )]
    Certificate(#[from] rcgen::Error),
    /// It cannot be used.
    #[error("the TLS certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

impl Certificate {
    /// The certificate for these names besides the local ones: `kept`, if it is for the same.
    pub(crate) fn for_names(kept: Option<Self>, more: &[String]) -> Result<Self, TlsError> {
        let local = LOCAL.iter().map(|&name| name.to_owned());
        let names: Vec<String> = local.chain(more.iter().cloned()).collect();
        if let Some(kept) = kept.filter(|kept| kept.names == names) {
            return Ok(kept);
        }
        let made = rcgen::generate_simple_self_signed(names.clone())?;
        Ok(Self {
            names,
            der: made.cert.der().to_vec(),
            key: made.key_pair.serialize_der(),
        })
    }

    /// The certificate as a client is given it.
    pub(crate) fn to_pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem + "-----END CERTIFICATE-----\n"
    }

    /// What takes connections under it.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let chain = vec![CertificateDer::from(self.der.clone())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // The chat is a WebSocket, which needs this version.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A client for what partners serve, with what else `set` wants of it. It trusts whom the system trusts, and where the
/// system names nobody, as in an empty container, whom Mozilla does.
pub(crate) fn client(
    set: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, reqwest::Error> {
    let builder = || set(reqwest::Client::builder().no_proxy());
    builder()
        .build()
        .or_else(|_| builder().tls_backend_preconfigured(mozillas()).build())
}

/// TLS with Mozilla's roots, which lie in this program.
fn mozillas() -> rustls::ClientConfig {
    let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore {
            roots: roots.collect(),
        })
        .with_no_client_auth()
}

/// Connections whose handshake is over. A slow client holds up no other.
#[derive(Debug)]
pub(crate) struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    /// A listener, and the work that it needs done beside it.
    pub(crate) fn new(
        listener: TcpListener,
        address: SocketAddr,
        acceptor: TlsAcceptor,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, ready) = mpsc::channel(AT_ONCE);
        (Self { ready, address }, shake(listener, acceptor, sender))
    }
}

async fn shake(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // Never closed: the one to do so would be this function.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, address) = Listener::accept(&mut listener).await;
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // Nobody takes it any more when the sandbox stops.
                Ok(Ok(stream)) => drop(ready.send((stream, address)).await),
                Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
                Err(_) => warn!("a TLS handshake took too long"),
            }
            drop(place);
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The sandbox stops.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_stays_while_its_names_do() {
        let first = Certificate::for_names(None, &[]).unwrap();
        let again = Certificate::for_names(Some(first.clone()), &[]).unwrap();
        assert_eq!(first.der, again.der);
        let other = Certificate::for_names(Some(first.clone()), &["sandbox".to_owned()]).unwrap();
        assert_ne!(first.der, other.der);
        assert!(first.to_pem().lines().all(|line| line.len() <= 64));
    }
}
