//! The writing half of a connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gatekeeper::{
    stanza::Node,
    stanzas::{Ib, ib::OfflinePreview, iq},
};

use super::{Ended, offline::Next, party::Party, session::Session, transport::Writer, wire::Wire};
use crate::world::World;

/// Bytes that are put together before they are sent.
const BATCH: usize = 64 * 1024;

/// Stanzas taken from the mailbox at a time.
const STANZAS: usize = 256;

/// After this silence the client is pinged.
const PING: Duration = Duration::from_secs(30);

/// After this silence the connection is dropped.
const SILENT: Duration = Duration::from_secs(100);

/// How long a stanza that shall change places waits for another one.
const REORDER: Duration = Duration::from_millis(200);

/// What was taken from the mailbox.
#[derive(Default)]
struct Taken {
    stanzas: Vec<(Arc<Node>, bool)>,
    /// When the next stanza may be sent, if it is held back.
    due: Option<Instant>,
    more: bool,
}

/// Sends what there is until the session is ended.
pub(super) async fn write(
    world: &World,
    party: &Party,
    session: &Session,
    writer: &mut Writer,
    wire: &mut Wire,
) -> Result<(), Ended> {
    let mut cursor = 0;
    let mut held: Option<(Arc<Node>, Instant)> = None;
    let mut pinged = false;
    loop {
        for reply in session.take_replies() {
            wire.add(&reply)?;
            if wire.len() >= BATCH {
                writer.write(wire.take()).await?;
            }
        }
        let faults = world.faults();
        let taken = take(party, session, &mut cursor, wire)?;
        for (node, offline) in taken.stanzas {
            let node = if offline {
                Arc::new((*node).clone().attr("offline", "1"))
            } else {
                node
            };
            if held.is_none() && world.dice.strikes(faults.reorder) {
                held = Some((node, Instant::now() + REORDER));
                continue;
            }
            wire.add(&node)?;
            if world.dice.strikes(faults.duplicate) {
                wire.add(&node)?;
            }
            if let Some((late, _)) = held.take() {
                wire.add(&late)?;
            }
            if wire.len() >= BATCH {
                writer.write(wire.take()).await?;
            }
        }
        if let Some((late, _)) = held.take_if(|(_, until)| *until <= Instant::now()) {
            wire.add(&late)?;
        }
        if wire.len() > 0 {
            writer.write(wire.take()).await?;
        }
        if session.ended().is_some() {
            return Ok(());
        }
        if taken.more {
            continue;
        }
        let silence = session.silence();
        if silence >= SILENT {
            return Err(Ended::Silent);
        }
        if silence < PING {
            pinged = false;
        } else if !pinged {
            pinged = true;
            session.reply(iq::server_ping(&world.fresh_id()));
            continue;
        }
        let now = Instant::now();
        let quiet = if pinged { SILENT } else { PING }.saturating_sub(silence);
        let wait = [
            taken.due.map(|due| due.saturating_duration_since(now)),
            held.as_ref()
                .map(|(_, until)| until.saturating_duration_since(now)),
            session.drain(|drain| drain.wait()),
        ];
        let wait = wait.into_iter().flatten().fold(quiet, Duration::min);
        session.rung(wait.max(Duration::from_millis(1))).await;
    }
}

/// Takes what may be sent now from the mailbox. Marks of the offline phase go straight to the wire,
/// in their place.
fn take(
    party: &Party,
    session: &Session,
    cursor: &mut u64,
    wire: &mut Wire,
) -> Result<Taken, Ended> {
    let mut taken = Taken::default();
    match session.drain(|drain| drain.next()) {
        Next::Wait => {}
        Next::Announce => {
            let (last, counts) =
                party.mailbox(session, |mailbox| (mailbox.last(), mailbox.counts()));
            session.drain(|drain| drain.announced(last));
            if counts.total() > 0 {
                let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
                let preview = OfflinePreview {
                    count: number(counts.total()),
                    messages: number(counts.messages),
                    receipts: number(counts.receipts),
                    notifications: number(counts.notifications),
                };
                wire.add(&Ib::OfflinePreview(preview).to_node())?;
            }
            taken.more = true;
        }
        Next::Offline { last, at_most } => {
            let limit = usize::try_from(at_most).unwrap_or(STANZAS).min(STANZAS);
            let done = party.mailbox(session, |mailbox| {
                loop {
                    match mailbox.after(*cursor).filter(|(number, _)| *number <= last) {
                        None => return true,
                        Some((number, entry)) if taken.stanzas.len() < limit => {
                            *cursor = number;
                            taken.stanzas.push((Arc::clone(&entry.node), true));
                        }
                        Some(_) => return false,
                    }
                }
            });
            let count = u32::try_from(taken.stanzas.len()).unwrap_or(u32::MAX);
            session.drain(|drain| drain.sent(count));
            // The end mark must follow the stanzas: it goes out when nothing is left to take.
            if done && taken.stanzas.is_empty() {
                let sent = session.drain(|drain| drain.done());
                wire.add(&Ib::OfflineDone(sent).to_node())?;
                taken.more = true;
            } else {
                taken.more = done || count == STANZAS as u32;
            }
        }
        Next::Live => {
            let now = Instant::now();
            party.mailbox(session, |mailbox| {
                while let Some((number, entry)) = mailbox.after(*cursor) {
                    if entry.due > now {
                        taken.due = Some(entry.due);
                        break;
                    }
                    if taken.stanzas.len() >= STANZAS {
                        taken.more = true;
                        break;
                    }
                    *cursor = number;
                    taken.stanzas.push((Arc::clone(&entry.node), false));
                }
            });
        }
    }
    Ok(taken)
}
