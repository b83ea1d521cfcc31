//! The same conversation over real sockets: raw TCP and WebSocket.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
};

use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc},
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::server::{Account, Identity, Peer, config, message, profile, soon};
use crate::{
    connection::{Connection, DisconnectReason, Event},
    profile::Profile,
    stanza::Node,
    stanzas::Success,
    transport::{Channel, Network},
};

/// A connection over the network to a listener on loopback.
struct Rig {
    identity: Identity,
    listener: TcpListener,
    connection: Connection,
    events: mpsc::Receiver<Event>,
}

impl Rig {
    async fn new(scheme: &str, path: &str, change: impl FnOnce(&mut Profile)) -> Self {
        Self::with_tls(scheme, path, change, None).await
    }

    async fn with_tls(
        scheme: &str,
        path: &str,
        change: impl FnOnce(&mut Profile),
        tls: Option<Arc<ClientConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identity = Identity::new();
        let mut profile = profile(&identity);
        change(&mut profile);
        let endpoint = format!("{scheme}://{}{path}", listener.local_addr().unwrap());
        let mut network = Network::new(endpoint.parse().unwrap(), profile.chat.clone());
        if let Some(tls) = tls {
            network = network.with_tls(tls);
        }
        let account = Account {
            routing: Mutex::new(None),
            panics: AtomicUsize::new(0),
        };
        let (connection, events) =
            Connection::spawn(config(Arc::new(network), profile), Arc::new(account));
        Self {
            identity,
            listener,
            connection,
            events,
        }
    }

    async fn stream(&self) -> (TcpStream, SocketAddr) {
        soon("a connection", self.listener.accept()).await.unwrap()
    }

    async fn event(&mut self) -> Event {
        soon("an event", self.events.recv()).await.unwrap()
    }

    /// Logs in and exchanges a stanza each way.
    async fn converse(mut self, channel: Channel) {
        let mut server = Peer::accept(channel, &self.identity).await;
        server.send(&Success::default().to_node()).await;
        assert!(matches!(self.event().await, Event::Connected(_)));
        assert!(server.next().await.child_named("active").is_some());
        server.send(&message(1).to_node()).await;
        assert_eq!(self.event().await, Event::Message(message(1)));
        self.connection.send(Node::new("presence")).await.unwrap();
        assert!(server.next().await.is("presence"));
        // Something large, in many pieces.
        let large = message(2)
            .to_node()
            .child(Node::new("large").bytes(vec![7; 3 << 20]));
        let writing = async { server.send(&large).await };
        let (event, ()) = tokio::join!(self.event(), writing);
        assert_eq!(event, Event::Message(message(2)));
        self.connection.stop().await;
        assert_eq!(server.try_next().await, None);
    }
}

/// A server's TLS under an authority of its own, and a client's that trusts it.
fn tls() -> (TlsAcceptor, Arc<ClientConfig>) {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.key_pair.serialize_der()).unwrap();
    let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), Arc::new(client))
}

#[expect(
    clippy::result_large_err,
    reason = "the shape of the library's callback"
)]
async fn websocket<S>(stream: S, check: impl FnOnce(&Request) + Unpin) -> Channel
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let callback = |request: &Request, response: Response| {
        check(request);
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, callback)
        .await
        .unwrap();
    Channel::over_websocket(socket)
}

#[tokio::test]
async fn raw_tcp() {
    let rig = Rig::new("tcp", "", |_| {}).await;
    let (stream, _) = rig.stream().await;
    rig.converse(Channel::over(stream)).await;
}

#[tokio::test]
async fn websocket_with_the_profiles_path_and_headers() {
    let rig = Rig::new("ws", "", |_| {}).await;
    let (stream, _) = rig.stream().await;
    let channel = websocket(stream, |request| {
        assert_eq!(request.uri().path(), "/ws/chat");
        assert_eq!(request.headers()["origin"], "https://web.whatsapp.com");
    })
    .await;
    rig.converse(channel).await;
}

#[tokio::test]
async fn websocket_with_a_path_of_its_own_and_no_headers() {
    let rig = Rig::new("ws", "/chat?v=3", |profile| {
        profile.chat.websocket_origin.clear()
    })
    .await;
    let (stream, _) = rig.stream().await;
    let channel = websocket(stream, |request| {
        assert_eq!(request.uri().path_and_query().unwrap(), "/chat?v=3");
        assert!(!request.headers().contains_key("origin"));
    })
    .await;
    rig.converse(channel).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_websocket() {
    let mut rig = Rig::new("ws", "", |_| {}).await;
    let (mut stream, _) = rig.stream().await;
    let mut request = [0; 16];
    stream.read_exact(&mut request).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 404 Not Found\r\n\r\n")
        .await
        .unwrap();
    let Event::Disconnected {
        reason: DisconnectReason::Transport(why),
        ..
    } = rig.event().await
    else {
        panic!("the server cannot be talked to");
    };
    assert!(why.contains("404"), "{why}");
    // It is tried again.
    rig.stream().await;
}

#[tokio::test]
async fn a_server_that_sends_text() {
    let mut rig = Rig::new("ws", "", |_| {}).await;
    let (stream, _) = rig.stream().await;
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let text = tokio_tungstenite::tungstenite::Message::text("hello");
    futures_util::SinkExt::send(&mut socket, text)
        .await
        .unwrap();
    let Event::Disconnected {
        reason: DisconnectReason::Transport(why),
        ..
    } = rig.event().await
    else {
        panic!("text is no frame");
    };
    assert!(why.contains("text"), "{why}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let mut rig = Rig::new("tcp", "", |_| {}).await;
    let address = rig.listener.local_addr().unwrap();
    // The first connection may have been made already; it ends with the listener.
    rig.listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..3 {
        assert!(matches!(rig.event().await, Event::Disconnected { .. }));
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    rig.listener = socket.listen(8).unwrap();
    let (stream, _) = rig.stream().await;
    let mut server = Peer::accept(Channel::over(stream), &rig.identity).await;
    server.send(&Success::default().to_node()).await;
    while !matches!(rig.event().await, Event::Connected(_)) {}
}

#[tokio::test]
async fn tls_does_not_talk_to_a_server_that_speaks_none() {
    let mut rig = Rig::new("tls", "", |_| {}).await;
    let (mut stream, _) = rig.stream().await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"hello, this is no TLS")
        .await
        .unwrap();
    let Event::Disconnected {
        reason: DisconnectReason::Transport(_),
        ..
    } = rig.event().await
    else {
        panic!("no TLS, no conversation");
    };
}

#[tokio::test]
async fn tcp_within_tls() {
    let (acceptor, client) = tls();
    let rig = Rig::with_tls("tls", "", |_| {}, Some(client)).await;
    let (stream, _) = rig.stream().await;
    let stream = soon("TLS", acceptor.accept(stream)).await.unwrap();
    rig.converse(Channel::over(stream)).await;
}

#[tokio::test]
async fn websocket_within_tls() {
    let (acceptor, client) = tls();
    let rig = Rig::with_tls("wss", "", |_| {}, Some(client)).await;
    let (stream, _) = rig.stream().await;
    let stream = soon("TLS", acceptor.accept(stream)).await.unwrap();
    let channel = websocket(stream, |request| {
        assert_eq!(request.uri().path(), "/ws/chat")
    })
    .await;
    rig.converse(channel).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (acceptor, _) = tls();
    // The client trusts the public authorities alone.
    let mut rig = Rig::new("wss", "", |_| {}).await;
    let (stream, _) = rig.stream().await;
    assert!(soon("TLS", acceptor.accept(stream)).await.is_err());
    let Event::Disconnected {
        reason: DisconnectReason::Transport(why),
        ..
    } = rig.event().await
    else {
        panic!("an unknown authority");
    };
    assert!(why.contains("certificate"), "{why}");
}
