//! Rules by which single requests have another fate than to be passed on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This status, as the server's own answer; the server does not hear of it.
    Refused(u16),
    /// This status with a proxy's page. The server does not hear of it.
    Page(u16),
    /// No answer, until whoever asks gives up or the rule is taken back. The server does not hear of it.
    Hangs,
}

/// Which requests have another fate.
#[derive(Debug)]
struct Rule {
    method: &'static str,
    contains: String,
    fate: Fate,
}

/// All rules of a proxy.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Mutex<Vec<Rule>>,
    struck: AtomicU64,
}

impl Rules {
    pub(super) fn add(&self, method: &'static str, contains: &str, fate: Fate) {
        let contains = contains.to_owned();
        self.lock().push(Rule {
            method,
            contains,
            fate,
        });
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// The fate of a request, if a rule is about it. `path` is its path and query as they came.
    pub(super) fn fate(&self, method: &str, path: &str) -> Option<Fate> {
        let rules = self.lock();
        if rules.is_empty() {
            return None;
        }
        let path = percent_decoded(path);
        let is_about = |rule: &&Rule| {
            (rule.method.is_empty() || rule.method == method) && holds(&path, &rule.contains)
        };
        let fate = rules.iter().find(is_about).map(|rule| rule.fate);
        self.struck
            .fetch_add(u64::from(fate.is_some()), Ordering::Relaxed);
        fate
    }

    /// How often a request had another fate.
    pub(super) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the parts of `pattern` between its `*` stand in `path`, one after the other.
fn holds(path: &str, pattern: &str) -> bool {
    let mut rest = Some(path);
    for part in pattern.split('*') {
        rest = rest
            .and_then(|rest| rest.split_once(part))
            .map(|(_, rest)| rest);
    }
    rest.is_some()
}

/// Room and event ids hold characters that stand encoded in a path.
fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                decoded.push(code);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod unit {
    use super::holds;

    #[test]
    fn a_star_stands_for_anything() {
        let path = "/rooms/!r/send/m.room.encrypted/x?user_id=@g:s&device_id=D";
        assert!(holds(path, "/rooms/!r/send/"));
        assert!(holds(path, "/rooms/!r/*?user_id=@g:s"));
        assert!(!holds(path, "/rooms/!r/*?user_id=@other:s"));
        assert!(!holds(path, "user_id=@g:s*/rooms/!r/"));
    }
}
