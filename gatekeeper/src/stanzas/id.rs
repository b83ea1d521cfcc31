//! Stanza ids.
//!
//! Any unique text is accepted; upper-case hexadecimal digits are packed two to a byte (G 4.1).

use sha2::{Digest, Sha256};

/// The prefix that multi-device clients use for message ids.
const PREFIX: &str = "3EB0";

/// A message id that follows from its parts alone: the same parts make the same id again, so that a
/// message sent a second time after a crash is recognised as the same one.
///
/// The parts are hashed with their lengths: `["a", "bc"]` and `["ab", "c"]` make different ids.
pub fn derived(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut id = String::with_capacity(22);
    id.push_str(PREFIX);
    id.extend(hex::encode_upper(digest).chars().take(18));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_parts_make_the_same_id() {
        let id = derived(&["$event", "1-5@interop"]);
        assert_eq!(id, derived(&["$event", "1-5@interop"]));
        assert_ne!(id, derived(&["$event1", "-5@interop"]));
        assert_eq!(id.len(), 22);
        assert!(id.starts_with("3EB0"));
        assert!(id.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F')));
    }
}
