//! What stands in the room for a message from WhatsApp that cannot be decrypted yet. It becomes the message when that comes.

use std::sync::Arc;

use gatekeeper::message::Body;
use puppeting::Puppet;
use ruma::{RoomId, TransactionId};
use serde_json::json;
use store::{
    Batch, portals,
    undecryptable::{self, Undecryptable},
};

use crate::{core::Core, ids, passes::Hold};

/// A message from WhatsApp that has not become readable after this long, in milliseconds, gets one.
pub(crate) const AFTER_MS: i64 = 5_000;
/// What it says.
const TEXT: &str = "Waiting for this message. It could not be decrypted, and was asked for again.";

/// Puts a placeholder into the room of a chat for each message that has none and could not be read. Called in the chat's own
/// turn, so that the message cannot come meanwhile.
pub(crate) async fn put(core: &Arc<Core>, login: &str, peer: &str) {
    if let Err(hold) = try_put(core, login, peer).await {
        tracing::info!(login = %core.log_id(login), reason = %hold.reason, "a placeholder waits");
    }
}

/// Whether a message has no placeholder that is known, although one may have been sent.
pub(crate) fn may_be_sent(core: &Core, unread: Option<&Undecryptable>) -> bool {
    unread.is_some_and(|row| {
        row.placeholder.is_none()
            && !row.hidden
            && core.now().saturating_sub(row.first_ts) >= AFTER_MS
    })
}

/// As [`put`].
///
/// # Errors
///
/// Why one could not be put.
pub(crate) async fn try_put(core: &Arc<Core>, login: &str, peer: &str) -> Result<(), Hold> {
    let Some(portal) = portals::by_peer(&core.store, login, peer).await? else {
        return Ok(());
    };
    let Some(room) = portal.room_id.as_deref() else {
        return Ok(());
    };
    let room = core.room(room)?;
    let ghost = core.ghost(&portal.ghost).await?;
    let mut rows: Vec<_> = undecryptable::of_chat(&core.store, login, peer)
        .await?
        .into_iter()
        .filter(|(_, row)| row.placeholder.is_none() && !row.hidden)
        .collect();
    rows.sort_by_key(|(_, row)| row.first_ts);
    for (stanza_id, _) in rows {
        ghost.prepare(&room, &core.readers(&portal)?).await?;
        let txn_id = ids::transaction_id(login, peer, &stanza_id, "placeholder");
        let event =
            failpoints::around!("placeholder.send", send(core, &ghost, &room, &txn_id).await)?;
        let mut batch = Batch::new();
        undecryptable::set_placeholder(&mut batch, login, peer, &stanza_id, &event);
        failpoints::around!("placeholder.commit", core.store.commit(batch).await)?;
    }
    Ok(())
}

/// A crash between the request and the note of its event makes the same request again: it is the same event then.
async fn send(
    core: &Arc<Core>,
    ghost: &Arc<Puppet>,
    room: &RoomId,
    txn_id: &str,
) -> Result<String, Hold> {
    let content = json!({ "msgtype": "m.notice", "body": TEXT });
    let encrypted = ghost
        .encrypt(room, "m.room.message", core.raw(&content)?)
        .await?;
    failpoints::around!(
        "placeholder.key.commit",
        ghost.commit_with(Batch::new()).await
    )?;
    let txn_id: &TransactionId = txn_id.into();
    let event = ghost
        .send(
            room,
            txn_id,
            "m.room.encrypted",
            encrypted.into_json(),
            None,
        )
        .await
        .map_err(puppeting::PuppetError::from)?;
    Ok(event.to_string())
}

/// What a message becomes that was asked for in vain.
pub(crate) fn lost() -> Body {
    Body::Unknown {
        kind: "message that could not be decrypted".to_owned(),
    }
}
