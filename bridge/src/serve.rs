//! Listening and serving, with an orderly end.

use std::{future::IntoFuture as _, io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long requests that are under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {key} ({source}); is another program, or a second gatehouse, there already? End it, or \
     configure another address"
)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The key of the configuration that gives it.
    pub key: &'static str,
    /// Why.
    pub source: io::Error,
}

/// Listens on an address that the configuration gives under `key`.
///
/// # Errors
///
/// An address that is taken or is not this machine's.
pub async fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError {
            address,
            key,
            source,
        })
}

/// Serves until `stop`: then takes no more requests, and waits a little for those that are under way.
///
/// # Errors
///
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let ended = stop.clone();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { ended.cancelled().await });
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = too_late => Ok(()),
    }
}
