//! Pushes: waking a partner's user whose client is not connected (G 7).
//!
//! One push at a time and user, however much waits; tried again with growing pauses until the
//! partner has taken it, the client has connected, or nothing waits any more.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use gatekeeper::token::{Claims, TokenError};
use serde_json::json;
use tokio::{sync::mpsc, time::sleep};
use tracing::warn;

use crate::{account::Account, clock::real_ms, faults::TokenFault, world::World};

/// Time that a partner has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// First pause before a push is tried again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Pushes that are under way at the same time.
const AT_ONCE: usize = 64;

/// Lifetime of a token, in seconds.
const LIFETIME: u64 = 3600;

/// `iss` of a token.
const ISSUER: &str = "WHATSAPP";

/// Delivers pushes for the accounts that come in.
pub(crate) async fn deliver(
    world: Arc<World>,
    mut accounts: mpsc::UnboundedReceiver<Arc<Account>>,
) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            account = accounts.recv(), if running.len() < AT_ONCE => match account {
                Some(account) => running.push(push(Arc::clone(&world), account)),
                None => return,
            },
            Some(()) = running.next() => {}
        }
    }
}

async fn push(world: Arc<World>, account: Arc<Account>) {
    let mut pause = FIRST_PAUSE;
    loop {
        {
            let mut inner = account.lock();
            inner.push_again = false;
            if inner.gone || inner.session.is_some() || inner.mailbox.is_empty() {
                inner.pushing = false;
                return;
            }
        }
        match post(&world, &account).await {
            Ok(status) if status.is_success() => {
                world.events.emit(
                    "push",
                    || json!({"user": account.identifier, "status": status.as_u16()}),
                );
                let mut inner = account.lock();
                // What came in meanwhile is found by the client that this push wakes; only if that
                // one has come and gone already does it need a push of its own.
                if inner.push_again && inner.session.is_none() && !inner.mailbox.is_empty() {
                    continue;
                }
                inner.pushing = false;
                return;
            }
            Ok(status) => {
                world.events.emit(
                    "push",
                    || json!({"user": account.identifier, "status": status.as_u16()}),
                );
            }
            Err(error) => {
                warn!(integrator = account.partner.config.integrator, %error, "a push failed");
                world.events.emit("push", || {
                    json!({"user": account.identifier, "status": null, "error": error.to_string()})
                });
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the token cannot be made: {0}")]
    Token(#[from] TokenError),
}

async fn post(world: &World, account: &Account) -> Result<reqwest::StatusCode, PushError> {
    let audience = &account.partner.config.push_audience;
    let token = token(world, audience, world.faults().push_token)?;
    let body = json!({"to": account.identifier}).to_string();
    let mut request = world
        .http
        .post(account.partner.config.push_url())
        .version(reqwest::Version::HTTP_11)
        .timeout(TIMEOUT)
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    Ok(request.send().await?.status())
}

/// A token for the partner of this audience, with a fault; nothing if the fault is that there is none.
pub(crate) fn token(
    world: &World,
    audience: &str,
    fault: Option<TokenFault>,
) -> Result<Option<String>, TokenError> {
    let now = real_ms() / 1000;
    let issued = if fault == Some(TokenFault::Expired) {
        now - 2 * LIFETIME
    } else {
        now
    };
    let audience = match fault {
        Some(TokenFault::WrongAud) => "https://somebody-else.invalid",
        _ => audience,
    };
    let claims = Claims::new(ISSUER, audience, issued, LIFETIME);
    let token = match fault {
        Some(TokenFault::Absent) => return Ok(None),
        Some(TokenFault::WrongKid) => world
            .keys
            .signing
            .clone()
            .named("unpublished")
            .issue(&claims),
        _ => world.keys.signing.issue(&claims),
    };
    token.map(Some)
}
