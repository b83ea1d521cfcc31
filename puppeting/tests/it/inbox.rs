//! Keys by transaction, and what a pause of the bridge loses from there.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use assert_matches::assert_matches;
use axum::{
    Json, Router,
    extract::State,
    routing::{post, put},
};
use puppeting::{DecryptError, ToDevice, TransactionKeys};
use ruma::{OwnedEventId, events::AnyToDeviceEvent, serde::Raw};
use serde::Deserialize;
use serde_json::{Value, json};
use tests::wait;
use tokio::task::JoinHandle;

use crate::{
    conversation::room_of,
    rig::{Bridge, HS_TOKEN, body, hear, rig, say},
};

const PATIENCE: Duration = Duration::from_secs(120);

/// The bridge's ear: keeps every transaction.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<VecDeque<Value>>>);

impl Ear {
    async fn open(&self, port: u16) -> JoinHandle<()> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .unwrap();
        let keep = |State(ear): State<Self>,
                    headers: axum::http::HeaderMap,
                    Json(body): Json<Value>| async move {
            assert_eq!(headers["authorization"], format!("Bearer {HS_TOKEN}"));
            ear.0.lock().unwrap().push_back(body);
            Json(json!({}))
        };
        let app = Router::new()
            .route("/_matrix/app/v1/transactions/{txn}", put(keep))
            .route("/_matrix/app/v1/ping", post(async || Json(json!({}))))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
    }

    /// Waits for a transaction that `wanted` accepts; earlier ones are returned too.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        wait::until(what, PATIENCE, || async {
            let mut kept = self.0.lock().unwrap();
            let found = kept.iter().position(&wanted);
            Ok(found.map(|at| kept.drain(..=at).collect()))
        })
        .await
        .unwrap()
    }
}

fn to_device(transaction: &Value) -> Vec<ToDevice> {
    #[derive(Deserialize)]
    struct To {
        to_user_id: ruma::OwnedUserId,
        to_device_id: ruma::OwnedDeviceId,
    }
    let events = transaction["de.sorunome.msc2409.to_device"].as_array();
    events
        .into_iter()
        .flatten()
        .map(|event| {
            let event: Raw<AnyToDeviceEvent> = serde_json::from_value(event.clone()).unwrap();
            let to: To = event.deserialize_as_unchecked().unwrap();
            ToDevice {
                user: to.to_user_id,
                device: to.to_device_id,
                event,
            }
        })
        .collect()
}

fn has_event(transaction: &Value, event: &OwnedEventId) -> bool {
    let events = transaction["events"].as_array();
    events
        .into_iter()
        .flatten()
        .any(|seen| seen["event_id"] == event.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_by_transaction_and_after_a_pause_by_sweep() {
    let rig = rig().await;
    let ear = Ear::default();
    let listening = ear.open(rig.bridge_port).await;
    let bridge = Bridge::start(&rig.database("inbox"), rig.url()).await;
    let (a, b) = (
        bridge.ghost("whatsapp_801").await,
        bridge.ghost("whatsapp_802").await,
    );
    let room = room_of(&a, &b, None).await;
    // Synapse 1.163 fails now and then on its own timer (502), and answers when asked again.
    wait::until("the homeserver to ping", PATIENCE, || async {
        Ok(bridge.puppets.ping(None).await.ok())
    })
    .await
    .unwrap();

    // Synapse leaves to-device messages out until it is done with what it held back, so the first may not come.
    let (mut transactions, mut keys, mut said) = (Vec::new(), Vec::new(), Vec::new());
    while keys.is_empty() {
        assert!(said.len() < 30, "no room key came by transaction");
        a.rotate(&room).await.unwrap();
        let event = say(&a, &room, &[&b], "by transaction").await;
        for transaction in ear
            .until("the room event", |seen| has_event(seen, &event))
            .await
        {
            let material: TransactionKeys = serde_json::from_value(transaction.clone()).unwrap();
            let received = bridge
                .puppets
                .receive(&material, to_device(&transaction))
                .await
                .unwrap();
            assert!(received.failed.is_empty(), "{received:?}");
            keys.extend(received.keys);
            transactions.push(transaction);
        }
        said.push(event);
    }
    assert!(
        keys.iter()
            .all(|key| key.user_id == b.user_id() && key.room_id == room)
    );
    let mut heard = 0;
    for event in &said {
        if let Ok(event) = hear(&b, &room, event).await {
            assert_eq!(body(&event), "by transaction");
            heard += 1;
        }
    }
    assert_eq!(heard, keys.len());

    // The same transactions once more, and the same messages once more by sync: nothing new, nothing broken.
    for transaction in &transactions {
        let key_material: TransactionKeys = serde_json::from_value(transaction.clone()).unwrap();
        let again = bridge
            .puppets
            .receive(&key_material, to_device(transaction))
            .await
            .unwrap();
        assert!(
            again.keys.is_empty() && again.failed.is_empty(),
            "{again:?}"
        );
    }
    b.sweep().await.unwrap();
    for event in &said {
        assert_eq!(
            body(&hear(&b, &room, event).await.unwrap()),
            "by transaction"
        );
    }

    // The bridge is away: the key goes to the inbox only.
    listening.abort();
    let _ = listening.await;
    a.rotate(&room).await.unwrap();
    let missed = say(&a, &room, &[&b], "while away").await;
    let listening = ear.open(rig.bridge_port).await;
    let event = wait::until("a ping to succeed", PATIENCE, || async {
        Ok(bridge.puppets.ping(None).await.ok())
    });
    event.await.unwrap();
    let transactions = ear
        .until("the room event", |seen| has_event(seen, &missed))
        .await;
    for transaction in &transactions {
        let key_material: TransactionKeys = serde_json::from_value(transaction.clone()).unwrap();
        bridge
            .puppets
            .receive(&key_material, to_device(transaction))
            .await
            .unwrap();
    }
    assert_matches!(
        hear(&b, &room, &missed).await,
        Err(DecryptError::MissingKey { .. })
    );
    let mut found = Vec::new();
    let result = bridge
        .puppets
        .sweep_all(|key| found.push(key))
        .await
        .unwrap();
    assert_eq!((result.swept, result.failed.len()), (2, 0));
    assert!(
        found
            .iter()
            .any(|key| key.user_id == b.user_id() && key.room_id == room)
    );
    assert_eq!(body(&hear(&b, &room, &missed).await.unwrap()), "while away");
    listening.abort();
}
