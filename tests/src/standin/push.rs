//! Transactions to the application service, as Synapse makes them: one at a time, again until it is taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::Homeserver;
use super::state::{Json, State};

/// Events, and to-device messages, in one transaction.
const MOST: usize = 100;
/// Pause before a transaction that was not taken is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// What waits for the application service.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Events with their rooms.
    pub(super) events: VecDeque<(String, Json)>,
    /// To-device messages with their receivers.
    pub(super) to_device: VecDeque<(String, Json)>,
    /// Users whose devices changed.
    pub(super) changed: BTreeSet<String>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.to_device.is_empty() && self.changed.is_empty()
    }
}

/// By user and device.
type Counted<T> = BTreeMap<String, BTreeMap<String, T>>;

#[derive(Serialize)]
struct Transaction {
    events: Vec<Json>,
    ephemeral: [(); 0],
    #[serde(rename = "de.sorunome.msc2409.to_device")]
    to_device: Vec<Json>,
    #[serde(rename = "org.matrix.msc3202.device_lists")]
    device_lists: Value,
    #[serde(rename = "org.matrix.msc3202.device_one_time_key_counts")]
    one_time: Counted<Value>,
    #[serde(rename = "org.matrix.msc3202.device_unused_fallback_key_types")]
    fallback: Counted<Vec<&'static str>>,
}

impl State {
    /// Takes the next transaction out of the queue; `None` if nothing waits.
    fn next_transaction(&mut self) -> Option<Transaction> {
        if self.queue.is_empty() {
            return None;
        }
        let queue = &mut self.queue;
        let mut concerned = BTreeSet::new();
        let mut rooms = BTreeSet::new();
        let mut events = Vec::new();
        for (room, event) in queue.events.drain(..queue.events.len().min(MOST)) {
            rooms.insert(room);
            events.push(event);
        }
        let mut to_device = Vec::new();
        for (user, message) in queue.to_device.drain(..queue.to_device.len().min(MOST)) {
            concerned.insert(user);
            to_device.push(message);
        }
        let changed = std::mem::take(&mut queue.changed);
        for room in rooms.iter().filter_map(|room| self.rooms.get(room)) {
            let members = room.members().map(|(user, _)| user);
            concerned.extend(members.map(str::to_owned));
        }
        let (mut one_time, mut fallback) = (Counted::new(), Counted::new());
        for id in concerned {
            let Some(user) = self.users.get(&id).filter(|user| user.is_appservice) else {
                continue;
            };
            let device = |(id, device): (&String, &super::state::Device)| {
                (
                    id.clone(),
                    json!({"signed_curve25519": device.one_time.len()}),
                )
            };
            one_time.insert(id.clone(), user.devices.iter().map(device).collect());
            let device = |(id, device): (&String, &super::state::Device)| {
                let unused = device.fallback.as_ref().is_some_and(|(_, _, used)| !used);
                (
                    id.clone(),
                    if unused {
                        vec!["signed_curve25519"]
                    } else {
                        vec![]
                    },
                )
            };
            fallback.insert(id, user.devices.iter().map(device).collect());
        }
        Some(Transaction {
            events,
            ephemeral: [],
            to_device,
            device_lists: json!({"changed": changed, "left": []}),
            one_time,
            fallback,
        })
    }
}

/// Pushes what waits, for ever.
pub(super) async fn push(homeserver: Homeserver) {
    let inner = &homeserver.inner;
    let mut number = 0_u64;
    loop {
        let Some(transaction) = homeserver.lock().next_transaction() else {
            inner.push.notified().await;
            continue;
        };
        number += 1;
        let url = format!(
            "{}/_matrix/app/v1/transactions/{number}",
            inner.appservice.url
        );
        let body = serde_json::to_vec(&transaction).unwrap_or_default();
        loop {
            let sent = inner
                .http
                .put(&url)
                .bearer_auth(&inner.appservice.hs_token)
                .header("Content-Type", "application/json")
                .body(body.clone())
                .send()
                .await;
            if sent.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
