//! Files on their way.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Config;

/// Files on their way. How large they may be, and how long they are kept, is the gatekeeper's affair:
/// `gatekeeper.profile.media`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Folder for encrypted files that WhatsApp fetches; none for `media` beside the SQLite database, or in the working
    /// directory.
    pub folder: Option<PathBuf>,
    /// Files that are carried over at the same time.
    pub transfers: usize,
    /// Of these, how many may be one user's.
    pub transfers_per_login: usize,
    /// Files that WhatsApp may fetch at the same time.
    pub downloads: usize,
    /// Bytes that one user's files may take up in the folder.
    pub bytes_per_login: u64,
    /// Bytes of the folder's disk that files leave free: a full disk would stop the database, too.
    pub free_bytes: u64,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            folder: None,
            transfers: 8,
            transfers_per_login: 3,
            downloads: 64,
            bytes_per_login: 4 * 1024 * 1024 * 1024,
            free_bytes: 512 * 1024 * 1024,
        }
    }
}

impl Config {
    /// The folder for encrypted files that WhatsApp fetches.
    #[must_use]
    pub fn media_folder(&self) -> PathBuf {
        match &self.media.folder {
            Some(folder) => folder.clone(),
            None => self
                .database
                .file()
                .and_then(Path::parent)
                .unwrap_or(Path::new(""))
                .join("media"),
        }
    }
}
