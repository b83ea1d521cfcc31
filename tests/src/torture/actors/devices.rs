//! A user with more than one device.

use serde_json::{Value, json};

use super::Actors;
use crate::client::{Client, Login};
use crate::error::Context as _;
use crate::stack::{PASSWORD, Stack};
use crate::{Error, Result};

/// More one-time keys than any device has.
const MANY: usize = 200;
/// One-time keys that are asked for at the same time: more than a ghost has.
const AT_ONCE: usize = 20;

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
                let is_left = |answer: &Value| {
                    let keys = answer["one_time_keys"][ghost][device].as_object();
                    keys.is_some_and(|keys| keys.values().any(|key| key["fallback"] != true))
                };
                let mut taken = 0;
                loop {
                    // Many at once: one after the other they would be replaced as fast as they are taken.
                    let claims = (0..AT_ONCE).map(|_| post("claim", claim.clone()));
                    let answers = futures_util::future::try_join_all(claims).await?;
                    if !answers.iter().all(is_left) {
                        break;
                    }
                    taken += AT_ONCE;
                    if taken > MANY {
                        return Err(Error::new("a ghost has one-time keys without end"));
                    }
                }
            }
        }
        Ok(())
    }
}
