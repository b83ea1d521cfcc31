//! Keeping a sandbox over a restart: one JSON file with its keys, users, mailboxes and phones.
//!
//! It is written whole, to a new file that then takes the old one's place; at most a second's worth
//! of changes is lost when the sandbox is killed, nothing when it is stopped.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatekeeper::{
    noise::StaticKeyPair,
    signal::{Identity, Peer, PreKey, PreKeyPublic, SignedPreKey, SignedPreKeyPublic},
    stanza::{self, EncodeOptions, InteropJidStyle, Jid, Node},
    token::SigningKey,
};
use serde::{Deserialize, Serialize};

use crate::{
    account::{Account, Keys},
    keys::{KeysError, ServerKeys},
    media::Shelf,
    phone::{
        self, Number, Options, Phone, PhoneKeys, Sent, SentMessage, Waiting, held::Held, log::Log,
    },
    tls::Certificate,
    world::World,
};

mod device;

/// Form of the file; a file of another form is refused.
const VERSION: u32 = 1;

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("cannot {what} the state file {path}: {source}")]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is damaged, or of another version.
    #[error("the state file cannot be used: {0}; move it away to begin anew")]
    Damaged(String),
    /// Its keys are damaged.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

fn damaged(error: impl ToString) -> StateError {
    StateError::Damaged(error.to_string())
}

/// Bytes as base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Blob(Vec<u8>);

impl From<Blob> for String {
    fn from(blob: Blob) -> Self {
        STANDARD.encode(blob.0)
    }
}

impl TryFrom<String> for Blob {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl Blob {
    fn array<const N: usize>(&self) -> Result<[u8; N], StateError> {
        self.0
            .as_slice()
            .try_into()
            .map_err(|_| damaged("a key has a wrong length"))
    }
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    ahead_ms: u64,
    noise_key: Blob,
    chain: Blob,
    root: Blob,
    signing_key: Blob,
    #[serde(default)]
    certificate: Option<Certificate>,
    accounts: Vec<SavedAccount>,
    phones: Vec<SavedPhone>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedAccount {
    jid: Jid,
    identifier: String,
    authkey: Blob,
    registration_id: u32,
    identity: Blob,
    signed: (u32, Blob, Blob),
    prekeys: Vec<(u32, Blob)>,
    mailbox: Vec<(u64, Blob)>,
    last_seen_ms: u64,
    blocked: BTreeSet<Jid>,
    read_receipts: bool,
    gone: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedPhone {
    number: String,
    name: String,
    options: Options,
    identity: Blob,
    signed: Blob,
    open: Vec<Blob>,
    next: u32,
    peers: Vec<(Jid, Option<Blob>, Option<Blob>)>,
    chats: BTreeMap<Jid, Log>,
    blocked: Vec<Jid>,
    waiting: Vec<(Jid, u64, Blob)>,
    sent: Vec<SavedSent>,
    asked: Vec<(Jid, String, u8)>,
    #[serde(default)]
    held: Vec<SavedHeld>,
    #[serde(default)]
    timers: Vec<(Jid, u32)>,
    #[serde(default)]
    devices: Vec<device::SavedDevice>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedHeld {
    with: Jid,
    id: String,
    body: Blob,
    hosted: Option<String>,
    received: Option<String>,
}

impl SavedHeld {
    fn of((with, id): &(Jid, String), held: &Held) -> Self {
        let on = |wanted: Shelf| {
            let file = held.file.as_ref();
            file.filter(|(shelf, _)| *shelf == wanted)
                .map(|(_, name)| name.clone())
        };
        Self {
            with: with.clone(),
            id: id.clone(),
            body: Blob(held.body.clone()),
            hosted: on(Shelf::Hosted),
            received: on(Shelf::Received),
        }
    }

    fn restore(self) -> ((Jid, String), Held) {
        let hosted = self.hosted.map(|name| (Shelf::Hosted, name));
        let received = self.received.map(|name| (Shelf::Received, name));
        let held = Held {
            body: self.body.0,
            file: hosted.or(received),
        };
        ((self.with, self.id), held)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedSent {
    to: Jid,
    id: String,
    plaintext: Blob,
    kind: String,
    #[serde(default)]
    media_type: Option<String>,
    edit: Option<u8>,
    hidden: bool,
    retries: u8,
}

fn stanza_blob(node: &Node) -> Result<Blob, StateError> {
    let options = EncodeOptions {
        interop: InteropJidStyle::WithServer,
        ..EncodeOptions::default()
    };
    stanza::encode(node, &options).map(Blob).map_err(damaged)
}

fn stanza_of(blob: &Blob) -> Result<Node, StateError> {
    stanza::decode(&blob.0).map_err(damaged)
}

/// Reads the file; nothing if there is none yet.
pub(crate) fn load(path: &Path) -> Result<Option<Saved>, StateError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StateError::Io {
                what: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    let saved: Saved = serde_json::from_slice(&text).map_err(damaged)?;
    if saved.version != VERSION {
        return Err(damaged(format!(
            "its version is {}, not {VERSION}",
            saved.version
        )));
    }
    Ok(Some(saved))
}

/// Writes the file.
pub(crate) fn save(world: &World, path: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::Io {
        what: "write",
        path: path.to_owned(),
        source,
    };
    let saved = Saved::of(world)?;
    let text = serde_json::to_vec(&saved).map_err(damaged)?;
    let fresh = path.with_extension("new");
    write_private(&fresh, &text).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)
}

/// Writes a file that only its owner can read: keys stand in it.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

impl Saved {
    fn of(world: &World) -> Result<Self, StateError> {
        let keys = &world.keys;
        // Phones before accounts: what is on its way from one to the other while this runs is then
        // in at least one of them, and both recognise what comes twice.
        let phones = world
            .phones()
            .iter()
            .map(|phone| SavedPhone::of(phone))
            .collect::<Result<_, _>>();
        let accounts = world
            .accounts()
            .iter()
            .map(|account| SavedAccount::of(account))
            .collect::<Result<_, _>>();
        Ok(Self {
            version: VERSION,
            ahead_ms: world.clock.ahead_ms(),
            noise_key: Blob(keys.noise.to_bytes().to_vec()),
            chain: Blob(keys.chain.clone()),
            root: Blob(keys.root.to_vec()),
            signing_key: Blob(keys.signing.to_pkcs8().to_vec()),
            certificate: Some(world.certificate.clone()),
            accounts: accounts?,
            phones: phones?,
        })
    }

    pub(crate) fn keys(&self) -> Result<ServerKeys, StateError> {
        Ok(ServerKeys {
            noise: StaticKeyPair::from_bytes(self.noise_key.array()?),
            chain: self.chain.0.clone(),
            root: self.root.array()?,
            signing: SigningKey::from_pkcs8(&self.signing_key.0).map_err(KeysError::from)?,
        })
    }

    /// The certificate of the side over TLS, if there was one.
    pub(crate) fn take_certificate(&mut self) -> Option<Certificate> {
        self.certificate.take()
    }

    pub(crate) fn ahead_ms(&self) -> u64 {
        self.ahead_ms
    }

    /// Puts everything into a new world. Users of a partner that is not configured any more are left
    /// out.
    pub(crate) fn restore(self, world: &World) -> Result<(), StateError> {
        for account in self.accounts {
            account.restore(world)?;
        }
        for phone in self.phones {
            phone.restore(world)?;
        }
        Ok(())
    }
}

impl SavedAccount {
    fn of(account: &Account) -> Result<Self, StateError> {
        let inner = account.lock();
        let signed = &inner.keys.signed;
        Ok(Self {
            jid: account.jid.clone(),
            identifier: account.identifier.clone(),
            authkey: Blob(inner.keys.authkey.to_vec()),
            registration_id: inner.keys.registration_id,
            identity: Blob(inner.keys.identity.to_vec()),
            signed: (
                signed.id,
                Blob(signed.public.to_vec()),
                Blob(signed.signature.to_vec()),
            ),
            prekeys: inner
                .prekeys
                .iter()
                .map(|key| (key.id, Blob(key.public.to_vec())))
                .collect(),
            mailbox: inner
                .mailbox
                .iter()
                .map(|entry| Ok((entry.queued_ms, stanza_blob(&entry.node)?)))
                .collect::<Result<_, StateError>>()?,
            last_seen_ms: inner.last_seen_ms,
            blocked: inner.blocked.clone(),
            read_receipts: inner.read_receipts,
            gone: inner.gone,
        })
    }

    fn restore(self, world: &World) -> Result<(), StateError> {
        let partner = world
            .partners
            .iter()
            .find(|one| one.config.integrator == self.jid.integrator);
        let Some(partner) = partner else {
            return Ok(());
        };
        let keys = Keys {
            authkey: self.authkey.array()?,
            registration_id: self.registration_id,
            identity: self.identity.array()?,
            signed: SignedPreKeyPublic {
                id: self.signed.0,
                public: self.signed.1.array()?,
                signature: self.signed.2.array()?,
            },
        };
        let account = Account::new(
            self.jid,
            self.identifier,
            Arc::clone(partner),
            keys,
            self.last_seen_ms,
        );
        {
            let mut inner = account.lock();
            for (id, public) in &self.prekeys {
                inner.prekeys.push_back(PreKeyPublic {
                    id: *id,
                    public: public.array()?,
                });
            }
            for (queued_ms, node) in &self.mailbox {
                inner
                    .mailbox
                    .push(Arc::new(stanza_of(node)?), *queued_ms, Instant::now());
            }
            inner.blocked = self.blocked;
            inner.read_receipts = self.read_receipts;
            inner.gone = self.gone;
        }
        world.restore_account(Arc::new(account));
        Ok(())
    }
}

impl SavedPhone {
    fn of(phone: &Phone) -> Result<Self, StateError> {
        let inner = phone.lock();
        let keys = &inner.keys;
        Ok(Self {
            number: phone.number.to_string(),
            name: inner.name.clone(),
            options: inner.options.clone(),
            identity: Blob(keys.identity.to_bytes().to_vec()),
            signed: Blob(keys.signed.to_bytes().to_vec()),
            open: keys
                .open
                .values()
                .map(|key| Blob(key.to_bytes().to_vec()))
                .collect(),
            next: keys.next,
            peers: inner
                .peers
                .iter()
                .map(|(jid, peer)| {
                    let identity = peer.identity.map(|key| Blob(key.to_vec()));
                    (jid.clone(), peer.session.clone().map(Blob), identity)
                })
                .collect(),
            chats: inner.chats.clone(),
            blocked: inner.blocked.iter().cloned().collect(),
            waiting: inner
                .waiting
                .iter()
                .map(|waiting| {
                    let node = stanza_blob(&waiting.node)?;
                    Ok((waiting.from.jid.clone(), waiting.queued_ms, node))
                })
                .collect::<Result<_, StateError>>()?,
            sent: inner
                .sent
                .iter()
                .map(|((to, id), sent)| SavedSent {
                    to: to.clone(),
                    id: id.clone(),
                    plaintext: Blob(sent.plaintext.clone()),
                    kind: sent.kind.clone(),
                    media_type: sent.media_type.clone(),
                    edit: sent.edit,
                    hidden: sent.hidden,
                    retries: sent.retries,
                })
                .collect(),
            asked: inner
                .asked
                .iter()
                .map(|((jid, id), count)| (jid.clone(), id.clone(), *count))
                .collect(),
            held: inner
                .held
                .iter()
                .map(|(key, held)| SavedHeld::of(key, held))
                .collect(),
            timers: inner
                .timers
                .iter()
                .map(|(jid, seconds)| (jid.clone(), *seconds))
                .collect(),
            devices: inner
                .devices
                .iter()
                .map(|(index, device)| device::SavedDevice::of(*index, device))
                .collect::<Result<_, _>>()?,
        })
    }

    fn restore(self, world: &World) -> Result<(), StateError> {
        let mut open = BTreeMap::new();
        for blob in &self.open {
            let key = PreKey::from_bytes(&blob.0).map_err(damaged)?;
            open.insert(key.id(), key);
        }
        let keys = PhoneKeys {
            identity: Identity::from_bytes(&self.identity.0).map_err(damaged)?,
            signed: SignedPreKey::from_bytes(&self.signed.0).map_err(damaged)?,
            open,
            next: self.next,
        };
        let mut peers = HashMap::new();
        for (jid, session, identity) in self.peers {
            let identity = identity.map(|blob| blob.array()).transpose()?;
            peers.insert(
                jid,
                Peer {
                    session: session.map(|blob| blob.0),
                    identity,
                },
            );
        }
        let mut waiting = VecDeque::new();
        for (jid, queued_ms, node) in &self.waiting {
            if let Some(from) = world.account_named(&jid.to_string()) {
                waiting.push_back(Waiting {
                    from,
                    node: stanza_of(node)?,
                    queued_ms: *queued_ms,
                });
            }
        }
        let mut sent = Sent::default();
        for saved in self.sent {
            let message = SentMessage {
                plaintext: saved.plaintext.0,
                kind: saved.kind,
                media_type: saved.media_type,
                edit: saved.edit,
                hidden: saved.hidden,
                retries: saved.retries,
            };
            sent.keep(saved.to, saved.id, message);
        }
        let inner = phone::Inner {
            name: self.name,
            options: self.options,
            keys,
            peers,
            chats: self.chats,
            blocked: self.blocked.into_iter().collect(),
            waiting,
            sent,
            asked: self
                .asked
                .into_iter()
                .map(|(jid, id, count)| ((jid, id), count))
                .collect(),
            held: self.held.into_iter().map(SavedHeld::restore).collect(),
            timers: self.timers.into_iter().collect(),
            typing: HashMap::new(),
            devices: self
                .devices
                .into_iter()
                .map(device::SavedDevice::restore)
                .collect::<Result<_, _>>()?,
        };
        let number = Number::parse(&self.number).map_err(damaged)?;
        world.restore_phone(Phone::with(number, inner));
        Ok(())
    }
}
