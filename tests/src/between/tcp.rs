//! A proxy for bytes that lets connections die without a word, or crawl.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::Result;
use crate::error::Context as _;

/// Bytes that are passed on at once.
const PIECE: usize = 16 * 1024;
/// Bytes that are passed on at once while everything crawls.
const CRUMB: usize = 64;

/// A proxy before a TCP server on loopback.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    way: Arc<Way>,
    serving: JoinHandle<()>,
}

/// How connections fare.
#[derive(Debug, Default)]
struct Way {
    /// How many connections were opened.
    opened: AtomicU64,
    /// Those up to this number are dead.
    dead: AtomicU64,
    /// Whether those after [`Way::last`] are dead too.
    stalls_new: AtomicBool,
    /// The last that was opened before [`Way::stalls_new`] was set.
    last: AtomicU64,
    /// How long a few bytes take, in milliseconds; 0 if nothing holds them up.
    pause: AtomicU64,
}

impl Way {
    fn is_dead(&self, number: u64) -> bool {
        let stalled = self.stalls_new.load(Ordering::Relaxed);
        number <= self.dead.load(Ordering::Relaxed)
            || (stalled && number > self.last.load(Ordering::Relaxed))
    }
}

impl TcpProxy {
    /// A proxy on a free loopback port before the one at `target`.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub(super) async fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("a proxy cannot listen")?;
        let port = listener.local_addr()?.port();
        let way = Arc::new(Way::default());
        let serving = tokio::spawn(serve(listener, target, Arc::clone(&way)));
        Ok(Self { port, way, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing goes through the connections that are open now any more, and nobody is told; new ones are well.
    pub fn forget_connections(&self) {
        let opened = self.way.opened.load(Ordering::Relaxed);
        self.way.dead.store(opened, Ordering::Relaxed);
    }

    /// Whether nothing goes through connections that are opened from now on, and nobody is told; those that are open are well.
    pub fn stall_new(&self, stalls: bool) {
        let opened = self.way.opened.load(Ordering::Relaxed);
        self.way.last.store(opened, Ordering::Relaxed);
        self.way.stalls_new.store(stalls, Ordering::Relaxed);
    }

    /// How many connections have been opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.way.opened.load(Ordering::Relaxed)
    }

    /// Everything crawls: a few bytes, and a pause.
    pub fn crawl(&self, pause: Duration) {
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.way.pause.store(pause, Ordering::Relaxed);
    }

    /// Ends [`TcpProxy::crawl`].
    pub fn full_speed(&self) {
        self.way.pause.store(0, Ordering::Relaxed);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, target: u16, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let number = way.opened.fetch_add(1, Ordering::Relaxed) + 1;
                connections.spawn(connection(stream, target, number, Arc::clone(&way)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes bytes both ways until one side closes.
async fn connection(near: TcpStream, target: u16, number: u64, way: Arc<Way>) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        () = copy(near_in, far_out, number, &way) => {}
        () = copy(far_in, near_out, number, &way) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, way: &Way) {
    let mut buffer = vec![0; PIECE];
    loop {
        let pause = way.pause.load(Ordering::Relaxed);
        let most = if pause > 0 { CRUMB } else { PIECE };
        let Some(piece) = buffer.get_mut(..most) else {
            return;
        };
        let Ok(count) = from.read(piece).await else {
            return;
        };
        if count == 0 {
            return;
        }
        if way.is_dead(number) {
            continue;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let written = to.write_all(piece.get(..count).unwrap_or_default()).await;
        if written.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod unit {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::TcpProxy;

    /// A server that sends back what it gets.
    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn a_forgotten_connection_stays_open_and_says_nothing() {
        let proxy = TcpProxy::start(echo().await).await.unwrap();
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()));
        let mut old = connect().await.unwrap();
        old.write_all(b"one").await.unwrap();
        let mut three = [0; 3];
        old.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"one");

        proxy.forget_connections();
        old.write_all(b"two").await.unwrap();
        let mut new = connect().await.unwrap();
        new.write_all(b"new").await.unwrap();
        new.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"new");
        let silent = tokio::time::timeout(Duration::from_millis(50), old.read(&mut three)).await;
        assert!(silent.is_err(), "{silent:?}");
    }
}
