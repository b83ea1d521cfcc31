//! From nothing to a cross-signed device, in steps that can each be taken again.
//!
//! `new` → registered → `registered` → device made → `device` → cross-signing, device, one-time and fallback keys
//! uploaded → `keys` → signatures uploaded → `signed`. The step is taken at the homeserver first and written down
//! after, so a crash repeats at most one; keys are committed before the homeserver sees their public halves, so a repeated
//! step uploads the same keys.

use std::{collections::BTreeMap, sync::Arc};

use matrix_sdk_crypto::{
    CrossSigningBootstrapRequests, EncryptionSyncChanges,
    types::requests::{AnyIncomingResponse, AnyOutgoingRequest, UploadSigningKeysRequest},
};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, UserId,
    api::{
        client::{
            account::register,
            device::{delete_device, get_devices, update_device},
            keys::upload_signing_keys,
            sync::sync_events::DeviceLists,
        },
        error::ErrorCode,
    },
    encryption::CrossSigningKey,
    serde::Raw,
};
use store::{
    Batch, LogId, Store,
    ghosts::{self, Ghost, Stage},
};
use tracing::{info, warn};

use super::{Puppet, decrypt::SETTINGS, encrypt::KeySharing};
use crate::{Homeserver, HttpError, Identity, PuppetError};

/// Device ids tried before giving up.
const DEVICES: usize = 3;
/// What other users see in the device list of a ghost.
const DEVICE_NAME: &str = "gatehouse";

/// Takes a ghost through the stages it has not passed, and opens it.
pub(crate) async fn complete(
    homeserver: &Homeserver,
    store: &Store,
    user: &UserId,
    mut ghost: Ghost,
    sharing: KeySharing,
) -> Result<Arc<Puppet>, PuppetError> {
    for _ in 0..DEVICES {
        if ghost.stage == Stage::New {
            failpoints::around!("ghost.register", register(homeserver, user).await)?;
            forget_devices(homeserver, user).await?;
            advance(store, &mut ghost, Stage::Registered).await?;
        }
        if ghost.stage == Stage::Registered {
            let device = ghost.device_id.as_str().into();
            failpoints::around!("ghost.device", make_device(homeserver, user, device).await)?;
            advance(store, &mut ghost, Stage::Device).await?;
        }
        let device: OwnedDeviceId = ghost.device_id.as_str().into();
        let puppet = Puppet::load(
            homeserver.clone(),
            store.clone(),
            user.to_owned(),
            device,
            sharing,
        )
        .await?;
        match publish(&puppet, &mut ghost).await {
            Err(PuppetError::DeviceTaken) => {
                // The homeserver knows this device with other keys: the database is younger than the device. Nobody can
                // use those keys any more, so the device goes, and the ghost gets another.
                puppet.poison();
                remove_device(homeserver, user, ghost.device_id.as_str().into()).await?;
                ghost.device_id = new_device_id();
                ghost.stage = Stage::Registered;
                let mut batch = Batch::new();
                ghosts::replace_device(&mut batch, &ghost.mxid, &ghost.device_id, ghost.stage);
                store.commit(batch).await?;
            }
            done => return done.map(|()| puppet),
        }
    }
    Err(PuppetError::DeviceTaken)
}

/// A fresh device id. It names nothing, so that a lost database does not meet its old device under the same name.
pub(crate) fn new_device_id() -> String {
    ruma::DeviceId::new().to_string()
}

async fn advance(store: &Store, ghost: &mut Ghost, stage: Stage) -> Result<(), PuppetError> {
    ghost.stage = stage;
    let mut batch = Batch::new();
    ghosts::set_stage(&mut batch, &ghost.mxid, stage);
    failpoints::around!("ghost.stage.commit", store.commit(batch).await)?;
    Ok(())
}

async fn register(homeserver: &Homeserver, user: &UserId) -> Result<(), PuppetError> {
    let mut request = register::v3::Request::new();
    request.username = Some(user.localpart().to_owned());
    request.login_type = Some(register::LoginType::ApplicationService);
    request.inhibit_login = true;
    match homeserver.call(None, request).await {
        Ok(_) => {
            info!(user = %LogId::of(user), "registered");
            Ok(())
        }
        Err(error) if error.is(ErrorCode::UserInUse) => Ok(()),
        Err(error) if error.is(ErrorCode::Exclusive) => Err(PuppetError::Invalid(
            "the homeserver refuses the user id: it is outside the namespaces of the registration"
                .to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Deletes devices that an earlier life of the bridge left: no database knows their keys any more, and clients would
/// go on encrypting for them.
async fn forget_devices(homeserver: &Homeserver, user: &UserId) -> Result<(), PuppetError> {
    let request = get_devices::v3::Request::new();
    let answer = homeserver.call(Some(Identity::user(user)), request).await?;
    for device in answer.devices {
        warn!(user = %LogId::of(user), "removing a device whose keys are lost");
        remove_device(homeserver, user, device.device_id).await?;
    }
    Ok(())
}

async fn remove_device(
    homeserver: &Homeserver,
    user: &UserId,
    device: OwnedDeviceId,
) -> Result<(), PuppetError> {
    let request = delete_device::v3::Request::new(device);
    match homeserver.call(Some(Identity::user(user)), request).await {
        Err(error) if !error.is(ErrorCode::NotFound) => Err(error.into()),
        _ => Ok(()),
    }
}

async fn make_device(
    homeserver: &Homeserver,
    user: &UserId,
    device: OwnedDeviceId,
) -> Result<(), HttpError> {
    let mut request = update_device::v3::Request::new(device);
    request.display_name = Some(DEVICE_NAME.to_owned());
    homeserver
        .call(Some(Identity::user(user)), request)
        .await
        .map(drop)
}

/// Uploads what is not uploaded.
async fn publish(puppet: &Arc<Puppet>, ghost: &mut Ghost) -> Result<(), PuppetError> {
    if ghost.stage == Stage::Signed {
        return Ok(());
    }
    let _one = puppet.exchange.lock().await;
    make_fallback_key(puppet).await?;
    let requests = puppet.machine.bootstrap_cross_signing(false).await?;
    failpoints::around!("ghost.keys.commit", puppet.commit().await)?;
    upload_all(puppet, ghost, requests).await?;
    ghost.stage = Stage::Signed;
    let mut batch = Batch::new();
    ghosts::set_stage(&mut batch, &ghost.mxid, Stage::Signed);
    failpoints::around!("ghost.signed.commit", puppet.commit_with(batch).await)?;
    info!(user = %puppet.log_id(), "device cross-signed");
    Ok(())
}

/// The OlmMachine makes a fallback key when it hears that the homeserver supports them.
async fn make_fallback_key(puppet: &Puppet) -> Result<(), PuppetError> {
    let unused: [OneTimeKeyAlgorithm; 0] = [];
    let changes = EncryptionSyncChanges {
        to_device_events: Vec::new(),
        changed_devices: &DeviceLists::new(),
        one_time_keys_counts: &BTreeMap::new(),
        unused_fallback_keys: Some(&unused),
        next_batch_token: None,
    };
    puppet
        .machine
        .receive_sync_changes(changes, &SETTINGS)
        .await?;
    Ok(())
}

/// Cross-signing keys first: the device is then signed from the moment anybody can see it.
async fn upload_all(
    puppet: &Arc<Puppet>,
    ghost: &mut Ghost,
    requests: CrossSigningBootstrapRequests,
) -> Result<(), PuppetError> {
    if ghost.stage == Stage::Device {
        let request = signing_keys(requests.upload_signing_keys_req)?;
        let answer = failpoints::around!("ghost.crosssigning", puppet.call(request).await)?;
        let id = ruma::TransactionId::new();
        puppet
            .machine
            .mark_request_as_sent(&id, AnyIncomingResponse::SigningKeysUpload(&answer))
            .await?;
        if let Some(upload) = &requests.upload_keys_req
            && let AnyOutgoingRequest::KeysUpload(keys) = upload.request()
        {
            puppet.upload_keys(upload.request_id(), keys).await?;
        }
        ghost.stage = Stage::Keys;
        let mut batch = Batch::new();
        ghosts::set_stage(&mut batch, &ghost.mxid, Stage::Keys);
        failpoints::around!("ghost.crosssigned.commit", puppet.commit_with(batch).await)?;
    }
    let request = requests.upload_signatures_req;
    let answer = failpoints::around!("ghost.signature", puppet.call(request).await)?;
    if !answer.failures.is_empty() {
        return Err(PuppetError::Crypto(
            "the homeserver refused the device's signature".to_owned(),
        ));
    }
    Ok(())
}

fn signing_keys(
    keys: UploadSigningKeysRequest,
) -> Result<upload_signing_keys::v3::Request, PuppetError> {
    let raw = |key: Option<matrix_sdk_crypto::types::CrossSigningKey>| {
        key.map(|key| serde_json::value::to_raw_value(&key).map(Raw::<CrossSigningKey>::from_json))
            .transpose()
            .map_err(|_| PuppetError::Crypto("cross-signing keys".to_owned()))
    };
    let mut request = upload_signing_keys::v3::Request::new();
    request.master_key = raw(keys.master_key)?;
    request.self_signing_key = raw(keys.self_signing_key)?;
    request.user_signing_key = raw(keys.user_signing_key)?;
    Ok(request)
}
