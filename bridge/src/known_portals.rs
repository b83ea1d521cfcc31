//! Which rooms are portals, remembered for the rooms that were asked about last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruma::{OwnedRoomId, RoomId};
use store::{
    Store,
    portals::{self, Portal},
};

/// Rooms that are remembered.
const REMEMBERED: u64 = 10_000;

/// What was found of rooms.
#[derive(Debug)]
pub(crate) struct KnownPortals {
    cache: moka::sync::Cache<OwnedRoomId, Option<Arc<Portal>>>,
    /// How often a portal's room has changed.
    changes: Mutex<u64>,
}

impl Default for KnownPortals {
    fn default() -> Self {
        Self {
            cache: moka::sync::Cache::new(REMEMBERED),
            changes: Mutex::default(),
        }
    }
}

impl KnownPortals {
    /// The portal whose room this is, or was when what is in it was written.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) async fn of(
        &self,
        store: &Store,
        room: &RoomId,
    ) -> Result<Option<Arc<Portal>>, store::Error> {
        if let Some(portal) = self.cache.get(room) {
            return Ok(portal);
        }
        let changes = *self.changes();
        let mut portal = portals::by_room(store, room.as_str()).await?;
        if portal.is_none() {
            portal = portals::by_former_room(store, room.as_str())
                .await?
                .map(|portal| Portal {
                    room_id: Some(room.to_string()),
                    // Its user has left: what there is to tell is told in the chat with the bot.
                    bot_joined: false,
                    state: portals::State::Closed,
                    ..portal
                });
        }
        let portal = portal.map(Arc::new);
        // What was read may be old by now: then nobody else shall find it.
        let now = self.changes();
        if *now == changes {
            self.cache.insert(room.to_owned(), portal.clone());
        }
        Ok(portal)
    }

    /// Forgets what is remembered of a room: it has become a portal, or is none any more.
    pub(crate) fn forget(&self, room: &RoomId) {
        let mut changes = self.changes();
        *changes += 1;
        self.cache.invalidate(room);
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
