//! What senders are told of their messages.

use serde::{Deserialize, Serialize};

/// What senders are told of their messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messages {
    /// Whether each message gets `com.beeper.message_send_status` events: sent, delivered, failed and why. Clients that do
    /// not know them show nothing of them.
    pub status_events: bool,
    /// Whether a notice in the room says what did not go, or waits for long.
    pub notices: bool,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            status_events: true,
            notices: true,
        }
    }
}
