//! From what the OlmMachine saves to objects.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use matrix_sdk_crypto::{
    Account, GossipRequest, Session,
    olm::{InboundGroupSession, OutboundGroupSession, PrivateCrossSigningIdentity},
    store::{
        CryptoStoreError,
        types::{Changes, DeviceChanges, IdentityChanges, SecretsInboxItem},
    },
};
use ruma::{OwnedTransactionId, RoomId};
use serde::Serialize;
use store::{
    Secret,
    crypto::{Change, Object},
};

use super::{SqlCryptoStore, kind, read::parse};

type Result<T, E = CryptoStoreError> = std::result::Result<T, E>;

/// Writes `value` under a kind and names.
pub(super) fn put<T: Serialize>(
    kind: &'static str,
    k1: impl Into<String>,
    k2: impl Into<String>,
    value: &T,
) -> Result<Change> {
    let value = Secret::new(serde_json::to_vec(value)?);
    let (k1, k2) = (k1.into(), k2.into());
    Ok(Change::Put {
        kind,
        object: Object {
            k1,
            k2,
            value,
            tag: String::new(),
            flag: 0,
        },
    })
}

pub(super) fn delete(kind: &'static str, k1: impl Into<String>, k2: impl Into<String>) -> Change {
    Change::Delete {
        kind,
        k1: k1.into(),
        k2: k2.into(),
    }
}

pub(super) fn account(account: &Account) -> Result<Change> {
    put(kind::ACCOUNT, "", "", &account.pickle())
}

async fn inbound(session: &InboundGroupSession, backed_up: bool) -> Result<Change> {
    let pickle = session.pickle().await;
    let tag = kind::session_tag(&pickle.sender_key, pickle.sender_data.to_type());
    let mut change = put(
        kind::INBOUND,
        session.room_id().as_str(),
        session.session_id(),
        &pickle,
    )?;
    if let Change::Put { object, .. } = &mut change {
        object.tag = tag;
        object.flag = backed_up.into();
    }
    Ok(change)
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl SqlCryptoStore {
    /// All of `changes` as objects.
    pub(super) async fn objects(&self, changes: Changes) -> Result<Vec<Change>> {
        // First, for what is saved below is newer.
        let mut out = self.departures(&changes.devices).await?;
        if let Some(identity) = &changes.private_identity {
            out.push(private_identity(identity).await?);
        }
        for session in &changes.sessions {
            out.push(olm(session).await?);
        }
        let room_keys = changes.inbound_group_sessions.iter();
        let room_keys = room_keys.map(|session| (session, session.backed_up()));
        out.extend(self.room_keys(room_keys).await?);
        for session in &changes.outbound_group_sessions {
            out.push(outbound(session).await?);
        }
        let seen = now();
        for hash in &changes.message_hashes {
            let mut change = put(kind::MESSAGE_HASH, &hash.sender_key, &hash.hash, &())?;
            if let Change::Put { object, .. } = &mut change {
                object.flag = seen;
            }
            out.push(change);
        }
        for request in &changes.key_requests {
            self.request(request, &mut out).await?;
        }
        self.secrets(&changes.secrets, &mut out).await?;
        singles(&changes, &mut out)?;
        devices(&changes.devices, &mut out)?;
        identities(&changes.identities, &mut out)?;
        rooms(&changes, &mut out)?;
        Ok(out)
    }

    /// Room keys, each with whether it is backed up. Of each session the one stays that reaches back farthest.
    ///
    /// A client sends the key of a session again, from a later message on, when it has a new Olm session with the device. The machine
    /// compares what comes with what is stored, but neither the two with each other when they come at once, nor with what a call of
    /// another task is about to store. The later one would replace the earlier one, and the first messages could never be read.
    pub(super) async fn room_keys<'a>(
        &self,
        sessions: impl Iterator<Item = (&'a InboundGroupSession, bool)>,
    ) -> Result<Vec<Change>> {
        let mut farthest: HashMap<(&RoomId, &str), u32> = HashMap::new();
        let mut out = Vec::new();
        for (session, backed_up) in sessions {
            let (room, id) = (session.room_id(), session.session_id());
            let known = match farthest.get(&(room, id)) {
                Some(known) => Some(*known),
                None => self.first_known_index(room, id).await?,
            };
            let first = session.first_known_index();
            if known.is_some_and(|known| known < first) {
                continue;
            }
            farthest.insert((room, id), first);
            out.push(inbound(session, backed_up).await?);
            self.recent().forget(room, id);
        }
        Ok(out)
    }

    /// From which message on a room key is there that can be read.
    async fn first_known_index(&self, room: &RoomId, session_id: &str) -> Result<Option<u32>> {
        let stored = self
            .object(kind::INBOUND, room.as_str(), session_id)
            .await?;
        let session = stored
            .and_then(|object| parse(&object).ok())
            .and_then(|pickle| InboundGroupSession::from_pickle(pickle).ok());
        Ok(session.map(|session| session.first_known_index()))
    }

    /// Dates the Olm sessions with devices that are gone, for [`prune_sessions`](super::prune_sessions), and takes the date from those
    /// with devices that are there again. The machine itself never deletes one. They are not deleted at once: what a device has sent
    /// before it went may still come.
    async fn departures(&self, changes: &DeviceChanges) -> Result<Vec<Change>> {
        let seen = now();
        let gone = changes.deleted.iter().map(|device| (device, seen));
        let there = changes.new.iter().map(|device| (device, 0));
        let mut out = Vec::new();
        for (device, since) in gone.chain(there) {
            let Some(key) = device.curve25519_key() else {
                continue;
            };
            for mut object in self.under(kind::SESSION, &key.to_base64()).await? {
                if (object.flag == 0) != (since == 0) {
                    object.flag = since;
                    let kind = kind::SESSION;
                    out.push(Change::Put { kind, object });
                }
            }
        }
        Ok(out)
    }

    /// A request replaces an older one for the same secret.
    async fn request(&self, request: &GossipRequest, out: &mut Vec<Change>) -> Result<()> {
        let info = request.info.as_key();
        let older: Option<OwnedTransactionId> =
            self.value(kind::REQUEST_BY_INFO, &info, "").await?;
        if let Some(older) = older.filter(|older| *older != request.request_id) {
            out.push(delete(kind::REQUEST, older.as_str(), ""));
        }
        out.push(put(
            kind::REQUEST,
            request.request_id.as_str(),
            "",
            request,
        )?);
        out.push(put(kind::REQUEST_BY_INFO, info, "", &request.request_id)?);
        Ok(())
    }

    /// Secrets of one name are kept side by side, in order.
    async fn secrets(&self, secrets: &[SecretsInboxItem], out: &mut Vec<Change>) -> Result<()> {
        for (at, secret) in secrets.iter().enumerate() {
            let name = secret.secret_name.as_str();
            let last = self.under(kind::SECRET, name).await?.pop();
            let next = last
                .and_then(|last| last.k2.parse().ok())
                .map_or(0, |last: usize| last + 1);
            out.push(put(
                kind::SECRET,
                name,
                format!("{:010}", next + at),
                &*secret.secret,
            )?);
        }
        Ok(())
    }
}

async fn private_identity(identity: &PrivateCrossSigningIdentity) -> Result<Change> {
    put(kind::PRIVATE_IDENTITY, "", "", &identity.pickle().await)
}

async fn olm(session: &Session) -> Result<Change> {
    let pickle = session.pickle().await;
    put(
        kind::SESSION,
        pickle.sender_key.to_base64(),
        session.session_id(),
        &pickle,
    )
}

async fn outbound(session: &OutboundGroupSession) -> Result<Change> {
    put(
        kind::OUTBOUND,
        session.room_id().as_str(),
        "",
        &session.pickle().await,
    )
}

fn singles(changes: &Changes, out: &mut Vec<Change>) -> Result<()> {
    if let Some(key) = &changes.backup_decryption_key {
        out.push(put(kind::SINGLE, kind::BACKUP_KEY, "", key)?);
    }
    if let Some(version) = &changes.backup_version {
        out.push(put(kind::SINGLE, kind::BACKUP_VERSION, "", version)?);
    }
    if let Some(key) = &changes.dehydrated_device_pickle_key {
        out.push(put(kind::SINGLE, kind::DEHYDRATED_KEY, "", key)?);
    }
    if let Some(token) = &changes.next_batch_token {
        out.push(put(kind::SINGLE, kind::NEXT_BATCH, "", token)?);
    }
    Ok(())
}

fn devices(changes: &DeviceChanges, out: &mut Vec<Change>) -> Result<()> {
    for device in changes.new.iter().chain(&changes.changed) {
        let (user, id) = (device.user_id().as_str(), device.device_id().as_str());
        out.push(put(kind::DEVICE, user, id, device)?);
    }
    for device in &changes.deleted {
        out.push(delete(
            kind::DEVICE,
            device.user_id().as_str(),
            device.device_id().as_str(),
        ));
    }
    Ok(())
}

fn identities(changes: &IdentityChanges, out: &mut Vec<Change>) -> Result<()> {
    for identity in changes.new.iter().chain(&changes.changed) {
        out.push(put(
            kind::IDENTITY,
            identity.user_id().as_str(),
            "",
            identity,
        )?);
    }
    Ok(())
}

fn rooms(changes: &Changes, out: &mut Vec<Change>) -> Result<()> {
    for (room, sessions) in &changes.withheld_session_info {
        for (session_id, entry) in sessions {
            out.push(put(kind::WITHHELD, room.as_str(), session_id, entry)?);
        }
    }
    for (room, settings) in &changes.room_settings {
        out.push(put(kind::ROOM_SETTINGS, room.as_str(), "", settings)?);
    }
    for bundle in &changes.received_room_key_bundles {
        let (room, sender) = (
            bundle.bundle_data.room_id.as_str(),
            bundle.sender_user.as_str(),
        );
        out.push(put(kind::BUNDLE, room, sender, bundle)?);
    }
    for room in &changes.room_key_backups_fully_downloaded {
        out.push(put(kind::BACKUP_FETCHED, room.as_str(), "", &())?);
    }
    for (room, details) in &changes.rooms_pending_key_bundle {
        out.push(match details {
            Some(details) => put(kind::PENDING_BUNDLE, room.as_str(), "", details)?,
            None => delete(kind::PENDING_BUNDLE, room.as_str(), ""),
        });
    }
    Ok(())
}
