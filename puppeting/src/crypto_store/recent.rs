//! Inbound group sessions just used.
//!
//! Messages of a room come in runs of one session. A session read from the database must be unpickled and its ratchet moved
//! forward from the start for each message; one that is kept has done that already. Clones share the ratchet.

use matrix_sdk_crypto::olm::InboundGroupSession;
use ruma::RoomId;

/// Sessions kept per open device.
const KEPT: usize = 4;

/// Most recently used first.
#[derive(Default)]
pub(super) struct Recent(Vec<InboundGroupSession>);

impl Recent {
    pub(super) fn get(&mut self, room: &RoomId, session_id: &str) -> Option<InboundGroupSession> {
        let at = self.position(room, session_id)?;
        let session = self.0.remove(at);
        self.0.insert(0, session.clone());
        Some(session)
    }

    pub(super) fn put(&mut self, session: InboundGroupSession) {
        self.forget(session.room_id(), session.session_id());
        self.0.insert(0, session);
        self.0.truncate(KEPT);
    }

    pub(super) fn forget(&mut self, room: &RoomId, session_id: &str) {
        if let Some(at) = self.position(room, session_id) {
            self.0.remove(at);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn position(&self, room: &RoomId, session_id: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|kept| kept.session_id() == session_id && kept.room_id() == room)
    }
}
