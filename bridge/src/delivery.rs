//! From the outbox to the gatekeeper: sends a login's stanzas in order, again until each is acknowledged.

use std::{collections::HashSet, sync::Arc};

use gatekeeper::{connection::Connection, stanza};
use store::outbox;
use tokio::time::Instant;

use crate::{core::Core, logins::ACK_PATIENCE, quarantine, withdrawals::Withdrawals};

/// Stanzas that may be on their way without an acknowledgement.
const WINDOW: usize = 512;
/// Rows read from the outbox at a time.
const PAGE: u32 = 64;

/// Where a login's delivery stands. Nothing here need outlive the connection: the outbox is what counts, and after
/// a reconnect it is sent from its beginning. The receiver drops what it has by its stanza id.
#[derive(Debug)]
pub(crate) struct Courier {
    login: String,
    withdrawals: Arc<Withdrawals>,
    connected: bool,
    /// The last row that was sent over this connection.
    sent: i64,
    /// Sent over this connection and not acknowledged.
    in_flight: usize,
    /// The receipts among them, by their ids.
    receipts: HashSet<String>,
    /// When something was last acknowledged, or sent with nothing else in flight.
    progress: Instant,
    /// Contacts for whom the gatekeeper does not take a message now: what is behind it waits for it.
    refused: HashSet<String>,
    /// When what was refused is sent again.
    again: Option<Instant>,
}

impl Courier {
    pub(crate) fn new(login: &str, withdrawals: Arc<Withdrawals>) -> Self {
        Self {
            login: login.to_owned(),
            withdrawals,
            connected: false,
            sent: 0,
            in_flight: 0,
            receipts: HashSet::new(),
            progress: Instant::now(),
            refused: HashSet::new(),
            again: None,
        }
    }

    pub(crate) fn connected(&mut self) {
        self.connected = true;
        self.start_over();
    }

    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
    }

    pub(crate) fn acknowledged(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.progress = Instant::now();
    }

    /// The gatekeeper does not take a message for this contact now.
    pub(crate) fn refused(&mut self, peer: &str) {
        self.refused.insert(peer.to_owned());
        self.again
            .get_or_insert_with(|| Instant::now() + ACK_PATIENCE);
    }

    /// A receipt was acknowledged; says whether it was one of the outbox. Delivery receipts are not: if one comes to nobody,
    /// its message comes again.
    pub(crate) fn receipt_acknowledged(&mut self, id: &str) -> bool {
        let known = self.receipts.remove(id);
        if known {
            self.acknowledged();
        }
        known
    }

    /// Sends everything that is not acknowledged once more.
    pub(crate) fn start_over(&mut self) {
        self.sent = 0;
        self.in_flight = 0;
        self.receipts.clear();
        self.progress = Instant::now();
        self.refused.clear();
        self.again = None;
    }

    /// Ends when an acknowledgement is overdue, or when what was refused is to be sent again.
    pub(crate) async fn overdue(&self) {
        let silent = (self.in_flight > 0).then(|| self.progress + ACK_PATIENCE);
        match silent.into_iter().chain(self.again).min() {
            Some(at) if self.connected => tokio::time::sleep_until(at).await,
            _ => std::future::pending().await,
        }
    }

    /// Sends what the outbox holds, as far as the window allows.
    pub(crate) async fn deliver(&mut self, core: &Core, connection: &Connection) {
        while self.connected && self.in_flight < WINDOW {
            let rows = match outbox::next(&core.store, &self.login, self.sent, PAGE).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(login = %core.log_id(&self.login), %error, "the outbox cannot be read");
                    return;
                }
            };
            if rows.is_empty() {
                return;
            }
            for row in rows {
                if row.kind == outbox::Kind::Message && self.refused.contains(&row.peer) {
                    self.sent = row.seq;
                    continue;
                }
                if !self.withdrawals.may_send(row.seq) {
                    self.sent = row.seq;
                    continue;
                }
                let node = match stanza::decode(&row.stanza) {
                    Ok(node) => node,
                    Err(error) => {
                        tracing::error!(login = %core.log_id(&self.login), %error, "a stored stanza is damaged; it is set aside");
                        self.sent = row.seq;
                        if let Err(error) = quarantine::damaged_stanza(core, &row).await {
                            tracing::warn!(login = %core.log_id(&self.login), %error, "it could not be set aside");
                        }
                        continue;
                    }
                };
                let sent = failpoints::around!("delivery.send", connection.send(node).await);
                if sent.is_err() {
                    self.connected = false;
                    return;
                }
                if self.in_flight == 0 {
                    self.progress = Instant::now();
                }
                if row.kind == outbox::Kind::Receipt {
                    self.receipts.insert(row.stanza_id);
                }
                self.sent = row.seq;
                self.in_flight += 1;
            }
        }
    }
}
