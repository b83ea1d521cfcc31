//! [`CryptoStore`] over the objects.

use std::collections::HashMap;

use async_trait::async_trait;
use matrix_sdk_common::cross_process_lock::CrossProcessLockGeneration;
use matrix_sdk_crypto::{
    Account, DeviceData, GossipRequest, SecretInfo, Session, TrackedUser, UserIdentityData,
    olm::{
        Curve25519PublicKey, InboundGroupSession, OlmMessageHash, OutboundGroupSession,
        PickledInboundGroupSession, PrivateCrossSigningIdentity, SenderDataType,
    },
    store::{
        CryptoStore, CryptoStoreError,
        types::{
            BackupKeys, Changes, DehydratedDeviceKey, PendingChanges, RoomKeyCounts,
            RoomKeyWithheldEntry, RoomPendingKeyBundleDetails, RoomSettings,
            StoredRoomKeyBundleData,
        },
    },
};
use ruma::{
    DeviceId, OwnedDeviceId, OwnedTransactionId, RoomId, TransactionId, UserId,
    events::secret::request::SecretName,
};
use serde::{Deserialize, Serialize};
use store::crypto::{Change, Object};

use super::{
    CLOSED, SqlCryptoStore, USABLE,
    changes::{self, delete, put},
    kind,
    read::parse,
};

type Result<T, E = CryptoStoreError> = std::result::Result<T, E>;

/// A lock among holders on one device's store.
#[derive(Serialize, Deserialize)]
struct Lease {
    holder: String,
    /// Milliseconds since the Unix epoch.
    expires: i64,
    generation: CrossProcessLockGeneration,
}

/// The stored flag, not the pickle, knows whether a session is backed up.
fn inbound(object: &Object) -> Result<InboundGroupSession> {
    let mut pickle: PickledInboundGroupSession = parse(object)?;
    pickle.backed_up = object.flag != 0;
    Ok(InboundGroupSession::from_pickle(pickle)?)
}

fn inbounds(objects: &[Object]) -> Result<Vec<InboundGroupSession>> {
    objects.iter().map(inbound).collect()
}

#[async_trait]
impl CryptoStore for SqlCryptoStore {
    type Error = CryptoStoreError;

    async fn load_account(&self) -> Result<Option<Account>> {
        let Some(pickle) = self.value(kind::ACCOUNT, "", "").await? else {
            return Ok(None);
        };
        let account = Account::from_pickle(pickle)?;
        self.set_static_account(account.static_data().clone());
        Ok(Some(account))
    }

    async fn load_identity(&self) -> Result<Option<PrivateCrossSigningIdentity>> {
        let Some(pickle) = self.value(kind::PRIVATE_IDENTITY, "", "").await? else {
            return Ok(None);
        };
        let identity = PrivateCrossSigningIdentity::from_pickle(pickle)
            .map_err(|_| CryptoStoreError::UnpicklingError)?;
        Ok(Some(identity))
    }

    async fn save_changes(&self, changes: Changes) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let changes = self.objects(changes).await?;
        self.save(changes).await
    }

    async fn save_pending_changes(&self, changes: PendingChanges) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let Some(account) = changes.account else {
            return Ok(());
        };
        self.set_static_account(account.static_data().clone());
        self.save(vec![changes::account(&account)?]).await
    }

    async fn save_inbound_group_sessions(
        &self,
        sessions: Vec<InboundGroupSession>,
        backed_up_to_version: Option<&str>,
    ) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let backed_up = backed_up_to_version.is_some();
        let sessions = sessions.iter().map(|session| (session, backed_up));
        let changes = self.room_keys(sessions).await?;
        self.save(changes).await
    }

    async fn get_sessions(&self, sender_key: &str) -> Result<Option<Vec<Session>>> {
        let objects = self.under(kind::SESSION, sender_key).await?;
        if objects.is_empty() {
            return Ok(None);
        }
        let device_keys = self.get_own_device().await?.as_device_keys().clone();
        let sessions: Result<_> = objects
            .iter()
            .map(|object| {
                Session::from_pickle(device_keys.clone(), parse(object)?)
                    .map_err(|_| CryptoStoreError::UnpicklingError)
            })
            .collect();
        Ok(Some(sessions?))
    }

    async fn get_inbound_group_session(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<InboundGroupSession>> {
        self.usable()?;
        if let Some(session) = self.recent().get(room_id, session_id) {
            return Ok(Some(session));
        }
        // Not between a read and the save of a newer state: the older one would stay among the recent ones.
        let _saving = self.inner.saving.lock().await;
        let object = self
            .object(kind::INBOUND, room_id.as_str(), session_id)
            .await?;
        let Some(session) = object.as_ref().map(inbound).transpose()? else {
            return Ok(None);
        };
        self.recent().put(session.clone());
        Ok(Some(session))
    }

    async fn get_withheld_info(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<RoomKeyWithheldEntry>> {
        self.value(kind::WITHHELD, room_id.as_str(), session_id)
            .await
    }

    async fn get_withheld_sessions_by_room_id(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<RoomKeyWithheldEntry>> {
        self.under(kind::WITHHELD, room_id.as_str())
            .await?
            .iter()
            .map(parse)
            .collect()
    }

    async fn get_inbound_group_sessions(&self) -> Result<Vec<InboundGroupSession>> {
        inbounds(&self.all(kind::INBOUND).await?)
    }

    async fn inbound_group_session_counts(
        &self,
        _backup_version: Option<&str>,
    ) -> Result<RoomKeyCounts> {
        let objects = self.all(kind::INBOUND).await?;
        let backed_up = objects.iter().filter(|object| object.flag != 0).count();
        Ok(RoomKeyCounts {
            total: objects.len(),
            backed_up,
        })
    }

    async fn get_inbound_group_sessions_by_room_id(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<InboundGroupSession>> {
        inbounds(&self.under(kind::INBOUND, room_id.as_str()).await?)
    }

    async fn get_inbound_group_sessions_for_device_batch(
        &self,
        curve_key: Curve25519PublicKey,
        sender_data_type: SenderDataType,
        after_session_id: Option<String>,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let tag = kind::session_tag(&curve_key, sender_data_type);
        let after = after_session_id.unwrap_or_default();
        inbounds(&self.tagged(kind::INBOUND, &tag, &after, limit).await?)
    }

    async fn inbound_group_sessions_for_backup(
        &self,
        _backup_version: &str,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let objects = self.all(kind::INBOUND).await?;
        objects
            .iter()
            .filter(|object| object.flag == 0)
            .take(limit)
            .map(inbound)
            .collect()
    }

    async fn mark_inbound_group_sessions_as_backed_up(
        &self,
        _backup_version: &str,
        room_and_session_ids: &[(&RoomId, &str)],
    ) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let mut changes = Vec::with_capacity(room_and_session_ids.len());
        for (room, session_id) in room_and_session_ids {
            if let Some(object) = self
                .object(kind::INBOUND, room.as_str(), session_id)
                .await?
            {
                changes.push(Change::Put {
                    kind: kind::INBOUND,
                    object: Object { flag: 1, ..object },
                });
            }
            self.recent().forget(room, session_id);
        }
        self.save(changes).await
    }

    async fn reset_backup_state(&self) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let objects = self.all(kind::INBOUND).await?;
        let changes = objects
            .into_iter()
            .filter(|object| object.flag != 0)
            .map(|object| Change::Put {
                kind: kind::INBOUND,
                object: Object { flag: 0, ..object },
            })
            .collect();
        self.recent().clear();
        self.save(changes).await
    }

    async fn load_backup_keys(&self) -> Result<BackupKeys> {
        Ok(BackupKeys {
            decryption_key: self.value(kind::SINGLE, kind::BACKUP_KEY, "").await?,
            backup_version: self.value(kind::SINGLE, kind::BACKUP_VERSION, "").await?,
        })
    }

    async fn load_dehydrated_device_pickle_key(&self) -> Result<Option<DehydratedDeviceKey>> {
        self.value(kind::SINGLE, kind::DEHYDRATED_KEY, "").await
    }

    async fn delete_dehydrated_device_pickle_key(&self) -> Result<()> {
        self.save(vec![delete(kind::SINGLE, kind::DEHYDRATED_KEY, "")])
            .await
    }

    async fn get_outbound_group_session(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<OutboundGroupSession>> {
        let account = self
            .static_account()
            .ok_or(CryptoStoreError::AccountUnset)?;
        let Some(pickle) = self.value(kind::OUTBOUND, room_id.as_str(), "").await? else {
            return Ok(None);
        };
        let session = OutboundGroupSession::from_pickle(
            account.device_id.clone(),
            account.identity_keys.clone(),
            pickle,
        )?;
        Ok(Some(session))
    }

    async fn load_tracked_users(&self) -> Result<Vec<TrackedUser>> {
        self.all(kind::TRACKED).await?.iter().map(parse).collect()
    }

    async fn save_tracked_users(&self, users: &[(&UserId, bool)]) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let changes: Result<_> = users
            .iter()
            .map(|&(user, dirty)| {
                let tracked = TrackedUser {
                    user_id: user.to_owned(),
                    dirty,
                };
                put(kind::TRACKED, user.as_str(), "", &tracked)
            })
            .collect();
        self.save(changes?).await
    }

    async fn get_device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Option<DeviceData>> {
        self.value(kind::DEVICE, user_id.as_str(), device_id.as_str())
            .await
    }

    async fn get_user_devices(
        &self,
        user_id: &UserId,
    ) -> Result<HashMap<OwnedDeviceId, DeviceData>> {
        self.under(kind::DEVICE, user_id.as_str())
            .await?
            .iter()
            .map(|object| {
                let device: DeviceData = parse(object)?;
                Ok((device.device_id().to_owned(), device))
            })
            .collect()
    }

    async fn get_own_device(&self) -> Result<DeviceData> {
        let account = self
            .static_account()
            .ok_or(CryptoStoreError::AccountUnset)?;
        self.get_device(&account.user_id, &account.device_id)
            .await?
            .ok_or(CryptoStoreError::AccountUnset)
    }

    async fn get_user_identity(&self, user_id: &UserId) -> Result<Option<UserIdentityData>> {
        self.value(kind::IDENTITY, user_id.as_str(), "").await
    }

    async fn is_message_known(&self, message_hash: &OlmMessageHash) -> Result<bool> {
        self.contains(
            kind::MESSAGE_HASH,
            &message_hash.sender_key,
            &message_hash.hash,
        )
        .await
    }

    async fn get_outgoing_secret_requests(
        &self,
        request_id: &TransactionId,
    ) -> Result<Option<GossipRequest>> {
        self.value(kind::REQUEST, request_id.as_str(), "").await
    }

    async fn get_secret_request_by_info(
        &self,
        secret_info: &SecretInfo,
    ) -> Result<Option<GossipRequest>> {
        let id: Option<OwnedTransactionId> = self
            .value(kind::REQUEST_BY_INFO, &secret_info.as_key(), "")
            .await?;
        match id {
            Some(id) => self.get_outgoing_secret_requests(&id).await,
            None => Ok(None),
        }
    }

    async fn get_unsent_secret_requests(&self) -> Result<Vec<GossipRequest>> {
        let requests: Result<Vec<GossipRequest>> =
            self.all(kind::REQUEST).await?.iter().map(parse).collect();
        Ok(requests?
            .into_iter()
            .filter(|request| !request.sent_out)
            .collect())
    }

    async fn delete_outgoing_secret_requests(&self, request_id: &TransactionId) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let Some(request) = self.get_outgoing_secret_requests(request_id).await? else {
            return Ok(());
        };
        let info = request.info.as_key();
        let mut changes = vec![delete(kind::REQUEST, request_id.as_str(), "")];
        // Unless a newer request for the same secret has taken over.
        let latest: Option<OwnedTransactionId> =
            self.value(kind::REQUEST_BY_INFO, &info, "").await?;
        if latest.as_deref() == Some(request_id) {
            changes.push(delete(kind::REQUEST_BY_INFO, info, ""));
        }
        self.save(changes).await
    }

    async fn get_secrets_from_inbox(
        &self,
        secret_name: &SecretName,
    ) -> Result<Vec<zeroize::Zeroizing<String>>> {
        self.under(kind::SECRET, secret_name.as_str())
            .await?
            .iter()
            .map(|object| Ok(parse::<String>(object)?.into()))
            .collect()
    }

    async fn delete_secrets_from_inbox(&self, secret_name: &SecretName) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        let objects = self.under(kind::SECRET, secret_name.as_str()).await?;
        let changes = objects
            .into_iter()
            .map(|object| delete(kind::SECRET, object.k1, object.k2))
            .collect();
        self.save(changes).await
    }

    async fn get_room_settings(&self, room_id: &RoomId) -> Result<Option<RoomSettings>> {
        self.value(kind::ROOM_SETTINGS, room_id.as_str(), "").await
    }

    async fn get_received_room_key_bundle_data(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Option<StoredRoomKeyBundleData>> {
        self.value(kind::BUNDLE, room_id.as_str(), user_id.as_str())
            .await
    }

    async fn get_pending_key_bundle_details_for_room(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<RoomPendingKeyBundleDetails>> {
        self.value(kind::PENDING_BUNDLE, room_id.as_str(), "").await
    }

    async fn get_all_rooms_pending_key_bundles(&self) -> Result<Vec<RoomPendingKeyBundleDetails>> {
        self.all(kind::PENDING_BUNDLE)
            .await?
            .iter()
            .map(parse)
            .collect()
    }

    async fn has_downloaded_all_room_keys(&self, room_id: &RoomId) -> Result<bool> {
        self.contains(kind::BACKUP_FETCHED, room_id.as_str(), "")
            .await
    }

    async fn get_custom_value(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self
            .object(kind::CUSTOM, key, "")
            .await?
            .map(|object| object.value.to_vec()))
    }

    async fn set_custom_value(&self, key: &str, value: Vec<u8>) -> Result<()> {
        let object = Object {
            k1: key.to_owned(),
            k2: String::new(),
            value: value.into(),
            tag: String::new(),
            flag: 0,
        };
        self.save(vec![Change::Put {
            kind: kind::CUSTOM,
            object,
        }])
        .await
    }

    async fn remove_custom_value(&self, key: &str) -> Result<()> {
        self.save(vec![delete(kind::CUSTOM, key, "")]).await
    }

    async fn try_take_leased_lock(
        &self,
        lease_duration_ms: u32,
        key: &str,
        holder: &str,
    ) -> Result<Option<CrossProcessLockGeneration>> {
        let _saving = self.inner.saving.lock().await;
        let now = changes::now();
        let current: Option<Lease> = self.value(kind::LEASE, key, "").await?;
        let generation = match current {
            Some(lease) if lease.holder == holder => lease.generation,
            Some(lease) if lease.expires < now => lease.generation + 1,
            Some(_) => return Ok(None),
            None => 1,
        };
        let expires = now + i64::from(lease_duration_ms);
        let lease = Lease {
            holder: holder.to_owned(),
            expires,
            generation,
        };
        self.save(vec![put(kind::LEASE, key, "", &lease)?]).await?;
        Ok(Some(generation))
    }

    async fn next_batch_token(&self) -> Result<Option<String>> {
        self.value(kind::SINGLE, kind::NEXT_BATCH, "").await
    }

    /// Writes what is staged; the database itself stays open for the other devices.
    async fn close(&self) -> Result<()> {
        let _saving = self.inner.saving.lock().await;
        self.usable()?;
        self.flush().await.map_err(CryptoStoreError::backend)?;
        self.recent().clear();
        self.inner
            .condition
            .store(CLOSED, std::sync::atomic::Ordering::Release);
        Ok(())
    }

    async fn reopen(&self) -> Result<()> {
        // A poisoned store stays so.
        let _ = self.inner.condition.compare_exchange(
            CLOSED,
            USABLE,
            std::sync::atomic::Ordering::AcqRel,
            std::sync::atomic::Ordering::Acquire,
        );
        self.usable()
    }

    async fn get_size(&self) -> Result<Option<usize>> {
        Ok(None)
    }
}
