//! One accepted login, from its first stanza to its end.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    ConnectionConfig, DisconnectReason, Event, handle::Shared, handshake, link::Link, queue::Queue,
};
use crate::{
    assumed,
    frame::FrameDecoder,
    noise::Receiver,
    profile::{FailureClass, Profile},
    stanza::{self, Node},
    stanzas::{
        ChatState, ClientAck, Failure, Ib, IncomingMessage, IqHead, IqKind, Nack, Notification,
        NotificationKind, Origin, ParseError, Receipt, ReceiptKind, RetryReceipt, ServerAck,
        StreamError, ib, iq, stream,
    },
    transport::Reader,
};

/// Most bytes of routing information that are worth keeping.
const ROUTING: usize = 4096;

/// How long the writer may take for what is left.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a connection ended and what follows from it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reason: DisconnectReason,
    pub(super) class: FailureClass,
}

impl Ended {
    /// To be tried again after the back-off.
    pub(super) fn retry(reason: DisconnectReason) -> Self {
        Self {
            reason,
            class: FailureClass::Retry(None),
        }
    }

    /// To be tried again at once.
    fn reconnect(reason: DisconnectReason) -> Self {
        Self {
            reason,
            class: FailureClass::Reconnect,
        }
    }

    pub(super) fn by_stream_error(profile: &Profile, error: &StreamError) -> Self {
        let class = profile.classify_stream_error(error);
        let reason = match class {
            FailureClass::Replaced => DisconnectReason::Replaced,
            _ => DisconnectReason::StreamError(error.code),
        };
        Self { reason, class }
    }
}

/// How a session went.
pub(super) struct Outcome {
    /// Why it ended; nothing if it was told to.
    pub(super) ended: Option<Ended>,
    /// Whether it carried a stanza of a chat.
    pub(super) carried: bool,
}

/// The reading side of a connection.
pub(super) struct Session<'a> {
    pub(super) config: &'a ConnectionConfig,
    pub(super) link: Arc<Link>,
    pub(super) cipher: Receiver,
    pub(super) decoder: FrameDecoder,
    pub(super) queue: Queue,
    pub(super) drain: Drain,
    /// The routing information that is known already.
    pub(super) routing: Option<Vec<u8>>,
    pub(super) carried: bool,
}

/// Where draining the mailbox stands.
#[derive(Debug, Default)]
pub(super) struct Drain {
    running: bool,
    /// Stanzas that have come of the batch.
    taken: u32,
}

impl Session<'_> {
    /// Reads until the connection ends.
    pub(super) async fn run(
        mut self,
        mut reader: Box<dyn Reader>,
        mut writing: JoinHandle<Result<(), DisconnectReason>>,
        closing: CancellationToken,
        shared: &Shared,
        events: &mpsc::Sender<Event>,
        early: Vec<Node>,
    ) -> Outcome {
        let ended = self
            .converse(reader.as_mut(), &mut writing, shared, events, early)
            .await;
        self.link.end();
        // What was handed over is still written, if the peer takes it.
        closing.cancel();
        if !writing.is_finished() && tokio::time::timeout(FAREWELL, &mut writing).await.is_err() {
            writing.abort();
        }
        Outcome {
            ended: ended.err(),
            carried: self.carried,
        }
    }

    /// `Ok` if it was told to end.
    async fn converse(
        &mut self,
        reader: &mut dyn Reader,
        writing: &mut JoinHandle<Result<(), DisconnectReason>>,
        shared: &Shared,
        events: &mpsc::Sender<Event>,
        early: Vec<Node>,
    ) -> Result<(), Ended> {
        self.control(&iq::set_active(true).attr("id", self.link.fresh_id()))?;
        for node in early {
            self.stanza(node, 0)?;
        }
        let limits = self.config.profile.limits.clone();
        let mut pinged = false;
        let timer = tokio::time::sleep(self.pause());
        tokio::pin!(timer);
        loop {
            let mut heard = false;
            while let Some(frame) = self.decoder.next_frame().map_err(|error| damaged(&error))? {
                self.frame(&frame)?;
                heard = true;
            }
            if heard && pinged {
                pinged = false;
                timer.as_mut().reset(Instant::now() + self.pause());
            }
            self.more_of_the_mailbox()?;
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return Ok(()),
                () = shared.reconnect.notified() => {
                    return Err(Ended::reconnect(DisconnectReason::Requested));
                }
                written = &mut *writing => return Err(Ended::retry(match written {
                    Ok(Err(reason)) => reason,
                    Ok(Ok(())) | Err(_) => DisconnectReason::Closed,
                })),
                permit = events.reserve(), if !self.queue.is_empty() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some(event) = self.queue.pop() {
                        permit.send(event);
                    }
                    if self.queue.is_spent() {
                        return Err(Ended::reconnect(DisconnectReason::Overflow));
                    }
                }
                read = reader.read() => match read {
                    Ok(Some(bytes)) => self.decoder.push(&bytes),
                    Ok(None) => return Err(Ended::retry(DisconnectReason::Closed)),
                    Err(error) => {
                        return Err(Ended::retry(DisconnectReason::Transport(error.to_string())));
                    }
                },
                () = &mut timer => {
                    if pinged {
                        return Err(Ended::retry(DisconnectReason::Silent));
                    }
                    self.ping()?;
                    pinged = true;
                    timer.as_mut().reset(Instant::now() + limits.pong());
                }
                // Somebody says that the server takes us for not connected: find out.
                () = shared.wake.notified() => if !pinged {
                    self.ping()?;
                    pinged = true;
                    timer.as_mut().reset(Instant::now() + limits.pong());
                },
            }
        }
    }

    /// The time to the next ping.
    fn pause(&self) -> Duration {
        let limits = &self.config.profile.limits;
        let (min, max) = (
            limits.keepalive_min_seconds * 1000,
            limits.keepalive_max_seconds * 1000,
        );
        Duration::from_millis(rand::rng().random_range(min..=max.max(min)))
    }

    fn ping(&self) -> Result<(), Ended> {
        self.control(&iq::ping().attr("id", self.link.fresh_id()))
    }

    fn control(&self, node: &Node) -> Result<(), Ended> {
        if self.link.control(node) {
            Ok(())
        } else {
            Err(Ended::retry(DisconnectReason::Stalled))
        }
    }

    /// Asks for the next batch of the mailbox when the last one has been taken.
    fn more_of_the_mailbox(&mut self) -> Result<(), Ended> {
        let batch = self.config.profile.offline.batch;
        if self.drain.running && self.drain.taken >= batch && self.queue.is_empty() {
            self.drain.taken = 0;
            self.control(&Ib::OfflineBatch(batch).to_node())?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Ended> {
        let plain = self
            .cipher
            .decrypt(frame)
            .map_err(|error| damaged(&error))?;
        match stanza::decode(&plain) {
            Ok(node) => self.stanza(node, plain.len()),
            Err(error) => {
                // The frames are in order, so the next one can be read. This one cannot be named, but may be of the mailbox.
                self.drain.taken = self.drain.taken.saturating_add(1);
                tracing::warn!(login = %self.config.log_label, %error, "a stanza cannot be decoded");
                Ok(())
            }
        }
    }

    fn stanza(&mut self, node: Node, size: usize) -> Result<(), Ended> {
        if node.attrs.get("offline").is_some() {
            self.drain.taken = self.drain.taken.saturating_add(1);
        }
        match node.tag.as_str() {
            "iq" => self.iq(node),
            "ib" => self.ib(&node, size),
            "message" | "receipt" | "notification" | "ack" => {
                if self.queue.admits(size) {
                    self.chat(&node, size)
                } else {
                    Ok(())
                }
            }
            "chatstate" => {
                if let Ok(state) = ChatState::parse(&node, Origin::Server)
                    && !self.queue.is_busy()
                {
                    self.queue.push(Event::ChatState(state), size);
                }
                Ok(())
            }
            "call" => self.acknowledge(&node, None),
            "stream:error" => {
                let error = StreamError::parse(&node).unwrap_or_default();
                Err(Ended::by_stream_error(&self.config.profile, &error))
            }
            "failure" => {
                let failure = Failure::parse(&node).unwrap_or_default();
                Err(handshake::refused(self.config, &failure))
            }
            stream::END => Err(Ended::retry(DisconnectReason::Ended)),
            _ => {
                tracing::debug!(login = %self.config.log_label, "a stanza of an unknown kind is passed over");
                Ok(())
            }
        }
    }

    fn iq(&self, node: Node) -> Result<(), Ended> {
        let Ok(head) = IqHead::parse(&node) else {
            return Ok(());
        };
        match head.kind {
            IqKind::Result | IqKind::Error => {
                self.link.answer(&head.id, node);
                Ok(())
            }
            IqKind::Get | IqKind::Set if head.asks(iq::SERVER_PING) => {
                self.control(&head.client_result())
            }
            IqKind::Get | IqKind::Set => Ok(()),
        }
    }

    fn ib(&mut self, node: &Node, size: usize) -> Result<(), Ended> {
        match Ib::parse(node) {
            Ok(Ib::OfflinePreview(preview)) => {
                self.drain = Drain {
                    running: true,
                    taken: 0,
                };
                self.report(Event::OfflinePending(preview.count), size);
                self.control(&Ib::OfflineBatch(self.config.profile.offline.batch).to_node())
            }
            Ok(Ib::OfflineDone(count)) => {
                self.drain.running = false;
                self.report(Event::OfflineDone(count), size);
                Ok(())
            }
            Ok(Ib::EdgeRouting(blob))
                if blob.len() <= ROUTING && self.routing.as_ref() != Some(&blob) =>
            {
                self.routing = Some(blob.clone());
                self.report(Event::RoutingInfo(blob), size);
                Ok(())
            }
            Ok(Ib::Dirty { kind, timestamp }) => {
                self.control(&ib::clean(&kind, timestamp).attr("id", self.link.fresh_id()))
            }
            Ok(Ib::EdgeRouting(_) | Ib::OfflineBatch(_) | Ib::Other) | Err(_) => Ok(()),
        }
    }

    /// Reports what is not sent again, unless there is much too much already.
    fn report(&mut self, event: Event, size: usize) {
        if self.queue.admits(size) {
            self.queue.push(event, size);
        }
    }

    /// A stanza that belongs to a chat, or to our keys.
    fn chat(&mut self, node: &Node, size: usize) -> Result<(), Ended> {
        match self.read(node) {
            Ok(None) => self.acknowledge(node, None),
            Ok(Some((event, acknowledged_here))) => {
                self.carried = true;
                self.queue.push(event, size);
                if acknowledged_here {
                    self.acknowledge(node, None)
                } else {
                    Ok(())
                }
            }
            Err(error) => {
                tracing::warn!(login = %self.config.log_label, %error, "a stanza cannot be read and is refused");
                self.acknowledge(node, Some(Nack::Parse))
            }
        }
    }

    /// What a stanza means, and whether it is acknowledged here. Nothing if it concerns nobody.
    fn read(&self, node: &Node) -> Result<Option<(Event, bool)>, ParseError> {
        Ok(Some(match node.tag.as_str() {
            "message" => (Event::Message(IncomingMessage::parse(node)?), false),
            "ack" => {
                let ack = ServerAck::parse(node)?;
                if !matches!(ack.class.as_str(), "message" | "receipt") {
                    return Ok(None);
                }
                (Event::Ack(ack), false)
            }
            "receipt" if node.get("type").as_deref() == ReceiptKind::Retry.as_str() => (
                Event::Retry(RetryReceipt::parse(node, Origin::Server)?),
                false,
            ),
            "receipt" => {
                let receipt = Receipt::parse(node, Origin::Server)?;
                let meant_for_us = match receipt.kind {
                    ReceiptKind::Sender => false,
                    ReceiptKind::Other(_) => assumed::is_unsupported(&receipt),
                    _ => true,
                };
                if !meant_for_us {
                    return Ok(None);
                }
                (Event::Receipt(receipt), false)
            }
            _ => {
                let notification = Notification::parse(node)?;
                match notification.kind {
                    NotificationKind::IdentityChanged => {
                        (Event::IdentityChanged(notification), false)
                    }
                    NotificationKind::LowPreKeys { count } => (Event::LowPrekeys(count), true),
                    NotificationKind::Other(_) => (Event::Notification(notification), true),
                }
            }
        }))
    }

    /// Acknowledges or refuses a stanza, if it can be named and is no ack itself.
    fn acknowledge(&self, node: &Node, refusal: Option<Nack>) -> Result<(), Ended> {
        match ClientAck::of(node) {
            Some(ack) if ack.class != "ack" => self.control(
                &ClientAck {
                    error: refusal,
                    ..ack
                }
                .to_node(),
            ),
            _ => Ok(()),
        }
    }
}

fn damaged(error: &dyn std::fmt::Display) -> Ended {
    Ended::retry(DisconnectReason::Damaged(error.to_string()))
}
