//! The key material of an application-service transaction (MSC3202, MSC4203), device by device.

use std::collections::BTreeMap;

use ruma::{
    DeviceId, OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, UserId,
    api::client::sync::sync_events::DeviceLists, events::AnyToDeviceEvent, serde::Raw,
};
use serde::Deserialize;

type PerDevice<T> = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, T>>;
type Counts = BTreeMap<OneTimeKeyAlgorithm, u64>;

/// Device lists, one-time-key counts and fallback-key types of one transaction.
///
/// Deserialized from the transaction's body or from any JSON object that keeps its `org.matrix.msc3202.*` members.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TransactionKeys {
    #[serde(default, rename = "org.matrix.msc3202.device_lists")]
    device_lists: DeviceLists,
    // Synapse sends the counts under both spellings in one body, so the second cannot be an alias of the first.
    #[serde(default, rename = "org.matrix.msc3202.device_one_time_keys_count")]
    counts: PerDevice<Counts>,
    #[serde(default, rename = "org.matrix.msc3202.device_one_time_key_counts")]
    older_counts: PerDevice<Counts>,
    #[serde(
        default,
        rename = "org.matrix.msc3202.device_unused_fallback_key_types"
    )]
    fallback: PerDevice<Vec<OneTimeKeyAlgorithm>>,
}

impl TransactionKeys {
    /// Whether the transaction says nothing about keys.
    pub fn is_empty(&self) -> bool {
        self.device_lists.is_empty()
            && self.counts.is_empty()
            && self.older_counts.is_empty()
            && self.fallback.is_empty()
    }

    /// Whose device lists changed.
    pub fn device_lists(&self) -> &DeviceLists {
        &self.device_lists
    }

    /// Users that counts or fallback keys are about.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserId> {
        let counts = if self.counts.is_empty() {
            &self.older_counts
        } else {
            &self.counts
        };
        counts.keys().map(AsRef::as_ref)
    }

    /// Signed one-time keys left for a device that the bridge made.
    ///
    /// Synapse lists cross-signing keys as devices too (base64 ids), and a device without keys as an empty object:
    /// ask for known devices only. `None`: the transaction says nothing about this device.
    pub fn one_time_keys(&self, user: &UserId, device: &DeviceId) -> Option<u64> {
        let of = |counts: &PerDevice<Counts>| {
            let counts = counts.get(user)?.get(device)?;
            Some(
                counts
                    .get(&OneTimeKeyAlgorithm::SignedCurve25519)
                    .copied()
                    .unwrap_or(0),
            )
        };
        of(&self.counts).or_else(|| of(&self.older_counts))
    }

    /// Kinds of fallback keys of a device that nobody has used. `None` as in [`one_time_keys`](Self::one_time_keys).
    pub fn unused_fallback_keys(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Option<Vec<OneTimeKeyAlgorithm>> {
        self.fallback.get(user)?.get(device).cloned()
    }
}

/// A to-device message of a transaction, with whom it is for.
#[derive(Clone, Debug)]
pub struct ToDevice {
    /// `to_user_id`.
    pub user: OwnedUserId,
    /// `to_device_id`.
    pub device: OwnedDeviceId,
    /// The event.
    pub event: Raw<AnyToDeviceEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction as Synapse 1.163 sends it.
    const BODY: &str = r#"{
        "events": [], "ephemeral": [],
        "de.sorunome.msc2409.to_device": [],
        "org.matrix.msc3202.device_one_time_key_counts": {"@dummy_1:localhost": {
            "0gPg7uWOUdGawWPBCqX3/5V9BHUZ3sW+D2YP+J7aeOo": {},
            "GHOSTDEV": {"signed_curve25519": 4}}},
        "org.matrix.msc3202.device_one_time_keys_count": {"@dummy_1:localhost": {
            "0gPg7uWOUdGawWPBCqX3/5V9BHUZ3sW+D2YP+J7aeOo": {}, "EMPTY": {},
            "GHOSTDEV": {"signed_curve25519": 4}}},
        "org.matrix.msc3202.device_unused_fallback_key_types": {"@dummy_1:localhost": {
            "0gPg7uWOUdGawWPBCqX3/5V9BHUZ3sW+D2YP+J7aeOo": [],
            "GHOSTDEV": ["signed_curve25519"]}},
        "org.matrix.msc3202.device_lists": {"changed": ["@alice:localhost"], "left": []}
    }"#;

    #[test]
    fn reads_a_transaction_of_synapse() {
        let keys: TransactionKeys = serde_json::from_str(BODY).unwrap();
        let user: &UserId = "@dummy_1:localhost".try_into().unwrap();
        assert_eq!(keys.one_time_keys(user, "GHOSTDEV".into()), Some(4));
        assert_eq!(keys.one_time_keys(user, "EMPTY".into()), Some(0));
        assert_eq!(keys.one_time_keys(user, "OTHER".into()), None);
        let fallback = keys.unused_fallback_keys(user, "GHOSTDEV".into()).unwrap();
        assert_eq!(fallback, [OneTimeKeyAlgorithm::SignedCurve25519]);
        assert_eq!(keys.device_lists().changed, ["@alice:localhost"]);
        assert_eq!(keys.users().collect::<Vec<_>>(), [user]);
        assert!(!keys.is_empty());
    }

    #[test]
    fn silence_is_no_zero() {
        let keys: TransactionKeys = serde_json::from_str(r#"{"events":[]}"#).unwrap();
        assert!(keys.is_empty());
        let user: &UserId = "@dummy_1:localhost".try_into().unwrap();
        assert_eq!(keys.one_time_keys(user, "GHOSTDEV".into()), None);
    }
}
