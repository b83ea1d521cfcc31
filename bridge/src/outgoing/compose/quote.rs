//! Replies: the message that is answered, and its words.

use std::sync::Arc;

use gatekeeper::message::{Body, Quote};
use ruma::events::room::message::RoomMessageEventContent;
use store::{logins, messages, portals::Portal};

use crate::{
    capabilities::{Feature, Level},
    core::Core,
    outgoing::read_event,
    passes::Hold,
    translate,
};

/// Makes `body` the answer to an event: a reply where WhatsApp has the message, else its words above the answer.
pub(super) async fn add(
    core: &Arc<Core>,
    portal: &Portal,
    answered: &str,
    body: &mut Body,
) -> Result<(), Hold> {
    let message = super::find(core, portal, answered).await?;
    let quoted = words(core, portal, answered).await?;
    let message = message.filter(|message| !message.gone);
    let as_reply = core.capabilities.to_whatsapp(Feature::Reply).level == Level::Full;
    if let Some(message) = message.filter(|_| as_reply) {
        let participant = match message.direction {
            messages::Direction::In => Some(portal.peer.clone()),
            messages::Direction::Out => own_jid(core, &portal.login).await?,
        };
        if let Some(context) = body.context_mut() {
            context.reply_to = Some(Quote {
                // An edit is shown in the place of the message that it changed.
                stanza_id: message.target.unwrap_or(message.stanza_id),
                participant,
                body: quoted.map(Box::new),
            });
        }
    } else if let Some(Body::Text { text: quoted, .. }) = quoted {
        let limit = core.capabilities.limits().text_chars;
        match body {
            Body::Text { text, .. } => *text = translate::above(&quoted, text, limit),
            Body::Media(media) if media.kind.carries_caption() => {
                let caption = media.caption.take().unwrap_or_default();
                media.caption = Some(translate::above(&quoted, &caption, limit));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn own_jid(core: &Core, login: &str) -> Result<Option<String>, Hold> {
    Ok(logins::get(&core.store, login)
        .await?
        .and_then(|row| row.jid))
}

/// What an event says, read from the homeserver and decrypted again; nothing if that cannot be.
async fn words(core: &Arc<Core>, portal: &Portal, event_id: &str) -> Result<Option<Body>, Hold> {
    let Some(event) = read_event(core, portal, event_id).await? else {
        return Ok(None);
    };
    // Nobody else's words are for the contact.
    let sender = event["sender"].as_str();
    if sender != Some(portal.ghost.as_str()) && sender != Some(portal.login.as_str()) {
        return Ok(None);
    }
    let Ok(content) = serde_json::from_value::<RoomMessageEventContent>(event["content"].clone())
    else {
        return Ok(None);
    };
    if sender == Some(portal.ghost.as_str()) {
        // What came from WhatsApp has its own words in the plain body.
        return Ok(translate::plain_words(&content.msgtype).map(Body::text));
    }
    let is_answer = super::is_answer(&content);
    Ok(super::body(core, portal, &content.msgtype, is_answer)
        .ok()
        .flatten())
}
