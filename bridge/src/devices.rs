//! Changes of device lists and key counts, between the transaction that brings them (MSC3202) and the puppets.

use puppeting::TransactionKeys;
use serde_json::json;

use crate::{appservice::CryptoChanges, core::Core};

/// Fewer one-time keys than this on a device are worth looking at.
const FEW_KEYS: u64 = 5;

/// What of a transaction's changes the bridge has to act on, for the inbox; nothing in most transactions.
pub(crate) fn worth_keeping(core: &Core, mut changes: CryptoChanges) -> Option<String> {
    changes.device_lists.left.clear();
    // The puppets change their own devices themselves.
    changes
        .device_lists
        .changed
        .retain(|user| !core.config.is_own(user));
    String::from_utf8(changes.worth_keeping(FEW_KEYS)?).ok()
}

/// The same, out of the inbox, as the puppets take it. What cannot be read was not written by this version; the next
/// sweep makes up for it.
pub(crate) fn transaction_keys(row: &str) -> TransactionKeys {
    let changes: CryptoChanges = serde_json::from_str(row).unwrap_or_default();
    let keys = json!({
        "org.matrix.msc3202.device_lists": changes.device_lists,
        "org.matrix.msc3202.device_one_time_keys_count": changes.one_time_key_counts,
        "org.matrix.msc3202.device_unused_fallback_key_types": changes.unused_fallback_keys,
    });
    serde_json::from_value(keys).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two crates agree on the names.
    #[test]
    fn what_goes_into_the_inbox_comes_out_for_the_puppets() {
        let mut changes = CryptoChanges::default();
        changes
            .device_lists
            .changed
            .push(ruma::user_id!("@alice:localhost").to_owned());
        let row = changes
            .worth_keeping(FEW_KEYS)
            .expect("a changed list asks for work");
        let keys = transaction_keys(&String::from_utf8(row).expect("JSON"));
        assert_eq!(keys.device_lists().changed, ["@alice:localhost"]);
    }
}
