//! Identifiers towards the homeserver that are derived, never drawn: running the same work twice makes the same ids, so
//! that it can drop the second one. (Stanza ids: [`gatekeeper::stanzas::id`].)

use sha2::{Digest, Sha256};

/// Transaction id under which a message from WhatsApp goes to the homeserver (`PUT …/send/{txnId}`).
///
/// `part` tells apart the events that one stanza becomes (its text, a notice about it).
#[must_use]
pub(crate) fn transaction_id(login: &str, peer: &str, stanza_id: &str, part: &str) -> String {
    format!(
        "wa{}",
        hex::encode(&digest(&["txn", login, peer, stanza_id, part])[..20])
    )
}

/// Localpart of the alias that makes the creation of a portal's room idempotent: a second
/// `createRoom` with it is refused with `M_ROOM_IN_USE`, and the alias leads to the room that the first one made.
#[must_use]
pub(crate) fn portal_alias(prefix: &str, login: &str, peer: &str, attempt: u32) -> String {
    let digest = digest(&["alias", login, peer, &attempt.to_string()]);
    format!("{prefix}{}", hex::encode(&digest[..16]))
}

/// A short digest of parts, in hexadecimal.
pub(crate) fn short_digest(parts: &[&str]) -> String {
    hex::encode(&digest(parts)[..8])
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(
            transaction_id("a", "bc", "d", ""),
            transaction_id("ab", "c", "d", "")
        );
        assert_ne!(
            transaction_id("a", "b", "c", "0"),
            transaction_id("a", "b", "c", "1")
        );
        assert_ne!(
            portal_alias("whatsapp_", "a", "b", 0),
            portal_alias("whatsapp_", "b", "a", 0)
        );
    }
}
