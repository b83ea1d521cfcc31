//! Reading what was said in rooms while the homeserver did not tell.
//!
//! Synapse queues events for an application service in memory and counts them as told: what waits there when it is restarted
//! comes in no transaction.

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
    events::{AnySyncTimelineEvent, AnyTimelineEvent},
    presence::PresenceState,
    serde::Raw,
};

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

/// What was said in a user's rooms since an earlier time.
#[derive(Debug)]
pub struct Said {
    /// Where the next reading goes on.
    pub next: String,
    /// Events by room, oldest first. They may lack their `room_id`.
    pub rooms: Vec<(OwnedRoomId, Vec<Raw<AnySyncTimelineEvent>>)>,
}

impl Puppets {
    /// Reads what was said in the rooms of a puppet since `since`. Without a time it says only where to begin.
    ///
    /// It is read without a device, so the device's own inbox stays as it is.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn said_since(
        &self,
        user: &UserId,
        kinds: &[&str],
        since: Option<&str>,
    ) -> Result<Said, HttpError> {
        let mut timeline = RoomEventFilter::empty();
        if since.is_none() {
            timeline.types = Some(Vec::new());
        } else {
            timeline.types = Some(kinds.iter().map(|&kind| kind.to_owned()).collect());
            timeline.limit = Some(AT_ONCE.into());
        }
        let mut filter = FilterDefinition::ignore_all();
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
        if let Some(since) = since {
            for (room, joined) in answer.rooms.join {
                let events = self.whole(user, &room, joined, since, &timeline).await?;
                if !events.is_empty() {
                    rooms.push((room, events));
                }
            }
        }
        Ok(Said {
            next: answer.next_batch,
            rooms,
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
