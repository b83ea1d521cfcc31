//! What a token says.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The claims of a token. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// For whom; one is written as a plain string.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "write_audience",
        deserialize_with = "read_audience"
    )]
    pub aud: Vec<String>,
    /// About whom: the user-visible identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Issued at.
    #[serde(default)]
    pub iat: u64,
    /// Not valid before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Valid until.
    pub exp: u64,
    /// Everything else.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Claims {
    /// Claims issued `now`, valid for `ttl` seconds.
    pub fn new(iss: impl Into<String>, aud: impl Into<String>, now: u64, ttl: u64) -> Self {
        Self {
            iss: iss.into(),
            aud: vec![aud.into()],
            sub: None,
            iat: now,
            nbf: None,
            exp: now.saturating_add(ttl),
            extra: serde_json::Map::new(),
        }
    }

    /// The same claims about `sub`.
    #[must_use]
    pub fn about(mut self, sub: impl Into<String>) -> Self {
        self.sub = Some(sub.into());
        self
    }
}

fn write_audience<S: Serializer>(audience: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match audience {
        [one] => serializer.serialize_str(one),
        many => many.serialize(serializer),
    }
}

fn read_audience<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
