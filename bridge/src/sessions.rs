//! Signal sessions of all logins: their records in the store, the keys behind [`ContentKeys`], and the lock that keeps
//! one contact's ratchet in order.
//!
//! Who changes a session holds its lock from reading the record until the commit is done, so that nobody builds on a
//! ratchet that was never written. Nothing is asked of the network while it is held.

use std::{fmt, sync::Arc};

use gatekeeper::signal::{
    Bundle, ContentKeys, EncKind, HeldHere, Identity, LocalKeys, Opened, Peer, Position, PreKey,
    SignalError, SignedPreKey, Turn, prekey_ids, turn,
};
use store::{Batch, LogId, Millis, Secret, Store, logins, signal};
use tokio::sync::OwnedMutexGuard;

use crate::{lanes::KeyedLocks, notices};

/// What a user is told when a contact has another identity key.
const NEW_IDENTITY: &str = "🔑 The security code of your contact has changed: they have set WhatsApp up anew, or have another phone. Messages go on. If it matters who reads them, ask your contact by another way.";

/// Something about a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Signal refused: the other side's doing, or damage.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The login has no Signal identity (yet, or any more).
    #[error("this login has no Signal identity")]
    NoIdentity,
}

/// The sessions of all logins.
#[derive(Clone)]
pub(crate) struct Sessions {
    store: Store,
    locks: Arc<KeyedLocks<(String, String)>>,
    keys: moka::sync::Cache<String, Arc<dyn ContentKeys>>,
}

/// One contact's session, locked.
pub(crate) struct Session {
    keys: Arc<dyn ContentKeys>,
    store: Store,
    login: String,
    peer: String,
    record: Peer,
    /// The contact's identity when the record was read.
    known: Option<[u8; 32]>,
    changed: bool,
    _lock: OwnedMutexGuard<()>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions kept in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            locks: Arc::default(),
            keys: moka::sync::Cache::new(10_000),
        }
    }

    /// Locks the session of `login` with `peer` and reads its record.
    pub(crate) async fn open(&self, login: &str, peer: &str) -> Result<Session, SessionError> {
        let lock = self.locks.lock(&(login.to_owned(), peer.to_owned())).await;
        let keys = self.content_keys(login).await?;
        let record = match signal::session(&self.store, login, peer).await {
            Ok(Some(row)) => Peer {
                session: row.record.map(|record| record.to_vec()),
                identity: row.identity.and_then(|identity| identity.try_into().ok()),
            },
            Ok(None) => Peer::default(),
            Err(error @ store::Error::Corrupt { .. }) => {
                // Both sides can begin anew; the other one is asked for what cannot be read.
                tracing::error!(login = %LogId::of(login), %error, "a stored session is damaged; a new one takes its place");
                Peer::default()
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Session {
            keys,
            store: self.store.clone(),
            login: login.to_owned(),
            peer: peer.to_owned(),
            known: record.identity,
            record,
            changed: false,
            _lock: lock,
        })
    }

    /// Waits until whoever has a session open has written it.
    pub(crate) async fn settle(&self, login: &str, peer: &str) {
        drop(self.locks.lock(&(login.to_owned(), peer.to_owned())).await);
    }

    /// Forgets the keys of a login that ended or was enlisted anew.
    pub(crate) fn forget(&self, login: &str) {
        self.keys.invalidate(login);
    }

    async fn content_keys(&self, login: &str) -> Result<Arc<dyn ContentKeys>, SessionError> {
        if let Some(keys) = self.keys.get(login) {
            return Ok(keys);
        }
        let row = logins::get(&self.store, login)
            .await?
            .ok_or(SessionError::NoIdentity)?;
        let identity = Identity::from_bytes(&row.identity.ok_or(SessionError::NoIdentity)?)?;
        let keys: Arc<dyn ContentKeys> = Arc::new(HeldHere::new(identity, rand::rng));
        self.keys.insert(login.to_owned(), keys.clone());
        Ok(keys)
    }
}

impl Session {
    /// Whether a message can be encrypted without fetching keys first.
    pub(crate) fn is_established(&self) -> bool {
        self.record.has_session()
    }

    /// Opens the session with keys that were fetched.
    pub(crate) async fn establish(&mut self, bundle: &Bundle) -> Result<(), SessionError> {
        failpoints::around!(
            "signal.establish",
            self.keys.establish(&mut self.record, bundle).await
        )?;
        self.changed = true;
        Ok(())
    }

    /// Drops the session, keeping the identity that is known: the next message opens a new one.
    pub(crate) fn drop_session(&mut self) {
        self.record.forget_session();
        self.changed = true;
    }

    /// The record as it is now, to go back to.
    pub(crate) fn snapshot(&self) -> Peer {
        self.record.clone()
    }

    /// Goes back to an earlier record, as if nothing had been done since.
    pub(crate) fn restore(&mut self, record: Peer) {
        self.record = record;
    }

    /// Encrypts a message protobuf.
    pub(crate) async fn encrypt(
        &mut self,
        content: &[u8],
    ) -> Result<gatekeeper::signal::Ciphertext, SessionError> {
        let ciphertext = failpoints::around!(
            "signal.encrypt",
            self.keys.encrypt(&mut self.record, content).await
        )?;
        self.changed = true;
        Ok(ciphertext)
    }

    /// Whether it is the turn of a message. Where the record does not tell, it is: decrypting shows what is wrong.
    pub(crate) fn turn(&self, position: &Position) -> Turn {
        turn(&self.record, position).unwrap_or(Turn::Next)
    }

    /// Decrypts a message. The one-time prekey that it used up is deleted in `batch`.
    pub(crate) async fn decrypt(
        &mut self,
        kind: EncKind,
        bytes: &[u8],
        batch: &mut Batch,
    ) -> Result<Opened, SessionError> {
        let keys = match kind {
            EncKind::Msg => LocalKeys::default(),
            EncKind::PkMsg => self.local_keys(bytes).await?,
        };
        let opened = failpoints::around!(
            "signal.decrypt",
            self.keys
                .decrypt(&mut self.record, kind, bytes, &keys)
                .await
        )?;
        self.changed = true;
        if let Some(id) = opened.consumed_prekey {
            signal::delete_prekey(batch, &self.login, id);
        }
        Ok(opened)
    }

    async fn local_keys(&self, pkmsg: &[u8]) -> Result<LocalKeys, SessionError> {
        let ids = prekey_ids(pkmsg)?;
        let prekey = match ids.prekey {
            Some(id) => signal::prekey(&self.store, &self.login, id).await?,
            None => None,
        };
        let signed = signal::signed_prekey(&self.store, &self.login, ids.signed_prekey).await?;
        Ok(LocalKeys {
            prekey: prekey
                .map(|row| PreKey::from_bytes(&row.record))
                .transpose()?,
            signed: signed
                .map(|row| SignedPreKey::from_bytes(&row.record))
                .transpose()?,
        })
    }

    /// Writes the changed record into `batch`. The lock must be held until that is committed: keep `self`.
    pub(crate) fn save(&self, batch: &mut Batch, now: Millis) {
        if self.changed {
            let session = signal::Session {
                record: self.record.session.clone().map(Secret::new),
                identity: self.record.identity.map(|identity| identity.to_vec()),
            };
            signal::put_session(batch, &self.login, &self.peer, &session, now);
            self.note_identity(batch, now);
        }
    }

    /// Whether this is the identity that the session has to do with.
    pub(crate) fn is_with(&self, identity: &[u8; 32]) -> bool {
        self.record.identity.as_ref() == Some(identity)
    }

    /// Has the user told that the contact has another identity than before: in the commit that takes it for known, so once
    /// for each change, however it is found out.
    fn note_identity(&self, batch: &mut Batch, now: Millis) {
        let (Some(known), Some(identity)) = (self.known, self.record.identity) else {
            return;
        };
        if known == identity {
            return;
        }
        let digest = crate::ids::short_digest(&[
            "identity",
            &self.login,
            &self.peer,
            &hex::encode(identity),
        ]);
        let id = format!("identity {digest}");
        notices::note(batch, now, &self.login, &self.peer, id, NEW_IDENTITY);
    }
}
