//! The client-server API as a puppet.

use std::time::Duration;

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId,
    TransactionId, UserId,
    api::{
        client::{
            alias::get_alias,
            context::get_context,
            membership::{invite_user, join_room_by_id, joined_members, kick_user, leave_room},
            message::send_message_event,
            profile::set_profile_field,
            receipt::create_receipt,
            redact::redact_event,
            room::{create_room, get_room_event},
            state::{get_state_event_for_key, send_state_event},
            typing::create_typing_event,
        },
        error::ErrorCode,
    },
    events::{
        AnyMessageLikeEventContent, AnyStateEventContent, AnyTimelineEvent, receipt::ReceiptThread,
    },
    profile::ProfileFieldValue,
    serde::Raw,
};
use serde_json::{Value, json, value::RawValue};

use super::Puppet;
use crate::HttpError;

/// A room to be made.
#[derive(Clone, Debug, Default)]
pub struct NewRoom {
    /// Local part of an alias in the bridge's namespace. It makes the creation idempotent: if it is taken, the room that
    /// has it is the one that an earlier attempt made.
    pub alias: Option<String>,
    /// Who is invited.
    pub invite: Vec<OwnedUserId>,
    /// Shown name; a direct chat needs none.
    pub name: Option<String>,
    /// Topic.
    pub topic: Option<String>,
    /// Mark the invitations as a direct chat.
    pub is_direct: bool,
    /// Encrypt from the first event on.
    pub encrypted: bool,
    /// More state: type, state key, content.
    pub state: Vec<(String, String, Value)>,
    /// Parts of the power levels that differ from the preset's. `users` must not name the creator: in room version 12 the
    /// creator stands above the levels and a room that lists it is refused.
    pub power_levels: Option<Value>,
    /// A room version other than the server's default.
    pub version: Option<String>,
}

/// The room that [`Puppet::create_room`] made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedRoom {
    /// Its id. Version 12 ids have no server name.
    pub room_id: OwnedRoomId,
    /// Whether an earlier attempt had made it.
    pub existed: bool,
}

/// The content of a state event, or of none.
pub type StateContent = Option<Box<RawValue>>;

impl Puppet {
    /// Makes a private room with this puppet as its creator.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn create_room(&self, room: NewRoom) -> Result<CreatedRoom, HttpError> {
        let alias = room.alias.clone();
        match self.call(creation(room)?).await {
            Ok(made) => Ok(CreatedRoom {
                room_id: made.room_id,
                existed: false,
            }),
            Err(error) if error.is(ErrorCode::RoomInUse) => {
                let alias = alias.unwrap_or_default();
                let alias = format!("#{alias}:{}", self.homeserver.config().server_name);
                let found = match <&RoomAliasId>::try_from(alias.as_str()) {
                    Ok(alias) => self.resolve_alias(alias).await?,
                    Err(_) => None,
                };
                found
                    .map(|room_id| CreatedRoom {
                        room_id,
                        existed: true,
                    })
                    .ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The room behind an alias; `None` if there is no such alias.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn resolve_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<Option<OwnedRoomId>, HttpError> {
        let request = get_alias::v3::Request::new(alias.to_owned());
        Ok(found(self.call(request).await)?.map(|answer| answer.room_id))
    }

    /// Joins a room. Joining twice is no error.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn join(&self, room: &RoomId) -> Result<(), HttpError> {
        let request = join_room_by_id::v3::Request::new(room.to_owned());
        self.call(request).await.map(drop)
    }

    /// Leaves a room or declines an invitation; clients show `reason` beside it.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn leave(&self, room: &RoomId, reason: Option<&str>) -> Result<(), HttpError> {
        let mut request = leave_room::v3::Request::new(room.to_owned());
        request.reason = reason.map(str::to_owned);
        self.call(request).await.map(drop)
    }

    /// Invites a user. Somebody who is invited or joined already is no error.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn invite(&self, room: &RoomId, user: &UserId) -> Result<(), HttpError> {
        let who = invite_user::v3::InviteUserId::new(user.to_owned());
        let request = invite_user::v3::Request::new(room.to_owned(), who.into());
        match self.call(request).await {
            Err(error) if error.is(ErrorCode::Forbidden) => match self.membership(room, user).await
            {
                Ok(Some(membership)) if membership == "join" || membership == "invite" => Ok(()),
                _ => Err(error),
            },
            other => other.map(drop),
        }
    }

    /// Invites a user to a direct chat: clients show it among them. Somebody who is invited or joined already is no error.
    ///
    /// The endpoint for invitations has no place for `is_direct`, so the membership is written as the state event that it is.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn invite_directly(&self, room: &RoomId, user: &UserId) -> Result<(), HttpError> {
        if let Some("join" | "invite") = self.membership(room, user).await?.as_deref() {
            return Ok(());
        }
        let content = json!({ "membership": "invite", "is_direct": true });
        self.put_state(room, "m.room.member", user.as_str(), &content)
            .await
            .map(drop)
    }

    /// Removes a user from a room.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn kick(&self, room: &RoomId, user: &UserId, reason: &str) -> Result<(), HttpError> {
        let mut request = kick_user::v3::Request::new(room.to_owned(), user.to_owned());
        request.reason = Some(reason.to_owned());
        self.call(request).await.map(drop)
    }

    /// The joined members.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn joined_members(&self, room: &RoomId) -> Result<Vec<OwnedUserId>, HttpError> {
        let request = joined_members::v3::Request::new(room.to_owned());
        Ok(self.call(request).await?.joined.into_keys().collect())
    }

    /// A user's membership (`join`, `invite`, ..) of a room; `None` if the room has never seen them.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn membership(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> Result<Option<String>, HttpError> {
        #[derive(serde::Deserialize)]
        struct Member {
            membership: String,
        }
        let state = self.get_state(room, "m.room.member", user.as_str()).await?;
        Ok(state
            .and_then(|content| serde_json::from_str::<Member>(content.get()).ok())
            .map(|member| member.membership))
    }

    /// The content of a state event; `None` if the room has none.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn get_state(
        &self,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
    ) -> Result<StateContent, HttpError> {
        let request = get_state_event_for_key::v3::Request::new(
            room.to_owned(),
            event_type.into(),
            state_key.to_owned(),
        );
        Ok(found(self.call(request).await)?.map(|answer| answer.event_or_content))
    }

    /// Whether the room is encrypted. Ask after each join: the state before it is in no transaction.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn is_encrypted(&self, room: &RoomId) -> Result<bool, HttpError> {
        Ok(self
            .get_state(room, "m.room.encryption", "")
            .await?
            .is_some())
    }

    /// Sets a state event.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn put_state(
        &self,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
        content: &Value,
    ) -> Result<OwnedEventId, HttpError> {
        let body = raw::<AnyStateEventContent>("send_state_event", content)?;
        let request = send_state_event::v3::Request::new_raw(
            room.to_owned(),
            event_type.into(),
            state_key.to_owned(),
            body,
        );
        Ok(self.call(request).await?.event_id)
    }

    /// Sends an event. The same transaction id gives the same event, across restarts of the homeserver too, for 24 hours.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn send(
        &self,
        room: &RoomId,
        txn_id: &TransactionId,
        event_type: &str,
        content: Box<RawValue>,
        timestamp: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<OwnedEventId, HttpError> {
        let body = Raw::<AnyMessageLikeEventContent>::from_json(content);
        let mut request = send_message_event::v3::Request::new_raw(
            room.to_owned(),
            txn_id.to_owned(),
            event_type.into(),
            body,
        );
        request.timestamp = timestamp;
        Ok(self.call(request).await?.event_id)
    }

    /// Redacts an event.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn redact(
        &self,
        room: &RoomId,
        event: &ruma::EventId,
        txn_id: &TransactionId,
        reason: Option<&str>,
    ) -> Result<OwnedEventId, HttpError> {
        let mut request =
            redact_event::v3::Request::new(room.to_owned(), event.to_owned(), txn_id.to_owned());
        request.reason = reason.map(str::to_owned);
        Ok(self.call(request).await?.event_id)
    }

    /// An event of a room this puppet is in, as the homeserver has it (encrypted if it was); `None` if it cannot be seen.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn get_event(
        &self,
        room: &RoomId,
        event: &ruma::EventId,
    ) -> Result<Option<Raw<AnyTimelineEvent>>, HttpError> {
        let request = get_room_event::v3::Request::new(room.to_owned(), event.to_owned());
        Ok(found(self.call(request).await)?.map(|answer| answer.event))
    }

    /// The ids of the events that stand before an event in the room, the nearest first, about fifty at most.
    ///
    /// # Errors
    ///
    /// See [`HttpError`]; [`ErrorCode::NotFound`] if the event cannot be seen.
    pub async fn events_before(
        &self,
        room: &RoomId,
        event: &ruma::EventId,
    ) -> Result<Vec<OwnedEventId>, HttpError> {
        let mut request = get_context::v3::Request::new(room.to_owned(), event.to_owned());
        // Split between what is before and what is after.
        request.limit = 100_u8.into();
        let answer = self.call(request).await?;
        let ids = answer.events_before.iter();
        Ok(ids
            .filter_map(|event| event.get_field("event_id").ok()?)
            .collect())
    }

    /// Shows for `timeout` that the puppet types, or that it stopped.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn typing(&self, room: &RoomId, timeout: Option<Duration>) -> Result<(), HttpError> {
        use create_typing_event::v3::{Request, Typing, TypingInfo};
        let state = timeout.map_or(Typing::No, |timeout| Typing::Yes(TypingInfo::new(timeout)));
        let request = Request::new(self.user.clone(), room.to_owned(), state);
        self.call(request).await.map(drop)
    }

    /// Marks everything up to `event` as read by the puppet.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn read(&self, room: &RoomId, event: &ruma::EventId) -> Result<(), HttpError> {
        use create_receipt::v3::{ReceiptType, Request};
        let mut request = Request::new(room.to_owned(), ReceiptType::Read, event.to_owned());
        request.thread = ReceiptThread::Unthreaded;
        self.call(request).await.map(drop)
    }

    /// Sets the puppet's display name.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn set_display_name(&self, name: &str) -> Result<(), HttpError> {
        let value = ProfileFieldValue::DisplayName(name.to_owned());
        let request = set_profile_field::v3::Request::new(self.user.clone(), value);
        self.call(request).await.map(drop)
    }
}

/// `None` for "there is no such thing".
fn found<T>(answer: Result<T, HttpError>) -> Result<Option<T>, HttpError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is(ErrorCode::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn raw<T>(endpoint: &'static str, content: &Value) -> Result<Raw<T>, HttpError> {
    let json = serde_json::value::to_raw_value(content).map_err(|e| HttpError::Request {
        endpoint,
        reason: e.to_string(),
    })?;
    Ok(Raw::from_json(json))
}

fn creation(room: NewRoom) -> Result<create_room::v3::Request, HttpError> {
    let endpoint = "create_room";
    let mut request = create_room::v3::Request::new();
    let mut state = Vec::with_capacity(room.state.len() + 2);
    if room.encrypted {
        // First of all, so that no event of the room's own can slip in before it.
        let content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
        state.push(("m.room.encryption".to_owned(), String::new(), content));
    }
    if room.alias.is_some() {
        // The alias is for programs. Unless the room says that it has no main one, homeservers make it that, and
        // clients show it as the room's name instead of the other person's.
        state.push((
            "m.room.canonical_alias".to_owned(),
            String::new(),
            json!({}),
        ));
    }
    state.extend(room.state);
    for (event_type, state_key, content) in state {
        let event = json!({ "type": event_type, "state_key": state_key, "content": content });
        request.initial_state.push(raw(endpoint, &event)?);
    }
    request.room_alias_name = room.alias;
    request.invite = room.invite;
    request.name = room.name;
    request.topic = room.topic;
    request.is_direct = room.is_direct;
    // Not the trusted preset: in room version 12 it makes the invited user a second creator.
    request.preset = Some(create_room::v3::RoomPreset::PrivateChat);
    if let Some(levels) = room.power_levels {
        request.power_level_content_override = Some(raw(endpoint, &levels)?);
    }
    if let Some(version) = room.version {
        request.room_version =
            Some(
                version
                    .as_str()
                    .try_into()
                    .map_err(|_| HttpError::Request {
                        endpoint,
                        reason: "not a room version".to_owned(),
                    })?,
            );
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_encrypted_by_its_first_state() {
        let request = creation(NewRoom {
            encrypted: true,
            state: vec![("m.bridge".into(), "x".into(), json!({}))],
            ..NewRoom::default()
        })
        .unwrap();
        let first: Value = serde_json::from_str(request.initial_state[0].json().get()).unwrap();
        assert_eq!(first["type"], "m.room.encryption");
        assert_eq!(first["content"]["algorithm"], "m.megolm.v1.aes-sha2");
        assert_eq!(request.initial_state.len(), 2);
    }

    #[test]
    fn an_alias_does_not_become_the_name_that_people_see() {
        let request = creation(NewRoom {
            alias: Some("whatsapp_1".to_owned()),
            ..NewRoom::default()
        })
        .unwrap();
        assert_eq!(request.room_alias_name.as_deref(), Some("whatsapp_1"));
        let state: Value = serde_json::from_str(request.initial_state[0].json().get()).unwrap();
        assert_eq!(state["type"], "m.room.canonical_alias");
        assert_eq!(state["content"], json!({}));
    }
}
