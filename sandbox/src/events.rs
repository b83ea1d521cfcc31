//! What happens in the sandbox, as an observer sees it: the source of `GET /control/events`.

use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;

/// Events an observer may lag behind before it misses some.
const BACKLOG: usize = 8192;

/// One observation: a name and what belongs to it. On the event stream the name is the event's type
/// and the fields are its JSON data.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    /// What happened: `message`, `receipt`, `typing`, `enlisted`, `connected`, ...
    #[serde(rename = "event")]
    pub name: &'static str,
    /// The fields, always a JSON object.
    #[serde(flatten)]
    pub data: Value,
}

/// Hands events to whoever listens; costs nothing while nobody does.
#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Events {
    /// Tells the observers. `data` is built only when there is one.
    pub(crate) fn emit(&self, name: &'static str, data: impl FnOnce() -> Value) {
        if self.sender.receiver_count() > 0 {
            // The last observer may have left in the meantime: nobody to tell then.
            let _ = self.sender.send(Event { name, data: data() });
        }
    }

    /// Begins to listen.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}
