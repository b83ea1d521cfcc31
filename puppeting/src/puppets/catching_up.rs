//! Reading what was said in rooms while the homeserver did not tell.
//!
//! Synapse queues events for an application service in memory and counts them as told: what waits there when it is restarted
//! comes in no transaction. Receipts it does not even keep for one that is away.

use std::time::Duration;

use ruma::{
    OwnedRoomId, UInt, UserId,
    api::{
        Direction,
        client::{
            filter::{FilterDefinition, RoomEventFilter},
            message::get_message_events,
            sync::sync_events::v3::{Filter, JoinedRoom, Request, Response},
        },
    },
    events::{AnySyncEphemeralRoomEvent, AnySyncTimelineEvent, AnyTimelineEvent},
    presence::PresenceState,
    serde::Raw,
};

use store::Millis;

use super::Puppets;
use crate::{HttpError, Identity};

/// A sync over all rooms of the bot may take long.
const DEADLINE: Duration = Duration::from_secs(180);
/// Events of a room that come with the sync itself.
const AT_ONCE: u8 = 50;
/// Further events of a room that are asked for at a time.
const PAGE: u8 = 200;
/// Pages that are read back in one room at most.
const PAGES: usize = 50;

/// Whether a user joins by this event, and does not only change its profile. `kinds` must have `m.room.member` in it, or no
/// join is seen.
fn is_join(event: &Raw<AnySyncTimelineEvent>, user: &UserId) -> bool {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        state_key: Option<String>,
        #[serde(default)]
        content: Content,
        #[serde(default)]
        unsigned: Unsigned,
    }
    #[derive(Default, serde::Deserialize)]
    struct Unsigned {
        #[serde(default)]
        prev_content: Content,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Content {
        membership: Option<String>,
    }
    let Ok(event) = serde_json::from_str::<Event<'_>>(event.json().get()) else {
        return false;
    };
    let joins = |content: &Content| content.membership.as_deref() == Some("join");
    event.kind == "m.room.member"
        && event.state_key.as_deref() == Some(user.as_str())
        && joins(&event.content)
        && !joins(&event.unsigned.prev_content)
}

/// What was said in a user's rooms since an earlier time.
#[derive(Debug)]
pub struct Said {
    /// Where the next reading goes on.
    pub next: String,
    /// What was said, by room.
    pub rooms: Vec<SaidIn>,
    /// `m.receipt` events by room.
    pub receipts: Vec<(OwnedRoomId, Raw<AnySyncEphemeralRoomEvent>)>,
}

/// What was said in a room.
#[derive(Debug)]
pub struct SaidIn {
    /// The room.
    pub room: OwnedRoomId,
    /// Events, oldest first. They may lack their `room_id`.
    pub events: Vec<Raw<AnySyncTimelineEvent>>,
    /// How many of them, from the first on, were said before the user joined, and so to others.
    pub to_others: usize,
}

impl Puppets {
    /// Reads what was said in the rooms of a puppet since `since`, and who has read what since. Without a time it says where to begin, and
    /// how far everybody has read.
    ///
    /// It is read without a device, so the device's own inbox stays as it is. `now`, in milliseconds, tells this request from
    /// an earlier one: Synapse has its answer at hand for two minutes, and gives it again to the same question.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn said_since(
        &self,
        user: &UserId,
        kinds: &[&str],
        since: Option<&str>,
        now: Millis,
    ) -> Result<Said, HttpError> {
        let mut timeline = RoomEventFilter::empty();
        if since.is_none() {
            timeline.types = Some(Vec::new());
        } else {
            timeline.types = Some(kinds.iter().map(|&kind| kind.to_owned()).collect());
            timeline.limit = Some(AT_ONCE.into());
        }
        let mut filter = FilterDefinition::ignore_all();
        // Of presence it takes nothing anyway.
        filter.presence.limit = UInt::try_from(now).ok();
        filter.room.ephemeral = RoomEventFilter::empty();
        filter.room.ephemeral.types = Some(vec!["m.receipt".to_owned()]);
        filter.room.rooms = None;
        filter.room.timeline = timeline.clone();
        let mut request = Request::new();
        request.filter = Some(Filter::FilterDefinition(filter));
        request.since = since.map(str::to_owned);
        request.set_presence = PresenceState::Offline;
        request.timeout = Some(Duration::ZERO);
        let answer: Response = self
            .homeserver()
            .call_within(DEADLINE, Some(Identity::user(user)), request)
            .await?;
        let mut rooms = Vec::new();
        let mut receipts = Vec::new();
        for (room, mut joined) in answer.rooms.join {
            // How far everybody has read is told whole, without `since` too: the bridge may end before its first look.
            let read = std::mem::take(&mut joined.ephemeral.events);
            receipts.extend(read.into_iter().map(|event| (room.clone(), event)));
            if let Some(since) = since {
                let events = self.whole(user, &room, joined, since, &timeline).await?;
                let join = events.iter().rposition(|event| is_join(event, user));
                rooms.push(SaidIn {
                    room,
                    events,
                    to_others: join.map_or(0, |at| at + 1),
                });
            }
        }
        Ok(Said {
            next: answer.next_batch,
            rooms,
            receipts,
        })
    }

    /// A room's events, with those that did not fit into the sync.
    async fn whole(
        &self,
        user: &UserId,
        room: &OwnedRoomId,
        joined: JoinedRoom,
        since: &str,
        filter: &RoomEventFilter,
    ) -> Result<Vec<Raw<AnySyncTimelineEvent>>, HttpError> {
        let mut newest_first = Vec::new();
        let mut from = joined
            .timeline
            .prev_batch
            .filter(|_| joined.timeline.limited);
        for _ in 0..PAGES {
            let Some(start) = from.take() else { break };
            let mut request =
                get_message_events::v3::Request::new(room.clone(), Direction::Backward);
            request.from = Some(start);
            request.to = Some(since.to_owned());
            request.limit = UInt::from(PAGE);
            request.filter = filter.clone();
            let page = self
                .homeserver()
                .call(Some(Identity::user(user)), request)
                .await?;
            if page.chunk.is_empty() {
                break;
            }
            newest_first.extend(page.chunk);
            from = page.end;
        }
        let mut events: Vec<_> = newest_first
            .into_iter()
            .rev()
            .map(Raw::<AnyTimelineEvent>::cast_unchecked)
            .collect();
        events.extend(joined.timeline.events);
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{serde::Raw, user_id};
    use serde_json::{json, value::to_raw_value};

    use super::is_join;

    #[test]
    fn a_new_profile_is_no_join() {
        let bot = user_id!("@bot:x");
        let event = |key: &str, before: serde_json::Value| {
            let event = json!({
                "type": "m.room.member", "state_key": key, "content": {"membership": "join"},
                "unsigned": before,
            });
            Raw::from_json(to_raw_value(&event).unwrap())
        };
        let invited = json!({"prev_content": {"membership": "invite"}});
        let joined = json!({"prev_content": {"membership": "join", "displayname": "x"}});
        assert!(is_join(&event("@bot:x", invited.clone()), bot));
        assert!(is_join(&event("@bot:x", json!({})), bot));
        assert!(!is_join(&event("@bot:x", joined), bot));
        assert!(!is_join(&event("@other:x", invited), bot));
    }
}
