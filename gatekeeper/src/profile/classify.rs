//! What refusals mean for a login, a query or a message (U9, U19).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Profile;
use crate::stanzas::{Failure, IqError, StreamError};

/// What the end or the refusal of a connection means for the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Connect again at once.
    Reconnect,
    /// Connect again after the usual back-off, and not before this time.
    Retry(Option<Duration>),
    /// Another connection of the same user took over: connect again much later, lest the two throw
    /// each other out for ever.
    Replaced,
    /// The gatekeeper does not know the identity any more: the user has to enlist again. With a
    /// text for the user.
    ReEnlist(String),
    /// Connecting again is useless until somebody acts. With a text for the user.
    Fatal(String),
}

/// What the refusal of a single query or message means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// Try it again later, and not before this time.
    Retry(Option<Duration>),
    /// It will never be accepted. With a text for the user.
    Final(String),
}

/// Which numbers mean what. A number in none of the lists is tried again with back-off: that loses
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailureRules {
    /// Reasons of `<failure>` and codes of `<stream:error>` after which the user has to enlist
    /// again.
    pub re_enlist: Vec<u16>,
    /// Seconds to wait before the attempts that follow such a refusal; the one after the last of them is believed. A token
    /// is refused with the same code as long as a clock is wrong, and a new enlistment costs what waits for the old one.
    pub re_enlist_after_seconds: Vec<u64>,
    /// Those after which nothing helps but a human.
    pub fatal: Vec<u16>,
    /// Those after which the connection is opened again at once.
    pub reconnect: Vec<u16>,
    /// Refusals of queries and messages that are worth another try.
    pub retry_refusal: Vec<u16>,
    /// Reasons of a failed enlistment that are worth another try.
    pub retry_enlistment: Vec<String>,
    /// Seconds to wait after having been replaced by another connection.
    pub replaced_seconds: u64,
}

impl Default for FailureRules {
    fn default() -> Self {
        Self {
            re_enlist: vec![401, 415],
            re_enlist_after_seconds: vec![5, 30, 120],
            fatal: vec![403, 405, 406, 409],
            reconnect: vec![515],
            retry_refusal: vec![402, 408, 429, 463, 500, 501, 503],
            retry_enlistment: Vec::new(),
            replaced_seconds: 60,
        }
    }
}

impl Profile {
    /// What `<failure>` means for the login.
    pub fn classify_failure(&self, failure: &Failure) -> FailureClass {
        let class = self.classify_code(failure.reason);
        match (class, failure.expire) {
            (FailureClass::Retry(_), Some(seconds)) => FailureClass::Retry(Some(asked(seconds))),
            (class, _) => class,
        }
    }

    /// What `<stream:error>` means for the login.
    pub fn classify_stream_error(&self, error: &StreamError) -> FailureClass {
        match (error.conflict.as_deref(), error.code) {
            (Some("replaced"), _) => FailureClass::Replaced,
            (Some("device_removed"), _) => FailureClass::ReEnlist(text_of(401)),
            (_, Some(code)) => self.classify_code(code),
            (_, None) => FailureClass::Retry(None),
        }
    }

    /// What the reason of a failed enlistment means. An unknown reason is final: its text is for
    /// the user.
    pub fn classify_enlistment(&self, reason: &str) -> RefusalClass {
        if self
            .failures
            .retry_enlistment
            .iter()
            .any(|known| known == reason)
        {
            return RefusalClass::Retry(None);
        }
        RefusalClass::Final(match reason {
            "bad_integrator" => "bad_integrator, which means that it does not take this service for \
                a partner: the operator has to check the token's issuer and key set with the gatekeeper"
                .to_owned(),
            _ => printable(reason),
        })
    }

    /// What the `error` of a message's ack means.
    pub fn classify_ack(&self, code: u16) -> RefusalClass {
        self.classify_refusal(code, None)
    }

    /// What the refusal of a query means.
    pub fn classify_query(&self, error: &IqError) -> RefusalClass {
        self.classify_refusal(error.code, error.backoff)
    }

    fn classify_code(&self, code: u16) -> FailureClass {
        let rules = &self.failures;
        if rules.reconnect.contains(&code) {
            FailureClass::Reconnect
        } else if rules.re_enlist.contains(&code) {
            FailureClass::ReEnlist(text_of(code))
        } else if rules.fatal.contains(&code) {
            FailureClass::Fatal(text_of(code))
        } else {
            FailureClass::Retry(None)
        }
    }

    fn classify_refusal(&self, code: u16, backoff: Option<u64>) -> RefusalClass {
        if backoff.is_some() || self.failures.retry_refusal.contains(&code) {
            RefusalClass::Retry(backoff.map(asked))
        } else {
            RefusalClass::Final(text_of(code))
        }
    }
}

/// A wait that the server asks for, cut to a year: more is a mistake, and no clock can add it.
fn asked(seconds: u64) -> Duration {
    const YEAR: u64 = 365 * 24 * 3600;
    Duration::from_secs(seconds.min(YEAR))
}

/// A number's meaning, and what the user can do.
fn text_of(code: u16) -> String {
    let text = match code {
        401 => "WhatsApp does not know this identity any more (401): enlist again",
        403 => "WhatsApp has locked this identity (403)",
        405 => {
            "WhatsApp asks for a newer version of the bridge (405): the operator has to update it"
        }
        406 => "WhatsApp has banned this identity (406)",
        409 => {
            "WhatsApp does not accept this bridge's description of itself (409): the operator has to check gatekeeper.profile.login"
        }
        415 => {
            "WhatsApp has no such identity, perhaps after 30 days without a connection (415): enlist again"
        }
        479 => {
            "WhatsApp did not understand the message (479): the operator has to check gatekeeper.profile.message"
        }
        _ => return format!("WhatsApp refused with code {code}"),
    };
    text.to_owned()
}

/// Foreign text cut to what can stand in a notice.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
