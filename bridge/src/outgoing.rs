//! Matrix to WhatsApp: from the inbox of a portal's room to stanzas in the outbox.
//!
//! Events are taken in order. What can be decrypted, translated and encrypted is written in one commit: ratchet,
//! stanzas, message rows, finished inbox rows. [`crate::delivery`] then sends the stanzas.

mod compose;

use std::{collections::HashSet, sync::Arc, time::Duration};

use gatekeeper::{
    message::{self, Body},
    signal::{Ciphertext, SignalError},
    stanzas::{Enc, OutgoingMessage},
};
use puppeting::DecryptError;
use ruma::EventId;
use serde_json::Value;
use store::{Batch, LogId, inbox, messages, outbox, portals::Portal};

use self::compose::{Event, Part, Read};
use crate::{
    core::Core,
    directory, media,
    notices::{self, Notice},
    passes::Hold,
    portals::describe,
    sessions::{Session, SessionError},
};

/// How long a portal waits for a room key before it goes on without the message.
const KEY_PATIENCE: Duration = Duration::from_secs(30);

/// Stanzas in the outbox for one contact, with which its room waits. Fewer than fit into a connection's window: what another
/// room writes goes with the next ones.
const CROWD: i64 = 128;

/// What an event became, ready to be encrypted for WhatsApp.
struct Ready {
    seq: i64,
    event_id: String,
    ts: i64,
    parts: Vec<Encoded>,
}

/// A part with its content as bytes.
struct Encoded {
    part: Part,
    content: Vec<u8>,
}

/// Handles events of a portal's room, oldest first.
///
/// # Errors
///
/// [`Hold`] says why the room must wait; events handled before that are done.
pub(crate) async fn handle(
    core: &Arc<Core>,
    portal: &Portal,
    events: Vec<inbox::Event>,
) -> Result<(), Hold> {
    let (login, peer) = (&portal.login, &portal.peer);
    if outbox::count_for(&core.store, login, peer).await? >= CROWD
        && let Some(room) = portal.room_id.as_deref()
    {
        // The rest waits in the inbox, and others' messages go past it.
        core.crowds(login, peer, core.room(room)?);
        // What was taken before that was noted woke nobody.
        if outbox::count_for(&core.store, login, peer).await? >= CROWD {
            return Err(Hold::crowded());
        }
    }
    describe::keep_up(core, portal).await?;
    let mut ready = Vec::new();
    let mut done = Batch::new();
    // Those whose commit is still to come.
    let mut keys = HashSet::new();
    for event in events {
        // What is about another message has to find that one written down.
        if is_about(&event) {
            let done = std::mem::take(&mut done);
            send(core, portal, std::mem::take(&mut ready), done).await?;
        }
        let mut found = read(core, portal, &event).await;
        if let Ok(Read::Composed(composed)) = &found
            && let Some(key) = &composed.key
            && !keys.insert(key.clone())
        {
            found = Ok(Read::replay());
        }
        match found {
            Ok(Read::Composed(composed)) if composed.parts.is_empty() => {
                done.append(composed.also);
                inbox::done(&mut done, event.seq);
            }
            Ok(Read::Composed(composed)) => match encode(composed.parts) {
                Ok(parts) => {
                    done.append(composed.also);
                    ready.push(Ready {
                        seq: event.seq,
                        event_id: event.event_id,
                        ts: event.received_ts,
                        parts,
                    });
                }
                Err(text) => {
                    let done = std::mem::take(&mut done);
                    send(core, portal, std::mem::take(&mut ready), done).await?;
                    refuse(core, portal, &event, text).await?;
                }
            },
            Ok(Read::Behind) => {
                let done = std::mem::take(&mut done);
                send(core, portal, std::mem::take(&mut ready), done).await?;
                behind(core, portal, &event).await?;
            }
            Ok(Read::Asks(wanted)) => {
                let done = std::mem::take(&mut done);
                send(core, portal, std::mem::take(&mut ready), done).await?;
                media::again(core, portal, &event, *wanted).await?;
            }
            Ok(Read::Refused(text)) => {
                let done = std::mem::take(&mut done);
                send(core, portal, std::mem::take(&mut ready), done).await?;
                refuse(core, portal, &event, text).await?;
            }
            Ok(Read::Full(text)) => {
                let done = std::mem::take(&mut done);
                send(core, portal, std::mem::take(&mut ready), done).await?;
                let mut batch = Batch::new();
                inbox::done(&mut batch, event.seq);
                notices::post(core, portal, Notice::full(&event.event_id, &text), batch).await?;
            }
            Ok(Read::NoKey(withheld)) => {
                let done = std::mem::take(&mut done);
                send(core, portal, std::mem::take(&mut ready), done).await?;
                without_key(core, portal, &event, withheld.as_deref()).await?;
            }
            // What was read before it is not lost with it.
            Err(hold) => {
                send(core, portal, ready, done).await?;
                return Err(hold);
            }
        }
    }
    send(core, portal, ready, done).await
}

/// Whether an event refers to another one, as far as that can be seen before it is decrypted.
fn is_about(event: &inbox::Event) -> bool {
    event.kind == "m.room.redaction" || relation(event).is_some()
}

/// What an event says of its relation to others. That is in the clear even where the event is encrypted.
fn relation(event: &inbox::Event) -> Option<Relation> {
    #[derive(serde::Deserialize)]
    struct About {
        content: Option<Content>,
    }
    #[derive(serde::Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: Option<Relation>,
    }
    let about = serde_json::from_str::<About>(&event.body).ok()?;
    about.content?.relates_to
}

/// `m.relates_to`.
#[derive(serde::Deserialize)]
struct Relation {
    /// The event that is edited or reacted to; replies name theirs elsewhere.
    event_id: Option<String>,
}

/// Whether nothing is left of an event: it was deleted before it came here.
fn is_redacted(body: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Whole {
        unsigned: Option<Unsigned>,
    }
    #[derive(serde::Deserialize)]
    struct Unsigned {
        redacted_because: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Whole>(body)
        .ok()
        .and_then(|event| event.unsigned)
        .is_some_and(|unsigned| unsigned.redacted_because.is_some())
}

/// Reads one event.
async fn read(core: &Arc<Core>, portal: &Portal, event: &inbox::Event) -> Result<Read, Hold> {
    if event.sender != portal.login || is_redacted(&event.body) {
        return Ok(Read::nothing());
    }
    if event.kind == "m.room.redaction" {
        media::redacted(core, portal, &event.body).await?;
    }
    let event = Event {
        id: &event.event_id,
        kind: &event.kind,
        body: &event.body,
        received_ts: event.received_ts,
        again: false,
    };
    compose::compose(core, portal, event).await
}

/// Writes contents down as they are encrypted; the error is for the sender.
fn encode(parts: Vec<Part>) -> Result<Vec<Encoded>, String> {
    parts
        .into_iter()
        .map(|part| match message::encode(&part.body) {
            Ok(content) => Ok(Encoded { part, content }),
            Err(error) => Err(error.to_string()),
        })
        .collect()
}

/// The stanza that carries a message, as the outbox keeps it.
pub(crate) fn stanza(
    core: &Core,
    peer: &str,
    id: &str,
    body: &Body,
    ciphertext: Ciphertext,
    change: impl FnOnce(&mut OutgoingMessage),
) -> Result<Vec<u8>, Hold> {
    let mut enc = Enc::new(ciphertext.kind.into(), ciphertext.bytes);
    enc.decrypt_fail_hide = body.hidden_when_undecryptable();
    enc.media_type = body.media_type().map(str::to_owned);
    let peer = directory::parse(peer)?;
    let profile = &core.profile.message;
    let mut stanza = profile.message(peer, id, body.stanza_type(), enc);
    stanza.edit = body.stanza_edit().and_then(|edit| edit.parse().ok());
    change(&mut stanza);
    core.encode(&stanza.to_node())
}

/// Encrypts and commits what is ready, together with what needs no sending.
async fn send(
    core: &Arc<Core>,
    portal: &Portal,
    ready: Vec<Ready>,
    mut batch: Batch,
) -> Result<(), Hold> {
    if ready.is_empty() {
        if !batch.is_empty() {
            failpoints::around!("inbox.nothing.commit", core.store.commit(batch).await)?;
        }
        return Ok(());
    }
    let Some(login) = core.login(&portal.login).await? else {
        return without_login(core, portal, ready, batch).await;
    };
    let mut session = open_session(core, &portal.login, &portal.peer).await?;
    let now = core.now();
    for message in ready {
        for (index, Encoded { part, content }) in message.parts.into_iter().enumerate() {
            let id = Part::stanza_id(&portal.login, &message.event_id, index);
            let ciphertext = match session.encrypt(&content).await {
                Ok(ciphertext) => ciphertext,
                Err(SessionError::Signal(SignalError::NoSession)) => {
                    // The open session belongs to an identity that the contact no longer has: the next attempt opens a new one.
                    return renew(core, session, now).await;
                }
                Err(error) => return Err(error.into()),
            };
            let stanza = stanza(core, &portal.peer, &id, &part.body, ciphertext, |_| {})?;
            outbox::put(
                &mut batch,
                outbox::NewStanza {
                    login: portal.login.clone(),
                    peer: portal.peer.clone(),
                    stanza_id: id.clone(),
                    kind: outbox::Kind::Message,
                    stanza,
                    event_id: Some(message.event_id.clone()),
                },
            );
            messages::put(
                &mut batch,
                &messages::Message {
                    login: portal.login.clone(),
                    peer: portal.peer.clone(),
                    stanza_id: id,
                    event_id: Some(message.event_id.clone()),
                    room_id: portal.room_id.clone().unwrap_or_default(),
                    direction: messages::Direction::Out,
                    status: messages::Status::Pending,
                    ts: message.ts,
                    kind: part.kind,
                    target: part.target,
                    gone: false,
                },
            );
        }
        inbox::done(&mut batch, message.seq);
    }
    session.save(&mut batch, now);
    failpoints::around!("outgoing.commit", core.store.commit(batch).await)?;
    drop(session);
    login.deliver();
    if let Some(room) = portal.room_id.as_deref() {
        // A reaction that was replaced is redacted.
        core.wake_sends(&core.room(room)?);
    }
    Ok(())
}

/// Drops a session that cannot be used any more, and has the room tried again at once.
async fn renew(core: &Arc<Core>, mut session: Session, now: store::Millis) -> Result<(), Hold> {
    let mut batch = Batch::new();
    session.drop_session();
    session.save(&mut batch, now);
    core.store.commit(batch).await?;
    Err(Hold::after(Duration::ZERO))
}

/// Opens the session with a contact; fetches the contact's keys first where there is none.
pub(crate) async fn open_session(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
) -> Result<Session, Hold> {
    let session = core.sessions.open(login, peer).await?;
    if session.is_established() {
        return Ok(session);
    }
    // The network is asked without the lock; somebody else may have opened the session meanwhile.
    drop(session);
    let bundle = directory::bundle(core, login, peer).await?;
    let mut session = core.sessions.open(login, peer).await?;
    if !session.is_established() {
        match session.establish(&bundle).await {
            Ok(()) => {}
            Err(SessionError::Signal(error)) => {
                tracing::warn!(peer = %core.log_id(peer), %error, "the gatekeeper gave unusable keys for a contact");
                return Err(Hold::failed(&error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(session)
}

/// Nobody is enlisted for this portal any more: says so, once for each message.
async fn without_login(
    core: &Arc<Core>,
    portal: &Portal,
    ready: Vec<Ready>,
    batch: Batch,
) -> Result<(), Hold> {
    if !batch.is_empty() {
        core.store.commit(batch).await?;
    }
    for message in ready {
        let mut done = Batch::new();
        inbox::done(&mut done, message.seq);
        let notice = Notice::no_login(&message.event_id, core, &portal.login);
        notices::post(core, portal, notice, done).await?;
    }
    Ok(())
}

/// Tells the sender why a message does not go.
async fn refuse(
    core: &Arc<Core>,
    portal: &Portal,
    event: &inbox::Event,
    text: String,
) -> Result<(), Hold> {
    let mut batch = Batch::new();
    inbox::done(&mut batch, event.seq);
    notices::post(
        core,
        portal,
        Notice::not_sent(&event.event_id, &text),
        batch,
    )
    .await
}

/// A room key is missing. The room waits for it a while, then goes on; the event is kept and is sent when the key
/// comes, however late.
async fn without_key(
    core: &Arc<Core>,
    portal: &Portal,
    event: &inbox::Event,
    withheld: Option<&str>,
) -> Result<(), Hold> {
    if event.state == inbox::State::WaitingKey {
        return Ok(());
    }
    core.sweep_soon(&portal.ghost);
    let waited = core.waited(&event.event_id, event.received_ts);
    let patience = i64::try_from(KEY_PATIENCE.as_millis()).unwrap_or(i64::MAX);
    // A key that is kept back on purpose will not come.
    if withheld.is_none() && waited < patience {
        return Err(Hold::after(Duration::from_millis(
            (patience - waited).unsigned_abs(),
        )));
    }
    tracing::warn!(event = %LogId::of(&event.event_id), withheld, "a room key has not come; the event is kept until it does");
    let mut batch = Batch::new();
    inbox::put_off(
        &mut batch,
        event.seq,
        inbox::State::WaitingKey,
        event.attempts,
        0,
        "room key missing",
    );
    notices::post(
        core,
        portal,
        Notice::no_key(&event.event_id, withheld),
        batch,
    )
    .await
}

/// What an event is about waits for its room key: the event stays in the inbox behind it, while the room goes on.
async fn behind(core: &Arc<Core>, portal: &Portal, event: &inbox::Event) -> Result<(), Hold> {
    if event.state == inbox::State::WaitingKey {
        return Ok(());
    }
    let mut batch = Batch::new();
    inbox::put_off(
        &mut batch,
        event.seq,
        inbox::State::WaitingKey,
        event.attempts,
        0,
        "what it is about waits for its room key",
    );
    let notice = Notice::no_key(&event.event_id, None);
    notices::post(core, portal, notice, batch).await
}

/// A message that was sent before, read from the homeserver and composed again; nothing if it is gone.
pub(crate) async fn read_again(
    core: &Arc<Core>,
    portal: &Portal,
    message: &messages::Message,
) -> Result<Option<Body>, Hold> {
    let Some(event_id) = message.event_id.as_deref() else {
        return Ok(None);
    };
    let ghost = core.ghost(&portal.ghost).await?;
    let room = core.room(&message.room_id)?;
    let event_id =
        EventId::parse(event_id).map_err(|_| Hold::damaged("a stored event id is damaged"))?;
    let Some(event) = ghost.get_event(&room, &event_id).await? else {
        return Ok(None);
    };
    // The chat may have another room by now: the event was encrypted in its own.
    let portal = Portal {
        room_id: Some(message.room_id.clone()),
        ..portal.clone()
    };
    compose::again(core, &portal, message, &event).await
}

/// Whether an event of a portal's room has been deleted, as the homeserver has it now.
pub(crate) async fn is_deleted(
    core: &Arc<Core>,
    portal: &Portal,
    event_id: &str,
) -> Result<bool, Hold> {
    let (Some(room), Ok(event_id)) = (portal.room_id.as_deref(), EventId::parse(event_id)) else {
        return Ok(false);
    };
    let ghost = core.ghost(&portal.ghost).await?;
    match ghost.get_event(&core.room(room)?, &event_id).await {
        Ok(event) => Ok(event.is_some_and(|event| is_redacted(event.json().get()))),
        Err(error) if error.is_retryable() => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// An event of a portal's room as its ghost reads it now; nothing if it is gone or unreadable.
pub(crate) async fn read_event(
    core: &Arc<Core>,
    portal: &Portal,
    event_id: &str,
) -> Result<Option<Value>, Hold> {
    let (Some(room), Ok(event_id)) = (portal.room_id.as_deref(), EventId::parse(event_id)) else {
        return Ok(None);
    };
    let ghost = core.ghost(&portal.ghost).await?;
    let room = core.room(room)?;
    let event = match ghost.get_event(&room, &event_id).await {
        Ok(Some(event)) => event,
        Ok(None) => return Ok(None),
        Err(error) if error.is_retryable() => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    match ghost.decrypt(&room, event.cast_ref_unchecked()).await {
        Ok(decrypted) => Ok(decrypted.raw.deserialize_as_unchecked().ok()),
        Err(DecryptError::Puppet(error)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}
