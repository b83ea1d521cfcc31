//! The hosted files as the gatekeeper's proxy sees them, and their end.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use store::{Batch, media};

use super::Reference;
use crate::{
    appservice::SinkError,
    core::{Core, Wake},
    passes::Hold,
    public::{Found, Shelf},
};

/// How often ended files are looked for.
const SWEEP: Duration = Duration::from_secs(3600);
/// A file that the database does not know is left alone for this long: it may be about to become known.
const ORPHAN: Duration = Duration::from_secs(3600);
/// A row outlives its file by this long, in milliseconds.
const REMEMBERED: i64 = 30 * 24 * 3600 * 1000;
/// Files deleted in one go.
const AT_ONCE: u32 = 256;

/// The hosted files.
#[derive(Debug)]
pub(crate) struct Hosted(pub(crate) Arc<Core>);

#[async_trait]
impl Shelf for Hosted {
    async fn find(&self, reference: &Reference) -> Result<Found, SinkError> {
        let core = &self.0;
        let unavailable =
            |error: Box<dyn std::error::Error + Send + Sync>| SinkError::Unavailable(error);
        let row = media::by_reference(&core.store, reference.as_str())
            .await
            .map_err(|error| unavailable(error.into()))?;
        let Some(row) = row else {
            return Ok(Found::Unknown);
        };
        if row.expires_ts <= core.now() {
            return Ok(Found::Gone);
        }
        let file = core.media.folder.read(reference).await;
        Ok(match file.map_err(|error| unavailable(error.into()))? {
            Some(file) => Found::File(file),
            None => {
                tracing::warn!("a hosted file is not in the media folder");
                Found::Gone
            }
        })
    }
}

/// Deletes the files that have ended and those that nobody knows; comes again in an hour.
pub(crate) async fn sweep(core: &Arc<Core>) {
    let again = match try_sweep(core).await {
        Ok(()) => SWEEP,
        Err(hold) => {
            tracing::warn!(reason = %hold.reason, "hosted files could not be swept");
            Duration::from_secs(300)
        }
    };
    core.later.wake_after(Wake::Media, again);
}

async fn try_sweep(core: &Arc<Core>) -> Result<(), Hold> {
    let folder = &core.media.folder;
    loop {
        let ended = media::ended(&core.store, core.now(), AT_ONCE).await?;
        if ended.is_empty() {
            break;
        }
        remove(core, ended).await?;
    }
    let orphans = folder.older_than(ORPHAN).await;
    for reference in orphans.map_err(|error| Hold::failed(&error))? {
        let row = media::by_reference(&core.store, reference.as_str()).await?;
        if row.is_none() {
            let removed = folder.remove(&reference).await;
            removed.map_err(|error| Hold::failed(&error))?;
        }
    }
    let mut batch = Batch::new();
    media::prune(&mut batch, core.now().saturating_sub(REMEMBERED));
    core.store.commit(batch).await?;
    Ok(())
}

/// Deletes all files of a login.
pub(crate) async fn clear(core: &Core, login: &str) -> Result<(), Hold> {
    loop {
        let stored = media::of_login(&core.store, login, AT_ONCE).await?;
        if stored.is_empty() {
            return Ok(());
        }
        remove(core, stored).await?;
    }
}

/// Deletes files; their rows stay for a while, to say so.
async fn remove(core: &Core, references: Vec<String>) -> Result<(), Hold> {
    let mut batch = Batch::new();
    for reference in references {
        if let Some(reference) = Reference::parse(&reference) {
            let removed = core.media.folder.remove(&reference).await;
            removed.map_err(|error| Hold::failed(&error))?;
        }
        media::removed(&mut batch, &reference);
    }
    failpoints::around!("shelf.removed.commit", core.store.commit(batch).await)?;
    Ok(())
}
