//! Identifiers as logs may show them.

use std::{fmt, sync::OnceLock};

use aws_lc_rs::{hmac, rand::SystemRandom};

static SALT: OnceLock<hmac::Key> = OnceLock::new();

/// A short keyed hash of an identifier (a user, a room, a JID), for logs: the same id gives the same hash in one
/// database, and without the database's salt nobody can try all phone numbers against it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId([u8; 4]);

impl LogId {
    /// Hashes `id` with the salt of the first database that this process opened (before that, with a random one).
    pub fn of(id: impl AsRef<str>) -> Self {
        let key = SALT.get_or_init(random_key);
        let tag = hmac::sign(key, id.as_ref().as_bytes());
        let mut short = [0; 4];
        for (to, from) in short.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Self(short)
    }

    /// Sets the salt, once per process.
    pub(crate) fn salt(salt: &[u8]) {
        // A second database in one process (tests) keeps the first one's salt.
        let _ = SALT.set(hmac::Key::new(hmac::HMAC_SHA256, salt));
    }
}

fn random_key() -> hmac::Key {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
        .unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[]))
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", hex::encode(self.0))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_id_and_is_stable() {
        let id = LogId::of("@whatsapp_4915112345678:example.org");
        assert_eq!(id, LogId::of("@whatsapp_4915112345678:example.org"));
        assert_ne!(id, LogId::of("@whatsapp_4915112345679:example.org"));
        let shown = id.to_string();
        assert_eq!(shown.len(), 9);
        assert!(!shown.contains("4915"));
    }
}
