//! WhatsApp to Matrix: from a `<message>` stanza to an event in the table of sends.
//!
//! Messages of one contact are taken in order, those of different contacts side by side. Decrypt, translate, encrypt to
//! the room, and one commit: Signal ratchet, Megolm ratchet, event to send, message row. Only then goes the delivery
//! receipt, which takes the message out of the gatekeeper's mailbox. Whatever fails before leaves the message there.

mod place;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use failpoints::Breakage;
use gatekeeper::{
    message::{self, Body},
    signal::{EncKind, SignalError},
    stanza::Node,
    stanzas::{Enc, IncomingMessage},
};
use puppeting::Puppet;
use ruma::{EventId, OwnedRoomId};
use serde_json::Value;
use store::{
    Batch, messages,
    portals::Portal,
    quarantine as store_quarantine,
    undecryptable::{self, Undecryptable},
};

use crate::{
    core::{Core, Wake},
    lanes::Lanes,
    media, outgoing,
    passes::{Hold, caught},
    placeholders, portals, quarantine, retries,
    sessions::{Session, SessionError},
};

/// Messages of one contact that are kept here while they wait. The gatekeeper has them all; what does not fit is asked for
/// again.
const WAITING: usize = 256;
/// Messages of one contact that share a commit.
const AT_ONCE: usize = 32;

/// A login and a contact.
type Chat = (String, String);

/// Messages that have come and are not in the database yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    waiting: Mutex<HashMap<Chat, Queue>>,
    /// Chats with a message that stays unreadable and nothing in the room that says so.
    unannounced: Mutex<HashSet<Chat>>,
    /// Chats with messages that were set aside and are to be tried again.
    brought_back: Mutex<HashSet<Chat>>,
    lanes: Lanes<Chat>,
}

/// What waits in one chat.
#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<IncomingMessage>,
    /// Some did not fit. None after them may be handled before they have come again, or their order is lost.
    overflowed: bool,
    attempts: u32,
    /// Tries of the first one that failed for a reason that lasts.
    tries: u32,
}

impl Incoming {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            unannounced: Mutex::default(),
            brought_back: Mutex::default(),
            lanes: Lanes::new(at_once),
        }
    }

    /// Has a placeholder put into a chat for each message that could not be read yet, in its turn.
    pub(crate) fn announce(&self, core: &Arc<Core>, chat: Chat) {
        self.unannounced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(chat.clone());
        self.wake(core, chat);
    }

    /// Has messages that were set aside tried again.
    pub(crate) async fn take_up(&self, core: &Arc<Core>, login: &str) {
        let peers = match store_quarantine::due_peers(&core.store, login).await {
            Ok(peers) => peers,
            Err(error) => {
                tracing::warn!(login = %core.log_id(login), %error, "what was brought back cannot be read; it is tried at the next connection");
                return;
            }
        };
        for peer in peers {
            let chat = (login.to_owned(), peer);
            self.brought_back
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(chat.clone());
            self.wake(core, chat);
        }
    }

    fn is_brought_back(&self, chat: &Chat) -> bool {
        self.brought_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(chat)
    }

    fn is_unannounced(&self, chat: &Chat) -> bool {
        self.unannounced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(chat)
    }

    /// Takes a message from a connection. Does not wait.
    pub(crate) fn take(&self, core: &Arc<Core>, login: &str, message: IncomingMessage) {
        let chat = (login.to_owned(), core.peer_id(message.sender()));
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = waiting.entry(chat.clone()).or_default();
            if queue.overflowed || queue.messages.len() >= WAITING {
                queue.overflowed = true;
                return;
            }
            queue.messages.push_back(message);
        }
        self.wake(core, chat);
    }

    /// Sees to it that a chat is looked at, if anything waits in it.
    pub(crate) fn nudge(&self, core: &Arc<Core>, login: &str, peer: &str) {
        let chat = (login.to_owned(), peer.to_owned());
        let waits = {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.contains_key(&chat)
        };
        if waits {
            self.wake(core, chat);
        }
    }

    /// Sees to it that a chat is looked at.
    pub(crate) fn wake(&self, core: &Arc<Core>, chat: Chat) {
        let core = core.clone();
        self.lanes.wake(chat, move |chat| {
            let core = core.clone();
            async move { pass(&core, chat).await }
        });
    }

    fn front(&self, chat: &Chat, count: usize) -> Vec<IncomingMessage> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting
            .get(chat)
            .map(|queue| queue.messages.iter().take(count).cloned().collect())
            .unwrap_or_default()
    }

    fn finished(&self, chat: &Chat, count: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = waiting.get_mut(chat) {
            queue.messages.drain(..count.min(queue.messages.len()));
            queue.attempts = 0;
            queue.tries = 0;
        }
    }

    /// Counts a try of the first message; says how many there were.
    fn tried(&self, chat: &Chat) -> u32 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get_mut(chat).map_or(0, |queue| {
            queue.tries += 1;
            queue.tries
        })
    }

    /// Drops what waits in a chat.
    fn forget(&self, chat: &Chat) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(chat);
    }

    /// Notes a failure; says how many there were in a row.
    fn failed(&self, chat: &Chat) -> u32 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get_mut(chat).map_or(0, |queue| {
            queue.attempts += 1;
            queue.attempts - 1
        })
    }

    /// Forgets an empty queue; true if messages were left with the gatekeeper.
    fn close(&self, chat: &Chat) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get(chat) {
            Some(queue) if queue.messages.is_empty() => {
                waiting.remove(chat).is_some_and(|queue| queue.overflowed)
            }
            _ => false,
        }
    }
}

/// Works on one chat until nothing waits or something is in the way.
async fn pass(core: &Arc<Core>, chat: Chat) {
    if core.incoming.is_unannounced(&chat) {
        // What fails here is looked for again before long.
        placeholders::put(core, &chat.0, &chat.1).await;
    }
    if core.incoming.is_brought_back(&chat)
        && let Err(hold) = caught(Box::pin(again(core, &chat))).await
    {
        tracing::warn!(
            login = %core.log_id(&chat.0), reason = %hold.reason,
            "what was set aside waits; it is tried again at the next connection"
        );
    }
    let mut size = AT_ONCE;
    loop {
        if core.logins.get(&chat.0).is_none() {
            // Its login has ended. Whatever is left is still in the mailbox.
            core.incoming.forget(&chat);
            return;
        }
        let messages = core.incoming.front(&chat, size);
        if messages.is_empty() {
            if core.incoming.close(&chat)
                && let Some(login) = core.logins.get(&chat.0)
            {
                // The mailbox is drained at each connection: this brings what did not fit.
                login.connection.reconnect();
            }
            return;
        }
        let first = messages.first().cloned();
        let alone = messages.len() == 1;
        // Boxed, because it is large.
        match caught(Box::pin(handle(core, &chat.0, &chat.1, messages))).await {
            Ok(count) => {
                core.incoming.finished(&chat, count);
            }
            // One of them fails and takes the others with it: one at a time shows which.
            Err(hold) if hold.lasting && !alone => size = 1,
            Err(hold) => {
                if hold.lasting
                    && core.incoming.tried(&chat) >= core.config.limits.tries
                    && let Some(first) = &first
                    && set_aside(core, &chat, first, &hold.reason).await
                {
                    core.incoming.finished(&chat, 1);
                    size = AT_ONCE;
                    continue;
                }
                let attempts = core.incoming.failed(&chat);
                let delay = hold
                    .after
                    .unwrap_or_else(|| crate::later::backoff(attempts));
                if !hold.is_usual() {
                    tracing::warn!(
                        login = %core.log_id(&chat.0), peer = %core.log_id(&chat.1), reason = %hold.reason, ?delay,
                        "messages from WhatsApp wait"
                    );
                }
                core.later
                    .wake_after(crate::core::Wake::Chat(chat.0, chat.1), delay);
                return;
            }
        }
    }
}

/// Keeps a message that cannot be handled, and takes it out of the mailbox; says whether that was possible.
async fn set_aside(core: &Arc<Core>, chat: &Chat, message: &IncomingMessage, why: &str) -> bool {
    if let Err(hold) = quarantine::keep_stanza(core, &chat.0, &chat.1, message, why).await {
        tracing::warn!(login = %core.log_id(&chat.0), reason = %hold.reason, "a message cannot be set aside");
        return false;
    }
    if let Some(login) = core.logins.get(&chat.0) {
        for receipt in core.profile.taken(message) {
            // Not connected: the message comes again at the next connection, and is known then.
            let _ = login.connection.send(receipt).await;
        }
    }
    true
}

/// Tries messages once more that were set aside.
async fn again(core: &Arc<Core>, chat: &Chat) -> Result<(), Hold> {
    let (login, peer) = chat;
    for row in store_quarantine::due(&core.store, login, peer).await? {
        let Some(message) = quarantine::stanza_of(&row) else {
            quarantine::keep_damaged(core, row).await?;
            continue;
        };
        match caught(handle_one(core, login, peer, message.clone())).await {
            Ok(()) => {
                let mut batch = Batch::new();
                store_quarantine::done(&mut batch, login, peer, &message.id);
                failpoints::around!("incoming.back.commit", core.store.commit(batch).await)?;
            }
            Err(hold) if hold.lasting => {
                quarantine::keep_stanza(core, login, peer, &message, &hold.reason).await?;
            }
            Err(hold) => return Err(hold),
        }
    }
    Ok(())
}

async fn handle_one(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    message: IncomingMessage,
) -> Result<(), Hold> {
    Box::pin(handle(core, login, peer, vec![message]))
        .await
        .map(drop)
}

/// Handles messages of one contact, oldest first; says how many from the front are done.
async fn handle(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    stanzas: Vec<IncomingMessage>,
) -> Result<usize, Hold> {
    let mut finished = stanzas.len();
    let order: Vec<String> = stanzas.iter().map(|stanza| stanza.id.clone()).collect();
    let known = known(core, login, peer, &stanzas).await?;
    let mut receipts: Vec<Node> = Vec::new();
    let mut fresh = Vec::new();
    let mut seen = HashSet::new();
    for stanza in stanzas {
        if known.contains(&stanza.id) {
            // It came before and its receipt did not arrive.
            receipts.extend(core.profile.taken(&stanza));
        } else if seen.insert(stanza.id.clone()) {
            fresh.push(stanza);
        }
        // Else the gatekeeper sent it twice: one receipt does for both, and only when it is written.
    }
    if !fresh.is_empty() {
        let (portal, room) = portals::ensure(core, login, peer).await?;
        let ghost = core.ghost(&portal.ghost).await?;
        ghost.prepare(&room, &core.readers(&portal)?).await?;
        let chat = Chatting {
            core,
            portal: &portal,
            room: &room,
            ghost: &ghost,
        };
        let mut shown = Shown::new();
        // What has to be looked up in the room is looked up between two attempts: nothing is asked of the network under the
        // session's lock.
        let (written, given) = loop {
            match chat.write(&fresh, &shown).await? {
                Attempt::Written(count, receipts) => break (count, receipts),
                Attempt::Wants(event) => {
                    let found = outgoing::read_event(core, &portal, &event).await?;
                    shown.insert(event, found);
                }
            }
        };
        if written < fresh.len() {
            let next = fresh.get(written).map(|stanza| &stanza.id);
            let place = order.iter().position(|id| Some(id) == next);
            finished = place.unwrap_or(0);
        }
        receipts.extend(given);
    }
    give(core, login, receipts).await;
    Ok(finished)
}

/// Sends delivery receipts. Not connected: the messages come again at the next connection, and are known then.
async fn give(core: &Core, login: &str, receipts: Vec<Node>) {
    let Some(login) = core.logins.get(login) else {
        return;
    };
    for receipt in receipts {
        let sent = failpoints::around!("incoming.receipt", login.connection.send(receipt).await);
        if sent.is_err() {
            return;
        }
    }
}

/// Which of these messages came before. A message whose ciphertext came before would be found out by decrypting; this is also
/// for what was encrypted anew, comes from the mailbox again, or has an id that was used already.
async fn known(
    core: &Arc<Core>,
    login: &str,
    peer: &str,
    stanzas: &[IncomingMessage],
) -> Result<HashSet<String>, Hold> {
    let mut known = HashSet::new();
    for stanza in stanzas {
        let row = messages::get(&core.store, login, peer, &stanza.id).await?;
        if row.is_some() {
            known.insert(stanza.id.clone());
        }
    }
    Ok(known)
}

/// Events of a room that were read again, in the clear: nothing for those that are gone or unreadable.
type Shown = HashMap<String, Option<Value>>;

/// What came of an attempt to write messages down.
enum Attempt {
    /// So many from the front are written, and these receipts may go.
    Written(usize, Vec<Node>),
    /// Nothing is written: what this event shows must be known first.
    Wants(String),
}

/// A chat whose messages are handled.
struct Chatting<'a> {
    core: &'a Arc<Core>,
    portal: &'a Portal,
    room: &'a OwnedRoomId,
    ghost: &'a Arc<Puppet>,
}

impl Chatting<'_> {
    /// Decrypts and translates messages and writes them down in one commit, as many as go together.
    async fn write(&self, fresh: &[IncomingMessage], shown: &Shown) -> Result<Attempt, Hold> {
        let Self {
            core,
            portal,
            room,
            ghost,
        } = *self;
        let (login, peer) = (&portal.login, &portal.peer);
        let mut unread = undecryptable::of_chat(&core.store, login, peer).await?;
        let may_stand =
            |stanza: &IncomingMessage| placeholders::may_be_sent(core, unread.get(&stanza.id));
        if fresh.iter().any(may_stand) {
            // A crash came between a placeholder and the note of its event: the same request tells the event.
            placeholders::try_put(core, login, peer).await?;
            unread = undecryptable::of_chat(&core.store, login, peer).await?;
        }
        self.leave_behind(fresh, &mut unread).await?;
        let mut work = Work {
            core,
            unread,
            portal,
            room,
            ghost,
            shown,
            wanted: None,
            session: core
                .sessions
                .open(login, peer)
                .await
                .map_err(|error| Hold::failed(&error))?,
            batch: Batch::new(),
            receipts: Vec::new(),
            retries: Vec::new(),
            count: 0,
            placed: HashSet::new(),
            timer: portal.timer,
            fades: false,
        };
        for stanza in fresh {
            match work.one(stanza).await {
                Ok(()) => {}
                // What went before is written; this one is tried again, with a new room key if that was missing.
                Err(_) if work.count > 0 => break,
                Err(hold) => match work.wanted.take() {
                    Some(event) => return Ok(Attempt::Wants(event)),
                    None => return Err(hold),
                },
            }
        }
        let Work {
            session,
            mut batch,
            mut receipts,
            retries: again,
            count,
            fades,
            ..
        } = work;
        session.save(&mut batch, core.now());
        if failpoints::is_broken(Breakage::EarlyAnswers) {
            give(core, login, std::mem::take(&mut receipts)).await;
            tokio::time::sleep(failpoints::LATE).await;
        }
        failpoints::around!("incoming.commit", ghost.commit_with(batch).await)?;
        drop(session);
        for stanza in fresh.iter().take(count) {
            media::fetched(core, login, peer, &stanza.id);
        }
        core.wake_sends(room);
        if fades {
            core.wake(Wake::Fading);
        }
        for retry in again {
            retries::ask(core, login, retry).await;
        }
        Ok(Attempt::Written(count, receipts))
    }

    /// Forgets placeholders that stand in a room that the user has left since: no room shows what relates to an event of
    /// another one, so their messages come as ones of their own.
    async fn leave_behind(
        &self,
        fresh: &[IncomingMessage],
        unread: &mut HashMap<String, Undecryptable>,
    ) -> Result<(), Hold> {
        for stanza in fresh {
            let Some(row) = unread.get_mut(&stanza.id) else {
                continue;
            };
            let Some(event) = row.placeholder.as_deref() else {
                continue;
            };
            let here = match EventId::parse(event) {
                Ok(event) => match self.ghost.get_event(self.room, &event).await {
                    Ok(found) => found.is_some(),
                    Err(error) if error.is_retryable() => return Err(error.into()),
                    Err(_) => false,
                },
                Err(_) => false,
            };
            if !here {
                row.placeholder = None;
            }
        }
        Ok(())
    }
}

/// What goes into one commit.
struct Work<'a> {
    core: &'a Arc<Core>,
    /// Messages of this chat that could not be read before.
    unread: HashMap<String, Undecryptable>,
    portal: &'a Portal,
    room: &'a OwnedRoomId,
    ghost: &'a Arc<Puppet>,
    /// What was read again in the room before.
    shown: &'a Shown,
    /// The event that has to be read before the message can be handled that has just failed.
    wanted: Option<String>,
    session: Session,
    batch: Batch,
    receipts: Vec<Node>,
    retries: Vec<retries::Ask>,
    /// Messages that are in it whole.
    count: usize,
    /// Stanza ids of what it holds and of what that is about: what comes next about one of them needs the commit first.
    placed: HashSet<String>,
    /// After how many seconds messages of this chat disappear.
    timer: u32,
    /// Whether it holds a message that will disappear.
    fades: bool,
}

impl Work<'_> {
    /// Decrypts, translates and encrypts one message. If that fails, it leaves nothing behind.
    async fn one(&mut self, stanza: &IncomingMessage) -> Result<(), Hold> {
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

    async fn decrypt(&mut self, stanza: &IncomingMessage) -> Result<Decrypted, Hold> {
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
