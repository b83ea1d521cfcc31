//! Room messages per second over warm machines: encrypted and durably committed, and decrypted. The homeserver is a
//! stand-in that agrees to everything, so that only this side's work is measured.
//!
//! `cargo bench -p puppeting --bench megolm`

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Request, State},
};
use puppeting::{GhostProfile, HomeserverConfig, Puppet, PuppetOptions, Puppets, Token};
use ruma::{OwnedRoomId, OwnedUserId, serde::Raw};
use serde_json::{Value, json, value::to_raw_value};
use store::Batch;
use tests::database::Database;

const TIME: Duration = Duration::from_secs(3);

fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        line("ghosts  encrypted+committed/s  decrypted/s");
        for ghosts in [1, 16, 128] {
            measure(ghosts).await;
        }
    });
}

async fn measure(ghosts: usize) {
    let database = Database::sqlite();
    let store = database.open().await;
    let config = HomeserverConfig {
        url: homeserver().await,
        server_name: "localhost".try_into().unwrap(),
        appservice_id: "gatehouse".to_owned(),
        as_token: Token::new("token"),
        bot: OwnedUserId::try_from("@whatsappbot:localhost").unwrap(),
    };
    let puppets = Puppets::new(config, store, PuppetOptions::default()).unwrap();
    let mut warm = Vec::new();
    for n in 0..ghosts {
        let user = OwnedUserId::try_from(format!("@whatsapp_{n}:localhost")).unwrap();
        warm.push(
            puppets
                .ensure(&user, GhostProfile::default())
                .await
                .unwrap(),
        );
    }

    let start = Instant::now();
    let tasks: Vec<_> = warm
        .iter()
        .map(|ghost| tokio::spawn(encrypt(ghost.clone(), start)))
        .collect();
    let mut sent = Vec::new();
    let mut count = 0;
    for task in tasks {
        let (encrypted, last) = task.await.unwrap();
        count += encrypted;
        sent.push(last);
    }
    let encrypted = rate(count, start);

    let start = Instant::now();
    let tasks: Vec<_> = warm
        .iter()
        .zip(sent)
        .map(|(ghost, event)| tokio::spawn(decrypt(ghost.clone(), event, start)))
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    line(&format!(
        "{ghosts:>6}  {encrypted:>21}  {:>11}",
        rate(count, start)
    ));
}

fn room_of(ghost: &Puppet) -> OwnedRoomId {
    OwnedRoomId::try_from(format!("!{}:localhost", ghost.user_id().localpart())).unwrap()
}

/// How many in the time, and the last one as an event.
async fn encrypt(ghost: Arc<Puppet>, start: Instant) -> (usize, Value) {
    let room = room_of(&ghost);
    let to = [ghost.user_id().to_owned()];
    let content = json!({ "msgtype": "m.text", "body": "x".repeat(200) });
    let mut count = 0;
    let mut last = Value::Null;
    while start.elapsed() < TIME {
        ghost.prepare(&room, &to).await.unwrap();
        let content = to_raw_value(&content).unwrap();
        let encrypted = ghost
            .encrypt(&room, "m.room.message", content)
            .await
            .unwrap();
        ghost.commit_with(Batch::new()).await.unwrap();
        count += 1;
        last = json!({
            "type": "m.room.encrypted", "event_id": "$event", "origin_server_ts": 1,
            "sender": ghost.user_id(), "room_id": room, "content": encrypted,
        });
    }
    (count, last)
}

async fn decrypt(ghost: Arc<Puppet>, event: Value, start: Instant) -> usize {
    let room = room_of(&ghost);
    let event = Raw::from_json(to_raw_value(&event).unwrap());
    let mut count = 0;
    while start.elapsed() < TIME {
        ghost.decrypt(&room, &event).await.unwrap();
        count += 1;
        tokio::task::yield_now().await;
    }
    count
}

/// A homeserver that accepts everything and remembers device keys.
async fn homeserver() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new()
        .fallback(answer)
        .with_state(Arc::<Mutex<HashMap<String, Value>>>::default());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn answer(
    State(devices): State<Arc<Mutex<HashMap<String, Value>>>>,
    request: Request,
) -> Json<Value> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut devices = devices.lock().unwrap();
    Json(match parts.uri.path().rsplit('/').next() {
        Some("register") => json!({ "user_id": "@x:localhost" }),
        Some("devices") => json!({ "devices": [] }),
        Some("upload") => {
            if let Some(user) = body["device_keys"]["user_id"].as_str() {
                devices.insert(user.to_owned(), body["device_keys"].clone());
            }
            json!({ "one_time_key_counts": { "signed_curve25519": 50 } })
        }
        Some("query") => {
            let asked = body["device_keys"].as_object().into_iter().flatten();
            let known = asked.filter_map(|(user, _)| {
                let keys = devices.get(user)?;
                Some((user.clone(), json!({ keys["device_id"].as_str()?: keys })))
            });
            json!({ "device_keys": known.collect::<serde_json::Map<_, _>>() })
        }
        Some("claim") => json!({ "one_time_keys": {} }),
        _ => json!({}),
    })
}

fn rate(count: usize, start: Instant) -> u128 {
    (count as u128) * 1000 / start.elapsed().as_millis().max(1)
}

fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
