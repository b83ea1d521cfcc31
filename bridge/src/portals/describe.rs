//! What a portal's room says of itself in its state: that it is bridged (MSC2346) and what can be sent in it
//! (`com.beeper.room_features`). Said when the room is made, and again when it would read otherwise.

use std::sync::Arc;

use puppeting::Puppet;
use ruma::RoomId;
use serde_json::{Value, json};
use store::{
    Batch,
    portals::{self, Portal},
};

use crate::{core::Core, ids, passes::Hold};

/// The state events: type and content. All have the key of [`key`].
fn events(core: &Core, login: &str, peer: &str) -> [(&'static str, Value); 3] {
    let bridge = json!({
        "bridgebot": core.bot,
        "protocol": {
            "id": "whatsapp",
            "displayname": "WhatsApp",
            "external_url": "https://www.whatsapp.com/",
        },
        // Not the contact's address: state is not encrypted.
        "channel": { "id": ids::short_digest(&["channel", login, peer]) },
        "com.beeper.room_type": "dm",
    });
    [
        ("m.bridge", bridge.clone()),
        ("uk.half-shot.bridge", bridge),
        (
            "com.beeper.room_features",
            core.capabilities.room_features(),
        ),
    ]
}

/// The state key: one bridge's events do not overwrite another's.
fn key(core: &Core) -> String {
    core.config.appservice.id.clone()
}

/// Names what [`events`] says: another name when it says something else, or to another room.
fn name(core: &Core, room: &str, login: &str, peer: &str) -> String {
    let mut parts = vec![room.to_owned(), key(core)];
    for (kind, content) in events(core, login, peer) {
        parts.push(kind.to_owned());
        parts.push(content.to_string());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    ids::short_digest(&parts)
}

/// The events of a room that is about to be made.
pub(super) fn initial(core: &Core, login: &str, peer: &str) -> Vec<(String, String, Value)> {
    events(core, login, peer)
        .into_iter()
        .map(|(kind, content)| (kind.to_owned(), key(core), content))
        .collect()
}

/// Brings a portal's room up to date. It costs nothing where the room is.
pub(crate) async fn keep_up(core: &Arc<Core>, portal: &Portal) -> Result<(), Hold> {
    let Some(room) = portal.room_id.as_deref() else {
        return Ok(());
    };
    let name = name(core, room, &portal.login, &portal.peer);
    if portal.described == name {
        return Ok(());
    }
    let room_id = core.room(room)?;
    let ghost = core.ghost(&portal.ghost).await?;
    for (kind, content) in events(core, &portal.login, &portal.peer) {
        put(core, &ghost, &room_id, kind, &content).await?;
    }
    let mut batch = Batch::new();
    portals::set_described(&mut batch, portal.id, &name);
    failpoints::around!("portal.described.commit", core.store.commit(batch).await)?;
    core.forget_portal(&room_id);
    Ok(())
}

async fn put(
    core: &Core,
    ghost: &Puppet,
    room: &RoomId,
    kind: &str,
    content: &Value,
) -> Result<(), Hold> {
    let key = key(core);
    match ghost.get_state(room, kind, &key).await {
        Ok(Some(known))
            if serde_json::from_str::<Value>(known.get()).ok().as_ref() == Some(content) =>
        {
            return Ok(());
        }
        Err(error) if error.is_retryable() => return Err(error.into()),
        _ => {}
    }
    match failpoints::around!(
        "portal.describe",
        ghost.put_state(room, kind, &key, content).await
    ) {
        Ok(_) => Ok(()),
        Err(error) if error.is_retryable() => Err(error.into()),
        // The ghost may not, in a room that a user made: clients then merely do not know.
        Err(error) => {
            tracing::info!(room = %core.log_id(room.as_str()), %error, "a room cannot be described");
            Ok(())
        }
    }
}
