//! The published key set.

use serde::{Deserialize, Deserializer, Serialize};

/// One RSA signing key as it is published; the members and their order are those of the
/// published sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// The name of the key, as tokens give it.
    pub kid: String,
    /// `RSA`.
    pub kty: String,
    /// `RS256`.
    #[serde(default = "rs256")]
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use", default = "sig")]
    pub usage: String,
    /// The modulus, base64url without padding.
    pub n: String,
    /// The exponent, base64url without padding; `AQAB` for 65537.
    pub e: String,
}

fn rs256() -> String {
    "RS256".to_owned()
}

fn sig() -> String {
    "sig".to_owned()
}

/// A key set, the document at `/.well-known/oauth/openid/jwks` of the bridge and at
/// `/.well-known/jwks` of the gatekeeper.
///
/// Reading passes over keys of other kinds, so that one elliptic-curve key does not spoil a set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The RS256 signing keys.
    #[serde(deserialize_with = "usable")]
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// The key of that name.
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

fn usable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Jwk>, D::Error> {
    let keys = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
        .filter(|key| key.kty == "RSA" && key.alg == "RS256" && key.usage == "sig")
        .collect())
}
