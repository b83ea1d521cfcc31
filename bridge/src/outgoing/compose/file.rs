//! Events with a file.

use std::sync::Arc;

use gatekeeper::message::Body;
use serde_json::Value;
use store::portals::Portal;

use super::{Composed, Event, Part, Read, quote};
use crate::{
    core::Core,
    media::{self, Read as Hosted, Unsent},
    passes::Hold,
    translate::{Refusal, media::Attachment},
};

/// Composes an event with a file. Until the file is where WhatsApp can fetch it, the room waits.
pub(super) async fn compose(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    content: &Value,
    attachment: Result<Attachment, Refusal>,
) -> Result<Read, Hold> {
    let attachment = match attachment {
        Ok(attachment) => attachment,
        Err(refusal) => return Ok(refusal.into()),
    };
    let mut body = match media::host(core, portal, event.id, &attachment).await? {
        Hosted::Ready { file, thumbnail } => attachment.body(file, thumbnail),
        Hosted::Refused(Unsent::Never(why)) => return Ok(Read::Refused(why)),
        Hosted::Refused(Unsent::Full(why)) => return Ok(Read::Full(why)),
    };
    let answered = answered(content).filter(|answered| *answered != event.id);
    if let Some(answered) = answered {
        quote::add(core, portal, answered, &mut body).await?;
    }
    let after = attachment.after.map(Body::text);
    let parts = [Some(body), after].into_iter().flatten();
    Ok(Read::Composed(Composed {
        parts: parts.map(Part::message).collect(),
        ..Composed::default()
    }))
}

/// The event that a file answers: in a thread, its first one.
fn answered(content: &Value) -> Option<&str> {
    let relation = &content["m.relates_to"];
    let thread = (relation["rel_type"] == "m.thread").then(|| relation["event_id"].as_str());
    relation["m.in_reply_to"]["event_id"]
        .as_str()
        .or(thread.flatten())
}
