//! The server of these tests, and what surrounds a connection to it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

use crate::{
    connection::{
        BackoffConfig, BoxError, Connection, ConnectionConfig, Credentials, CredentialsProvider,
        Event,
    },
    frame::{FrameDecoder, encode_frame},
    login::ClientPayload,
    noise::{CertAuthority, Receiver, Responder, Sender, StaticKeyPair, Step},
    profile::Profile,
    stanza::{self, EncodeOptions, InteropJidStyle, Jid, Node},
    stanzas::{Enc, EncType, IncomingMessage, Success},
    transport::{Channel, Transport, TransportError},
};

/// No condition of these tests takes longer, unless it never comes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something with a deadline.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {DEADLINE:?}"),
    }
}

/// What every certificate and check of these tests takes for the present.
pub(super) const NOW: u64 = 1_700_000_000;

#[derive(Debug)]
struct FixedClock;

impl crate::connection::Clock for FixedClock {
    fn now(&self) -> u64 {
        NOW
    }
}

/// The server's keys.
pub(super) struct Identity {
    pub(super) key: StaticKeyPair,
    pub(super) chain: Vec<u8>,
    pub(super) authority: CertAuthority,
}

impl Identity {
    pub(super) fn new() -> Self {
        let mut rng = rand::rng();
        let key = StaticKeyPair::generate(&mut rng);
        let authority = CertAuthority::mint(&mut rng, NOW).unwrap();
        let chain = authority.issue(&key.public(), &mut rng).unwrap();
        Self {
            key,
            chain,
            authority,
        }
    }
}

/// Opens channels over memory; the server's ends come out at the other side.
#[derive(Debug)]
pub(super) struct Memory {
    servers: mpsc::UnboundedSender<tokio::io::DuplexStream>,
    opened: Arc<AtomicUsize>,
}

#[async_trait]
impl Transport for Memory {
    async fn open(&self) -> Result<Channel, TransportError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let (client, server) = tokio::io::duplex(64 * 1024);
        self.servers
            .send(server)
            .map_err(|_| TransportError::Setting("the test has no server any more"))?;
        Ok(Channel::over(client))
    }
}

/// Credentials that can be changed.
pub(super) struct Account {
    pub(super) routing: Mutex<Option<Vec<u8>>>,
    /// How many of the next calls panic.
    pub(super) panics: AtomicUsize,
}

#[async_trait]
impl CredentialsProvider for Account {
    async fn credentials(&self) -> Result<Credentials, BoxError> {
        let left = self
            .panics
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        assert!(left.is_err(), "on purpose");
        Ok(Credentials {
            static_key: StaticKeyPair::from_bytes([7; 32]),
            account_id: 10_853_634_039_893,
            token: "header.claims.signature".to_owned(),
            routing_info: self.routing.lock().await.clone(),
            enable_read_receipts: true,
        })
    }
}

/// A connection under test, and the server that it connects to.
pub(super) struct Rig {
    pub(super) connection: Connection,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) identity: Identity,
    pub(super) account: Arc<Account>,
    servers: mpsc::UnboundedReceiver<tokio::io::DuplexStream>,
    opened: Arc<AtomicUsize>,
}

/// A profile with short deadlines, for a server with these keys.
pub(super) fn profile(identity: &Identity) -> Profile {
    let mut profile = Profile::default();
    profile.chat.trust_root = identity.authority.root();
    profile.limits.handshake_seconds = 10;
    profile
}

/// The configuration of a connection under test.
pub(super) fn config(transport: Arc<dyn Transport>, profile: Profile) -> ConnectionConfig {
    let mut config = ConnectionConfig::over(transport, Arc::new(profile), "test");
    config.clock = Arc::new(FixedClock);
    config.backoff = BackoffConfig {
        first: Duration::from_millis(20),
        max: Duration::from_millis(100),
        stable: Duration::from_secs(60),
    };
    config
}

impl Rig {
    /// A connection with short deadlines, over memory.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with another profile.
    pub(super) fn with(change: impl FnOnce(&mut Profile)) -> Self {
        Self::with_config(change, |_| {})
    }

    /// The same with another profile and configuration.
    pub(super) fn with_config(
        change: impl FnOnce(&mut Profile),
        configure: impl FnOnce(&mut ConnectionConfig),
    ) -> Self {
        let identity = Identity::new();
        let mut profile = profile(&identity);
        change(&mut profile);
        let (sender, servers) = mpsc::unbounded_channel();
        let opened = Arc::new(AtomicUsize::new(0));
        let transport = Arc::new(Memory {
            servers: sender,
            opened: opened.clone(),
        });
        let mut config = config(transport, profile);
        configure(&mut config);
        let account = Arc::new(Account {
            routing: Mutex::new(None),
            panics: AtomicUsize::new(0),
        });
        let (connection, events) = Connection::spawn(config, account.clone());
        Self {
            connection,
            events,
            identity,
            account,
            servers,
            opened,
        }
    }

    /// How many channels were opened so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// The server's end of the next channel, before anything was said.
    pub(super) async fn channel(&mut self) -> Channel {
        let stream = soon("a connection", self.servers.recv()).await.unwrap();
        Channel::over(stream)
    }

    /// The next channel after handshake and login; nothing is answered to it yet.
    pub(super) async fn accept(&mut self) -> Peer {
        let channel = self.channel().await;
        Peer::accept(channel, &self.identity).await
    }

    /// The next channel with its login accepted and reported.
    pub(super) async fn online(&mut self) -> Peer {
        let mut peer = self.accept().await;
        peer.send(
            &Success {
                t: Some(NOW),
                ..Success::default()
            }
            .to_node(),
        )
        .await;
        loop {
            if let Event::Connected(success) = self.event().await {
                assert_eq!(success.t, Some(NOW));
                break;
            }
        }
        let active = peer.next().await;
        assert!(active.child_named("active").is_some(), "{active:?}");
        peer
    }

    /// The next event.
    pub(super) async fn event(&mut self) -> Event {
        soon("an event", self.events.recv())
            .await
            .expect("the connection has not ended")
    }

    /// The next end of a connection.
    pub(super) async fn disconnected(
        &mut self,
    ) -> (crate::connection::DisconnectReason, Option<Duration>) {
        loop {
            if let Event::Disconnected { reason, retry_in } = self.event().await {
                return (reason, retry_in);
            }
        }
    }
}

/// The server's side of one connection.
pub(super) struct Peer {
    pub(super) channel: Channel,
    pub(super) decoder: FrameDecoder,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) payload: ClientPayload,
    nodes: VecDeque<Node>,
}

impl Peer {
    /// Answers the handshake.
    pub(super) async fn accept(mut channel: Channel, identity: &Identity) -> Self {
        let mut decoder = FrameDecoder::server();
        let hello = read_frame(&mut channel, &mut decoder)
            .await
            .expect("a client hello");
        let responder = Responder::new(&identity.key, &identity.chain);
        let Step::Continue {
            server_hello,
            responder,
        } = responder.client_hello(&hello, &mut rand::rng()).unwrap()
        else {
            panic!("the client speaks XX");
        };
        channel
            .writer
            .write(encode_frame(&server_hello).unwrap().into())
            .await
            .unwrap();
        let finish = read_frame(&mut channel, &mut decoder)
            .await
            .expect("a client finish");
        let accepted = responder.client_finish(&finish).unwrap();
        assert_eq!(
            accepted.client_static,
            StaticKeyPair::from_bytes([7; 32]).public()
        );
        let payload = ClientPayload::parse(&accepted.payload).unwrap();
        let (sender, receiver) = accepted.transport.split();
        Self {
            channel,
            decoder,
            sender,
            receiver,
            payload,
            nodes: VecDeque::new(),
        }
    }

    /// The routing information that the client began with.
    pub(super) fn routing(&self) -> Option<Bytes> {
        self.decoder
            .introduction()
            .and_then(|introduction| introduction.routing.clone())
    }

    /// A stanza as a frame.
    pub(super) fn seal(&mut self, node: &Node) -> Vec<u8> {
        let options = EncodeOptions {
            interop: InteropJidStyle::WithServer,
            ..EncodeOptions::default()
        };
        let bytes = stanza::encode(node, &options).unwrap();
        encode_frame(&self.sender.encrypt(&bytes).unwrap()).unwrap()
    }

    pub(super) async fn send(&mut self, node: &Node) {
        let frame = self.seal(node);
        self.raw(frame).await;
    }

    pub(super) async fn raw(&mut self, bytes: Vec<u8>) {
        soon(
            "the client's reading",
            self.channel.writer.write(bytes.into()),
        )
        .await
        .unwrap();
    }

    /// The client's next stanza; nothing at its end.
    pub(super) async fn try_next(&mut self) -> Option<Node> {
        if let Some(node) = self.nodes.pop_front() {
            return Some(node);
        }
        let frame = read_frame(&mut self.channel, &mut self.decoder).await?;
        let plain = self.receiver.decrypt(&frame).unwrap();
        Some(stanza::decode(&plain).unwrap())
    }

    pub(super) async fn next(&mut self) -> Node {
        self.try_next()
            .await
            .expect("the client has not closed the channel")
    }
}

async fn read_frame(channel: &mut Channel, decoder: &mut FrameDecoder) -> Option<Bytes> {
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return Some(frame);
        }
        match soon("the client's bytes", channel.reader.read()).await {
            Ok(Some(bytes)) => decoder.push(&bytes),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// A message with a number for its id.
pub(super) fn message(number: usize) -> IncomingMessage {
    let from = Jid::phone("14155551001");
    IncomingMessage::text(
        from,
        format!("M{number}"),
        NOW,
        Enc::new(EncType::Msg, vec![1, 2, 3]),
    )
}
