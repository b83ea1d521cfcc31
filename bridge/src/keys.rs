//! Upkeep of a login's Signal keys at the gatekeeper: one-time prekeys, the signed prekey, identity changes of contacts.

use std::sync::Arc;

use gatekeeper::{
    signal::{Bundle, Identity, PreKey, SignedPreKey, SignedPreKeyPublic, next_prekey_id},
    stanzas::{
        Notification,
        keys::{self, KeyUpload, KeysRequest},
    },
};
use store::{Batch, Secret, logins, signal};

use crate::{core::Core, directory, notices, passes::Hold};

/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// After each connect: enough one-time keys, and a signed prekey that is not too old.
pub(crate) async fn keep_up(core: &Arc<Core>, login: &str) {
    refill(core, login, None).await;
    if let Err(hold) = rotate(core, login).await {
        tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "the signed prekey could not be replaced; tried again at the next connection");
    }
}

/// Uploads one-time prekeys if few are left; `left` as the gatekeeper said it, asked for if it did not.
pub(crate) async fn refill(core: &Arc<Core>, login: &str, left: Option<u32>) {
    if let Err(hold) = try_refill(core, login, left).await {
        tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "prekeys could not be uploaded; tried again at the next connection");
    }
}

async fn try_refill(core: &Arc<Core>, login: &str, left: Option<u32>) -> Result<(), Hold> {
    // One upload of a login at a time: two would draw the same ids.
    let _lock = core.key_locks.lock(&login.to_owned()).await;
    let connection = core
        .logins
        .get(login)
        .ok_or_else(Hold::not_connected)?
        .connection;
    let left = match left {
        Some(left) => left,
        None => {
            let answer = connection
                .query(KeysRequest::Count.to_node())
                .await
                .map_err(|error| directory::unanswered(&error))?;
            keys::parse_count(&answer).map_err(|error| Hold::failed(&error))?
        }
    };
    if left >= core.profile.keys.refill_below {
        return Ok(());
    }
    let row = row(core, login).await?;
    let identity = identity(&row)?;
    let first = signal::count_prekeys(&core.store, login).await? == 0;
    let count = if first {
        core.profile.keys.first_upload
    } else {
        core.profile.keys.batch
    };
    let mut uploads = signal::prekeys_to_upload(&core.store, login, count).await?;
    if uploads.is_empty() {
        make(core, login, row.next_prekey_id, count).await?;
        uploads = signal::prekeys_to_upload(&core.store, login, count).await?;
    }
    let mut list = Vec::with_capacity(uploads.len());
    for upload in &uploads {
        let key = PreKey::from_bytes(&upload.record).map_err(|error| Hold::failed(&error))?;
        list.push(key.public());
    }
    let upload = KeyUpload {
        registration_id: identity.registration_id(),
        identity: identity.public(),
        prekeys: list,
        signed_prekey: signed_key(core, login).await?,
    };
    let upload = KeysRequest::Upload(upload).to_node();
    failpoints::around!("prekeys.upload", connection.query(upload).await)
        .map_err(|error| directory::unanswered(&error))?;
    let mut batch = Batch::new();
    for upload in uploads {
        signal::prekey_uploaded(&mut batch, login, upload.id);
    }
    failpoints::around!("prekeys.uploaded.commit", core.store.commit(batch).await)?;
    tracing::info!(login = %core.log_id(login), "one-time prekeys uploaded");
    Ok(())
}

/// Makes one-time prekeys. They are durable before anybody can be given one.
async fn make(core: &Arc<Core>, login: &str, from: u32, count: u32) -> Result<(), Hold> {
    let count = usize::try_from(count).unwrap_or_default();
    let (keys, next) = PreKey::generate_batch(from, count, &mut rand::rng())
        .map_err(|error| Hold::failed(&error))?;
    let mut batch = Batch::new();
    for key in &keys {
        signal::put_prekey(
            &mut batch,
            login,
            key.id(),
            Secret::new(key.to_bytes().to_vec()),
        );
    }
    logins::take_prekey_ids(&mut batch, login, from, next);
    failpoints::around!("prekeys.make.commit", core.store.commit(batch).await)?;
    Ok(())
}

/// Replaces a signed prekey that is too old. The former one is kept: messages to it may be on their way.
async fn rotate(core: &Arc<Core>, login: &str) -> Result<(), Hold> {
    let _lock = core.key_locks.lock(&login.to_owned()).await;
    let now = core.now();
    let Some((current, created_ts)) = signal::current_signed_prekey(&core.store, login).await?
    else {
        return Ok(());
    };
    let age = now.saturating_sub(created_ts);
    if age < i64::from(core.profile.keys.rotate_signed_days).saturating_mul(DAY_MS) {
        return Ok(());
    }
    let connection = core
        .logins
        .get(login)
        .ok_or_else(Hold::not_connected)?
        .connection;
    let identity = identity(&row(core, login).await?)?;
    let key = SignedPreKey::generate(next_prekey_id(current.id), &identity, &mut rand::rng())
        .map_err(|error| Hold::failed(&error))?;
    // Durable before it is published; an upload that is cut short is made up for by the next one.
    let keep = i64::from(core.profile.keys.keep_signed_days).saturating_mul(DAY_MS);
    let mut batch = Batch::new();
    signal::put_signed_prekey(
        &mut batch,
        login,
        key.id(),
        Secret::new(key.to_bytes().to_vec()),
        now,
    );
    signal::prune_signed_prekeys(&mut batch, login, now.saturating_sub(keep));
    failpoints::around!("signedkey.commit", core.store.commit(batch).await)?;
    let upload = KeysRequest::Rotate(key.public()).to_node();
    failpoints::around!("signedkey.upload", connection.query(upload).await)
        .map_err(|error| directory::unanswered(&error))?;
    tracing::info!(login = %core.log_id(login), "signed prekey replaced");
    Ok(())
}

/// Our keys for a retry receipt: one fresh one-time prekey and the signed one.
pub(crate) async fn for_retry(core: &Arc<Core>, login: &str) -> Result<Bundle, Hold> {
    let _lock = core.key_locks.lock(&login.to_owned()).await;
    let row = row(core, login).await?;
    let identity = identity(&row)?;
    make(core, login, row.next_prekey_id, 1).await?;
    let record = signal::prekey(&core.store, login, row.next_prekey_id).await?;
    let mut batch = Batch::new();
    // Given away in the receipt: it must not be uploaded for others too.
    signal::prekey_uploaded(&mut batch, login, row.next_prekey_id);
    failpoints::around!("retry.keys.commit", core.store.commit(batch).await)?;
    let prekey = match record {
        Some(record) => Some(
            PreKey::from_bytes(&record.record)
                .map_err(|error| Hold::failed(&error))?
                .public(),
        ),
        None => None,
    };
    Ok(Bundle {
        registration_id: identity.registration_id(),
        identity: identity.public(),
        prekey,
        signed_prekey: signed_key(core, login).await?,
    })
}

/// The registration id of a login's Signal identity.
pub(crate) async fn registration_id(core: &Arc<Core>, login: &str) -> Result<u32, Hold> {
    Ok(row(core, login).await?.registration_id)
}

/// A contact has a new identity: the session is opened anew with the new keys. Where those cannot be had, it is dropped, so
/// that the next message fetches them. Says whether that is written down.
pub(crate) async fn identity_changed(core: &Arc<Core>, login: &str, notice: &Notification) -> bool {
    let peer = core.peer_id(&notice.from);
    match renew(core, login, &peer).await {
        Ok(()) => {
            tracing::info!(login = %core.log_id(login), peer = %core.log_id(&peer), "a contact has a new identity key");
            notices::wake(core, login, &peer);
            if let Some(running) = core.logins.get(login) {
                // A lost ack only brings the notification again.
                let _ = failpoints::around!(
                    "identity.ack",
                    running.connection.send(notice.ack().to_node()).await
                );
            }
            true
        }
        Err(hold) => {
            tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "a contact's session could not be renewed");
            false
        }
    }
}

async fn renew(core: &Arc<Core>, login: &str, peer: &str) -> Result<(), Hold> {
    // The network is asked without the session's lock.
    let bundle = directory::bundle(core, login, peer).await;
    let mut session = core
        .sessions
        .open(login, peer)
        .await
        .map_err(|error| Hold::failed(&error))?;
    match bundle {
        // A message of the contact may have brought the new identity before the notification did.
        Ok(bundle) if session.is_established() && session.is_with(&bundle.identity) => {}
        Ok(bundle) if session.is_established() => {
            if let Err(error) = session.establish(&bundle).await {
                tracing::warn!(login = %core.log_id(login), %error, "a contact's new keys are of no use");
                session.drop_session();
            }
        }
        Ok(_) | Err(_) => session.drop_session(),
    }
    let mut batch = Batch::new();
    session.save(&mut batch, core.now());
    failpoints::around!("identity.commit", core.store.commit(batch).await)?;
    Ok(())
}

async fn row(core: &Arc<Core>, login: &str) -> Result<logins::Login, Hold> {
    logins::get(&core.store, login)
        .await?
        .ok_or_else(|| Hold::until("the login is gone"))
}

fn identity(row: &logins::Login) -> Result<Identity, Hold> {
    let bytes = row
        .identity
        .as_deref()
        .ok_or_else(|| Hold::until("the login has no Signal identity"))?;
    Identity::from_bytes(bytes).map_err(|error| Hold::failed(&error))
}

async fn signed_key(core: &Arc<Core>, login: &str) -> Result<SignedPreKeyPublic, Hold> {
    let (row, _) = signal::current_signed_prekey(&core.store, login)
        .await?
        .ok_or_else(|| Hold::until("the login has no signed prekey"))?;
    Ok(SignedPreKey::from_bytes(&row.record)
        .map_err(|error| Hold::failed(&error))?
        .public())
}
