//! What the stand-in remembers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::push::Queue;

/// JSON that is written many times and read never.
pub(super) type Json = Arc<RawValue>;

#[derive(Debug)]
pub(super) struct State {
    server_name: String,
    pub(super) users: HashMap<String, User>,
    /// Access tokens of ordinary users.
    pub(super) tokens: HashMap<String, (String, String)>,
    pub(super) rooms: HashMap<String, Room>,
    pub(super) aliases: HashMap<String, String>,
    /// Event ids by user, device and transaction id.
    pub(super) sent: HashMap<(String, String, String), String>,
    /// Whose devices changed, and when.
    pub(super) device_changes: Vec<(u64, String)>,
    /// What waits for the application service.
    pub(super) queue: Queue,
    /// Counts changes: of rooms, devices and inboxes.
    pub(super) position: u64,
    ids: u64,
}

#[derive(Debug, Default)]
pub(super) struct User {
    /// Ordinary users have one.
    pub(super) password: Option<String>,
    pub(super) is_appservice: bool,
    pub(super) profile: Map<String, Value>,
    pub(super) devices: BTreeMap<String, Device>,
    /// Cross-signing keys, by the names of the answer of `/keys/query`.
    pub(super) cross_signing: Map<String, Value>,
    /// Rooms it is in or invited to.
    pub(super) rooms: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Device {
    pub(super) display_name: Option<String>,
    pub(super) keys: Option<Value>,
    pub(super) one_time: BTreeMap<String, Value>,
    /// The key's full id, the key, and whether it was handed out.
    pub(super) fallback: Option<(String, Value, bool)>,
    /// To-device messages with the positions at which they came.
    pub(super) inbox: VecDeque<(u64, Json)>,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    /// Contents of the state, by type and key.
    pub(super) state: BTreeMap<(String, String), Value>,
    /// All events in order, with their positions.
    pub(super) timeline: Vec<(u64, Event)>,
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) json: Json,
}

/// An event that is to be made.
pub(super) struct Draft<'a> {
    pub(super) room: &'a str,
    pub(super) sender: &'a str,
    pub(super) kind: &'a str,
    pub(super) state_key: Option<&'a str>,
    pub(super) content: &'a RawValue,
    /// Unix time in milliseconds, if it is not now.
    pub(super) ts: Option<u64>,
}

/// As clients and the application service see it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    event_id: &'a str,
    room_id: &'a str,
    sender: &'a str,
    origin_server_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    content: &'a RawValue,
}

impl State {
    pub(super) fn new(server_name: &str, sender: &str) -> Self {
        let mut state = Self {
            server_name: server_name.to_owned(),
            users: HashMap::new(),
            tokens: HashMap::new(),
            rooms: HashMap::new(),
            aliases: HashMap::new(),
            sent: HashMap::new(),
            device_changes: Vec::new(),
            queue: Queue::default(),
            position: 0,
            ids: 0,
        };
        let sender = state.user_id(sender);
        let user = User {
            is_appservice: true,
            ..User::default()
        };
        state.users.insert(sender, user);
        state
    }

    /// The full id of a user of this server.
    pub(super) fn user_id(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.server_name)
    }

    /// The full alias of a room of this server.
    pub(super) fn alias(&self, localpart: &str) -> String {
        format!("#{localpart}:{}", self.server_name)
    }

    /// An id of the given kind that nobody has.
    pub(super) fn fresh(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}{:016x}", self.ids)
    }

    pub(super) fn fresh_room(&mut self) -> String {
        let room = self.fresh("!room");
        format!("{room}:{}", self.server_name)
    }

    /// The next position.
    pub(super) fn advance(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    pub(super) fn has_pushes(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn is_appservice(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.is_appservice)
    }

    /// Appends an event to its room, and to the queue of the application service if that plays a member.
    pub(super) fn append(&mut self, draft: &Draft<'_>) -> String {
        let id = self.fresh("$event");
        let shown = Shown {
            kind: draft.kind,
            event_id: &id,
            room_id: draft.room,
            sender: draft.sender,
            origin_server_ts: draft.ts.unwrap_or_else(now),
            state_key: draft.state_key,
            content: draft.content,
        };
        let json: Json = to_raw_value(&shown).unwrap_or_default().into();
        let position = self.advance();
        let event = Event {
            id: id.clone(),
            json: Arc::clone(&json),
        };
        let room = self.rooms.entry(draft.room.to_owned()).or_default();
        room.timeline.push((position, event));
        if let Some(key) = draft.state_key {
            let content: Value = serde_json::from_str(draft.content.get()).unwrap_or_default();
            if draft.kind == "m.room.member"
                && let Some(user) = self.users.get_mut(key)
            {
                match content["membership"].as_str() {
                    Some("join" | "invite") => user.rooms.insert(draft.room.to_owned()),
                    _ => user.rooms.remove(draft.room),
                };
            }
            room.state
                .insert((draft.kind.to_owned(), key.to_owned()), content);
        }
        let interested = self
            .rooms
            .get(draft.room)
            .is_some_and(|room| room.members().any(|(user, _)| self.is_appservice(user)));
        if interested {
            self.queue.events.push_back((draft.room.to_owned(), json));
        }
        id
    }

    /// Notes that a user's devices are others now.
    pub(super) fn devices_changed(&mut self, user: &str) {
        let position = self.advance();
        self.device_changes.push((position, user.to_owned()));
        self.queue.changed.insert(user.to_owned());
    }
}

impl Room {
    /// Who is in it or invited, and which of the two.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        let first = ("m.room.member".to_owned(), String::new());
        self.state
            .range(first..)
            .take_while(|((kind, _), _)| kind == "m.room.member")
            .filter_map(|((_, user), content)| {
                let membership = content["membership"].as_str()?;
                matches!(membership, "join" | "invite").then_some((user.as_str(), membership))
            })
    }

    pub(super) fn membership(&self, user: &str) -> Option<&str> {
        let key = ("m.room.member".to_owned(), user.to_owned());
        self.state.get(&key)?["membership"].as_str()
    }

    /// The events after a position.
    pub(super) fn after(&self, position: u64) -> &[(u64, Event)] {
        let first = self.timeline.partition_point(|(at, _)| *at <= position);
        self.timeline.get(first..).unwrap_or_default()
    }
}

/// Unix time in milliseconds.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
