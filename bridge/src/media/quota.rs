//! How much hosted files may take up: of each login, and of the disk, which the database may share.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use store::media;

use super::outgoing::{Broken, Unsent};
use crate::{core::Core, translate::bytes};

/// Bytes of the files that are being written, by login.
#[derive(Debug, Default)]
pub(super) struct Quota(Mutex<HashMap<String, u64>>);

/// Room for a file that is being written; given back when dropped, when the file itself counts or is gone.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    quota: &'a Quota,
    login: &'a str,
    bytes: u64,
}

impl Quota {
    /// Reserves room for a file of at most `count` bytes.
    ///
    /// # Errors
    ///
    /// When there is none for this login, or on the disk: for its sender. When the database or the disk cannot be asked.
    pub(super) async fn reserve<'a>(
        &'a self,
        core: &Core,
        login: &'a str,
        count: u64,
    ) -> Result<Reserved<'a>, Broken> {
        let reserved = self.add(login, count);
        let (mine, all) = self.under_way(login);
        let stored = media::bytes_of(&core.store, login).await?.unsigned_abs();
        let limit = core.config.media.bytes_per_login;
        if stored.saturating_add(mine) > limit {
            let text = format!(
                "the files that are kept for WhatsApp take up all the room that this bridge gives you, {}. Delete some that you sent, or send it again some days later",
                bytes(limit)
            );
            return Err(Broken::Lost(Unsent::Full(text)));
        }
        // What is written already of the files under way counts twice: rather too early than too late.
        let free = core.media.folder.free_bytes().await?;
        if free.saturating_sub(all) < core.config.media.free_bytes {
            tracing::error!(
                free,
                "the disk of the media folder is nearly full: no files are sent; make room, or lower media.free_bytes"
            );
            let text =
                "the bridge's disk is nearly full. Tell whoever runs it, and send it again later";
            return Err(Broken::Lost(Unsent::Full(text.to_owned())));
        }
        Ok(reserved)
    }

    fn add<'a>(&'a self, login: &'a str, bytes: u64) -> Reserved<'a> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = under_way.entry(login.to_owned()).or_default();
        *mine = mine.saturating_add(bytes);
        Reserved {
            quota: self,
            login,
            bytes,
        }
    }

    /// Bytes that are reserved for a login, and for all.
    fn under_way(&self, login: &str) -> (u64, u64) {
        let under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = under_way.values().copied().fold(0, u64::saturating_add);
        (under_way.get(login).copied().unwrap_or_default(), all)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut under_way = self.quota.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = under_way.get_mut(self.login) {
            *mine = mine.saturating_sub(self.bytes);
            if *mine == 0 {
                under_way.remove(self.login);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_given_back() {
        let quota = Quota::default();
        let first = quota.add("@anna:localhost", 3);
        let second = quota.add("@anna:localhost", 4);
        let other = quota.add("@bert:localhost", u64::MAX);
        assert_eq!(quota.under_way("@anna:localhost"), (7, u64::MAX));
        drop(first);
        drop(other);
        assert_eq!(quota.under_way("@anna:localhost"), (4, 4));
        drop(second);
        assert!(quota.0.lock().unwrap().is_empty(), "nobody is remembered");
    }
}
