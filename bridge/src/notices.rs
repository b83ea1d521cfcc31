//! What the bot says in portals: that a message did not go, and why. Encrypted like everything there.

use std::sync::Arc;

use ruma::RoomId;
use serde_json::json;
use store::{Batch, messages, portals, portals::Portal};

use crate::{core::Core, ids, management, passes::Hold, posting};

/// Something to be said about an event.
#[derive(Debug)]
pub(crate) struct Notice<'a> {
    /// The event that it is about.
    event_id: &'a str,
    text: String,
}

impl<'a> Notice<'a> {
    /// A message was not sent. The text follows "Your message was not sent to WhatsApp:".
    pub(crate) fn not_sent(event_id: &'a str, why: &str) -> Self {
        Self {
            event_id,
            text: format!("⚠️ Your message was not sent to WhatsApp: {why}."),
        }
    }

    fn content(&self) -> serde_json::Value {
        json!({
            "msgtype": "m.notice",
            "body": self.text,
            "m.relates_to": { "m.in_reply_to": { "event_id": self.event_id } },
        })
    }
}

/// Posts a notice in a portal, and writes `done` in the same commit. Where the bot is not in the portal, it speaks in
/// its own chat with the user.
pub(crate) async fn post(
    core: &Arc<Core>,
    portal: &Portal,
    notice: Notice<'_>,
    done: Batch,
) -> Result<(), Hold> {
    let Some(room) = portal.room_id.as_deref().filter(|_| portal.bot_joined) else {
        management::tell(core, &portal.login, &notice.text).await?;
        core.store.commit(done).await?;
        return Ok(());
    };
    let room = core.room(room)?;
    say(core, portal, &room, &notice, done).await
}

async fn say(
    core: &Arc<Core>,
    portal: &Portal,
    room: &RoomId,
    notice: &Notice<'_>,
    mut batch: Batch,
) -> Result<(), Hold> {
    let bot = core.bot_puppet().await?;
    bot.prepare(room, &core.readers(portal)?).await?;
    let encrypted = bot
        .encrypt(room, "m.room.message", core.raw(&notice.content())?)
        .await?;
    let txn_id = ids::transaction_id(&portal.login, &portal.peer, notice.event_id, "notice");
    posting::put(
        &mut batch,
        &bot,
        room,
        txn_id,
        "m.room.encrypted",
        encrypted.json().get(),
        core.now(),
    );
    bot.commit_with(batch).await?;
    core.wake_sends(room);
    Ok(())
}

/// The gatekeeper acknowledged a message with an error: it will not be delivered.
pub(crate) async fn refused_by_gatekeeper(
    core: &Arc<Core>,
    login: &str,
    stanza_id: &str,
    why: &str,
) {
    let result = async {
        let found = messages::by_stanza(&core.store, login, stanza_id).await?;
        let Some(message) = found.into_iter().next() else {
            return Ok(());
        };
        let Some(event_id) = message.event_id.as_deref() else {
            return Ok(());
        };
        let Some(portal) = portals::by_peer(&core.store, login, &message.peer).await? else {
            return Ok(());
        };
        post(core, &portal, Notice::not_sent(event_id, why), Batch::new()).await
    };
    if let Err(hold) = result.await {
        tracing::warn!(login = %core.log_id(login), reason = %hold.reason, "a refusal could not be told");
    }
}
