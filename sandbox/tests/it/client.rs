//! A partner user's client, made of the protocol modules: keys, enlistment, connection, messages.

use std::collections::{HashMap, VecDeque};

use futures_util::{SinkExt, StreamExt};
use gatekeeper::{
    enlist::{EnlistAnswer, EnlistForm, enlist},
    frame::{FrameDecoder, encode_frame, introduction},
    login::{ClientPayload, InteropData},
    message::{self, Body},
    noise::{Initiator, StaticKeyPair, Transport, TrustRoot},
    padding::{pad, unpad},
    signal::{self, EncKind, Identity, LocalKeys, Peer, PreKey, SignedPreKey},
    stanza::{self, EncodeOptions, Jid, Node},
    stanzas::{
        Enc, EncType, IncomingMessage, KeysRequest, Origin, OutgoingMessage, Receipt, ReceiptKind,
        keys,
    },
};
use sandbox::Addresses;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{
    partner::{Partner, now},
    wait::DEADLINE,
};

/// The bytes below the Noise layer.
#[derive(Debug)]
pub(crate) enum Pipe {
    Tcp(TcpStream),
    WebSocket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
}

impl Pipe {
    pub(crate) async fn open(url: &str) -> Self {
        match url.strip_prefix("tcp://") {
            Some(address) => Self::Tcp(TcpStream::connect(address).await.unwrap()),
            None => Self::WebSocket(Box::new(connect_async(url).await.unwrap().0)),
        }
    }

    pub(crate) async fn write(&mut self, bytes: Vec<u8>) {
        // A connection that the server has cut shows when it is read.
        let _ = match self {
            Self::Tcp(stream) => stream.write_all(&bytes).await.map_err(|_| ()),
            Self::WebSocket(stream) => stream
                .send(Message::Binary(bytes.into()))
                .await
                .map_err(|_| ()),
        };
    }

    /// The next bytes; nothing at the end.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Tcp(stream) => {
                let mut buffer = vec![0; 65536];
                let length = stream.read(&mut buffer).await.ok()?;
                buffer.truncate(length);
                (length > 0).then_some(buffer)
            }
            Self::WebSocket(stream) => loop {
                match stream.next().await?.ok()? {
                    Message::Binary(bytes) => return Some(bytes.to_vec()),
                    Message::Close(_) => return None,
                    _ => {}
                }
            },
        }
    }
}

/// A connection after the handshake.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) pipe: Pipe,
    decoder: FrameDecoder,
    transport: Transport,
    unread: VecDeque<Node>,
    next_id: u32,
    /// What came off the transport, piece by piece, after the handshake.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// The stanzas in it as they were encoded.
    pub(crate) stanzas: Vec<Vec<u8>>,
    /// The server's static key.
    pub(crate) server_key: [u8; 32],
}

impl Chat {
    /// Connects and finishes the handshake; says nothing about the login.
    pub(crate) async fn open(
        url: &str,
        addresses: &Addresses,
        static_key: StaticKeyPair,
        payload: &[u8],
    ) -> Self {
        Self::open_by(url, addresses, static_key, payload, None).await
    }

    /// The same with what an earlier connection was told to show at its beginning.
    pub(crate) async fn open_by(
        url: &str,
        addresses: &Addresses,
        static_key: StaticKeyPair,
        payload: &[u8],
        routing: Option<&[u8]>,
    ) -> Self {
        let opened = Self::begin(url, addresses, static_key, payload, routing).await;
        opened.expect("a server hello")
    }

    /// The same where the server may end the connection at once.
    pub(crate) async fn try_open(
        url: &str,
        addresses: &Addresses,
        static_key: StaticKeyPair,
        payload: &[u8],
    ) -> Option<Self> {
        Self::begin(url, addresses, static_key, payload, None).await
    }

    async fn begin(
        url: &str,
        addresses: &Addresses,
        static_key: StaticKeyPair,
        payload: &[u8],
        routing: Option<&[u8]>,
    ) -> Option<Self> {
        let root = hex::decode(&addresses.root).unwrap().try_into().unwrap();
        let mut pipe = Pipe::open(url).await;
        let mut decoder = FrameDecoder::client();
        let (initiator, hello) = Initiator::start(static_key, &mut rand::rng()).unwrap();
        let mut first = introduction(routing).unwrap();
        first.extend(encode_frame(&hello).unwrap());
        pipe.write(first).await;
        let hello = loop {
            if let Some(frame) = decoder.next_frame().unwrap() {
                break frame;
            }
            let bytes = timeout(DEADLINE, pipe.read()).await.unwrap();
            decoder.push(&bytes?);
        };
        let trusted = initiator
            .server_hello(&hello, &TrustRoot(root), now())
            .unwrap();
        let server_key = trusted.info().static_key;
        let (finish, transport) = trusted.client_finish(payload).unwrap();
        pipe.write(encode_frame(&finish).unwrap()).await;
        Some(Self {
            pipe,
            decoder,
            transport,
            unread: VecDeque::new(),
            next_id: 0,
            pieces: Vec::new(),
            stanzas: Vec::new(),
            server_key,
        })
    }

    pub(crate) async fn send(&mut self, node: &Node) {
        self.send_bytes(&stanza::encode(node, &EncodeOptions::default()).unwrap())
            .await;
    }

    /// Sends bytes as if they were a stanza.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let frame = encode_frame(&self.transport.encrypt(bytes).unwrap()).unwrap();
        self.pipe.write(frame).await;
    }

    /// The next stanza; nothing at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Node> {
        if let Some(node) = self.unread.pop_front() {
            return Some(node);
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Option<Node> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                let bytes = self.transport.decrypt(&frame).unwrap();
                let node = stanza::decode(&bytes).unwrap();
                self.stanzas.push(bytes.to_vec());
                return Some(node);
            }
            let bytes = timeout(DEADLINE, self.pipe.read())
                .await
                .expect("something in time")?;
            self.decoder.push(&bytes);
            self.pieces.push(bytes);
        }
    }

    /// The next stanza that fits; others are kept for later.
    pub(crate) async fn find(&mut self, fits: impl Fn(&Node) -> bool) -> Node {
        if let Some(at) = self.unread.iter().position(&fits) {
            return self.unread.remove(at).unwrap();
        }
        loop {
            let node = self
                .receive()
                .await
                .expect("the connection ended too early");
            if fits(&node) {
                return node;
            }
            self.unread.push_back(node);
        }
    }

    pub(crate) async fn find_tag(&mut self, tag: &str) -> Node {
        self.find(|node| node.is(tag)).await
    }

    /// Waits for the end and gives the last stanzas.
    pub(crate) async fn rest(&mut self) -> Vec<Node> {
        let mut rest = Vec::new();
        while let Some(node) = self.next().await {
            rest.push(node);
        }
        rest
    }

    pub(crate) async fn query(&mut self, iq: Node) -> Node {
        self.next_id += 1;
        let id = format!("q{}", self.next_id);
        self.send(&iq.attr("id", id.as_str())).await;
        self.find(|node| node.is("iq") && node.get("id").as_deref() == Some(id.as_str()))
            .await
    }

    /// Sends a stanza with an id and waits for the server's ack of it.
    pub(crate) async fn deliver(&mut self, node: &Node) -> Node {
        self.send(node).await;
        let id = node.get("id").unwrap();
        self.find(|ack| {
            ack.is("ack")
                && ack.get("id") == Some(id.clone())
                && ack.get("class").unwrap() == node.tag
        })
        .await
    }
}

/// An enlisted user with all keys.
pub(crate) struct User {
    pub(crate) identifier: String,
    pub(crate) jid: Jid,
    pub(crate) identity: Identity,
    pub(crate) signed: SignedPreKey,
    pub(crate) prekeys: HashMap<u32, PreKey>,
    pub(crate) static_key: StaticKeyPair,
    pub(crate) peers: HashMap<Jid, Peer>,
}

impl User {
    /// Makes keys.
    pub(crate) fn new(identifier: &str) -> Self {
        let mut rng = rand::rng();
        let identity = Identity::generate(&mut rng);
        let signed = SignedPreKey::generate(1, &identity, &mut rng).unwrap();
        Self {
            identifier: identifier.to_owned(),
            jid: Jid::interop(0, "0"),
            identity,
            signed,
            prekeys: HashMap::new(),
            static_key: StaticKeyPair::generate(&mut rng),
            peers: HashMap::new(),
        }
    }

    /// Makes keys and enlists.
    pub(crate) async fn enlist(partner: &Partner, addresses: &Addresses, identifier: &str) -> Self {
        let mut user = Self::new(identifier);
        let form = user.form(partner.token(identifier));
        let client = reqwest::Client::new();
        let answer = enlist(&client, &addresses.enlistment, &form).await.unwrap();
        let EnlistAnswer::Ok { login } = answer else {
            panic!("{answer:?}")
        };
        user.jid = login;
        user
    }

    pub(crate) fn form(&self, token: String) -> EnlistForm {
        EnlistForm::new(
            self.static_key.public(),
            &self.identity,
            self.signed.public(),
            token,
        )
    }

    pub(crate) fn payload(&self, token: String) -> ClientPayload {
        ClientPayload::interop(InteropData {
            account_id: self.jid.user.parse().unwrap(),
            token: token.into_bytes(),
            enable_read_receipts: true,
        })
    }

    pub(crate) fn key(&self) -> StaticKeyPair {
        StaticKeyPair::from_bytes(*self.static_key.to_bytes())
    }

    /// Connects without waiting for the outcome of the login.
    pub(crate) async fn open(&self, url: &str, addresses: &Addresses, partner: &Partner) -> Chat {
        let payload = self.payload(partner.token(&self.identifier)).to_bytes();
        Chat::open(url, addresses, self.key(), &payload).await
    }

    /// Connects, waits for `<success>`, and takes what waited.
    pub(crate) async fn login(&self, addresses: &Addresses, partner: &Partner) -> Chat {
        let mut chat = self.open(&addresses.chat, addresses, partner).await;
        assert_eq!(chat.next().await.unwrap().tag, "success");
        chat
    }

    /// Uploads one-time prekeys.
    pub(crate) async fn upload(&mut self, chat: &mut Chat, ids: std::ops::Range<u32>) {
        let mut prekeys = Vec::new();
        for id in ids {
            let key = PreKey::generate(id, &mut rand::rng()).unwrap();
            prekeys.push(key.public());
            self.prekeys.insert(id, key);
        }
        let upload = keys::KeyUpload {
            registration_id: self.identity.registration_id(),
            identity: self.identity.public(),
            prekeys,
            signed_prekey: self.signed.public(),
        };
        let answer = chat.query(KeysRequest::Upload(upload).to_node()).await;
        assert_eq!(answer.get("type").unwrap(), "result");
    }

    /// Fetches a phone's bundle and opens a session.
    pub(crate) async fn establish(&mut self, chat: &mut Chat, phone: &Jid) {
        let answer = chat
            .query(KeysRequest::fetch(phone.clone()).to_node())
            .await;
        let answers = keys::parse_fetch(&answer).unwrap();
        let bundle = answers[0].keys.unwrap();
        let peer = self.peers.entry(phone.clone()).or_default();
        peer.forget_session();
        signal::establish(&self.identity, peer, &bundle, &mut rand::rng()).unwrap();
    }

    /// A text as a stanza, encrypted in the session with the phone.
    pub(crate) fn text(&mut self, phone: &Jid, id: &str, text: &str) -> OutgoingMessage {
        self.message(phone, id, &Body::text(text))
    }

    /// Any message as a stanza, encrypted in the session with the phone.
    pub(crate) fn message(&mut self, phone: &Jid, id: &str, body: &Body) -> OutgoingMessage {
        let content = message::encode(body).unwrap();
        let peer = self.peers.get_mut(phone).unwrap();
        let sealed = signal::encrypt(&self.identity, peer, &pad(content, 3)).unwrap();
        let kind = match sealed.kind {
            EncKind::Msg => EncType::Msg,
            EncKind::PkMsg => EncType::PkMsg,
        };
        let mut enc = Enc::new(kind, sealed.bytes);
        enc.media_type = body.media_type().map(str::to_owned);
        enc.decrypt_fail_hide = body.hidden_when_undecryptable();
        OutgoingMessage {
            kind: body.stanza_type().to_owned(),
            ..OutgoingMessage::text(phone.clone(), id, enc)
        }
    }

    /// Decrypts a text of a phone.
    pub(crate) fn read(&mut self, node: &Node) -> Result<String, signal::SignalError> {
        match self.open_message(node)? {
            Body::Text { text, .. } => Ok(text),
            other => panic!("{other:?}"),
        }
    }

    /// Decrypts a message of a phone.
    pub(crate) fn open_message(&mut self, node: &Node) -> Result<Body, signal::SignalError> {
        let message = IncomingMessage::parse(node).unwrap();
        let enc = &message.encs[0];
        let (kind, keys) = match enc.kind {
            EncType::PkMsg => {
                let ids = signal::prekey_ids(&enc.ciphertext)?;
                let prekey = ids.prekey.and_then(|id| self.prekeys.get(&id).cloned());
                (
                    EncKind::PkMsg,
                    LocalKeys {
                        prekey,
                        signed: Some(self.signed.clone()),
                    },
                )
            }
            _ => (EncKind::Msg, LocalKeys::default()),
        };
        let peer = self.peers.entry(message.from.clone()).or_default();
        let opened = signal::decrypt(
            &self.identity,
            peer,
            kind,
            &enc.ciphertext,
            &keys,
            &mut rand::rng(),
        )?;
        Ok(message::decode(unpad(&opened.plaintext).unwrap()).unwrap())
    }
}

/// The delivery receipt of a message.
pub(crate) fn delivery(message: &Node) -> Node {
    Receipt::delivery(&IncomingMessage::parse(message).unwrap()).to_node(Origin::Client)
}

/// A read receipt for messages of a phone.
pub(crate) fn read_receipt(phone: &Jid, ids: &[&str]) -> Node {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Receipt::new(phone.clone(), ReceiptKind::Read, ids, Some(now()))
        .unwrap()
        .to_node(Origin::Client)
}
