//! The library's store traits over the values of one call.
//!
//! The library wants asynchronous stores. Ours hold what the caller passed in and answer at once,
//! so every future of the library is ready at its first poll and [`now`] can run it without an
//! executor. Nothing is written here: [`super::session`] takes the changed record out afterwards.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use wacore_libsignal::protocol::{
    Direction, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore, PreKeyId,
    PreKeyRecord, PreKeyStore, ProtocolAddress, SessionRecord, SessionStore, SignalProtocolError,
    SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore,
};

use super::{Identity, LocalKeys, SignalError, keys::public_key};

type Result<T> = std::result::Result<T, SignalProtocolError>;

/// Runs a future that never waits.
pub(super) fn now<T>(
    future: impl Future<Output = Result<T>>,
) -> std::result::Result<T, SignalError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Ok(result?),
        Poll::Pending => Err(SignalError::Internal("an in-memory store waited")),
    }
}

/// The session of the one peer of this call.
pub(super) struct Sessions {
    pub(super) record: Option<SessionRecord>,
}

impl Sessions {
    /// Reads the stored record and turns its counter lease off: by contract the caller commits
    /// the new record before the ciphertext leaves, so a counter is never drawn twice, and with
    /// the lease on every load would skip 64 counters.
    pub(super) fn load(stored: Option<&[u8]>) -> std::result::Result<Self, SignalError> {
        let mut record = match stored {
            None => return Ok(Self { record: None }),
            Some(bytes) => SessionRecord::deserialize(bytes)
                .map_err(|_| SignalError::CorruptState("session record"))?,
        };
        record.waive_counter_lease();
        Ok(Self {
            record: Some(record),
        })
    }

    pub(super) fn stored(&self) -> std::result::Result<Option<Vec<u8>>, SignalError> {
        self.record
            .as_ref()
            .map(|record| record.serialize().map_err(SignalError::from))
            .transpose()
    }
}

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, _: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        Ok(self.record.clone())
    }

    async fn has_session(&self, _: &ProtocolAddress) -> Result<bool> {
        Ok(self.record.is_some())
    }

    async fn store_session(
        &mut self,
        _: &ProtocolAddress,
        mut record: SessionRecord,
    ) -> Result<()> {
        record.waive_counter_lease();
        self.record = Some(record);
        Ok(())
    }
}

/// Our identity, and the identity that is on file for the peer.
pub(super) struct Identities<'a> {
    pub(super) own: &'a Identity,
    pub(super) peer: Option<[u8; 32]>,
}

#[async_trait]
impl IdentityKeyStore for Identities<'_> {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        self.own.to_library().map_err(|_| broken("identity"))
    }

    async fn get_local_registration_id(&self) -> Result<u32> {
        Ok(self.own.registration_id())
    }

    async fn save_identity(
        &mut self,
        _: &ProtocolAddress,
        identity: &IdentityKey,
    ) -> Result<IdentityChange> {
        let identity = super::keys::raw(identity.public_key());
        let changed = self.peer.is_some_and(|known| known != identity);
        Ok(IdentityChange::from_changed(changed))
    }

    // Trust on first use, and go on after a change: the change is reported, never a reason to
    // hold messages back.
    async fn is_trusted_identity(
        &self,
        _: &ProtocolAddress,
        _: &IdentityKey,
        _: Direction,
    ) -> Result<bool> {
        Ok(true)
    }

    async fn get_identity(&self, _: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        match &self.peer {
            None => Ok(None),
            Some(bytes) => {
                let key = public_key(bytes).map_err(|_| broken("peer identity"))?;
                Ok(Some(IdentityKey::new(key)))
            }
        }
    }
}

fn broken(what: &'static str) -> SignalProtocolError {
    SignalProtocolError::InvalidState(what, "unreadable key".to_owned())
}

#[async_trait]
impl PreKeyStore for LocalKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        match &self.prekey {
            Some(key) if key.id() == u32::from(id) => {
                key.to_library().map_err(|_| broken("one-time prekey"))
            }
            _ => Err(SignalProtocolError::InvalidPreKeyId),
        }
    }

    // The library never writes prekeys while it decrypts; it reports the used one instead.
    async fn save_pre_key(&mut self, _: PreKeyId, _: &PreKeyRecord) -> Result<()> {
        Err(broken("prekeys are read only"))
    }

    async fn remove_pre_key(&mut self, _: PreKeyId) -> Result<()> {
        Err(broken("prekeys are read only"))
    }
}

#[async_trait]
impl SignedPreKeyStore for LocalKeys {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        match &self.signed {
            Some(key) if key.id() == u32::from(id) => {
                key.to_library().map_err(|_| broken("signed prekey"))
            }
            _ => Err(SignalProtocolError::InvalidSignedPreKeyId),
        }
    }

    async fn save_signed_pre_key(
        &mut self,
        _: SignedPreKeyId,
        _: &SignedPreKeyRecord,
    ) -> Result<()> {
        Err(broken("prekeys are read only"))
    }
}
