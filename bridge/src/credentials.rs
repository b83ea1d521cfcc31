//! What a login shows at each connection: its static Noise key and a fresh identity token.

use std::sync::Arc;

use async_trait::async_trait;
use gatekeeper::{
    connection::{BoxError, Credentials, CredentialsProvider},
    noise::StaticKeyPair,
};
use store::{logins, preferences};

use crate::{core::Core, tokens};

/// The credentials of one login.
#[derive(Debug)]
pub(crate) struct LoginCredentials {
    core: Arc<Core>,
    mxid: String,
}

impl LoginCredentials {
    pub(crate) fn new(core: Arc<Core>, mxid: &str) -> Self {
        Self {
            core,
            mxid: mxid.to_owned(),
        }
    }
}

#[async_trait]
impl CredentialsProvider for LoginCredentials {
    async fn credentials(&self) -> Result<Credentials, BoxError> {
        let row = logins::get(&self.core.store, &self.mxid)
            .await?
            .ok_or("the login is gone")?;
        let noise = row.noise_key.ok_or("the login has no Noise key")?;
        let jid: gatekeeper::stanza::Jid = row.jid.ok_or("the login is not enlisted")?.parse()?;
        let account_id = jid.user.parse()?;
        let preferences = preferences::get(&self.core.store, &self.mxid).await?;
        let token = tokens::identity_token(&self.core, &self.mxid)
            .await
            .map_err(|hold| hold.reason)?;
        Ok(Credentials {
            static_key: StaticKeyPair::from_bytes(
                (&*noise)
                    .try_into()
                    .map_err(|_| "the login's Noise key is damaged")?,
            ),
            account_id,
            token,
            routing_info: row.routing_info,
            enable_read_receipts: preferences.read_receipts,
        })
    }
}
