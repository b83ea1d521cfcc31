//! Devices and their keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::Homeserver;
use super::auth::{Answer, Refused, Who};
use super::state::Device;

const ALGORITHM: &str = "signed_curve25519:";

pub(super) async fn list(State(homeserver): State<Homeserver>, who: Who) -> Answer {
    let state = homeserver.lock();
    let devices = state.users.get(&who.user).map(|user| &user.devices);
    let devices: Vec<Value> = devices
        .into_iter()
        .flatten()
        .map(|(id, device)| json!({"device_id": id, "display_name": device.display_name}))
        .collect();
    Ok(Json(json!({"devices": devices})))
}

pub(super) async fn put(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path(device): Path<String>,
    Json(body): Json<Value>,
) -> Answer {
    homeserver.change(|state| {
        let user = state.users.entry(who.user).or_default();
        let device = user.devices.entry(device).or_default();
        device.display_name = body["display_name"].as_str().map(str::to_owned);
    });
    Ok(Json(json!({})))
}

pub(super) async fn delete(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path(device): Path<String>,
) -> Answer {
    homeserver.change(|state| {
        if let Some(user) = state.users.get_mut(&who.user)
            && user.devices.remove(&device).is_some()
        {
            state.devices_changed(&who.user);
        }
    });
    Ok(Json(json!({})))
}

pub(super) async fn upload(
    State(homeserver): State<Homeserver>,
    who: Who,
    Json(mut body): Json<Value>,
) -> Answer {
    homeserver.change(|state| {
        let user = state.users.get_mut(&who.user);
        let device = user
            .and_then(|user| user.devices.get_mut(&who.device))
            .ok_or_else(|| Refused::bad("M_UNKNOWN_DEVICE", "the user has no such device"))?;
        for (id, key) in object(body["one_time_keys"].take()) {
            match device.one_time.get(&id) {
                Some(known) if *known != key => {
                    return Err(Refused::bad(
                        "M_UNKNOWN",
                        format!("One time key {id} already exists"),
                    ));
                }
                _ => device.one_time.insert(id, key),
            };
        }
        for (id, key) in object(body["fallback_keys"].take()) {
            device.fallback = Some((id, key, false));
        }
        let counts = counts(device);
        if let keys @ Value::Object(_) = body["device_keys"].take() {
            device.keys = Some(keys);
            state.devices_changed(&who.user);
        }
        Ok(Json(json!({"one_time_key_counts": counts})))
    })
}

/// What is left of a device's one-time keys.
pub(super) fn counts(device: &Device) -> Value {
    json!({"signed_curve25519": device.one_time.len()})
}

pub(super) async fn upload_cross_signing(
    State(homeserver): State<Homeserver>,
    who: Who,
    Json(mut body): Json<Value>,
) -> Answer {
    homeserver.change(|state| {
        if let Some(user) = state.users.get_mut(&who.user) {
            for name in ["master_key", "self_signing_key", "user_signing_key"] {
                if let key @ Value::Object(_) = body[name].take() {
                    user.cross_signing.insert(format!("{name}s"), key);
                }
            }
            state.devices_changed(&who.user);
        }
    });
    Ok(Json(json!({})))
}

/// Signatures on devices and on master keys are added to those that are there.
pub(super) async fn upload_signatures(
    State(homeserver): State<Homeserver>,
    _who: Who,
    Json(body): Json<Value>,
) -> Answer {
    homeserver.change(|state| {
        for (user_id, signed) in object(body) {
            let Some(user) = state.users.get_mut(&user_id) else {
                continue;
            };
            for (key_id, signed) in object(signed) {
                let device = user
                    .devices
                    .get_mut(&key_id)
                    .and_then(|it| it.keys.as_mut());
                let target = match device {
                    Some(keys) => Some(keys),
                    None => user.cross_signing.get_mut("master_keys"),
                };
                if let Some(target) = target {
                    merge(&mut target["signatures"], &signed["signatures"]);
                }
            }
            state.devices_changed(&user_id);
        }
    });
    Ok(Json(json!({"failures": {}})))
}

fn merge(to: &mut Value, from: &Value) {
    for (user, signatures) in from.as_object().into_iter().flatten() {
        for (key, signature) in signatures.as_object().into_iter().flatten() {
            to[user][key] = signature.clone();
        }
    }
}

pub(super) async fn query(
    State(homeserver): State<Homeserver>,
    who: Who,
    Json(mut body): Json<Value>,
) -> Answer {
    let state = homeserver.lock();
    let mut answer = json!({"failures": {}, "device_keys": {}});
    for (id, _) in object(body["device_keys"].take()) {
        let Some(user) = state.users.get(&id) else {
            continue;
        };
        let devices: Map<String, Value> = user
            .devices
            .iter()
            .filter_map(|(id, device)| Some((id.clone(), device.keys.clone()?)))
            .collect();
        answer["device_keys"][&id] = devices.into();
        for (name, key) in &user.cross_signing {
            if name != "user_signing_keys" || id == who.user {
                answer[name][&id] = key.clone();
            }
        }
    }
    Ok(Json(answer))
}

/// Each one-time key is given once; the fallback key when there are none.
pub(super) async fn claim(
    State(homeserver): State<Homeserver>,
    _who: Who,
    Json(mut body): Json<Value>,
) -> Answer {
    let mut answer = json!({"failures": {}, "one_time_keys": {}});
    homeserver.change(|state| {
        for (user_id, devices) in object(body["one_time_keys"].take()) {
            for (device_id, _) in object(devices) {
                let user = state.users.get_mut(&user_id);
                let Some(device) = user.and_then(|user| user.devices.get_mut(&device_id)) else {
                    continue;
                };
                let key = device.one_time.pop_first().or_else(|| {
                    let (id, key, used) = device.fallback.as_mut()?;
                    *used = true;
                    Some((id.clone(), key.clone()))
                });
                if let Some((id, key)) = key.filter(|(id, _)| id.starts_with(ALGORITHM)) {
                    answer["one_time_keys"][&user_id][&device_id][id] = key;
                }
            }
        }
    });
    Ok(Json(answer))
}

/// To-device messages wait in the device's inbox, and those for the application service are pushed as well.
pub(super) async fn send_to_device(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path((kind, _txn)): Path<(String, String)>,
    Json(mut body): Json<Value>,
) -> Answer {
    homeserver.change(|state| {
        for (user_id, messages) in object(body["messages"].take()) {
            for (device_id, content) in object(messages) {
                let position = state.advance();
                let Some(user) = state.users.get_mut(&user_id) else {
                    continue;
                };
                let mut message = json!({"type": kind, "sender": who.user, "content": content});
                let json = |message: &Value| Arc::from(to_raw_value(message).unwrap_or_default());
                let is_appservice = user.is_appservice;
                let all = device_id == "*";
                for (id, device) in &mut user.devices {
                    if !all && *id != device_id {
                        continue;
                    }
                    device.inbox.push_back((position, json(&message)));
                    if is_appservice {
                        message["to_user_id"] = user_id.clone().into();
                        message["to_device_id"] = id.clone().into();
                        let pushed = (user_id.clone(), json(&message));
                        state.queue.to_device.push_back(pushed);
                    }
                }
            }
        }
    });
    Ok(Json(json!({})))
}

/// The fields of an object; none of anything else.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
