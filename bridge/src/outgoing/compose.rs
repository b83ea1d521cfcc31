//! What an event of a portal's room is for WhatsApp.
//!
//! Composing reads the database and the homeserver, but writes nothing: the same event composed again gives the same
//! parts, which is how a message is sent anew that its receiver could not decrypt.

mod about;
mod file;
mod quote;

use std::sync::Arc;

use gatekeeper::{message::Body, stanzas};
use puppeting::DecryptError;
use ruma::{
    events::{
        AnyTimelineEvent,
        room::message::{MessageType, Relation, RoomMessageEventContent},
    },
    serde::Raw,
};
use serde_json::Value;
use store::{Batch, messages, portals::Portal};

use crate::{
    capabilities::{Feature, Level},
    core::Core,
    media::Wanted,
    passes::Hold,
    replays::Key,
    translate::{self, Refusal},
};

/// One message to WhatsApp. An event may become several.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its content.
    pub(crate) body: Body,
    /// What it is.
    pub(crate) kind: messages::Kind,
    /// Stanza id of the message that it is about.
    pub(crate) target: Option<String>,
}

impl Part {
    /// A message that stands for itself.
    pub(crate) fn message(body: Body) -> Self {
        Self {
            body,
            kind: messages::Kind::Message,
            target: None,
        }
    }

    /// The stanza id of the `index`-th part of an event.
    pub(crate) fn stanza_id(login: &str, event_id: &str, index: usize) -> String {
        match index {
            0 => stanzas::id::derived(&[login, event_id]),
            _ => stanzas::id::derived(&[login, event_id, &index.to_string()]),
        }
    }
}

/// What is done about an event.
#[derive(Debug, Default)]
pub(crate) struct Composed {
    /// What goes to WhatsApp, in order. Empty for what is nothing for WhatsApp.
    pub(crate) parts: Vec<Part>,
    /// What changes with it, in the same commit.
    pub(crate) also: Batch,
    /// The key that it was encrypted with, if it was.
    pub(crate) key: Option<Key>,
}

impl From<Part> for Composed {
    fn from(part: Part) -> Self {
        Self {
            parts: vec![part],
            ..Self::default()
        }
    }
}

/// What became of an event when it was read.
#[derive(Debug)]
pub(crate) enum Read {
    /// It is understood.
    Composed(Composed),
    /// It cannot go: the sender is told why.
    Refused(String),
    /// There is no room for its file at present: the sender is told, and can send it again later.
    Full(String),
    /// It is about an event that waits for its room key: it waits behind that one.
    Behind,
    /// It asks for a file that is missing in the room.
    Asks(Box<Wanted>),
    /// Its room key is not here (yet); with the code under which its sender's client keeps it back, if it said so.
    NoKey(Option<String>),
}

impl Read {
    /// It is nothing for WhatsApp, and nobody need be told.
    pub(crate) fn nothing() -> Self {
        Self::Composed(Composed::default())
    }

    /// It was encrypted as another event, which has been handled.
    pub(crate) fn replay() -> Self {
        Self::Refused("it is a copy of an earlier one".to_owned())
    }
}

impl From<Refusal> for Read {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}

impl From<Part> for Read {
    fn from(part: Part) -> Self {
        Self::Composed(part.into())
    }
}

/// An event as the homeserver gave it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// Its id.
    pub(crate) id: &'a str,
    /// Its type.
    pub(crate) kind: &'a str,
    /// All of it, as JSON.
    pub(crate) body: &'a str,
    /// When the bridge had it.
    pub(crate) received_ts: store::Millis,
    /// Whether it went to WhatsApp before.
    pub(crate) again: bool,
}

/// Reads an event of the portal's own user.
pub(crate) async fn compose(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
) -> Result<Read, Hold> {
    let clear = |what: &str| {
        format!(
            "this chat carries encrypted messages only, and this {what} was not encrypted. Turn on encryption in the room's settings and send it again"
        )
    };
    match event.kind {
        "m.room.encrypted" => {}
        "m.room.message" => return Ok(Read::Refused(clear("one"))),
        "m.sticker" => return Ok(Read::Refused(clear("sticker"))),
        // A reaction is not encrypted by most clients, nor a redaction by any.
        kind => {
            let Ok(json) = serde_json::from_str(event.body) else {
                return Ok(Read::nothing());
            };
            return content(core, portal, event, kind, &json).await;
        }
    }
    let Some(room_id) = portal.room_id.as_deref() else {
        return Ok(Read::nothing());
    };
    let ghost = core.ghost(&portal.ghost).await?;
    let Ok(raw) = serde_json::from_str(event.body).map(Raw::from_json) else {
        return Ok(Read::Refused("it is damaged".to_owned()));
    };
    let room_id = core.room(room_id)?;
    match ghost.decrypt(&room_id, &raw).await {
        Ok(decrypted) => {
            let key = Key::of(&decrypted);
            if !event.again && key.is_of_another(core, event.id).await? {
                return Ok(Read::replay());
            }
            let Ok(json) = decrypted.raw.deserialize_as_unchecked::<Value>() else {
                return Ok(Read::Refused("it is damaged".to_owned()));
            };
            let kind = json["type"].as_str().unwrap_or_default();
            let mut read = content(core, portal, event, kind, &json).await?;
            if let Read::Composed(composed) = &mut read {
                key.remember(&mut composed.also, core, event.id);
                composed.key = Some(key);
            }
            Ok(read)
        }
        Err(DecryptError::MissingKey { withheld, .. }) => Ok(Read::NoKey(withheld)),
        Err(DecryptError::Puppet(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(event = %core.log_id(event.id), %error, "an event cannot be decrypted");
            Ok(Read::Refused("it cannot be decrypted".to_owned()))
        }
    }
}

/// Reads an event in the clear.
async fn content(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    kind: &str,
    json: &Value,
) -> Result<Read, Hold> {
    let content = &json["content"];
    if content["m.relates_to"]["rel_type"] != "m.replace"
        && let Some(attachment) = translate::media::attachment(kind, content, &core.capabilities)
    {
        return file::compose(core, portal, event, content, attachment).await;
    }
    match kind {
        "m.room.message" => message(core, portal, event, json).await,
        "m.reaction" => about::reaction(core, portal, event, content).await,
        "m.room.redaction" => about::redaction(core, portal, event, json).await,
        _ => Ok(match translate::feature_of(kind, content) {
            Some(feature) => refused(core, feature),
            None => Read::nothing(),
        }),
    }
}

/// What the table says to the sender of something that does not go.
fn refused(core: &Core, feature: Feature) -> Read {
    let way = core.capabilities.to_whatsapp(feature);
    match way.level {
        Level::Refused => Read::Refused(way.words.to_owned()),
        _ => Read::nothing(),
    }
}

async fn message(
    core: &Arc<Core>,
    portal: &Portal,
    event: Event<'_>,
    json: &Value,
) -> Result<Read, Hold> {
    let Ok(content) = serde_json::from_value::<RoomMessageEventContent>(json["content"].clone())
    else {
        return Ok(Read::Refused("it is damaged".to_owned()));
    };
    if let Some(Relation::Replacement(replacement)) = &content.relates_to {
        let target = replacement.event_id.as_str();
        let new = &replacement.new_content.msgtype;
        return about::edit(core, portal, event, target, new).await;
    }
    let mut body = match body(core, portal, &content.msgtype, is_answer(&content)) {
        Ok(Some(body)) => body,
        Ok(None) => return Ok(Read::nothing()),
        Err(refusal) => return Ok(refusal.into()),
    };
    if let Some(answered) = answered(&content).filter(|answered| *answered != event.id) {
        quote::add(core, portal, answered, &mut body).await?;
    }
    Ok(Part::message(body).into())
}

/// Translates what a message says, apart from what it is about.
fn body(
    core: &Core,
    portal: &Portal,
    message: &MessageType,
    is_answer: bool,
) -> Result<Option<Body>, Refusal> {
    translate::to_whatsapp(
        message,
        is_answer,
        localpart(&portal.login),
        &core.capabilities,
    )
}

/// The name that an emote begins with. The other side sees the whole id anyway.
fn localpart(user: &str) -> &str {
    user.trim_start_matches('@')
        .split(':')
        .next()
        .unwrap_or(user)
}

fn is_answer(content: &RoomMessageEventContent) -> bool {
    matches!(
        content.relates_to,
        Some(Relation::Reply(_) | Relation::Thread(_))
    )
}

/// The event that a message answers. In a thread without an answer that is the thread's first.
fn answered(content: &RoomMessageEventContent) -> Option<&str> {
    match content.relates_to.as_ref()? {
        Relation::Reply(reply) => Some(reply.in_reply_to.event_id.as_str()),
        Relation::Thread(thread) => Some(
            thread
                .in_reply_to
                .as_ref()
                .map_or(thread.event_id.as_str(), |to| to.event_id.as_str()),
        ),
        _ => None,
    }
}

/// Finds the message that an event became or came from; waits if it may not be written yet.
async fn find(
    core: &Arc<Core>,
    portal: &Portal,
    event_id: &str,
) -> Result<Option<messages::Message>, Hold> {
    let found = messages::by_event(&core.store, event_id).await?;
    if let Some(message) = found {
        let ours = message.login == portal.login && message.peer == portal.peer;
        return Ok(ours.then_some(message));
    }
    let waiting = match portal.room_id.as_deref() {
        Some(room) => !store::sends::next(&core.store, room, 0, 1)
            .await?
            .is_empty(),
        None => false,
    };
    if waiting {
        // The homeserver may have an event whose id was not written down before a crash.
        return Err(Hold::until(
            "an event is about another one that is not written yet",
        ));
    }
    Ok(None)
}

/// Reads a raw event again and composes it as when it was sent first.
pub(super) async fn again(
    core: &Arc<Core>,
    portal: &Portal,
    message: &messages::Message,
    raw: &Raw<AnyTimelineEvent>,
) -> Result<Option<Body>, Hold> {
    let Some(event_id) = message.event_id.as_deref() else {
        return Ok(None);
    };
    let kind = raw.get_field::<String>("type").ok().flatten();
    let event = Event {
        id: event_id,
        kind: kind.as_deref().unwrap_or_default(),
        body: raw.json().get(),
        received_ts: message.ts,
        again: true,
    };
    let parts = match compose(core, portal, event).await? {
        Read::Composed(composed) => composed.parts,
        Read::Behind | Read::Asks(_) | Read::Refused(_) | Read::Full(_) | Read::NoKey(_) => {
            return Ok(None);
        }
    };
    let found = parts
        .into_iter()
        .enumerate()
        .find(|(index, _)| Part::stanza_id(&portal.login, event_id, *index) == message.stanza_id);
    Ok(found.map(|(_, part)| part.body))
}
