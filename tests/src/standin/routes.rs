//! The endpoints, and those that concern accounts.

use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::Uri;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::auth::{Answer, Refused, Who};
use super::state::{Device, User};
use super::{Homeserver, LOAD_PATH, keys, rooms, sync};

/// Bytes of a body; thousands of events are loaded at once.
const LARGEST: usize = 1 << 30;

pub(super) fn router(homeserver: Homeserver) -> Router {
    let v3 = Router::new()
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/register", post(register))
        .route("/devices", get(keys::list))
        .route("/devices/{device}", put(keys::put).delete(keys::delete))
        .route("/keys/upload", post(keys::upload))
        .route("/keys/query", post(keys::query))
        .route("/keys/claim", post(keys::claim))
        .route(
            "/keys/device_signing/upload",
            post(keys::upload_cross_signing),
        )
        .route("/keys/signatures/upload", post(keys::upload_signatures))
        .route("/sendToDevice/{kind}/{txn}", put(keys::send_to_device))
        .route("/sync", get(sync::sync))
        .route("/profile/{user}/{field}", put(set_profile).get(profile))
        .route("/directory/room/{alias}", get(rooms::alias))
        .route("/createRoom", post(rooms::create))
        .route("/join/{room}", post(rooms::join))
        .route("/rooms/{room}/join", post(rooms::join))
        .route("/rooms/{room}/leave", post(rooms::leave))
        .route("/rooms/{room}/joined_members", get(rooms::joined_members))
        .route("/rooms/{room}/messages", get(rooms::messages))
        .route("/rooms/{room}/event/{event}", get(rooms::event))
        .route("/rooms/{room}/send/{kind}/{txn}", put(rooms::send))
        .route("/rooms/{room}/redact/{event}/{txn}", put(rooms::redact))
        .route("/rooms/{room}/typing/{user}", put(sync::forget))
        .route("/rooms/{room}/receipt/{kind}/{event}", post(sync::forget))
        .route(
            "/rooms/{room}/state/{kind}",
            get(rooms::get_state_without_key).put(rooms::put_state_without_key),
        )
        .route(
            "/rooms/{room}/state/{kind}/",
            get(rooms::get_state_without_key).put(rooms::put_state_without_key),
        )
        .route(
            "/rooms/{room}/state/{kind}/{key}",
            get(rooms::get_state).put(rooms::put_state),
        )
        .route("/rooms/{room}/{membership}", post(rooms::change_member));
    Router::new()
        .nest("/_matrix/client/v3", v3)
        .route("/_matrix/client/versions", get(versions))
        .route("/_matrix/client/v1/appservice/{id}/ping", post(ping))
        .route(LOAD_PATH, post(rooms::load))
        .fallback(async |uri: Uri| Refused::unrecognized(&uri))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(homeserver)
}

async fn versions() -> Json<Value> {
    Json(json!({"versions": ["v1.11"], "unstable_features": {}}))
}

async fn register(
    State(homeserver): State<Homeserver>,
    headers: axum::http::HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let localpart = body["username"].as_str().unwrap_or_default();
    let is_appservice = body["type"] == "m.login.application_service";
    let shown = headers.get("authorization").and_then(|it| it.to_str().ok());
    let known = format!("Bearer {}", homeserver.inner.appservice.as_token);
    if is_appservice && shown != Some(&*known) {
        return Err(Refused::forbidden("not the application service"));
    }
    homeserver.change(|state| {
        let id = state.user_id(localpart);
        if state.users.contains_key(&id) {
            return Err(Refused::bad("M_USER_IN_USE", "the name is taken"));
        }
        let user = User {
            password: body["password"].as_str().map(str::to_owned),
            is_appservice,
            ..User::default()
        };
        state.users.insert(id.clone(), user);
        Ok(Json(json!({"user_id": id})))
    })
}

async fn login(State(homeserver): State<Homeserver>, Json(body): Json<Value>) -> Answer {
    let name = body["identifier"]["user"].as_str().unwrap_or_default();
    homeserver.change(|state| {
        let id = state.user_id(
            name.trim_start_matches('@')
                .split(':')
                .next()
                .unwrap_or(name),
        );
        let token = state.fresh("token-");
        let device = state.fresh("DEVICE");
        let user = state.users.get_mut(&id);
        let user = user
            .filter(|user| {
                user.password.is_some() && user.password.as_deref() == body["password"].as_str()
            })
            .ok_or_else(|| Refused::forbidden("wrong name or password"))?;
        user.devices.insert(device.clone(), Device::default());
        state
            .tokens
            .insert(token.clone(), (id.clone(), device.clone()));
        Ok(Json(
            json!({"user_id": id, "access_token": token, "device_id": device}),
        ))
    })
}

async fn logout(State(homeserver): State<Homeserver>, who: Who) -> Answer {
    homeserver.change(|state| {
        state.tokens.remove(&who.token);
        if let Some(user) = state.users.get_mut(&who.user)
            && user
                .devices
                .remove(&who.device)
                .is_some_and(|device| device.keys.is_some())
        {
            state.devices_changed(&who.user);
        }
    });
    Ok(Json(json!({})))
}

async fn set_profile(
    State(homeserver): State<Homeserver>,
    who: Who,
    Path((user, field)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Answer {
    if user != who.user {
        return Err(Refused::forbidden("somebody else's profile"));
    }
    homeserver.change(|state| {
        if let Some(user) = state.users.get_mut(&user) {
            user.profile.insert(field.clone(), body[&field].clone());
        }
    });
    Ok(Json(json!({})))
}

async fn profile(
    State(homeserver): State<Homeserver>,
    Path((user, field)): Path<(String, String)>,
) -> Answer {
    let state = homeserver.lock();
    let value = state.users.get(&user).and_then(|it| it.profile.get(&field));
    match value {
        Some(value) => Ok(Json(json!({field: value}))),
        None => Err(Refused::missing("profile")),
    }
}

/// Reaches for the application service, as it asked.
async fn ping(State(homeserver): State<Homeserver>, _who: Who, Json(body): Json<Value>) -> Answer {
    let appservice = &homeserver.inner.appservice;
    let start = Instant::now();
    let answer = homeserver
        .inner
        .http
        .post(format!("{}/_matrix/app/v1/ping", appservice.url))
        .bearer_auth(&appservice.hs_token)
        .json(&body)
        .send()
        .await;
    match answer {
        Ok(answer) if answer.status().is_success() => {
            let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            Ok(Json(json!({"duration_ms": took})))
        }
        Ok(answer) => Err(Refused::unreachable(format!(
            "answered {}",
            answer.status()
        ))),
        Err(error) => Err(Refused::unreachable(error.to_string())),
    }
}
