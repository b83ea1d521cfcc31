//! The logins that are enlisted now: one connection each, and one task that follows what comes over it.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use gatekeeper::{
    assumed,
    connection::{Connection, Event, QueryError},
    profile::{FailureClass, RefusalClass},
    stanza::Node,
    stanzas::{IncomingMessage, Nack, Receipt, ReceiptKind, RetryReceipt, ServerAck},
};
use store::{Batch, LogId, logins, messages, outbox};
use tokio::sync::{Notify, mpsc};

use crate::{
    core::{Core, Wake},
    credentials::LoginCredentials,
    delivery::Courier,
    keys,
    later::backoff,
    media, notices,
    passes::Hold,
    reports,
    withdrawals::Withdrawals,
};

/// Stanzas that are looked at together, so that their rows share a commit.
const AT_ONCE: usize = 256;

/// Before what the database did not take is asked for again.
const AGAIN: Duration = Duration::from_secs(3);
/// The same where it may be something else that is wrong, which the next attempt hardly mends.
const AGAIN_AT_LAST: Duration = Duration::from_secs(60);

/// Handles of all running logins.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    running: Mutex<HashMap<String, Login>>,
}

/// A running login.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The channel to the gatekeeper.
    pub(crate) connection: Connection,
    /// What of the outbox may still be taken back.
    pub(crate) withdrawals: Arc<Withdrawals>,
    outbox: Arc<Notify>,
}

impl Login {
    /// Says that the outbox holds something new.
    pub(crate) fn deliver(&self) {
        self.outbox.notify_one();
    }
}

impl Logins {
    /// The handle of a login, if it runs.
    pub(crate) fn get(&self, mxid: &str) -> Option<Login> {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(mxid)
            .cloned()
    }

    /// Starts a login that is enlisted; one that runs already is left alone, and so is one whose user may not use the bridge.
    pub(crate) fn start(&self, core: &Arc<Core>, mxid: &str) {
        if core.is_blocked(mxid) {
            return;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(mxid) {
            return;
        }
        let credentials = Arc::new(LoginCredentials::new(core.clone(), mxid));
        let (connection, events) = Connection::spawn(core.connection_config(mxid), credentials);
        let login = Login {
            connection,
            withdrawals: Arc::default(),
            outbox: Arc::default(),
        };
        running.insert(mxid.to_owned(), login.clone());
        let follower = Follower {
            core: core.clone(),
            mxid: mxid.to_owned(),
            log_id: core.log_id(mxid),
            courier: Courier::new(mxid, login.withdrawals.clone()),
            login,
        };
        let (core, mxid) = (core.clone(), mxid.to_owned());
        tokio::spawn(async move {
            let followed = AssertUnwindSafe(follower.run(events)).catch_unwind();
            if followed.await.is_err() {
                tracing::error!(login = %core.log_id(&mxid), "a login ended by a panic; it is started again");
                core.logins.stop(&mxid).await;
                tokio::time::sleep(backoff(3)).await;
                core.logins.start(&core, &mxid);
            }
        });
    }

    /// Ends a login's connection and forgets it.
    pub(crate) async fn stop(&self, mxid: &str) {
        let login = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(mxid);
        if let Some(login) = login {
            login.connection.stop().await;
        }
    }

    /// Ends all connections.
    pub(crate) async fn stop_all(&self) {
        let all: Vec<_> = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.drain().map(|(_, login)| login).collect()
        };
        futures_util::future::join_all(all.iter().map(|login| login.connection.stop())).await;
    }
}

/// Connects a login that does not run, for one question. What else comes over the connection is not taken: the gatekeeper
/// keeps it.
///
/// # Errors
///
/// When the first attempt to connect fails, and what comes of the question.
pub(crate) async fn ask_once(
    core: &Arc<Core>,
    mxid: &str,
    question: Node,
) -> Result<Node, QueryError> {
    let credentials = Arc::new(LoginCredentials::new(core.clone(), mxid));
    let (connection, mut events) = Connection::spawn(core.connection_config(mxid), credentials);
    let answer = loop {
        match events.recv().await {
            Some(Event::Connected(_)) => break connection.query(question).await,
            Some(Event::Disconnected { .. } | Event::LoginRefused(_)) | None => {
                break Err(QueryError::NotConnected);
            }
            Some(_) => {}
        }
    };
    connection.stop().await;
    answer
}

/// Follows one login's connection.
struct Follower {
    core: Arc<Core>,
    mxid: String,
    log_id: LogId,
    login: Login,
    courier: Courier,
}

impl Follower {
    async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let outbox = self.login.outbox.clone();
        match outbox::last(&self.core.store, &self.mxid).await {
            Ok(last) => self.login.withdrawals.begin(last),
            Err(error) => {
                tracing::warn!(login = %self.log_id, %error, "the outbox cannot be read; messages that have not left are deleted like others");
            }
        }
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { break };
                    let mut seen = vec![event];
                    while seen.len() < AT_ONCE {
                        match events.try_recv() {
                            Ok(event) => seen.push(event),
                            Err(_) => break,
                        }
                    }
                    self.handle(seen).await;
                }
                () = outbox.notified() => {}
                () = self.courier.overdue() => self.courier.start_over(),
            }
            self.courier
                .deliver(&self.core, &self.login.connection)
                .await;
        }
        tracing::info!(login = %self.log_id, "the connection of a login has ended");
    }

    /// Handles what came since the last look. Rows of acks and receipts share one commit.
    async fn handle(&mut self, events: Vec<Event>) {
        let mut batch = Batch::new();
        let mut receipts = Vec::new();
        let mut moved = Moved::default();
        for event in events {
            match event {
                Event::Connected(_) => self.connected().await,
                Event::Disconnected { reason, retry_in } => {
                    self.courier.disconnected();
                    tracing::info!(login = %self.log_id, %reason, ?retry_in, "disconnected from the gatekeeper");
                }
                Event::Message(message) if !message.from.is_user() => self.refuse(&message),
                Event::ChatState(state) if !state.peer.is_user() => {}
                // Nothing of ours went there.
                Event::Receipt(receipt) if !receipt.peer.is_user() => receipts.push(receipt),
                Event::Retry(receipt) if !receipt.peer.is_user() => {
                    self.send_later(receipt.ack().to_node());
                }
                Event::Message(message) => {
                    failpoints::pass!("incoming.take");
                    let peer = self.core.peer_id(message.sender());
                    self.core.typing.wrote(&self.core, &self.mxid, &peer);
                    self.core.incoming.take(&self.core, &self.mxid, message);
                }
                Event::ChatState(state) => {
                    self.core.typing.contact(&self.core, &self.mxid, &state);
                }
                Event::Ack(ack) => {
                    failpoints::pass!("ack.come");
                    self.acknowledged(&mut batch, &mut moved, &ack).await;
                }
                Event::Receipt(receipt) if assumed::is_unsupported(&receipt) => {
                    self.unshown(receipt);
                }
                Event::Receipt(receipt) => {
                    failpoints::pass!("receipt.come");
                    self.receipt(&mut batch, &mut moved, &receipt);
                    receipts.push(receipt);
                }
                Event::Retry(receipt) => {
                    failpoints::pass!("retry.come");
                    self.retry(receipt);
                }
                Event::LowPrekeys(left) => self.refill(left),
                Event::IdentityChanged(notice) => {
                    let (core, login) = (self.core.clone(), self.mxid.clone());
                    tokio::spawn(async move {
                        if !keys::identity_changed(&core, &login, &notice).await {
                            bring_again(&core, &login);
                        }
                    });
                }
                Event::RoutingInfo(blob) => {
                    logins::set_routing_info(&mut batch, &self.mxid, Some(&blob));
                }
                Event::LoginRefused(class) => self.refused(class).await,
                _ => {}
            }
        }
        if batch.is_empty() && receipts.is_empty() {
            return;
        }
        failpoints::pass!("ack.commit");
        let committed = self.core.store.submit(batch);
        // The next stanzas are read while the disk works; receipts are acknowledged only after it.
        let (connection, log_id) = (self.login.connection.clone(), self.log_id);
        let (core, mxid) = (self.core.clone(), self.mxid.clone());
        tokio::spawn(async move {
            match committed.await {
                Ok(()) => {
                    failpoints::pass!("ack.committed");
                    moved.tell(&core, &mxid).await;
                    for receipt in receipts {
                        // A lost ack only brings the receipt again.
                        let _ = failpoints::around!(
                            "receipt.ack",
                            connection.send(receipt.ack().to_node()).await
                        );
                    }
                }
                Err(error) => {
                    let hold = Hold::from(error);
                    tracing::warn!(login = %log_id, reason = %hold.reason, "acknowledgements could not be written; they will come again");
                    let pause = if hold.lasting { AGAIN_AT_LAST } else { AGAIN };
                    core.later.wake_after(Wake::Again(mxid), pause);
                }
            }
        });
    }

    async fn connected(&mut self) {
        tracing::info!(login = %self.log_id, "connected to the gatekeeper");
        self.courier.connected();
        self.core.incoming.connected(&self.mxid);
        let (core, mxid) = (self.core.clone(), self.mxid.clone());
        tokio::spawn(async move {
            // Rooms that wait for a contact's keys can go on now.
            core.wake_rooms_of(&mxid).await;
            core.incoming.take_up(&core, &mxid).await;
            keys::keep_up(&core, &mxid).await;
        });
    }

    /// The gatekeeper has a message or a receipt safely: its outbox row goes.
    async fn acknowledged(&mut self, batch: &mut Batch, moved: &mut Moved, ack: &ServerAck) {
        let peer = self
            .core
            .peer_id(ack.participant.as_ref().unwrap_or(&ack.from));
        match ack.class.as_str() {
            "message" => {}
            "receipt" => return self.receipt_acknowledged(batch, &peer, ack),
            _ => return,
        }
        let status = match ack
            .error
            .map(|code| (code, self.core.profile.classify_ack(code)))
        {
            Some((code, RefusalClass::Retry(_))) => {
                // Not acknowledged: it is sent again after a while, and before what is behind it.
                tracing::warn!(login = %self.log_id, code, "the gatekeeper does not take a message now");
                self.courier.refused(&peer);
                let (core, mxid, id) = (self.core.clone(), self.mxid.clone(), ack.id.clone());
                tokio::spawn(async move {
                    notices::delayed_by_gatekeeper(&core, &mxid, &peer, &id, code).await;
                });
                return;
            }
            Some((code, RefusalClass::Final(why))) => {
                tracing::warn!(login = %self.log_id, code, "the gatekeeper refused a message");
                // In the commit that takes it out of the outbox: no crash leaves it untold.
                let told = notices::refused_by_gatekeeper(
                    &self.core, batch, &self.mxid, &peer, &ack.id, &why,
                );
                match told.await {
                    Ok(event) => moved.refused.extend(event),
                    Err(hold) => {
                        // Not acknowledged: it is sent again, and refused again.
                        tracing::warn!(login = %self.log_id, reason = %hold.reason, "a refusal could not be looked into");
                        return;
                    }
                }
                messages::Status::Failed
            }
            None => messages::Status::Sent,
        };
        if let Some(row) = self.courier.acknowledged(&ack.id) {
            outbox::done(batch, row);
        }
        messages::advance(batch, &self.mxid, &peer, &ack.id, status);
        moved.peers.insert(peer);
    }

    /// A receipt of ours has arrived.
    fn receipt_acknowledged(&mut self, batch: &mut Batch, peer: &str, ack: &ServerAck) {
        let kind = ReceiptKind::from_word(ack.kind.as_deref());
        // A server that does not repeat the type leaves open whether it means the delivery receipt of the same message.
        let ours = matches!(
            kind,
            ReceiptKind::Read | ReceiptKind::Played | ReceiptKind::Delivery
        );
        if ours && let Some(row) = self.courier.receipt_acknowledged(peer, &ack.id) {
            outbox::done(batch, row);
        }
    }

    /// A message of a group, a broadcast list or a channel: no contact's chat is the place for it. It is refused, so that the gatekeeper
    /// does not bring it again and again.
    fn refuse(&self, message: &IncomingMessage) {
        tracing::warn!(
            login = %self.log_id, stanza = %self.core.log_id(&message.id),
            "a message that is not of a contact's chat is refused"
        );
        metrics::counter!("gatehouse_refused_chats_total").increment(1);
        self.send_later(message.ack().refusing(Nack::Unhandled).to_node());
    }

    /// Sends something without waiting for it. Not connected: what it answers comes again at the next connection.
    fn send_later(&self, node: Node) {
        let connection = self.login.connection.clone();
        tokio::spawn(async move {
            let _ = connection.send(node).await;
        });
    }

    /// The contact's phone does not show what was sent to it.
    fn unshown(&self, receipt: Receipt) {
        let (core, mxid) = (self.core.clone(), self.mxid.clone());
        let connection = self.login.connection.clone();
        let peer = self.peer_of(&receipt);
        tokio::spawn(async move {
            for id in &receipt.ids {
                if !notices::unshown_there(&core, &mxid, &peer, id).await {
                    bring_again(&core, &mxid);
                    return;
                }
            }
            let _ = connection.send(receipt.ack().to_node()).await;
        });
    }

    /// The contact that a receipt comes from.
    fn peer_of(&self, receipt: &Receipt) -> String {
        let from = receipt.participant.as_ref().unwrap_or(&receipt.peer);
        self.core.peer_id(from)
    }

    fn receipt(&self, batch: &mut Batch, moved: &mut Moved, receipt: &Receipt) {
        let status = match receipt.kind {
            ReceiptKind::Delivery | ReceiptKind::Inactive => messages::Status::Delivered,
            ReceiptKind::Read => messages::Status::Read,
            ReceiptKind::Played => messages::Status::Played,
            _ => return,
        };
        let peer = self.peer_of(receipt);
        for id in &receipt.ids {
            messages::advance(batch, &self.mxid, &peer, id, status);
        }
        if status >= messages::Status::Read {
            moved.readers.insert(peer.clone());
        }
        moved.peers.insert(peer);
    }

    fn retry(&self, receipt: RetryReceipt) {
        self.core.answers.take(&self.core, &self.mxid, receipt);
    }

    fn refill(&self, left: u32) {
        let (core, login) = (self.core.clone(), self.mxid.clone());
        tokio::spawn(async move { keys::refill(&core, &login, Some(left)).await });
    }

    /// The gatekeeper does not let this login in.
    async fn refused(&self, class: FailureClass) {
        tracing::warn!(login = %self.log_id, ?class, "the gatekeeper refused a login");
        crate::enlistment::refused(&self.core, &self.mxid, class).await;
    }
}

/// Contacts whose messages have moved on.
#[derive(Debug, Default)]
struct Moved {
    peers: HashSet<String>,
    /// Those who have read something.
    readers: HashSet<String>,
    /// Events whose message was refused for good.
    refused: Vec<String>,
}

impl Moved {
    /// Sees to it that people learn of it.
    async fn tell(self, core: &Arc<Core>, login: &str) {
        for peer in self.peers {
            core.thins(login, &peer);
            let wake = Wake::Reports(login.to_owned(), peer);
            core.later.wake_after(wake, reports::SETTLE);
        }
        for peer in self.readers {
            core.wake(Wake::Seen(login.to_owned(), peer));
        }
        for event in self.refused {
            // Nobody will fetch its file.
            if let Err(error) = media::end(core, &event).await {
                tracing::warn!(login = %core.log_id(login), %error, "a file stays until its time has come");
            }
        }
    }
}

/// Has the gatekeeper bring again, after a pause, what could not be written down and was not acknowledged.
pub(crate) fn bring_again(core: &Core, login: &str) {
    core.later
        .wake_after(Wake::Again(login.to_owned()), AGAIN_AT_LAST);
}

/// What could not be written down is asked for again, as soon as the database takes it.
pub(crate) fn again(core: &Core, login: &str) {
    if core.store.trouble().is_some() {
        core.later.wake_after(Wake::Again(login.to_owned()), AGAIN);
    } else if let Some(login) = core.logins.get(login) {
        // The mailbox is drained at each connection.
        login.connection.reconnect();
    }
}

/// After this long without an acknowledgement, what was sent is sent again.
pub(crate) const ACK_PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
