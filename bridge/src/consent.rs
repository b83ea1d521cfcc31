//! What a user must have read and accepted before anything is sent to the gatekeeper for them.

use sha2::{Digest, Sha256};

/// Version of [`TEXT`]. Raise it with every change of the text: users are then asked again.
pub(crate) const VERSION: i64 = 2;

/// The warning that `enable` shows. Plain text; one paragraph a line.
pub(crate) const TEXT: &str = "\
Before you are joined to WhatsApp, please read this.
1. Your messages stay encrypted on the way from your Matrix client to this bridge, and from this bridge to WhatsApp. In between, the bridge must read them to translate them: whoever runs this server could read them too. They are never written to its disk in readable form.
2. The people you write to see your identifier on this server, not your phone number. You see their phone number, not their name or picture. WhatsApp learns the address from which this bridge connects for you.
3. WhatsApp's rules for third-party chats ask that you live in the European Economic Area and stay there. By accepting you say that you do.
4. There is no history: you see what is sent from now on. A message is kept for you at WhatsApp for 30 days while this bridge cannot be reached.
5. Text, files, replies, reactions, places, contact cards, read receipts and typing cross; not everything does so in every form. What cannot cross is told to you, and is not sent.";

/// SHA-256 of [`TEXT`] in hexadecimal: what is kept of the text that a user accepted.
#[must_use]
pub(crate) fn text_sha256() -> String {
    hex::encode(Sha256::digest(TEXT.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed text needs a new version: without one, users would count as having accepted what they never saw.
    #[test]
    fn the_text_of_this_version_is_unchanged() {
        insta::assert_snapshot!(format!("{VERSION} {}", text_sha256()));
    }
}
