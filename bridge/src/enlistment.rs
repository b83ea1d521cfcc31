//! Enlisting a user: keys, identity token, the gatekeeper's answer (G 1.3). Each step is durable, so a crash in the middle
//! goes on with the same keys.

use std::sync::Arc;

use gatekeeper::{
    enlist::{EnlistAnswer, EnlistForm, enlist},
    noise::StaticKeyPair,
    profile::{FailureClass, RefusalClass},
    signal::{Identity, SignedPreKey},
};
use ruma::UserId;
use store::{Batch, Secret, consents, logins, signal};

use crate::{consent, core::Core, leaving, notices, passes::Hold, tokens};

/// Id of the first signed prekey and of the first one-time prekey.
const FIRST_KEY: u32 = 1;

/// A user who has accepted the warning in its present version. Nothing is sent to the gatekeeper for anybody else.
#[derive(Debug)]
pub(crate) struct Consented<'a> {
    user: &'a UserId,
}

impl<'a> Consented<'a> {
    /// Looks for a consent to the present text.
    pub(crate) async fn find(core: &Core, user: &'a UserId) -> Result<Option<Self>, store::Error> {
        let given = consents::current(&core.store, user.as_str()).await?;
        Ok(given
            .is_some_and(|given| given.version == consent::VERSION.to_string())
            .then_some(Self { user }))
    }

    /// Writes down that the user accepts the present text.
    pub(crate) async fn give(core: &Core, user: &'a UserId) -> Result<Self, store::Error> {
        let mut batch = Batch::new();
        consents::put(
            &mut batch,
            &consents::Consent {
                mxid: user.to_string(),
                version: consent::VERSION.to_string(),
                text_sha256: consent::text_sha256(),
                accepted_ts: core.now(),
                withdrawn_ts: None,
            },
        );
        failpoints::around!("consent.commit", core.store.commit(batch).await)?;
        Ok(Self { user })
    }
}

/// How an enlistment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The user is enlisted and the connection is being made.
    Enlisted,
    /// Is so already.
    Already,
    /// The gatekeeper refused, and why, for the user.
    Refused(String),
}

/// Enlists a user, or goes on with an enlistment that was interrupted.
pub(crate) async fn run(core: &Arc<Core>, user: &Consented<'_>) -> Result<Outcome, Hold> {
    let mxid = user.user.as_str();
    let _lock = core.key_locks.lock(&mxid.to_owned()).await;
    let row = match logins::get(&core.store, mxid).await? {
        Some(row) if row.state == logins::State::Active => {
            core.logins.start(core, mxid);
            return Ok(Outcome::Already);
        }
        Some(row) if row.state == logins::State::Enlisting && row.identity.is_some() => row,
        other => prepare(core, mxid, other).await?,
    };
    let form = form(core, &row).await?;
    let url = core.config.gatekeeper.enlistment.as_str();
    let answer = failpoints::around!("enlist.request", enlist(&core.http, url, &form).await)
        .map_err(|error| Hold::failed(&error))?;
    match answer {
        EnlistAnswer::Ok { login } => {
            if let Some(integrator) = core.config.gatekeeper.integrator
                && login.integrator != integrator
            {
                return refuse(core, mxid, "the identity given belongs to another service").await;
            }
            let mut batch = Batch::new();
            logins::set_enlisted(&mut batch, mxid, &login.to_string(), core.now());
            failpoints::around!("enlist.commit", core.store.commit(batch).await)?;
            core.sessions.forget(mxid);
            core.logins.start(core, mxid);
            tracing::info!(login = %core.log_id(mxid), "enlisted");
            Ok(Outcome::Enlisted)
        }
        EnlistAnswer::Fail { reason } => match core.profile.classify_enlistment(&reason) {
            RefusalClass::Final(why) => refuse(core, mxid, &why).await,
            RefusalClass::Retry(after) => Err(Hold {
                after,
                ..Hold::until("the gatekeeper does not enlist now")
            }),
        },
    }
}

async fn refuse(core: &Arc<Core>, mxid: &str, reason: &str) -> Result<Outcome, Hold> {
    let mut batch = Batch::new();
    logins::set_state(
        &mut batch,
        mxid,
        logins::State::Refused,
        Some(reason),
        core.now(),
    );
    core.store.commit(batch).await?;
    tracing::warn!(login = %core.log_id(mxid), reason, "enlistment refused");
    Ok(Outcome::Refused(reason.to_owned()))
}

/// Makes the keys of a login and writes them down, before anybody hears of them.
async fn prepare(
    core: &Arc<Core>,
    mxid: &str,
    former: Option<logins::Login>,
) -> Result<logins::Login, Hold> {
    let identity = Identity::generate(&mut rand::rng());
    let noise = StaticKeyPair::generate(&mut rand::rng());
    let signed = SignedPreKey::generate(FIRST_KEY, &identity, &mut rand::rng())
        .map_err(|error| Hold::failed(&error))?;
    let now = core.now();
    let mut batch = Batch::new();
    if former.is_some() {
        // A new identity: nothing of the former one can be used with it. The chats go on.
        leaving::unsent(core, &mut batch, mxid).await?;
        logins::forget_identity(&mut batch, mxid);
    }
    logins::put(
        &mut batch,
        &logins::Login {
            mxid: mxid.to_owned(),
            state: logins::State::Enlisting,
            jid: None,
            account_id: None,
            registration_id: identity.registration_id(),
            identity: Some(Secret::new(identity.to_bytes().to_vec())),
            noise_key: Some(Secret::new(noise.to_bytes().to_vec())),
            next_prekey_id: FIRST_KEY,
            routing_info: None,
            management_room: former.and_then(|row| row.management_room),
            last_error: None,
            created_ts: now,
            updated_ts: now,
        },
    );
    let record = Secret::new(signed.to_bytes().to_vec());
    signal::put_signed_prekey(&mut batch, mxid, signed.id(), record, now);
    failpoints::around!("enlist.keys.commit", core.store.commit(batch).await)?;
    core.sessions.forget(mxid);
    logins::get(&core.store, mxid)
        .await?
        .ok_or_else(|| Hold::until("the login is gone"))
}

async fn form(core: &Arc<Core>, row: &logins::Login) -> Result<EnlistForm, Hold> {
    let missing = || Hold::until("the login has no keys");
    let identity = Identity::from_bytes(row.identity.as_deref().ok_or_else(missing)?)
        .map_err(|error| Hold::failed(&error))?;
    let noise = row.noise_key.as_deref().ok_or_else(missing)?;
    let noise = StaticKeyPair::from_bytes(noise.try_into().map_err(|_| missing())?);
    let (signed, _) = signal::current_signed_prekey(&core.store, &row.mxid)
        .await?
        .ok_or_else(missing)?;
    let signed = SignedPreKey::from_bytes(&signed.record)
        .map_err(|error| Hold::failed(&error))?
        .public();
    Ok(EnlistForm {
        authkey: noise.public(),
        registration_id: identity.registration_id(),
        identity: identity.public(),
        signed_prekey: signed,
        token: tokens::identity_token(core, &row.mxid).await?,
    })
}

/// The gatekeeper does not let a login in (any more): notes it, stops trying where that is of no use, and has the user told
/// once, in the same commit.
pub(crate) async fn refused(core: &Arc<Core>, mxid: &str, class: FailureClass) {
    let (text, news) = match &class {
        FailureClass::ReEnlist(why) => (
            why.clone(),
            format!(
                "⚠️ You are not joined to WhatsApp any more. {why}. WhatsApp ends a registration after 30 days without a connection, for example. Your chats stay; nothing is sent or received until you write “enable” to me."
            ),
        ),
        FailureClass::Fatal(why) => (
            why.clone(),
            format!(
                "⚠️ WhatsApp does not let you in any more: {why}. Nothing is sent or received. Ask whoever runs this server; when it is mended, write “enable” to me."
            ),
        ),
        _ => return,
    };
    let now = core.now();
    let mut batch = Batch::new();
    logins::set_state(&mut batch, mxid, logins::State::Refused, Some(&text), now);
    notices::note(&mut batch, now, mxid, "", format!("login {mxid}"), &news);
    if let Err(error) = core.store.commit(batch).await {
        tracing::warn!(login = %core.log_id(mxid), %error, "a refusal could not be noted");
    }
    core.logins.stop(mxid).await;
    notices::wake(core, mxid, "");
}
