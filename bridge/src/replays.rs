//! Replays: a ciphertext that was handled before and comes once more, as another event.
//!
//! It is decrypted as well as the first time. Whether the homeserver plays it or somebody else, it is not what its sender wrote,
//! and what it says (a message, or a command to the bot) is not done again. What was handled is remembered in the commit that
//! does it, for `database.keep_seconds`.

use puppeting::DecryptedEvent;
use store::{Batch, megolm};

use crate::core::Core;

/// The key that an event was encrypted with: no other event has the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    session_id: String,
    message_index: u32,
}

impl Key {
    /// The key of an event.
    pub(crate) fn of(event: &DecryptedEvent) -> Self {
        Self {
            session_id: event.session_id.clone(),
            message_index: event.message_index,
        }
    }

    /// Whether another event than this was handled that had the key.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) async fn is_of_another(
        &self,
        core: &Core,
        event_id: &str,
    ) -> Result<bool, store::Error> {
        let known = megolm::event_of(&core.store, &self.session_id, self.message_index).await?;
        let replayed = known.is_some_and(|known| known != event_id);
        if replayed {
            tracing::warn!(event = %core.log_id(event_id), "an event is a copy of another one; it is not handled");
        }
        Ok(replayed)
    }

    /// Remembers that an event is handled in this commit.
    pub(crate) fn remember(&self, batch: &mut Batch, core: &Core, event_id: &str) {
        megolm::put(
            batch,
            &megolm::Seen {
                session_id: &self.session_id,
                message_index: self.message_index,
                event_id,
                seen_ts: core.now(),
            },
        );
    }
}
