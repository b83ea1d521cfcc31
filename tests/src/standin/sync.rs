//! `/sync`, as far as encryption and timelines need it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::Homeserver;
use super::auth::{Refused, Who, query};
use super::keys::counts;
use super::state::{Json as Raw, State as Everything};

/// Nobody waits longer for something to happen.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Answer {
    next_batch: String,
    rooms: Rooms,
    to_device: Events,
    device_lists: Value,
    device_one_time_keys_count: Value,
    device_unused_fallback_key_types: Value,
    #[serde(skip)]
    news: bool,
}

#[derive(Default, Serialize)]
struct Rooms {
    join: BTreeMap<String, Joined>,
    invite: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct Joined {
    timeline: Events,
}

#[derive(Default, Serialize)]
struct Events {
    events: Vec<Raw>,
}

impl Everything {
    /// What has happened for a device since a position; what was fetched before is forgotten.
    fn since(&mut self, who: &Who, since: Option<u64>, with_rooms: bool) -> Option<Answer> {
        let position = self.position;
        let user = self.users.get_mut(&who.user)?;
        let device = user.devices.get_mut(&who.device)?;
        let after = since.unwrap_or(0);
        while device.inbox.front().is_some_and(|(at, _)| *at <= after) {
            device.inbox.pop_front();
        }
        let messages: Vec<Raw> = device.inbox.iter().map(|(_, json)| json.clone()).collect();
        let one_time = counts(device);
        let unused = device.fallback.as_ref().is_some_and(|(_, _, used)| !used);
        let user = self.users.get(&who.user)?;
        let mut rooms = Rooms::default();
        let mut company: BTreeSet<&str> = BTreeSet::new();
        let first = self
            .device_changes
            .partition_point(|(at, _)| *at <= since.unwrap_or(position));
        let changed = self.device_changes.get(first..).unwrap_or_default();
        for id in &user.rooms {
            let Some(room) = self.rooms.get(id) else {
                continue;
            };
            if !changed.is_empty() {
                company.extend(room.members().map(|(user, _)| user));
            }
            let news = room.after(after);
            if !with_rooms || news.is_empty() {
                continue;
            }
            if room.membership(&who.user) == Some("invite") {
                rooms.invite.insert(id.clone(), json!({}));
            } else {
                let events = news.iter().map(|(_, event)| event.json.clone()).collect();
                let timeline = Events { events };
                rooms.join.insert(id.clone(), Joined { timeline });
            }
        }
        let changed: BTreeSet<&str> = changed
            .iter()
            .map(|(_, user)| user.as_str())
            .filter(|user| company.contains(user))
            .collect();
        let news = !messages.is_empty()
            || !changed.is_empty()
            || !rooms.join.is_empty()
            || !rooms.invite.is_empty();
        Some(Answer {
            next_batch: position.to_string(),
            rooms,
            to_device: Events { events: messages },
            device_lists: json!({"changed": changed, "left": []}),
            device_one_time_keys_count: one_time,
            device_unused_fallback_key_types: if unused {
                json!(["signed_curve25519"])
            } else {
                json!([])
            },
            news,
        })
    }
}

pub(super) async fn sync(
    State(homeserver): State<Homeserver>,
    who: Who,
    uri: Uri,
) -> Result<Response, Refused> {
    let since = match query(&uri, "since") {
        None => None,
        Some(token) => Some(
            token
                .parse()
                .map_err(|_| Refused::bad("M_INVALID_PARAM", "not a token of this server"))?,
        ),
    };
    let wait = query(&uri, "timeout")
        .and_then(|ms| ms.parse().ok())
        .map_or(Duration::ZERO, Duration::from_millis)
        .min(LONGEST);
    let filter: Value = query(&uri, "filter")
        .and_then(|filter| serde_json::from_str(&filter).ok())
        .unwrap_or_default();
    let with_rooms = filter["room"]["rooms"] != json!([]);
    let deadline = tokio::time::Instant::now() + wait;
    let mut position = homeserver.inner.position.subscribe();
    let answer = loop {
        position.mark_unchanged();
        let answer = homeserver
            .lock()
            .since(&who, since, with_rooms)
            .ok_or_else(|| Refused::bad("M_UNKNOWN_DEVICE", "the user has no such device"))?;
        let waited = since.is_none() || answer.news || tokio::time::Instant::now() >= deadline;
        if waited {
            break answer;
        }
        // Whether it ends by a change or by the deadline, the state is looked at again.
        let _ = tokio::time::timeout_at(deadline, position.changed()).await;
    };
    // Written once, without building a tree of values.
    let body = serde_json::to_vec(&answer)
        .map_err(|error| Refused::bad("M_UNKNOWN", error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// What `/sync` gives for typing and receipts: nothing; they are taken and forgotten.
pub(super) async fn forget(_who: Who) -> Json<Value> {
    Json(json!({}))
}
