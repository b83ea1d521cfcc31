//! Events that are about another one: reactions, edits, redactions.

use std::sync::Arc;

use gatekeeper::message::{Body, MessageKey};
use ruma::{EventId, events::room::message::MessageType};
use serde_json::Value;
use store::{
    Batch, inbox,
    messages::{self, Direction, Kind, Message},
    portals::Portal,
};

use super::{Composed, Event, Part, Read, find, refused};
use crate::{
    capabilities::{Feature, Level},
    core::Core,
    media,
    outgoing::{self, relation},
    passes::Hold,
    posting, translate, withdrawals,
};

/// Events of the inbox that are looked through at a time.
const PAGE: u32 = 32;

/// The key of a message as this side writes it.
fn key(portal: &Portal, target: &Message) -> MessageKey {
    MessageKey {
        id: target.stanza_id.clone(),
        from_me: target.direction == Direction::Out,
        remote_jid: Some(portal.peer.clone()),
        participant: None,
    }
}

fn goes(core: &Core, feature: Feature) -> bool {
    core.capabilities.to_whatsapp(feature).level != Level::Refused
}

/// Whether `seconds` have passed between two times.
fn is_over(from: store::Millis, to: store::Millis, seconds: u64) -> bool {
    let age = u64::try_from(to.saturating_sub(from)).unwrap_or(0);
    age > seconds.saturating_mul(1000)
}

/// Whether what is about a message comes too late for WhatsApp: by the clock here, and by the homeserver's, lest one that was set
/// meanwhile decide.
async fn is_too_late(
    core: &Arc<Core>,
    portal: &Portal,
    target: &Message,
    event: Event<'_>,
    seconds: u64,
) -> Result<bool, Hold> {
    #[derive(serde::Deserialize)]
    struct Sent {
        origin_server_ts: store::Millis,
    }
    if !is_over(target.ts, event.received_ts, seconds) {
        return Ok(false);
    }
    let Some(id) = target.event_id.as_deref() else {
        return Ok(true);
    };
    let Ok(id) = EventId::parse(id) else {
        return Ok(true);
    };
    let room = core.room(&target.room_id)?;
    let ghost = core.ghost(&portal.ghost).await?;
    let original = match ghost.get_event(&room, &id).await {
        Err(error) if error.is_retryable() => return Err(error.into()),
        original => original.ok().flatten(),
    };
    let sent = original.and_then(|event| event.deserialize_as_unchecked::<Sent>().ok());
    let (Some(sent), Ok(now)) = (sent, serde_json::from_str::<Sent>(event.body)) else {
        return Ok(true);
    };
    Ok(is_over(
        sent.origin_server_ts,
        now.origin_server_ts,
        seconds,
    ))
}

/// A time as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{} hours", seconds / 3600),
    }
}

/// The message that an event is about. An edit stands for the message that it changed.
async fn target(
    core: &Arc<Core>,
    portal: &Portal,
    event_id: &str,
) -> Result<Option<Message>, Hold> {
    let found = find(core, portal, event_id).await?;
    match found {
        Some(edit) if edit.kind == Kind::Edit => {
            let id = edit.target.as_deref().unwrap_or_default();
            Ok(messages::get(&core.store, &portal.login, &portal.peer, id).await?)
        }
        found => Ok(found.filter(|message| message.kind == Kind::Message)),
    }
}

/// Whether an event is kept until its room key comes, and goes to WhatsApp then.
async fn waits(core: &Arc<Core>, portal: &Portal, event_id: &str) -> Result<bool, Hold> {
    let found = inbox::get(&core.store, event_id).await?;
    Ok(found.is_some_and(|event| {
        event.state == inbox::State::WaitingKey && event.sender == portal.login
    }))
}

/// What becomes of an event that is about one that is not on WhatsApp.
async fn absent(
    core: &Arc<Core>,
    portal: &Portal,
    target_event: &str,
    words: &str,
) -> Result<Read, Hold> {
    if waits(core, portal, target_event).await? {
        return Ok(Read::Behind);
    }
    // The user deleted it before it was carried, and what is about it comes late: nobody misses either.
    if outgoing::is_deleted(core, portal, target_event).await? {
        return Ok(Read::nothing());
    }
    Ok(Read::Refused(words.to_owned()))
}

/// The user's reaction that a message shows on WhatsApp.
async fn standing(
    core: &Arc<Core>,
    portal: &Portal,
    target: &Message,
) -> Result<Vec<Message>, Hold> {
    let (login, peer) = (&portal.login, &portal.peer);
    let mut about = messages::about(&core.store, login, peer, &target.stanza_id).await?;
    about.retain(|row| row.kind == Kind::Reaction && row.direction == Direction::Out && !row.gone);
    Ok(about)
}

/// `m.reaction`. There is one of each person on WhatsApp: an earlier one goes, in Matrix too.
pub(super) async fn reaction(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    content: &Value,
) -> Result<Read, Hold> {
    let relation = &content["m.relates_to"];
    let (Some(target_event), Some(emoji)) =
        (relation["event_id"].as_str(), relation["key"].as_str())
    else {
        return Ok(Read::nothing());
    };
    if let Some(wanted) = media::wanted(core, portal, target_event, emoji).await? {
        return Ok(Read::Asks(Box::new(wanted)));
    }
    if !goes(core, Feature::Reaction) {
        return Ok(refused(core, Feature::Reaction));
    }
    if !translate::is_emoji(emoji, core.capabilities.limits().emoji_bytes) {
        return Ok(Read::Refused(
            "WhatsApp takes one emoji as a reaction, and this is something else".to_owned(),
        ));
    }
    let Some(target) = target(core, portal, target_event).await? else {
        let words = "the message that you reacted to is not on WhatsApp";
        return absent(core, portal, target_event, words).await;
    };
    if target.gone && !event.again {
        return Ok(Read::Refused(
            "the message that you reacted to was deleted".to_owned(),
        ));
    }
    let mut composed = Composed::from(Part {
        body: Body::Reaction {
            target: key(portal, &target),
            emoji: emoji.to_owned(),
            timestamp_ms: event.received_ts,
        },
        kind: Kind::Reaction,
        target: Some(target.stanza_id.clone()),
    });
    for earlier in standing(core, portal, &target).await? {
        let Some(earlier_event) = earlier.event_id.as_deref().filter(|id| *id != event.id) else {
            continue;
        };
        messages::set_gone(
            &mut composed.also,
            &portal.login,
            &portal.peer,
            &earlier.stanza_id,
        );
        let ghost = core.ghost(&portal.ghost).await?;
        posting::redact(
            core,
            &mut composed.also,
            &ghost,
            &core.room(&earlier.room_id)?,
            earlier_event,
            posting::ONE_REACTION,
        );
    }
    Ok(Read::Composed(composed))
}

/// An edit (`m.replace`).
pub(super) async fn edit(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    target_event: &str,
    new: &MessageType,
) -> Result<Read, Hold> {
    let Some(target) = target(core, portal, target_event).await? else {
        // What never went cannot be changed there: a notice of a bot, or a message that was refused and is written anew.
        let words = "the message that you edited is not on WhatsApp. Send it as a new one";
        return absent(core, portal, target_event, words).await;
    };
    if !goes(core, Feature::Edit) {
        return Ok(refused(core, Feature::Edit));
    }
    if target.direction == Direction::In {
        return Ok(Read::Refused(
            "only the one who wrote a message can edit it".to_owned(),
        ));
    }
    if target.gone && !event.again {
        return Ok(Read::Refused("the message was deleted before".to_owned()));
    }
    let limit = core.capabilities.limits().edit_seconds;
    if is_too_late(core, portal, &target, event, limit).await? {
        return Ok(Read::Refused(format!(
            "WhatsApp takes an edit for {} after the message, and the other side still shows the version before",
            span(limit)
        )));
    }
    let body = match translate::caption_of(new) {
        // The file stays what it is; what is written under it changes.
        Some(caption) => Some(Body::text(caption)),
        None => match super::body(core, portal, new, false) {
            Ok(body) => body,
            Err(refusal) => return Ok(refusal.into()),
        },
    };
    let Some(body) = body else {
        return Ok(Read::nothing());
    };
    Ok(Part {
        body: Body::Edit {
            target: key(portal, &target),
            body: Box::new(body),
            timestamp_ms: event.received_ts,
        },
        kind: Kind::Edit,
        target: Some(target.stanza_id),
    }
    .into())
}

/// `m.room.redaction`: a message is deleted for everyone, a reaction taken back.
pub(super) async fn redaction(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    json: &Value,
) -> Result<Read, Hold> {
    // Its place depends on the version of the room.
    let Some(redacted) = json["redacts"]
        .as_str()
        .or_else(|| json["content"]["redacts"].as_str())
    else {
        return Ok(Read::nothing());
    };
    let Some(message) = find(core, portal, redacted).await? else {
        return unsent(core, portal, redacted).await;
    };
    match (message.direction, message.kind) {
        (Direction::In, Kind::Message) if message.gone => Ok(Read::nothing()),
        (Direction::In, Kind::Message) => Ok(Read::Refused(
            "the other side wrote that message and still has it; it is deleted here only"
                .to_owned(),
        )),
        (Direction::In, _) | (Direction::Out, Kind::Revoke) => Ok(Read::nothing()),
        (Direction::Out, Kind::Edit | Kind::Reaction) if message.gone && !event.again => {
            Ok(Read::nothing())
        }
        (Direction::Out, Kind::Edit) => redacted_edit(core, portal, &message).await,
        (Direction::Out, Kind::Reaction) => take_back(core, portal, event, message).await,
        (Direction::Out, Kind::Message) => revoke(core, portal, event, redacted, &message).await,
    }
}

/// A redacted edit. Of a message that is deleted it may go: clients that delete a message clear away its edits too.
async fn redacted_edit(core: &Core, portal: &Portal, edit: &Message) -> Result<Read, Hold> {
    let id = edit.target.as_deref().unwrap_or_default();
    let target = messages::get(&core.store, &portal.login, &portal.peer, id).await?;
    if target.is_some_and(|target| target.gone) {
        return Ok(Read::nothing());
    }
    Ok(Read::Refused(
        "an edit cannot be taken back, and the other side still shows it".to_owned(),
    ))
}

/// A redacted event that never went to WhatsApp: if it waits for its key, it waits no more, nor does what waits behind it.
async fn unsent(core: &Arc<Core>, portal: &Portal, redacted: &str) -> Result<Read, Hold> {
    let mut also = Batch::new();
    if let Some(waiting) = inbox::get(&core.store, redacted).await?
        && waiting.sender == portal.login
    {
        inbox::done(&mut also, waiting.seq);
        for event in behind(core, &waiting).await? {
            inbox::done(&mut also, event);
        }
    }
    Ok(Read::Composed(Composed {
        also,
        ..Composed::default()
    }))
}

/// The positions of the events that wait behind one that waits for its key, because they are about it.
async fn behind(core: &Core, waiting: &inbox::Event) -> Result<Vec<i64>, Hold> {
    let mut behind = Vec::new();
    let mut after = waiting.seq;
    loop {
        let events = inbox::next(&core.store, &waiting.room_id, after, PAGE).await?;
        let Some(last) = events.last() else {
            return Ok(behind);
        };
        after = last.seq;
        behind.extend(
            events
                .iter()
                .filter(|event| event.state == inbox::State::WaitingKey)
                .filter(|event| event.sender == waiting.sender)
                .filter(|event| {
                    relation(event).and_then(|about| about.event_id).as_ref()
                        == Some(&waiting.event_id)
                })
                .map(|event| event.seq),
        );
    }
}

async fn take_back(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    reaction: Message,
) -> Result<Read, Hold> {
    let (login, peer) = (&portal.login, &portal.peer);
    let id = reaction.target.as_deref().unwrap_or_default();
    let target = messages::get(&core.store, login, peer, id).await?;
    let Some(target) = target.filter(|_| goes(core, Feature::Reaction)) else {
        return Ok(Read::nothing());
    };
    let mut composed = Composed::from(Part {
        body: Body::Reaction {
            target: key(portal, &target),
            emoji: String::new(),
            timestamp_ms: event.received_ts,
        },
        kind: Kind::Reaction,
        target: Some(target.stanza_id),
    });
    messages::set_gone(&mut composed.also, login, peer, &reaction.stanza_id);
    Ok(Read::Composed(composed))
}

async fn revoke(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    redacted: &str,
    message: &Message,
) -> Result<Read, Hold> {
    if message.status == messages::Status::Failed {
        return Ok(Read::nothing());
    }
    let mut composed = Composed::default();
    for part in messages::all_by_event(&core.store, redacted).await? {
        // What has not left this house nobody need delete.
        let stays = !event.again && (part.gone || withdrawals::take(core, &part).await?);
        if stays {
            continue;
        }
        if !goes(core, Feature::Delete) {
            return Ok(refused(core, Feature::Delete));
        }
        let limit = core.capabilities.limits().delete_seconds;
        if is_too_late(core, portal, &part, event, limit).await? {
            return Ok(Read::Refused(format!(
                "WhatsApp deletes a message for everyone for {} after it was sent, and the other side still has this one",
                span(limit)
            )));
        }
        messages::set_gone(&mut composed.also, &part.login, &part.peer, &part.stanza_id);
        composed.parts.push(Part {
            body: Body::Revoke {
                target: key(portal, &part),
            },
            kind: Kind::Revoke,
            target: Some(part.stanza_id),
        });
    }
    Ok(Read::Composed(composed))
}
