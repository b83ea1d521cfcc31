//! Identity tokens: the bridge's signing keys and what it says with them (G 1.2).

use std::sync::Arc;

use gatekeeper::token::{Jwks, KeyRing, SigningKey};
use store::{
    Batch, Secret,
    tokens::{self, TokenKey},
};

use crate::{core::Core, passes::Hold};

/// Keys are replaced after this long.
const LIFETIME_MS: i64 = 90 * 24 * 3600 * 1000;
/// A new key is published for this many seconds before it signs: the gatekeeper fetches the set only from time to time.
const SETTLE_S: u64 = 24 * 3600;
/// A replaced key stays published this long after its successor signs: its tokens may still be shown.
const AFTERLIFE_MS: i64 = 24 * 3600 * 1000;

/// All keys that are published.
async fn ring(core: &Core) -> Result<KeyRing, Hold> {
    let mut ring = KeyRing::new(SETTLE_S);
    let now = core.now();
    for row in tokens::list(&core.store).await? {
        if row.retired_ts.is_some_and(|retired| retired <= now) {
            continue;
        }
        let key = SigningKey::from_pkcs8(&row.pkcs8).map_err(|error| Hold::failed(&error))?;
        ring.add(key.named(row.kid), seconds(row.created_ts));
    }
    Ok(ring)
}

/// Sees to it that there is a key, and that its successor is there in time.
pub(crate) async fn keep_up(core: &Arc<Core>) -> Result<(), Hold> {
    let now = core.now();
    let rows = tokens::list(&core.store).await?;
    let newest = rows.iter().map(|row| row.created_ts).max();
    if newest.is_some_and(|created| now.saturating_sub(created) < LIFETIME_MS) {
        return Ok(());
    }
    // Drawing primes takes a while: not on a thread that serves others.
    let key = tokio::task::spawn_blocking(SigningKey::generate)
        .await
        .map_err(|error| Hold::failed(&error))?
        .map_err(|error| Hold::failed(&error))?;
    let settle = i64::try_from(SETTLE_S)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    let mut batch = Batch::new();
    tokens::put(
        &mut batch,
        &TokenKey {
            kid: key.kid().to_owned(),
            pkcs8: Secret::new(key.to_pkcs8()),
            created_ts: now,
            retired_ts: None,
        },
    );
    for row in rows {
        if row.retired_ts.is_some_and(|retired| retired <= now) {
            tokens::delete(&mut batch, &row.kid);
        }
        tokens::retire(
            &mut batch,
            &row.kid,
            now.saturating_add(settle).saturating_add(AFTERLIFE_MS),
        );
    }
    core.store.commit(batch).await?;
    tracing::info!("made a new key for identity tokens");
    Ok(())
}

/// The key set as it is published.
pub(crate) async fn jwks(core: &Core) -> Result<Jwks, Hold> {
    Ok(ring(core).await?.jwks())
}

/// Whether there is a key to sign with. Without one nobody can enlist or connect.
pub(crate) async fn is_ready(core: &Core) -> bool {
    jwks(core).await.is_ok_and(|set| !set.keys.is_empty())
}

/// A token that says who a user is: for enlistment and for each connection.
pub(crate) async fn identity_token(core: &Core, mxid: &str) -> Result<String, Hold> {
    let now = seconds(core.now());
    let token = &core.profile.token;
    let issuer = core.config.public.url.as_str().trim_end_matches('/');
    let claims = token.claims(issuer, mxid, now);
    ring(core)
        .await?
        .issue(&claims)
        .map_err(|error| Hold::failed(&error))
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms / 1000).unwrap_or(0)
}
