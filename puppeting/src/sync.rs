//! `/sync` as a device, for its inbox only.

use std::time::Duration;

use ruma::{
    OneTimeKeyAlgorithm,
    api::{
        client::{
            filter::FilterDefinition,
            sync::sync_events::v3::{Filter, Request, Response},
        },
        error::ErrorCode,
    },
    presence::PresenceState,
};

use crate::{Homeserver, HttpError, Identity, puppet::ONE_TIME_KEYS_LOW};

/// A sync answers at once; a homeserver that needs longer than this for one has other troubles.
const DEADLINE: Duration = Duration::from_secs(60);

/// Whether an answer says anything that an OlmMachine must hear.
pub(crate) fn matters(answer: &Response) -> bool {
    let low = answer
        .device_one_time_keys_count
        .get(&OneTimeKeyAlgorithm::SignedCurve25519)
        .is_some_and(|count| u64::from(*count) < ONE_TIME_KEYS_LOW);
    !answer.to_device.events.is_empty() || !answer.device_lists.is_empty() || low
}

/// One `/sync` as a device, with nothing of rooms, presence or account data in it.
pub(crate) async fn sync(
    homeserver: &Homeserver,
    identity: Identity<'_>,
    since: Option<String>,
) -> Result<Response, HttpError> {
    let ask = |since: Option<String>| {
        let mut request = Request::new();
        request.filter = Some(Filter::FilterDefinition(FilterDefinition::ignore_all()));
        request.since = since;
        request.set_presence = PresenceState::Offline;
        request.timeout = Some(Duration::ZERO);
        homeserver.call_within(DEADLINE, Some(identity), request)
    };
    match ask(since.clone()).await {
        // A token of another homeserver database: begin again.
        Err(error) if since.is_some() && is_bad_token(&error) => ask(None).await,
        answer => answer,
    }
}

fn is_bad_token(error: &HttpError) -> bool {
    error.status() == Some(400)
        && (error.is(ErrorCode::InvalidParam) || error.is(ErrorCode::Unknown))
}
