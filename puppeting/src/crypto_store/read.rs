//! Reading: the overlay first, then the database.
//!
//! For lists the overlay is looked at before the database: whatever leaves it in between is in the database by then.

use std::collections::BTreeMap;

use matrix_sdk_crypto::store::CryptoStoreError;
use serde::de::DeserializeOwned;
use store::crypto::{self, Object};

use super::SqlCryptoStore;

type Result<T, E = CryptoStoreError> = std::result::Result<T, E>;

impl SqlCryptoStore {
    /// One object.
    pub(super) async fn object(
        &self,
        kind: &'static str,
        k1: &str,
        k2: &str,
    ) -> Result<Option<Object>> {
        self.usable()?;
        let staged = self.overlay().get(kind, k1, k2);
        match staged {
            Some(object) => Ok(object),
            None => crypto::get(&self.inner.store, &self.inner.account, kind, k1, k2)
                .await
                .map_err(CryptoStoreError::backend),
        }
    }

    /// One object, parsed.
    pub(super) async fn value<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        k1: &str,
        k2: &str,
    ) -> Result<Option<T>> {
        self.object(kind, k1, k2)
            .await?
            .as_ref()
            .map(parse)
            .transpose()
    }

    /// Whether an object exists.
    pub(super) async fn contains(&self, kind: &'static str, k1: &str, k2: &str) -> Result<bool> {
        self.usable()?;
        let staged = self.overlay().get(kind, k1, k2);
        match staged {
            Some(object) => Ok(object.is_some()),
            None => crypto::contains(&self.inner.store, &self.inner.account, kind, k1, k2)
                .await
                .map_err(CryptoStoreError::backend),
        }
    }

    /// All objects of a kind.
    pub(super) async fn all(&self, kind: &'static str) -> Result<Vec<Object>> {
        self.usable()?;
        let staged = self.overlay().of_kind(kind);
        let stored = crypto::all(&self.inner.store, &self.inner.account, kind)
            .await
            .map_err(CryptoStoreError::backend)?;
        Ok(merge(staged, stored))
    }

    /// All objects of a kind with this first name.
    pub(super) async fn under(&self, kind: &'static str, k1: &str) -> Result<Vec<Object>> {
        self.usable()?;
        let staged = self.overlay().under(kind, k1);
        let stored = crypto::under(&self.inner.store, &self.inner.account, kind, k1)
            .await
            .map_err(CryptoStoreError::backend)?;
        Ok(merge(staged, stored))
    }

    /// The first `limit` objects of a kind with this tag and a second name after `after`, in order of the second name.
    pub(super) async fn tagged(
        &self,
        kind: &'static str,
        tag: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Object>> {
        self.usable()?;
        let staged = self.overlay().of_kind(kind);
        // At worst every staged object hides one of the page.
        let page = u32::try_from(limit.saturating_add(staged.len())).unwrap_or(u32::MAX);
        let stored = crypto::tagged(
            &self.inner.store,
            &self.inner.account,
            kind,
            tag,
            after,
            page,
        )
        .await
        .map_err(CryptoStoreError::backend)?;
        let mut objects = merge(staged, stored);
        objects.retain(|object| object.tag == tag && object.k2.as_str() > after);
        objects.sort_by(|a, b| (&a.k2, &a.k1).cmp(&(&b.k2, &b.k1)));
        objects.truncate(limit);
        Ok(objects)
    }
}

/// Staged objects hide stored ones of the same names.
fn merge(
    mut staged: BTreeMap<(String, String), Option<Object>>,
    stored: Vec<Object>,
) -> Vec<Object> {
    if staged.is_empty() {
        return stored;
    }
    for object in stored {
        let names = (object.k1.clone(), object.k2.clone());
        staged.entry(names).or_insert(Some(object));
    }
    staged.into_values().flatten().collect()
}

pub(super) fn parse<T: DeserializeOwned>(object: &Object) -> Result<T> {
    Ok(serde_json::from_slice(&object.value)?)
}
