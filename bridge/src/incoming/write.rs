//! One commit: messages are decrypted, translated, encrypted to the room, and written together.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use gatekeeper::{
    message::{self, Body},
    signal::{EncKind, SignalError, Span, Turn},
    stanza::Node,
    stanzas::{Enc, IncomingMessage},
};
use puppeting::Puppet;
use ruma::OwnedRoomId;
use store::{
    Batch,
    portals::Portal,
    undecryptable::{self, Undecryptable},
};

use super::{Chat, handle::Shown, order};
use crate::{
    core::Core,
    passes::Hold,
    placeholders, retries,
    sessions::{Session, SessionError},
};

/// What goes into one commit.
pub(super) struct Work<'a> {
    pub(super) core: &'a Arc<Core>,
    /// Messages of this chat that could not be read before.
    pub(super) unread: HashMap<String, Undecryptable>,
    pub(super) portal: &'a Portal,
    pub(super) room: &'a OwnedRoomId,
    pub(super) ghost: &'a Arc<Puppet>,
    /// What was read again in the room before.
    pub(super) shown: &'a Shown,
    /// The event that has to be read before the message can be handled that has just failed.
    pub(super) wanted: Option<String>,
    /// Whether a message that comes before its turn waits.
    pub(super) patient: bool,
    /// What belongs before the message that has just been found to come before its turn.
    pub(super) missing: Option<Vec<Span>>,
    /// Whether later messages were read before this one.
    pub(super) is_late: bool,
    pub(super) session: Session,
    pub(super) batch: Batch,
    pub(super) receipts: Vec<Node>,
    pub(super) retries: Vec<retries::Ask>,
    /// Messages that are in it whole.
    pub(super) count: usize,
    /// Stanza ids of what it holds and of what that is about: what comes next about one of them needs the commit first.
    pub(super) placed: HashSet<String>,
    /// After how many seconds messages of this chat disappear.
    pub(super) timer: u32,
    /// Whether it holds a message that will disappear.
    pub(super) fades: bool,
}

impl Work<'_> {
    /// Decrypts, translates and encrypts one message. If that fails, it leaves nothing behind.
    pub(super) async fn one(&mut self, stanza: &IncomingMessage) -> Result<(), Hold> {
        let (before, receipts) = (self.session.snapshot(), self.receipts.len());
        let earlier = std::mem::take(&mut self.batch);
        let result = self.try_one(stanza).await;
        let own = std::mem::replace(&mut self.batch, earlier);
        match &result {
            Ok(()) => {
                self.batch.append(own);
                self.count += 1;
            }
            Err(_) => {
                self.session.restore(before);
                self.receipts.truncate(receipts);
            }
        }
        result
    }

    async fn try_one(&mut self, stanza: &IncomingMessage) -> Result<(), Hold> {
        match self.decrypt(stanza).await? {
            Decrypted::Content(body) => self.event(stanza, &body).await,
            Decrypted::Double => {
                self.receipts.extend(self.core.profile.taken(stanza));
                Ok(())
            }
            Decrypted::Unreadable(error) => self.unreadable(stanza, &error).await,
        }
    }

    /// Sees whether it is this message's turn.
    fn check_turn(&mut self, stanza: &IncomingMessage) -> Result<(), Hold> {
        self.is_late = false;
        let Some(position) = order::position(stanza) else {
            return Ok(());
        };
        match self.session.turn(&position) {
            Turn::Next => {}
            Turn::Late => self.is_late = true,
            Turn::After(missing) => {
                let missing = self.core.incoming.missing(&self.chat(), missing);
                if self.patient && !missing.is_empty() {
                    self.missing = Some(missing);
                    return Err(Hold::until("messages before it have not come"));
                }
            }
        }
        Ok(())
    }

    fn chat(&self) -> Chat {
        (self.portal.login.clone(), self.portal.peer.clone())
    }

    async fn decrypt(&mut self, stanza: &IncomingMessage) -> Result<Decrypted, Hold> {
        self.check_turn(stanza)?;
        let mut last = SignalError::NoSession;
        for Enc {
            kind, ciphertext, ..
        } in &stanza.encs
        {
            let Ok(kind) = kind.as_str().parse::<EncKind>() else {
                continue;
            };
            match self
                .session
                .decrypt(kind, ciphertext, &mut self.batch)
                .await
            {
                Ok(opened) => {
                    return Ok(Decrypted::Content(match message::decode(&opened.content) {
                        Ok(body) => body,
                        Err(error) => {
                            tracing::warn!(stanza = %self.core.log_id(&stanza.id), %error, "a message is damaged inside");
                            Body::Unknown {
                                kind: "damaged message".to_owned(),
                            }
                        }
                    }));
                }
                Err(SessionError::Signal(SignalError::Duplicate)) => return Ok(Decrypted::Double),
                Err(SessionError::Signal(error)) => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Decrypted::Unreadable(last))
    }

    /// Asks for the message again; after the last try, says in the room that one was lost.
    async fn unreadable(
        &mut self,
        stanza: &IncomingMessage,
        error: &SignalError,
    ) -> Result<(), Hold> {
        let (login, peer) = (&self.portal.login, &self.portal.peer);
        let tries = self.unread.get(&stanza.id).map_or(0, |row| row.retries);
        tracing::warn!(
            login = %self.core.log_id(login), stanza = %self.core.log_id(&stanza.id), %error, tries,
            "a message from WhatsApp cannot be decrypted; a retry receipt asks for it again"
        );
        if let Some(position) = order::position(stanza) {
            self.core.incoming.pass_over(&self.chat(), &position);
        }
        // What would have changed another message shows nothing of its own.
        let hidden = stanza.encs.iter().any(|enc| enc.decrypt_fail_hide);
        if tries >= u32::from(retries::LIMIT) {
            if hidden {
                undecryptable::done(&mut self.batch, login, peer, &stanza.id);
                self.receipts.extend(self.core.profile.taken(stanza));
                return Ok(());
            }
            return self.event(stanza, &placeholders::lost()).await;
        }
        undecryptable::count(&mut self.batch, login, peer, &stanza.id, self.core.now());
        if hidden {
            undecryptable::hide(&mut self.batch, login, peer, &stanza.id);
        }
        let count = u8::try_from(tries + 1).unwrap_or(u8::MAX);
        self.retries.push(retries::Ask::new(stanza, count, error));
        Ok(())
    }
}

/// What decryption made of a message.
enum Decrypted {
    Content(Body),
    /// It was decrypted before.
    Double,
    Unreadable(SignalError),
}
