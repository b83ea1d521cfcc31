//! The task that encrypts and writes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio_util::sync::CancellationToken;

use super::{DisconnectReason, link::Outgoing};
use crate::{frame, noise, transport};

/// Bytes that are gathered for one write.
const GATHER: usize = 64 * 1024;

/// Writes what is handed to it until it is told to close, then writes what is left. It comes back
/// only then, or with the reason why it cannot go on. `patience` is how long the peer may take to
/// accept bytes.
pub(super) async fn write(
    mut channel: Box<dyn transport::Writer>,
    mut cipher: noise::Sender,
    mut outgoing: Outgoing,
    closing: CancellationToken,
    patience: Duration,
) -> Result<(), DisconnectReason> {
    let mut buffer = BytesMut::new();
    loop {
        let (first, last) = tokio::select! {
            biased;
            Some(stanza) = outgoing.control.recv() => (Some(stanza), false),
            Some(stanza) = outgoing.stanzas.recv() => (Some(stanza), false),
            () = closing.cancelled() => (None, true),
        };
        let mut next = first.or_else(|| ready(&mut outgoing));
        while let Some(stanza) = next {
            seal(&mut cipher, &stanza, &mut buffer)?;
            if buffer.len() >= GATHER {
                send(channel.as_mut(), buffer.split().freeze(), patience).await?;
            }
            next = ready(&mut outgoing);
        }
        if !buffer.is_empty() {
            send(channel.as_mut(), buffer.split().freeze(), patience).await?;
        }
        if last {
            channel.close().await;
            return Ok(());
        }
        // An idle connection keeps no buffer.
        buffer = BytesMut::new();
    }
}

/// A stanza that waits already.
fn ready(outgoing: &mut Outgoing) -> Option<Vec<u8>> {
    outgoing
        .control
        .try_recv()
        .or_else(|_| outgoing.stanzas.try_recv())
        .ok()
}

fn seal(
    cipher: &mut noise::Sender,
    stanza: &[u8],
    buffer: &mut BytesMut,
) -> Result<(), DisconnectReason> {
    let sealed = cipher
        .encrypt(stanza)
        .map_err(|error| DisconnectReason::Damaged(error.to_string()))?;
    let frame = frame::encode_frame(&sealed)
        .map_err(|error| DisconnectReason::Damaged(error.to_string()))?;
    buffer.extend_from_slice(&frame);
    Ok(())
}

async fn send(
    channel: &mut dyn transport::Writer,
    bytes: Bytes,
    patience: Duration,
) -> Result<(), DisconnectReason> {
    let writing = tokio::time::timeout(patience, channel.write(bytes));
    match failpoints::around!("wire.write", writing.await) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(DisconnectReason::Transport(error.to_string())),
        Err(_) => Err(DisconnectReason::Stalled),
    }
}
