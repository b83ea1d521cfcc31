//! The chat channel and the login (U2, U3, U17, U20).

use serde::{Deserialize, Serialize};

use super::ProfileError;
use crate::noise::TrustRoot;

/// The chat channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatProfile {
    /// The path of the WebSocket, if the configured address has none.
    pub websocket_path: String,
    /// The `Origin` header of the WebSocket; empty for none.
    pub websocket_origin: String,
    /// The public key, in hexadecimal, that the server's certificates go back to (U17).
    #[serde(with = "root")]
    pub trust_root: TrustRoot,
}

impl Default for ChatProfile {
    fn default() -> Self {
        Self {
            websocket_path: "/ws/chat".to_owned(),
            websocket_origin: "https://web.whatsapp.com".to_owned(),
            trust_root: TrustRoot::WHATSAPP,
        }
    }
}

impl ChatProfile {
    pub(super) fn check(&self) -> Result<(), ProfileError> {
        if !self.websocket_path.starts_with('/') {
            return Err(ProfileError {
                key: "chat.websocket_path",
                problem: "must begin with a slash",
            });
        }
        Ok(())
    }
}

/// The login payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginProfile {
    /// The number of the product: 2 is WhatsApp interop (U20).
    pub product: u32,
    /// The version of the interop protocol, one to five numbers. It is sent as the application's
    /// version; where it really goes is not public (U3).
    pub version: Vec<u32>,
    /// Whether the payload asks for messages at once (`passive = false`).
    pub passive: bool,
    /// Whether the payload has `pull`.
    pub pull: bool,
}

impl Default for LoginProfile {
    fn default() -> Self {
        Self {
            product: 2,
            version: vec![1, 0, 3],
            passive: false,
            pull: true,
        }
    }
}

/// The trust root as 64 hexadecimal digits.
mod root {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::noise::TrustRoot;

    pub(super) fn serialize<S: Serializer>(root: &TrustRoot, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(root.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TrustRoot, D::Error> {
        let text = String::deserialize(from)?;
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key)
            .map_err(|_| D::Error::custom("a trust root is 64 hexadecimal digits"))?;
        Ok(TrustRoot(key))
    }
}
