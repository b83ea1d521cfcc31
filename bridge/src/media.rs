//! Files on their way: streamed from one encryption into the other, never whole in memory, never readable on the disk.
//!
//! Matrix to WhatsApp (`outgoing`): the file is decrypted as it comes from the homeserver, encrypted for WhatsApp, and kept
//! as ciphertext in a `folder` where the gatekeeper's proxy fetches it (`shelf`). Only when its hash was right does the
//! message go. WhatsApp to Matrix (`incoming`): the file is decrypted as it comes from the media server, encrypted as a
//! Matrix attachment, and uploaded; only when its authentication code and hashes were right does an event name it.
//!
//! No lock, no database connection and no place among the workers is held during a transfer (`transfers`). What a chat
//! or room needs is transferred while it waits, and nobody else waits for it.

mod again;
mod breaks;
mod folder;
mod incoming;
mod outgoing;
mod quota;
mod shelf;
mod transfers;

pub use self::folder::{Folder, Reference};
pub(crate) use self::{
    again::{Wanted, again, wanted},
    incoming::{Fetching, content, fetched},
    outgoing::{Hosting, Read, Unsent, end, host, redacted},
    shelf::{Hosted, clear, sweep},
};
use self::{
    breaks::Breaks,
    incoming::Chat,
    quota::Quota,
    transfers::{Bounds, Transfers},
};
use crate::{client, config::Config};

use std::io;

/// Largest small picture that is carried, in bytes: it travels inside of a message.
const THUMBNAIL: usize = 64 * 1024;

/// What carries files.
#[derive(Debug)]
pub struct Media {
    folder: Folder,
    bounds: Bounds,
    /// By Matrix event.
    hosting: Transfers<String, Hosting>,
    fetching: Transfers<Chat, Fetching>,
    hosting_breaks: Breaks<String>,
    quota: Quota,
    fetching_breaks: Breaks<Chat>,
    client: reqwest::Client,
}

/// Why files cannot be carried.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The folder.
    #[error(
        "the media folder {folder} cannot be used ({source}); make it writable, or name another in media.folder"
    )]
    Folder {
        /// Where it should be.
        folder: String,
        /// Why.
        source: io::Error,
    },
    /// The HTTP client.
    #[error("no HTTP client can be made: {0}")]
    Http(#[from] reqwest::Error),
}

impl Media {
    /// Opens the folder, and deletes what a crash left unfinished there.
    ///
    /// # Errors
    ///
    /// A folder that cannot be made or written.
    pub async fn open(config: &Config) -> Result<Self, MediaError> {
        let path = config.media_folder();
        let failed = |source| MediaError::Folder {
            folder: path.display().to_string(),
            source,
        };
        let folder = Folder::open(path.clone()).await.map_err(failed)?;
        let swept = folder.sweep_unfinished().await.map_err(failed)?;
        if swept > 0 {
            tracing::info!(
                swept,
                "unfinished files were deleted; their messages are carried again"
            );
        }
        let bounds = Bounds::new(config.media.transfers, config.media.transfers_per_login);
        Ok(Self {
            hosting: Transfers::new(bounds.clone()),
            fetching: Transfers::new(bounds.clone()),
            hosting_breaks: Breaks::new(),
            quota: Quota::default(),
            fetching_breaks: Breaks::new(),
            client: client::streaming()?,
            bounds,
            folder,
        })
    }

    /// Breaks all transfers off. Their messages are carried again at the next start.
    pub(crate) async fn stop(&self) {
        self.bounds.stop().await;
    }
}

/// A JPEG begins so.
fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Counts what was carried: `to` is `whatsapp` or `matrix`.
fn count(to: &'static str, outcome: &'static str, bytes: u64) {
    metrics::counter!("gatehouse_media_transfers_total", "to" => to, "outcome" => outcome)
        .increment(1);
    metrics::counter!("gatehouse_media_bytes_total", "to" => to).increment(bytes);
}
