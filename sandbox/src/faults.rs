//! Faults on demand: what a network and a server may do wrong, seeded and repeatable.

use std::sync::Mutex;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};

/// What goes wrong, and how often. Every `p` is a probability from 0 to 1; all are off at start. What is
/// said of partner users here is so of stock clients too.
///
/// `POST /control/faults` sets the fields it names and leaves the others; `{"reset": true}` first
/// turns everything off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Faults {
    /// Seed of the dice. Setting it starts their sequence again.
    pub seed: u64,
    /// A stanza to a partner user is delivered twice.
    pub duplicate: f64,
    /// A stanza to a partner user changes places with the one after it.
    pub reorder: f64,
    /// Every connection is cut after this many stanzas from the user (messages, receipts and acks); 0
    /// never. The last one may be lost with the connection, or handled and only its answer lost. What
    /// the server sends does not count: a full mailbox would use up every connection before the user
    /// could acknowledge anything.
    pub drop_connection_every: u64,
    /// Every stanza to a partner user waits this long, in milliseconds.
    pub delay_ms: u64,
    /// Bundles that partner users fetch, and those that phones fetch, have no one-time prekey.
    pub prekeys_exhausted: bool,
    /// The server's ack of a partner user's message or receipt is not sent.
    pub lose_acks: f64,
    /// The acks and receipts of partner users do not empty their mailboxes: what was taken comes again over the
    /// next connection.
    pub ignore_acks: f64,
    /// Messages of partner users are not taken but acknowledged with this error; 0 takes them.
    pub refuse: u16,
    /// A message of a phone reaches a partner user with a damaged ciphertext.
    pub corrupt: f64,
    /// A stanza to a partner user carries an attribute and a child that nobody knows.
    pub unknown_extras: f64,
    /// What is wrong with the token of the next pushes.
    pub push_token: Option<TokenFault>,
    /// What is wrong with the token with which the proxy fetches partners' files.
    pub proxy_token: Option<TokenFault>,
    /// What is wrong with the files that phones send.
    pub media: Option<MediaFault>,
}

/// A way in which a file of a phone can be wrong: at the media server, for as long as the fault is on,
/// or in the message, for those that are sent meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaFault {
    /// The media server answers 410.
    Gone,
    /// The media server answers 404.
    Missing,
    /// The media server answers 403.
    Forbidden,
    /// The first half comes, as if it were all.
    Truncated,
    /// The connection breaks after the first half.
    Cut,
    /// The last byte is another one.
    WrongMac,
    /// One byte more comes.
    TooLong,
    /// The message names another hash of the file.
    WrongHash,
    /// The message names another hash of the encrypted file.
    WrongEncHash,
    /// The message says that the file is shorter than it is.
    Shorter,
    /// The message says that the file is longer than it is.
    Longer,
}

/// A way in which a token of the sandbox can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFault {
    /// It is meant for somebody else.
    WrongAud,
    /// It names a key that the sandbox does not publish.
    WrongKid,
    /// Its time is over.
    Expired,
    /// There is none.
    Absent,
}

/// A change of [`Faults`], as the control API takes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultsChange {
    /// Turn all faults off before the rest of this change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<bool>,
    /// See [`Faults::seed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// See [`Faults::duplicate`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<f64>,
    /// See [`Faults::reorder`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<f64>,
    /// See [`Faults::drop_connection_every`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_connection_every: Option<u64>,
    /// See [`Faults::delay_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Ends every open connection once with `<stream:error code=…>`, e.g. 515 or 503; with none open,
    /// the next one to log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_error: Option<u16>,
    /// See [`Faults::prekeys_exhausted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prekeys_exhausted: Option<bool>,
    /// See [`Faults::lose_acks`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lose_acks: Option<f64>,
    /// See [`Faults::ignore_acks`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_acks: Option<f64>,
    /// See [`Faults::refuse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<u16>,
    /// See [`Faults::corrupt`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<f64>,
    /// See [`Faults::unknown_extras`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_extras: Option<f64>,
    /// See [`Faults::push_token`]; `"none"` makes the tokens right again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_token: Option<TokenFaultChange>,
    /// See [`Faults::proxy_token`]; `"none"` makes the tokens right again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_token: Option<TokenFaultChange>,
    /// See [`Faults::media`]; `"none"` makes the files right again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaFaultChange>,
}

/// A [`MediaFault`], or `none` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MediaFaultChange {
    /// A fault.
    Fault(MediaFault),
    /// The files are right.
    None(NoFault),
}

/// The word `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoFault {
    /// Nothing is wrong.
    None,
}

/// A [`TokenFault`], or `none` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenFaultChange {
    /// A fault.
    Fault(TokenFault),
    /// The tokens are right.
    None(NoFault),
}

impl From<TokenFaultChange> for Option<TokenFault> {
    fn from(change: TokenFaultChange) -> Self {
        match change {
            TokenFaultChange::Fault(fault) => Some(fault),
            TokenFaultChange::None(NoFault::None) => None,
        }
    }
}

impl From<MediaFaultChange> for Option<MediaFault> {
    fn from(change: MediaFaultChange) -> Self {
        match change {
            MediaFaultChange::Fault(fault) => Some(fault),
            MediaFaultChange::None(NoFault::None) => None,
        }
    }
}

/// A probability outside 0 to 1, by the name of its field.
#[derive(Debug, thiserror::Error)]
#[error("`{field}` is {value}, which is no probability")]
pub struct NotAProbability {
    field: &'static str,
    value: f64,
}

impl Faults {
    /// These faults with `change` applied.
    pub fn changed(&self, change: &FaultsChange) -> Result<Self, NotAProbability> {
        let mut next = if change.reset == Some(true) {
            Self::default()
        } else {
            *self
        };
        for (field, value, slot) in [
            ("duplicate", change.duplicate, &mut next.duplicate),
            ("reorder", change.reorder, &mut next.reorder),
            ("lose_acks", change.lose_acks, &mut next.lose_acks),
            ("ignore_acks", change.ignore_acks, &mut next.ignore_acks),
            ("corrupt", change.corrupt, &mut next.corrupt),
            (
                "unknown_extras",
                change.unknown_extras,
                &mut next.unknown_extras,
            ),
        ] {
            if let Some(value) = value {
                if !(0.0..=1.0).contains(&value) {
                    return Err(NotAProbability { field, value });
                }
                *slot = value;
            }
        }
        next.seed = change.seed.unwrap_or(next.seed);
        next.drop_connection_every = change
            .drop_connection_every
            .unwrap_or(next.drop_connection_every);
        next.refuse = change.refuse.unwrap_or(next.refuse);
        next.delay_ms = change.delay_ms.unwrap_or(next.delay_ms);
        next.prekeys_exhausted = change.prekeys_exhausted.unwrap_or(next.prekeys_exhausted);
        if let Some(push_token) = change.push_token {
            next.push_token = push_token.into();
        }
        if let Some(proxy_token) = change.proxy_token {
            next.proxy_token = proxy_token.into();
        }
        if let Some(media) = change.media {
            next.media = media.into();
        }
        Ok(next)
    }
}

/// The dice that decide whether a fault strikes.
#[derive(Debug)]
pub(crate) struct Dice {
    rng: Mutex<SmallRng>,
}

impl Dice {
    /// Dice whose sequence follows from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Mutex::new(SmallRng::seed_from_u64(seed)),
        }
    }

    /// Starts the sequence again from `seed`.
    pub(crate) fn reseed(&self, seed: u64) {
        *crate::lock(&self.rng) = SmallRng::seed_from_u64(seed);
    }

    /// Whether something of this probability happens now. Certainties do not use up the sequence.
    pub(crate) fn strikes(&self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        probability >= 1.0 || crate::lock(&self.rng).random::<f64>() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let roll = |dice: &Dice| (0..64).map(|_| dice.strikes(0.3)).collect::<Vec<_>>();
        let dice = Dice::new(7);
        let first = roll(&dice);
        assert_eq!(first, roll(&Dice::new(7)));
        assert_ne!(first, roll(&Dice::new(8)));
        dice.reseed(7);
        assert_eq!(first, roll(&dice));
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let faults = Faults {
            duplicate: 0.5,
            delay_ms: 7,
            ..Faults::default()
        };
        let change = FaultsChange {
            lose_acks: Some(1.0),
            ..FaultsChange::default()
        };
        let next = faults.changed(&change).unwrap();
        assert_eq!(
            next,
            Faults {
                lose_acks: 1.0,
                ..faults
            }
        );
        let reset = FaultsChange {
            reset: Some(true),
            ..FaultsChange::default()
        };
        assert_eq!(faults.changed(&reset).unwrap(), Faults::default());
    }

    #[test]
    fn words_of_faults_are_read() {
        let change = |json: &str| serde_json::from_str::<FaultsChange>(json);
        let on = change(r#"{"media":"wrong_mac","proxy_token":"absent"}"#).unwrap();
        let faults = Faults::default().changed(&on).unwrap();
        assert_eq!(faults.media, Some(MediaFault::WrongMac));
        assert_eq!(faults.proxy_token, Some(TokenFault::Absent));
        let off = change(r#"{"media":"none","proxy_token":"none"}"#).unwrap();
        assert_eq!(faults.changed(&off).unwrap(), Faults::default());
        assert!(change(r#"{"media":"melted"}"#).is_err());
    }

    #[test]
    fn a_probability_above_one_is_refused_by_name() {
        let change = FaultsChange {
            duplicate: Some(1.5),
            ..FaultsChange::default()
        };
        let error = Faults::default().changed(&change).unwrap_err().to_string();
        assert!(error.contains("`duplicate` is 1.5"), "{error}");
    }
}
