//! Matrix to WhatsApp: from the inbox of a portal's room to stanzas in the outbox.
//!
//! Events are taken in order. What can be decrypted, translated and encrypted is written in one commit: ratchet,
//! stanzas, message rows, finished inbox rows. [`crate::delivery`] then sends the stanzas.

use std::{sync::Arc, time::Duration};

use gatekeeper::{
    message,
    signal::SignalError,
    stanzas::{self, Enc},
};
use puppeting::DecryptError;
use ruma::{
    EventId,
    events::{AnyTimelineEvent, room::message::RoomMessageEventContent},
    serde::Raw,
};
use store::{Batch, LogId, inbox, messages, outbox, portals::Portal};

use crate::{
    core::Core,
    directory,
    notices::{self, Notice},
    passes::Hold,
    sessions::{Session, SessionError},
    translate,
};

/// How long a portal waits for a room key before it goes on without the message.
const KEY_PATIENCE: Duration = Duration::from_secs(30);

/// A message ready to be encrypted for WhatsApp.
struct Ready {
    seq: i64,
    event_id: String,
    ts: i64,
    content: Vec<u8>,
}

/// What became of an event when it was read.
enum Read {
    /// It goes to WhatsApp.
    Message(Vec<u8>),
    /// It is nothing for WhatsApp, and nobody need be told.
    Nothing,
    /// It cannot go: the sender is told why.
    Refused(String),
    /// Its room key is not here (yet); with the code under which its sender's client keeps it back, if it said so.
    NoKey(Option<String>),
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
    let mut ready = Vec::new();
    let mut done = Batch::new();
    for event in events {
        match read(core, portal, &event).await? {
            Read::Message(content) => ready.push(Ready {
                seq: event.seq,
                event_id: event.event_id,
                ts: event.received_ts,
                content,
            }),
            Read::Nothing => inbox::done(&mut done, event.seq),
            Read::Refused(text) => {
                send(
                    core,
                    portal,
                    std::mem::take(&mut ready),
                    std::mem::take(&mut done),
                )
                .await?;
                refuse(core, portal, &event, text).await?;
            }
            Read::NoKey(withheld) => {
                send(
                    core,
                    portal,
                    std::mem::take(&mut ready),
                    std::mem::take(&mut done),
                )
                .await?;
                without_key(core, portal, &event, withheld.as_deref()).await?;
            }
        }
    }
    send(core, portal, ready, done).await
}

/// Decrypts and translates one event.
async fn read(core: &Arc<Core>, portal: &Portal, event: &inbox::Event) -> Result<Read, Hold> {
    if event.sender != portal.login {
        return Ok(Read::Nothing);
    }
    match event.kind.as_str() {
        "m.room.encrypted" => {}
        "m.room.message" | "m.sticker" => {
            return Ok(Read::Refused(
                "this chat carries encrypted messages only, and this one was not encrypted. Turn on encryption in the room's settings and write it again".to_owned(),
            ));
        }
        // A reaction is not encrypted by most clients, nor a redaction by any.
        kind => {
            let refusal = translate::refusal_for(kind);
            return Ok(refusal.map_or(Read::Nothing, |refusal| Read::Refused(refusal.to_string())));
        }
    }
    let Some(room_id) = portal.room_id.as_deref() else {
        return Ok(Read::Nothing);
    };
    let ghost = core.ghost(&portal.ghost).await?;
    let Ok(raw) = serde_json::from_str(&event.body).map(Raw::from_json) else {
        return Ok(Read::Refused("it is damaged".to_owned()));
    };
    let room_id = core.room(room_id)?;
    match ghost.decrypt(&room_id, &raw).await {
        Ok(decrypted) => Ok(content(core, portal, &decrypted.raw)),
        Err(DecryptError::MissingKey { withheld, .. }) => Ok(Read::NoKey(withheld)),
        Err(DecryptError::Puppet(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(event = %core.log_id(&event.event_id), %error, "an event cannot be decrypted");
            Ok(Read::Refused("it cannot be decrypted".to_owned()))
        }
    }
}

/// What a decrypted event is for WhatsApp.
fn content(core: &Core, portal: &Portal, event: &Raw<AnyTimelineEvent>) -> Read {
    let kind = event
        .get_field::<String>("type")
        .ok()
        .flatten()
        .unwrap_or_default();
    if kind != "m.room.message" {
        return translate::refusal_for(&kind)
            .map_or(Read::Nothing, |refusal| Read::Refused(refusal.to_string()));
    }
    let Ok(Some(content)) = event.get_field::<RoomMessageEventContent>("content") else {
        return Read::Refused("it is damaged".to_owned());
    };
    let options = translate::Options {
        notices: false,
        max_chars: core.config.limits.text_chars,
    };
    match translate::to_whatsapp(&content, localpart(&portal.login), &options) {
        Ok(Some(body)) => match message::encode(&body) {
            Ok(content) => Read::Message(content),
            Err(error) => Read::Refused(error.to_string()),
        },
        Ok(None) => Read::Nothing,
        Err(refusal) => Read::Refused(refusal.to_string()),
    }
}

/// The name that an emote begins with. The other side sees the whole id anyway.
fn localpart(user: &str) -> &str {
    user.trim_start_matches('@')
        .split(':')
        .next()
        .unwrap_or(user)
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
            core.store.commit(batch).await?;
        }
        return Ok(());
    }
    let Some(login) = core.logins.get(&portal.login) else {
        return without_login(core, portal, ready, batch).await;
    };
    let peer = directory::parse(&portal.peer)?;
    let mut session = open_session(core, &portal.login, &portal.peer).await?;
    let now = core.now();
    for message in ready {
        let id = stanzas::id::derived(&[&portal.login, &message.event_id]);
        let ciphertext = match session.encrypt(&message.content).await {
            Ok(ciphertext) => ciphertext,
            Err(SessionError::Signal(SignalError::NoSession)) => {
                // The open session belongs to an identity that the contact no longer has: the next attempt opens a new one.
                return renew(core, session, now).await;
            }
            Err(error) => return Err(Hold::failed(&error)),
        };
        let enc = Enc::new(ciphertext.kind.into(), ciphertext.bytes);
        let stanza = core.profile.message.message(peer.clone(), &id, "text", enc);
        let stanza = core.encode(&stanza.to_node())?;
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
                event_id: Some(message.event_id),
                room_id: portal.room_id.clone().unwrap_or_default(),
                direction: messages::Direction::Out,
                status: messages::Status::Pending,
                ts: message.ts,
                kind: messages::Kind::Message,
                target: None,
                gone: false,
            },
        );
        inbox::done(&mut batch, message.seq);
    }
    session.save(&mut batch, now);
    core.store.commit(batch).await?;
    drop(session);
    login.deliver();
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
    let session = core
        .sessions
        .open(login, peer)
        .await
        .map_err(|error| Hold::failed(&error))?;
    if session.is_established() {
        return Ok(session);
    }
    // The network is asked without the lock; somebody else may have opened the session meanwhile.
    drop(session);
    let bundle = directory::bundle(core, login, peer).await?;
    let mut session = core
        .sessions
        .open(login, peer)
        .await
        .map_err(|error| Hold::failed(&error))?;
    if !session.is_established() {
        match session.establish(&bundle).await {
            Ok(()) => {}
            Err(SessionError::Signal(error)) => {
                tracing::warn!(peer = %core.log_id(peer), %error, "the gatekeeper gave unusable keys for a contact");
                return Err(Hold::failed(&error));
            }
            Err(error) => return Err(Hold::failed(&error)),
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
        notices::post(core, portal, Notice::not_joined(&message.event_id), done).await?;
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
    let waited = core.now().saturating_sub(event.received_ts);
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

/// The content of a message that was sent before, read from the homeserver and decrypted again; nothing if it is gone.
pub(crate) async fn read_again(
    core: &Arc<Core>,
    portal: &Portal,
    room: &str,
    event_id: &str,
) -> Result<Option<Vec<u8>>, Hold> {
    let ghost = core.ghost(&portal.ghost).await?;
    let room = core.room(room)?;
    let event_id = EventId::parse(event_id).map_err(|_| Hold {
        after: None,
        reason: "a stored event id is damaged".to_owned(),
    })?;
    let Some(event) = ghost.get_event(&room, &event_id).await? else {
        return Ok(None);
    };
    match ghost.decrypt(&room, event.cast_ref_unchecked()).await {
        Ok(decrypted) => match content(core, portal, &decrypted.raw) {
            Read::Message(content) => Ok(Some(content)),
            _ => Ok(None),
        },
        Err(error) => Err(Hold::failed(&error)),
    }
}
