//! What tokens say (U1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ProfileError;
use crate::token::Claims;

/// What tokens say. They are signed with RS256 and name their key by `kid`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenProfile {
    /// `aud`: whom the token is for. The gatekeeper calls itself so in the tokens of its pushes.
    pub audience: String,
    /// The claim that holds the identifier that WhatsApp users see.
    pub identifier_claim: String,
    /// Seconds that a token is valid.
    pub lifetime_seconds: u64,
    /// Further claims, the same for all users.
    pub extra: BTreeMap<String, Value>,
}

impl Default for TokenProfile {
    fn default() -> Self {
        Self {
            audience: "WHATSAPP".to_owned(),
            identifier_claim: "sub".to_owned(),
            lifetime_seconds: 3600,
            extra: BTreeMap::new(),
        }
    }
}

/// Claims that have a meaning of their own.
const RESERVED: [&str; 6] = ["iss", "aud", "sub", "iat", "nbf", "exp"];

impl TokenProfile {
    pub(super) fn check(&self) -> Result<(), ProfileError> {
        let wrong = |key, problem| Err(ProfileError { key, problem });
        if self.lifetime_seconds == 0 {
            return wrong("token.lifetime_seconds", "must be at least 1");
        }
        if self.identifier_claim != "sub" && RESERVED.contains(&self.identifier_claim.as_str()) {
            return wrong(
                "token.identifier_claim",
                "this claim already means something else",
            );
        }
        if self
            .extra
            .keys()
            .any(|name| RESERVED.contains(&name.as_str()))
        {
            return wrong(
                "token.extra",
                "iss, aud, sub, iat, nbf and exp are set by the bridge",
            );
        }
        Ok(())
    }

    /// The claims of a user's token. `issuer` is the bridge's own public address, `now` is in
    /// seconds since 1970.
    pub fn claims(&self, issuer: &str, identifier: &str, now: u64) -> Claims {
        let mut claims = Claims::new(issuer, self.audience.as_str(), now, self.lifetime_seconds);
        claims.extra = self
            .extra
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if self.identifier_claim == "sub" {
            return claims.about(identifier);
        }
        claims
            .extra
            .insert(self.identifier_claim.clone(), identifier.into());
        claims
    }
}
