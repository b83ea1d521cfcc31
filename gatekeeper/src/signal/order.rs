//! The order in which a peer wrote its messages, as their headers tell it (Double Ratchet, header: ratchet key, `PN`, `N`).
//!
//! Nothing of a header is proven before its message has been decrypted. It may decide which message is tried first, and how
//! long one waits for those before it; never whether one is read.

use wacore_libsignal::protocol::{SessionRecord, SessionState, SignalMessage};
use waproto::{buffa::MessageView as _, whatsapp::SignalMessageView};

use super::{
    EncKind, Peer, SignalError,
    keys::raw,
    session::{check_version, parse_prekey_message},
    stores::Sessions,
};

/// Bytes of the authentication code at the end of a message.
const MAC: usize = 8;

/// More missing messages than this are no messages that were overtaken: the library would not read past them either.
const MOST: u32 = 2000;

/// The place of a message among those of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Ratchet key of its sending chain, without type byte.
    pub chain: [u8; 32],
    /// Its number in that chain, from 0.
    pub counter: u32,
    /// Number of the last message of the chain before; 0 also if there was none.
    previous: u32,
    /// Base key of the session that it opens, as it stands in the message.
    base_key: Option<Vec<u8>>,
}

impl Position {
    /// A place in a chain of which nothing else is known.
    pub const fn new(chain: [u8; 32], counter: u32) -> Self {
        Self {
            chain,
            counter,
            previous: 0,
            base_key: None,
        }
    }

    /// Reads the header of a message.
    ///
    /// # Errors
    ///
    /// If it is no message of this kind.
    pub fn of(kind: EncKind, bytes: &[u8]) -> Result<Self, SignalError> {
        match kind {
            EncKind::Msg => {
                check_version(bytes)?;
                Self::read(&SignalMessage::try_from(bytes)?, None)
            }
            EncKind::PkMsg => {
                let message = parse_prekey_message(bytes)?;
                let base_key = message.base_key().serialize().to_vec();
                Self::read(message.message(), Some(base_key))
            }
        }
    }

    fn read(message: &SignalMessage, base_key: Option<Vec<u8>>) -> Result<Self, SignalError> {
        let header = message
            .serialized()
            .split_first()
            .and_then(|(_, rest)| rest.split_at_checked(rest.len().checked_sub(MAC)?))
            .ok_or(SignalError::InvalidMessage)?
            .0;
        let header =
            SignalMessageView::decode_view(header).map_err(|_| SignalError::InvalidMessage)?;
        Ok(Self {
            chain: raw(message.sender_ratchet_key()),
            counter: message.counter(),
            previous: header.previous_counter.unwrap_or_default(),
            base_key,
        })
    }
}

/// Consecutive messages of one sending chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Ratchet key of the chain, without type byte.
    pub chain: [u8; 32],
    /// The first.
    pub from: u32,
    /// The one after the last.
    pub to: u32,
}

impl Span {
    /// The one message at a position.
    pub fn at(position: &Position) -> Self {
        Self {
            chain: position.chain,
            from: position.counter,
            to: position.counter.saturating_add(1),
        }
    }

    /// Whether a message is one of these.
    pub fn contains(&self, position: &Position) -> bool {
        self.chain == position.chain && (self.from..self.to).contains(&position.counter)
    }

    /// How many they are.
    fn len(&self) -> u32 {
        self.to.saturating_sub(self.from)
    }
}

/// Whether it is a message's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next of its sender.
    Next,
    /// A later one was read before it.
    Late,
    /// These come before it and were not read, in order.
    After(Vec<Span>),
}

/// Compares a message with what was read of its sender so far.
///
/// # Errors
///
/// If the stored session is damaged.
pub fn turn(peer: &Peer, position: &Position) -> Result<Turn, SignalError> {
    let sessions = Sessions::load(peer.session.as_deref())?;
    let chains = sessions
        .record
        .as_ref()
        .and_then(|record| chains_of(record, position))
        .unwrap_or_default();
    let mut missing = Vec::new();
    let next = match chains.iter().find(|chain| chain.key == position.chain) {
        Some(known) if position.counter < known.next => return Ok(Turn::Late),
        Some(known) => known.next,
        None => {
            // Where the chain before had one message or none its header says the same.
            if let Some(before) = chains.last().filter(|_| position.previous > 0) {
                missing.push(Span {
                    chain: before.key,
                    from: before.next,
                    to: position.previous.saturating_add(1),
                });
            }
            0
        }
    };
    missing.push(Span {
        chain: position.chain,
        from: next,
        to: position.counter,
    });
    missing.retain(|span| span.len() > 0);
    let count = missing.iter().map(Span::len).fold(0, u32::saturating_add);
    Ok(if count == 0 || count > MOST {
        Turn::Next
    } else {
        Turn::After(missing)
    })
}

/// A sending chain of the peer, as far as it was read.
struct Chain {
    key: [u8; 32],
    /// Number of the next message.
    next: u32,
}

/// The chains of the session that a message belongs to, oldest first; nothing if it opens a new one.
fn chains_of(record: &SessionRecord, position: &Position) -> Option<Vec<Chain>> {
    let current = record.session_state();
    let belongs = |state: &SessionState| match &position.base_key {
        Some(base_key) => state.alice_base_key() == base_key.as_slice(),
        None => chains(state)
            .iter()
            .any(|chain| chain.key == position.chain),
    };
    if let Some(state) = current.filter(|state| belongs(state)) {
        return Some(chains(state));
    }
    // Earlier sessions are copied to be looked at: this is for a new chain or session, not for every message.
    let earlier = record
        .previous_session_states()
        .filter_map(Result::ok)
        .find(|state| belongs(state));
    match (earlier, &position.base_key) {
        (Some(state), _) => Some(chains(&state)),
        (None, Some(_)) => None,
        (None, None) => current.map(chains),
    }
}

fn chains(state: &SessionState) -> Vec<Chain> {
    state
        .all_receiver_chain_logging_info()
        .into_iter()
        .filter_map(|(key, next)| {
            let (_, key) = key.split_first()?;
            Some(Chain {
                key: key.try_into().ok()?,
                next: next?,
            })
        })
        .collect()
}
