//! Rooms: making them, who is in them, what is said in them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::auth::{Answer, Refused, Who, query};
use super::state::{Draft, State as Everything, now};
use super::{Homeserver, LoadedEvent};

impl Everything {
    fn state_event(&mut self, room: &str, sender: &str, kind: &str, key: &str, content: &Value) {
        self.append(&Draft {
            room,
            sender,
            kind,
            state_key: Some(key),
            content: &to_raw_value(content).unwrap_or_default(),
            ts: None,
        });
    }

    fn member(&mut self, room: &str, sender: &str, user: &str, membership: &str) {
        let content = json!({"membership": membership});
        self.state_event(room, sender, "m.room.member", user, &content);
    }

    /// Whether the user may speak in the room.
    fn joined(&self, room: &str, user: &str) -> Result<(), Refused> {
        let room = self
            .rooms
            .get(room)
            .ok_or_else(|| Refused::missing("room"))?;
        match room.membership(user) {
            Some("join") => Ok(()),
            _ => Err(Refused::forbidden("not in the room")),
        }
    }
}

pub(super) async fn create(
    State(homeserver): State<Homeserver>,
    who: Who,
    Json(body): Json<Value>,
) -> Answer {
    let invited: Vec<String> = strings(&body["invite"]);
    for user in &invited {
        homeserver.make_known(user).await;
    }
    homeserver.change(|state| {
        let room = state.fresh_room();
        if let Some(alias) = body["room_alias_name"].as_str() {
            let alias = state.alias(alias);
            if state.aliases.contains_key(&alias) {
                return Err(Refused::bad("M_ROOM_IN_USE", "the alias is taken"));
            }
            state.aliases.insert(alias, room.clone());
        }
        let sender = who.user.as_str();
        let created = json!({"room_version": "11"});
        state.state_event(&room, sender, "m.room.create", "", &created);
        state.member(&room, sender, sender, "join");
        let levels = json!({"users": {sender: 100}});
        state.state_event(&room, sender, "m.room.power_levels", "", &levels);
        for event in body["initial_state"].as_array().into_iter().flatten() {
            let kind = event["type"].as_str().unwrap_or_default();
            let key = event["state_key"].as_str().unwrap_or_default();
            state.state_event(&room, sender, kind, key, &event["content"]);
        }
        for (name, kind) in [("name", "m.room.name"), ("topic", "m.room.topic")] {
            if let Some(value) = body.get(name) {
                state.state_event(&room, sender, kind, "", &json!({name: value}));
            }
        }
        let direct = body["is_direct"] == true;
        for user in invited {
            let content = json!({"membership": "invite", "is_direct": direct});
            state.state_event(&room, sender, "m.room.member", &user, &content);
        }
        Ok(Json(json!({"room_id": room})))
    })
}

pub(super) async fn alias(
    State(homeserver): State<Homeserver>,
    Path(alias): Path<String>,
) -> Answer {
    match homeserver.lock().aliases.get(&alias) {
        Some(room) => Ok(Json(json!({"room_id": room, "servers": []}))),
        None => Err(Refused::missing("alias")),
    }
}

pub(super) async fn join(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path(room): Path<String>,
) -> Answer {
    homeserver.change(|state| {
        let known = state
            .rooms
            .get(&room)
            .and_then(|it| it.membership(&who.user));
        match known {
            Some("join") => {}
            Some("invite") => state.member(&room, &who.user, &who.user, "join"),
            _ => return Err(Refused::forbidden("not invited")),
        }
        Ok(Json(json!({"room_id": room})))
    })
}

pub(super) async fn leave(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path(room): Path<String>,
) -> Answer {
    homeserver.change(|state| {
        state.member(&room, &who.user, &who.user, "leave");
        Ok(Json(json!({})))
    })
}

/// Invites or removes somebody.
pub(super) async fn change_member(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path((room, membership)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Answer {
    let membership = match membership.as_str() {
        "invite" => "invite",
        "kick" => "leave",
        "ban" => "ban",
        _ => return Err(Refused::missing("endpoint")),
    };
    let user = body["user_id"].as_str().unwrap_or_default();
    homeserver.make_known(user).await;
    homeserver.change(|state| {
        state.joined(&room, &who.user)?;
        let known = state.rooms.get(&room).and_then(|it| it.membership(user));
        if membership == "invite" && known == Some("join") {
            return Err(Refused::forbidden("is in the room"));
        }
        state.member(&room, &who.user, user, membership);
        Ok(Json(json!({})))
    })
}

pub(super) async fn joined_members(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path(room): Path<String>,
) -> Answer {
    let state = homeserver.lock();
    state.joined(&room, &who.user)?;
    let members = state.rooms.get(&room).map(|room| {
        let joined = room
            .members()
            .filter(|(_, membership)| *membership == "join");
        joined
            .map(|(user, _)| (user.to_owned(), json!({})))
            .collect()
    });
    Ok(Json(
        json!({"joined": Value::Object(members.unwrap_or_default())}),
    ))
}

pub(super) async fn get_state(
    State(homeserver): State<Homeserver>,
    _who: Who,
    Path((room, kind, key)): Path<(String, String, String)>,
) -> Answer {
    let state = homeserver.lock();
    let room = state.rooms.get(&room);
    match room.and_then(|room| room.state.get(&(kind, key))) {
        Some(content) => Ok(Json(content.clone())),
        None => Err(Refused::missing("state")),
    }
}

pub(super) async fn get_state_without_key(
    state: State<Homeserver>,
    who: Who,
    Path((room, kind)): Path<(String, String)>,
) -> Answer {
    get_state(state, who, Path((room, kind, String::new()))).await
}

pub(super) async fn put_state(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path((room, kind, key)): Path<(String, String, String)>,
    content: Bytes,
) -> Answer {
    let content = raw(&content)?;
    homeserver.change(|state| {
        state.joined(&room, &who.user)?;
        let id = state.append(&Draft {
            room: &room,
            sender: &who.user,
            kind: &kind,
            state_key: Some(&key),
            content: &content,
            ts: None,
        });
        Ok(Json(json!({"event_id": id})))
    })
}

pub(super) async fn put_state_without_key(
    state: State<Homeserver>,
    who: Who,
    Path((room, kind)): Path<(String, String)>,
    content: Bytes,
) -> Answer {
    put_state(state, who, Path((room, kind, String::new())), content).await
}

/// An event, made once however often its transaction comes.
pub(super) async fn send(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path((room, kind, txn)): Path<(String, String, String)>,
    uri: Uri,
    content: Bytes,
) -> Answer {
    let content = raw(&content)?;
    let ts = query(&uri, "ts").and_then(|ts| ts.parse().ok());
    homeserver.change(|state| {
        let key = (who.user.clone(), who.device.clone(), txn);
        if let Some(id) = state.sent.get(&key) {
            return Ok(Json(json!({"event_id": id})));
        }
        state.joined(&room, &who.user)?;
        let id = state.append(&Draft {
            room: &room,
            sender: &who.user,
            kind: &kind,
            state_key: None,
            content: &content,
            ts: ts.filter(|_| who.is_appservice),
        });
        state.sent.insert(key, id.clone());
        Ok(Json(json!({"event_id": id})))
    })
}

pub(super) async fn redact(
    state: State<Homeserver>,
    who: Who,
    Path((room, event, txn)): Path<(String, String, String)>,
    uri: Uri,
    content: Bytes,
) -> Answer {
    let mut content: Value = serde_json::from_slice(&content).unwrap_or_else(|_| json!({}));
    content["redacts"] = event.into();
    let path = Path((room, "m.room.redaction".to_owned(), txn));
    send(state, who, path, uri, content.to_string().into()).await
}

pub(super) async fn event(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path((room, event)): Path<(String, String)>,
) -> Answer {
    let state = homeserver.lock();
    state.joined(&room, &who.user)?;
    let found = state
        .rooms
        .get(&room)
        .and_then(|room| room.timeline.iter().rfind(|(_, each)| each.id == event));
    match found {
        Some((_, event)) => Ok(Json(parsed(&event.json))),
        None => Err(Refused::missing("event")),
    }
}

/// The newest events, the newest first.
pub(super) async fn messages(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path(room): Path<String>,
    uri: Uri,
) -> Answer {
    let limit = query(&uri, "limit").and_then(|limit| limit.parse().ok());
    let state = homeserver.lock();
    state.joined(&room, &who.user)?;
    let chunk: Vec<Value> = state
        .rooms
        .get(&room)
        .into_iter()
        .flat_map(|room| room.timeline.iter().rev())
        .take(limit.unwrap_or(10))
        .map(|(_, event)| parsed(&event.json))
        .collect();
    Ok(Json(json!({"start": "0", "chunk": chunk})))
}

/// See [`super::LOAD_PATH`].
pub(super) async fn load(
    State(homeserver): State<Homeserver>,
    Json(events): Json<Vec<LoadedEvent>>,
) -> Answer {
    homeserver.change(|state| {
        for event in &events {
            state.joined(&event.room_id, &event.sender)?;
        }
        for event in &events {
            state.append(&Draft {
                room: &event.room_id,
                sender: &event.sender,
                kind: "m.room.encrypted",
                state_key: None,
                content: &event.content,
                ts: None,
            });
        }
        Ok(Json(json!({"at": now()})))
    })
}

impl Homeserver {
    /// Asks the application service for a user that nobody has registered: it may do so now.
    async fn make_known(&self, user: &str) {
        if self.lock().users.contains_key(user) {
            return;
        }
        let appservice = &self.inner.appservice;
        let url = format!("{}/_matrix/app/v1/users/{user}", appservice.url);
        // Whatever comes of it shows in whether the user is there afterwards.
        let _ = self
            .inner
            .http
            .get(url)
            .bearer_auth(&appservice.hs_token)
            .send()
            .await;
    }
}

fn raw(content: &[u8]) -> Result<Box<RawValue>, Refused> {
    serde_json::from_slice(content).map_err(|error| Refused::bad("M_NOT_JSON", error.to_string()))
}

fn parsed(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap_or_default()
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}
