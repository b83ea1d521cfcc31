//! What the owner of a phone sends.

use std::sync::Arc;

use gatekeeper::{
    message::{Body, Context, MediaKind},
    padding::pad,
};

pub(crate) use super::foreign::Foreign;
use super::{
    Phone, SendError, SentMessage,
    log::{Entry, MediaState, Place},
};
use crate::{account::Account, faults::MediaFault, media::Shelf, world::World};

/// Content of a message.
#[derive(Debug)]
pub(crate) enum Content {
    /// What partners' users understand.
    Plain(Body),
    /// A file: the body, and its name on the media server.
    File(Body, String),
    /// What they need not understand.
    Foreign(Foreign),
}

/// Where a message stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Its own id; without it a fresh one.
    pub id: Option<String>,
    /// Id of the message that it answers.
    pub reply_to: Option<String>,
    /// After how many seconds it disappears; without it as the chat's timer says.
    pub expiration: Option<u32>,
    /// Whether it was written elsewhere before.
    pub forwarded: bool,
}

impl Phone {
    /// Sends a message; returns its id.
    pub(crate) fn send(
        &self,
        world: &World,
        account: &Arc<Account>,
        content: Content,
        standing: &Standing,
    ) -> Result<String, SendError> {
        let mut inner = self.lock();
        self.check(&inner, account)?;
        let id = match &standing.id {
            Some(id) if inner.has(account, id) => return Err(SendError::IdTaken(id.clone())),
            Some(id) => id.clone(),
            None => world.fresh_id(),
        };
        let (mut body, name) = match content {
            Content::Plain(body) => (body, None),
            Content::File(body, name) => (body, Some(name)),
            Content::Foreign(foreign) => {
                let message = SentMessage {
                    plaintext: pad(foreign.encode(), rand::random()),
                    kind: foreign.stanza_type().to_owned(),
                    media_type: None,
                    edit: None,
                    hidden: false,
                    retries: 0,
                };
                let mut entry = Entry::new(id.clone(), true, foreign.word(), world.clock.now_ms());
                match foreign {
                    Foreign::Poll { question, .. } => entry.text = Some(question),
                    Foreign::GroupInvitation(group) => entry.text = Some(group),
                    Foreign::LiveLocation {
                        latitude,
                        longitude,
                    } => {
                        entry.location = Some(Place {
                            latitude,
                            longitude,
                            name: None,
                            address: None,
                            accuracy: None,
                        });
                    }
                    Foreign::Call | Foreign::Unknown | Foreign::Raw(_) => {}
                }
                let kind = inner.dispatch(world, self, account, &id, message)?;
                entry.encrypted = Some(kind.into());
                inner.append(world, self, account, entry);
                return Ok(id);
            }
        };
        let answered = standing.reply_to.as_deref();
        let context = Context {
            reply_to: answered
                .map(|id| inner.quote(self, account, id))
                .transpose()?,
            expiration: standing
                .expiration
                .or_else(|| inner.timers.get(&account.jid).copied())
                .filter(|seconds| *seconds > 0),
            forwarded: standing.forwarded,
        };
        if let Some(slot) = body.context_mut() {
            *slot = context;
        }
        let kind = inner.say(world, self, account, &id, &as_told(world, &body))?;
        let mut entry = Entry::new(id.clone(), true, "text", world.clock.now_ms());
        entry.say(&body);
        entry.encrypted = Some(kind.into());
        if let Body::Timer { seconds } = body {
            inner.timers.insert(account.jid.clone(), seconds);
        }
        entry.media = name.as_ref().map(|_| MediaState::Ready);
        let file = name.map(|name| (Shelf::Hosted, name));
        inner.hold(&account.jid, &id, &body, file);
        inner.append(world, self, account, entry);
        Ok(id)
    }
}

/// A message as it is told: with the fault that is on, something of its file is not true.
fn as_told(world: &World, body: &Body) -> Body {
    let mut body = body.clone();
    if let Body::Media(media) = &mut body {
        let file = &mut media.file;
        match world.faults().media {
            Some(MediaFault::WrongHash) => file.sha256[0] ^= 0x55,
            Some(MediaFault::WrongEncHash) => file.enc_sha256[0] ^= 0x55,
            Some(MediaFault::Shorter) => file.length /= 2,
            Some(MediaFault::Longer) => file.length = file.length.saturating_mul(2) + 100,
            _ => {}
        }
    }
    body
}

/// What a file of this kind is, if nobody says.
pub(crate) fn usual_type(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image/jpeg",
        MediaKind::Video | MediaKind::Gif | MediaKind::RoundVideo => "video/mp4",
        MediaKind::Audio => "audio/mpeg",
        MediaKind::Voice => "audio/ogg; codecs=opus",
        MediaKind::Document => "application/octet-stream",
        MediaKind::Sticker => "image/webp",
    }
}
