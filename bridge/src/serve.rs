//! Listening and serving, with an orderly end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

/// How long requests that are under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// A pause while the machine has no file to give for a connection.
const SHORT: Duration = Duration::from_secs(1);

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

/// What a listener takes of its peers.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections that are open at the same time; further ones wait to be taken.
    pub connections: usize,
    /// How long a peer may take from connecting, or from the answer before, to the end of a request's header. A connection
    /// over which nothing comes ends then.
    pub header: Option<Duration>,
}

impl Bounds {
    /// For a listener that only a neighbour reaches, who may keep its connections.
    pub const NONE: Self = Self {
        connections: Semaphore::MAX_PERMITS,
        header: None,
    };
    /// For a listener that anybody may reach.
    pub const PUBLIC: Self = Self {
        connections: 512,
        header: Some(Duration::from_secs(20)),
    };
}

/// Serves HTTP/1.1 until `stop`: then takes no more requests, and waits a little for those that are under way.
///
/// # Errors
///
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    http.header_read_timeout(bounds.header);
    let free = Arc::new(Semaphore::new(bounds.connections));
    let open = GracefulShutdown::new();
    let take = async {
        loop {
            let place = free.clone().acquire_owned().await;
            let place = place.map_err(io::Error::other)?;
            let stream = accept(&listener).await?;
            // An answer in pieces should not wait for more of it.
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(router.clone());
            let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                // What goes wrong on it is its peer's affair.
                let _ = connection.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        result = take => return result,
        () = stop.cancelled() => {}
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, open.shutdown()).await;
    Ok(())
}

/// The next connection.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok(stream),
            // The peer has gone while it waited.
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            Err(error) if is_short_of_files(&error) => {
                tracing::error!(%error, "no connection can be taken");
                tokio::time::sleep(SHORT).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether others have to close something first.
fn is_short_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| short.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn start(bounds: Bounds) -> (SocketAddr, CancellationToken) {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(address, "test").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, router, bounds, stop.clone()));
        (address, stop)
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        while !text.ends_with("here") {
            let mut piece = [0; 256];
            let count = stream.read(&mut piece).await.unwrap();
            assert_ne!(count, 0, "it has ended after {text:?}");
            text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_let_go() {
        let (address, _stop) = start(Bounds {
            connections: 8,
            header: Some(Duration::from_millis(100)),
        })
        .await;
        for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            // It ends: otherwise this waits for ever.
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.ends_with(b"here"));
        }
        // Also one that has asked before.
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }

    #[tokio::test]
    async fn more_connections_wait_their_turn() {
        let (address, stop) = start(Bounds {
            connections: 1,
            header: None,
        })
        .await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(REQUEST).await.unwrap();
        answer(&mut first).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(REQUEST).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(200), answer(&mut second)).await;
        assert!(early.is_err(), "answered beside the first");
        drop(first);
        answer(&mut second).await;
        stop.cancel();
        let mut rest = Vec::new();
        let _ = second.read_to_end(&mut rest).await;
        // The listener goes with it.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
