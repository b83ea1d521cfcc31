//! From the outbox to the gatekeeper: sends a login's stanzas in order, again until each is acknowledged.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
};

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
    in_flight: InFlight,
    /// When something was last acknowledged, or sent with nothing else in flight.
    progress: Instant,
    /// Contacts for whom the gatekeeper does not take a message now: what is behind it waits for it.
    refused: HashSet<String>,
    /// When what was refused is sent again.
    again: Option<Instant>,
}

/// Rows that were sent over this connection and are not acknowledged.
#[derive(Debug, Default)]
struct InFlight {
    rows: HashMap<Name, VecDeque<i64>>,
    count: usize,
}

/// What the gatekeeper names in an acknowledgement. A message that was encrypted anew has the name of the first one: their
/// acknowledgements come in the order in which they were sent.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    /// A message, by its stanza id.
    Message(String),
    /// A receipt, by its contact and its id, which the contact has chosen.
    Receipt(String, String),
}

impl Name {
    fn of(row: &outbox::Stanza) -> Self {
        let id = row.stanza_id.clone();
        match row.kind {
            outbox::Kind::Message | outbox::Kind::Retry => Self::Message(id),
            outbox::Kind::Receipt => Self::Receipt(row.peer.clone(), id),
        }
    }
}

impl InFlight {
    fn add(&mut self, row: &outbox::Stanza) {
        let rows = self.rows.entry(Name::of(row)).or_default();
        rows.push_back(row.seq);
        self.count += 1;
    }

    /// Takes out the row that was sent first under a name.
    fn take(&mut self, name: Name) -> Option<i64> {
        let Entry::Occupied(mut rows) = self.rows.entry(name) else {
            return None;
        };
        let first = rows.get_mut().pop_front();
        if rows.get().is_empty() {
            rows.remove();
        }
        self.count = self.count.saturating_sub(1);
        first
    }
}

impl Courier {
    pub(crate) fn new(login: &str, withdrawals: Arc<Withdrawals>) -> Self {
        Self {
            login: login.to_owned(),
            withdrawals,
            connected: false,
            sent: 0,
            in_flight: InFlight::default(),
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

    /// A message was acknowledged: says which row it was. Nothing if none was sent over this connection; what an earlier one carried
    /// is sent again, and acknowledged again.
    pub(crate) fn acknowledged(&mut self, id: &str) -> Option<i64> {
        self.arrived(Name::Message(id.to_owned()))
    }

    /// The gatekeeper does not take a message for this contact now.
    pub(crate) fn refused(&mut self, peer: &str) {
        self.refused.insert(peer.to_owned());
        self.again
            .get_or_insert_with(|| Instant::now() + ACK_PATIENCE);
    }

    /// A receipt was acknowledged: says which row it was. Delivery receipts are not of the outbox: if one comes to nobody, its message
    /// comes again.
    pub(crate) fn receipt_acknowledged(&mut self, peer: &str, id: &str) -> Option<i64> {
        self.arrived(Name::Receipt(peer.to_owned(), id.to_owned()))
    }

    fn arrived(&mut self, name: Name) -> Option<i64> {
        let row = self.in_flight.take(name)?;
        self.progress = Instant::now();
        Some(row)
    }

    /// Sends everything that is not acknowledged once more.
    pub(crate) fn start_over(&mut self) {
        self.sent = 0;
        self.in_flight = InFlight::default();
        self.progress = Instant::now();
        self.refused.clear();
        self.again = None;
    }

    /// Ends when an acknowledgement is overdue, or when what was refused is to be sent again.
    pub(crate) async fn overdue(&self) {
        let silent = (self.in_flight.count > 0).then(|| self.progress + ACK_PATIENCE);
        match silent.into_iter().chain(self.again).min() {
            Some(at) if self.connected => tokio::time::sleep_until(at).await,
            _ => std::future::pending().await,
        }
    }

    /// Sends what the outbox holds, as far as the window allows.
    pub(crate) async fn deliver(&mut self, core: &Core, connection: &Connection) {
        while self.connected && self.in_flight.count < WINDOW {
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
                if self.in_flight.count == 0 {
                    self.progress = Instant::now();
                }
                self.in_flight.add(&row);
                self.sent = row.seq;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64, kind: outbox::Kind) -> outbox::Stanza {
        outbox::Stanza {
            seq,
            login: "@alice:example.org".to_owned(),
            peer: "4915100000001@s.whatsapp.net".to_owned(),
            stanza_id: "A".to_owned(),
            kind,
            stanza: Vec::new(),
            event_id: None,
            attempts: 0,
        }
    }

    /// The second one may still be lost with the connection when the first one is acknowledged.
    #[test]
    fn a_message_encrypted_anew_stays_when_the_first_one_is_acknowledged() {
        let mut courier = Courier::new("@alice:example.org", Arc::default());
        courier.in_flight.add(&row(3, outbox::Kind::Message));
        courier.in_flight.add(&row(8, outbox::Kind::Retry));
        courier.in_flight.add(&row(9, outbox::Kind::Receipt));
        assert_eq!(courier.acknowledged("A"), Some(3));
        assert_eq!(courier.acknowledged("A"), Some(8));
        assert_eq!(courier.acknowledged("A"), None);
        assert_eq!(courier.receipt_acknowledged("another", "A"), None);
        let peer = "4915100000001@s.whatsapp.net";
        assert_eq!(courier.receipt_acknowledged(peer, "A"), Some(9));
        assert_eq!(courier.in_flight.count, 0);
        assert!(courier.in_flight.rows.is_empty());
    }
}
