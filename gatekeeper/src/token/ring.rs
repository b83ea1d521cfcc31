//! The signing keys of a bridge, and their rotation.

use super::{Claims, Jwks, SigningKey, TokenError};

/// All keys that are not retired: every one is published, one of them signs.
///
/// To rotate, add a key, and retire the old one when the last token that it signed has expired.
/// The gatekeeper fetches the key set only now and then, so a new key is published for a while
/// (`settle`) before it signs.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Vec<(u64, SigningKey)>,
    settle: u64,
}

impl KeyRing {
    /// An empty ring whose new keys sign after `settle` seconds; with 0 the newest signs at once.
    pub const fn new(settle: u64) -> Self {
        Self {
            keys: Vec::new(),
            settle,
        }
    }

    /// Puts a key in; `created` is seconds since 1970. A key of the same name is replaced.
    pub fn add(&mut self, key: SigningKey, created: u64) {
        self.retire(key.kid());
        self.keys.push((created, key));
        self.keys.sort_by_key(|(created, _)| *created);
    }

    /// Takes a key out; tokens that it signed are refused once the gatekeeper fetches the set.
    pub fn retire(&mut self, kid: &str) {
        self.keys.retain(|(_, key)| key.kid() != kid);
    }

    /// The keys, oldest first, with their times of creation.
    pub fn keys(&self) -> impl Iterator<Item = (u64, &SigningKey)> {
        self.keys.iter().map(|(created, key)| (*created, key))
    }

    /// The key that signs at the time `now`: the newest that is settled, else the oldest.
    pub fn signer(&self, now: u64) -> Result<&SigningKey, TokenError> {
        let settled = |created: u64| created.saturating_add(self.settle) <= now;
        let newest = self
            .keys
            .iter()
            .rev()
            .find(|(created, _)| settled(*created));
        newest
            .or(self.keys.first())
            .map(|(_, key)| key)
            .ok_or(TokenError::NoKey)
    }

    /// Signs claims with the key of their time of issue.
    pub fn issue(&self, claims: &Claims) -> Result<String, TokenError> {
        self.signer(claims.iat)?.issue(claims)
    }

    /// The document to publish, newest key first.
    pub fn jwks(&self) -> Jwks {
        Jwks {
            keys: self
                .keys
                .iter()
                .rev()
                .map(|(_, key)| key.jwk().clone())
                .collect(),
        }
    }
}
