//! A file that could not be fetched is asked for again: with a 🔁 on the message that stands in its place.

use std::sync::Arc;

use gatekeeper::message;
use serde_json::json;
use store::{Batch, inbox, media, messages, portals::Portal, sends};

use super::{
    incoming::{Chat, Fetching, File, ask, fetched},
    transfers::Progress,
};
use crate::{
    core::{Core, Wake},
    ids,
    passes::Hold,
    posting,
    translate::media::event as translated,
};

/// A missing file that is asked for again.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Login, contact and stanza id of its message.
    key: Chat,
    /// The event that stands in its place.
    target: String,
    file: File,
}

/// The file that a reaction asks for again, if that is what it does.
pub(crate) async fn wanted(
    core: &Core,
    portal: &Portal,
    target: &str,
    emoji: &str,
) -> Result<Option<Wanted>, Hold> {
    if !matches!(emoji.trim_end_matches('\u{fe0f}'), "🔁" | "🔄") {
        return Ok(None);
    }
    let Some(message) = messages::by_event(&core.store, target).await? else {
        return Ok(None);
    };
    if message.login != portal.login || message.peer != portal.peer || message.gone {
        return Ok(None);
    }
    let (login, peer, stanza_id) = (message.login, message.peer, message.stanza_id);
    let Some(row) = media::missing(&core.store, &login, &peer, &stanza_id).await? else {
        return Ok(None);
    };
    let file = message::decode(&row.content)
        .ok()
        .and_then(|body| File::of(&body));
    Ok(file.map(|file| Wanted {
        key: (login, peer, stanza_id),
        target: target.to_owned(),
        file,
    }))
}

/// Fetches a file that `event` asks for: the room waits for it. Then the file is in the room, or a word why it still is not,
/// and the reaction is done with.
///
/// # Errors
///
/// A [`Hold`] while the file is on its way.
pub(crate) async fn again(
    core: &Arc<Core>,
    portal: &Portal,
    event: &inbox::Event,
    wanted: Wanted,
) -> Result<(), Hold> {
    let Wanted { key, target, file } = wanted;
    let room = core.room(&event.room_id)?;
    let (waker, inbox_of) = (core.clone(), room.clone());
    let ended = move || waker.wake(Wake::Inbox(inbox_of));
    let Progress::Ended(outcome) = ask(core, portal, &key, file.clone(), ended) else {
        return Err(Hold::for_a_file());
    };
    let (login, peer, stanza_id) = (&key.0, &key.1, &key.2);
    let mut batch = Batch::new();
    let (part, mut answer) = match outcome {
        Fetching::Done(uploaded) => {
            media::found(&mut batch, login, peer, stanza_id);
            ("again".to_owned(), translated(&file.media, &uploaded))
        }
        Fetching::Lost(lost) => (event.event_id.clone(), lost.placeholder(&file.media)),
        // The room does not wait for a server that is away: the user can ask again.
        Fetching::Failed(_) => (
            event.event_id.clone(),
            json!({
                "msgtype": "m.notice",
                "body": "⚠️ It cannot be fetched now: the server does not answer. Take the 🔁 back and set it again later.",
            }),
        ),
    };
    let is_file = part == "again";
    answer["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": target } });
    let ghost = core.ghost(&portal.ghost).await?;
    ghost.prepare(&room, &core.readers(portal)?).await?;
    let encrypted = ghost
        .encrypt(&room, "m.room.message", core.raw(&answer)?)
        .await?;
    let own = |id: &String| is_file.then(|| id.clone());
    sends::put(
        &mut batch,
        sends::NewSend {
            // The message is the file's event from now on.
            login: own(login),
            peer: own(peer),
            stanza_id: own(stanza_id),
            ..posting::event(
                &ghost,
                &room,
                ids::transaction_id(login, peer, stanza_id, &part),
                "m.room.encrypted",
                encrypted.json().get(),
                core.now(),
            )
        },
    );
    inbox::done(&mut batch, event.seq);
    failpoints::around!("again.commit", ghost.commit_with(batch).await)?;
    fetched(core, login, peer, stanza_id);
    core.wake_sends(&room);
    Ok(())
}
