//! From stanzas to the bytes of a connection, with the variety that a real server shows.
//!
//! Clients must read compressed stanzas, digits that are not packed, and frames that are split or
//! merged in any way. The sandbox does each now and then, by a seed.

use bytes::Bytes;
use gatekeeper::{
    frame::encode_frame,
    noise::Sender,
    stanza::{self, EncodeOptions, InteropJidStyle, Node},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::Ended;
use crate::record::Recorder;

/// Collects encrypted frames and cuts them into pieces.
#[derive(Debug)]
pub(super) struct Wire {
    sender: Sender,
    dice: Option<SmallRng>,
    frames: Vec<Vec<u8>>,
    bytes: usize,
}

impl Wire {
    pub(super) fn new(sender: Sender, seed: u64, variety: bool) -> Self {
        let dice = variety.then(|| SmallRng::seed_from_u64(seed));
        Self {
            sender,
            dice,
            frames: Vec::new(),
            bytes: 0,
        }
    }

    /// Encrypts a stanza into the next frame. One that cannot be encoded is left out, and says so.
    pub(super) fn add(&mut self, node: &Node) -> Result<(), Ended> {
        let mut chance = |p| self.dice.as_mut().is_some_and(|dice| dice.random_bool(p));
        let options = EncodeOptions {
            interop: InteropJidStyle::WithServer,
            compress: chance(0.1),
            pack: !chance(0.1),
        };
        match stanza::encode(node, &options) {
            Ok(plain) => {
                let frame = encode_frame(&self.sender.encrypt(&plain)?)?;
                self.bytes += frame.len();
                self.frames.push(frame);
            }
            Err(error) => tracing::error!(%error, "a stanza of the sandbox cannot be encoded"),
        }
        Ok(())
    }

    /// Bytes that wait to be taken.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// The frames in pieces for the transport: usually all in one, sometimes each alone, sometimes
    /// cut anywhere.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.bytes = 0;
        let frames = std::mem::take(&mut self.frames);
        let Some(dice) = &mut self.dice else {
            return vec![frames.concat().into()];
        };
        if dice.random_bool(0.3) {
            return frames.into_iter().map(Bytes::from).collect();
        }
        let mut rest = Bytes::from(frames.concat());
        if rest.len() > 1 && dice.random_bool(0.1) {
            let cut = dice.random_range(1..rest.len());
            let first = rest.split_to(cut);
            return vec![first, rest];
        }
        vec![rest]
    }
}

/// Records what a compressed stanza holds: a search of the record must find it.
pub(super) fn record_inflated(recorder: &Recorder, bytes: &[u8], node: &Node) {
    const COMPRESSED: u8 = 2;
    if bytes.first().is_some_and(|flags| flags & COMPRESSED != 0)
        && let Ok(plain) = stanza::encode(node, &EncodeOptions::default())
    {
        recorder.write(&plain);
    }
}
