//! Reading the `/sync` inboxes: room keys that came while the bridge was away are there and nowhere else.

use futures_util::{StreamExt as _, stream};
use matrix_sdk_crypto::store::CryptoStore as _;
use ruma::UserId;
use store::{
    LogId,
    ghosts::{self, Ghost, Stage},
};
use tracing::{debug, warn};

use super::Puppets;
use crate::{
    Identity, NewRoomKey, PuppetError, SqlCryptoStore, WriteMode,
    error::crypto,
    sync::{matters, sync},
};

/// Ghosts read from the database at a time when all are swept.
const PAGE: u32 = 500;

/// What [`Puppets::sweep_all`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// Inboxes emptied.
    pub swept: usize,
    /// Room keys found in them.
    pub keys: usize,
    /// Users whose inbox could not be read: sweep them again.
    pub failed: Vec<String>,
}

impl Puppets {
    /// Sweeps the inbox of one ghost. Opens its machine only if there is something in it.
    ///
    /// # Errors
    ///
    /// See [`PuppetError`].
    pub async fn sweep(&self, user: &UserId) -> Result<Vec<NewRoomKey>, PuppetError> {
        let Some(device) = self.device_of(user).await? else {
            return Ok(Vec::new());
        };
        if !self.is_open(user) {
            let store = SqlCryptoStore::new(
                self.inner.store.clone(),
                user,
                &device,
                WriteMode::Immediate,
            );
            if let Some(since) = crypto(store.next_batch_token().await)? {
                let identity = Identity::device(user, &device);
                let answer = sync(&self.inner.homeserver, identity, Some(since)).await?;
                if !matters(&answer) {
                    return Ok(Vec::new());
                }
            }
        }
        match self.open(user).await? {
            Some(puppet) => puppet.sweep().await,
            None => Ok(Vec::new()),
        }
    }

    /// Sweeps every ghost and the bot, a few at a time, and hands each new room key to `found`. To be done at each start
    /// and after any gap in the transactions. A ghost that fails is tried again later by the next sweep; its id is counted.
    ///
    /// # Errors
    ///
    /// If the list of ghosts cannot be read.
    pub async fn sweep_all(
        &self,
        mut found: impl FnMut(NewRoomKey),
    ) -> Result<SweepResult, PuppetError> {
        let mut result = SweepResult::default();
        let mut after = String::new();
        loop {
            let page = ghosts::list(&self.inner.store, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.mxid);
            self.sweep_page(page, &mut found, &mut result).await;
        }
        debug!(
            swept = result.swept,
            failed = result.failed.len(),
            "swept all"
        );
        Ok(result)
    }

    async fn sweep_page(
        &self,
        page: Vec<Ghost>,
        found: &mut impl FnMut(NewRoomKey),
        result: &mut SweepResult,
    ) {
        let signed = page
            .into_iter()
            .filter(|ghost| ghost.stage == Stage::Signed);
        let mut sweeps = stream::iter(signed.map(|ghost| ghost.mxid))
            .map(|user| async move {
                let swept = match <&UserId>::try_from(user.as_str()) {
                    Ok(user) => self.sweep(user).await,
                    Err(_) => Ok(Vec::new()),
                };
                (user, swept)
            })
            .buffer_unordered(self.inner.options.concurrency.max(1));
        while let Some((user, swept)) = sweeps.next().await {
            match swept {
                Ok(keys) => {
                    result.swept += 1;
                    result.keys += keys.len();
                    keys.into_iter().for_each(&mut *found);
                }
                Err(error) => {
                    warn!(user = %LogId::of(&user), %error, "sweep failed");
                    result.failed.push(user);
                }
            }
        }
    }
}
