//! Devices of the user, and the keys that sign them.

use serde_json::json;

use super::Client;
use crate::Result;

impl Client {
    /// The device that it logged in as.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// Signs another device of the same user, as after a verification.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn sign_device(&self, device: &str) -> Result<()> {
        self.ask("sign_device", json!({"device_id": device}))
            .await
            .map(drop)
    }

    /// Throws the user's cross-signing keys away and makes new ones.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn reset_cross_signing(&self) -> Result<()> {
        self.ask("reset_cross_signing", json!({})).await.map(drop)
    }

    /// Ends the session: the device is gone, and nothing can be asked of this client any more.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn logout(&self) -> Result<()> {
        self.ask("logout", json!({})).await.map(drop)
    }
}
