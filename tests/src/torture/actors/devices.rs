//! A user with more than one device.

use serde_json::{Value, json};

use super::Actors;
use crate::Result;
use crate::client::{Client, Login};
use crate::error::Context as _;
use crate::stack::{PASSWORD, Stack};

/// One-time keys that are taken of a device at most.
const MANY: usize = 200;

impl Actors {
    /// A second device of the first user, signed by its first one.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn second_device(&self, stack: &Stack) -> Result<Client> {
        let first = self.first()?;
        let login = Login {
            homeserver: stack.synapse.url(),
            user: first.user_id(),
            password: PASSWORD,
            // A careful one sends nothing before its user has confirmed who that user is.
            accepts_insecure: true,
        };
        let log = stack.folder().join("client-second.log");
        let second = Client::login_unsigned(&login, &log).await?;
        first.sign_device(second.device_id()).await?;
        Ok(second)
    }

    /// The first user throws its cross-signing keys away and makes new ones.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn reset_cross_signing(&self) -> Result<()> {
        self.first()?.reset_cross_signing().await
    }

    /// Somebody takes all one-time keys of the ghosts.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses.
    pub async fn use_up_one_time_keys(&self) -> Result<()> {
        let client = self.first()?;
        let mut ghosts: Vec<&str> = self.chats.iter().map(|chat| chat.ghost.as_str()).collect();
        ghosts.sort_unstable();
        ghosts.dedup();
        let post = |path: &'static str, body: Value| async move {
            let path = format!("/_matrix/client/v3/keys/{path}");
            client.request("POST", &path, json!({}), body).await
        };
        for ghost in ghosts {
            let found = post("query", json!({"device_keys": {ghost: []}})).await?;
            let devices = found["device_keys"][ghost].as_object();
            let devices = devices.context("a ghost without devices")?;
            for device in devices.keys() {
                let claim = json!({"one_time_keys": {ghost: {device: "signed_curve25519"}}});
                let mut taken = 0;
                loop {
                    let answer = post("claim", claim.clone()).await?;
                    let keys = answer["one_time_keys"][ghost][device].as_object();
                    let fallback = |key: &Value| key["fallback"] == true;
                    if keys.is_none_or(|keys| keys.values().all(fallback)) {
                        break;
                    }
                    taken += 1;
                    if taken == MANY {
                        // On a busy machine the ghost makes new ones as fast as they are taken.
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
