//! Who may use the bridge.

use std::collections::BTreeMap;

use ruma::{ServerName, UserId};
use serde::{Deserialize, Serialize};

/// What a Matrix user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing, as the bot says; but whoever is enlisted may end that.
    Block,
    /// Be enlisted and chat.
    User,
}

/// Levels by who they are for: a full user id, a server name, or `*` for everybody.
///
/// The most exact entry counts. Without any entry the users of the bridge's own homeserver are users and everybody
/// else is blocked: the agreement with the gatekeeper covers one operator's service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permissions(pub BTreeMap<String, Level>);

impl Permissions {
    /// What `user` may do on a bridge that belongs to `own` server.
    #[must_use]
    pub fn level(&self, user: &UserId, own: &ServerName) -> Level {
        if self.0.is_empty() {
            return if user.server_name() == own {
                Level::User
            } else {
                Level::Block
            };
        }
        [user.as_str(), user.server_name().as_str(), "*"]
            .iter()
            .find_map(|key| self.0.get(*key))
            .copied()
            .unwrap_or(Level::Block)
    }

    /// The keys that are neither a user id, nor a server name, nor `*`.
    pub(super) fn malformed(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|key| {
            *key != "*" && UserId::parse(*key).is_err() && ServerName::parse(*key).is_err()
        })
    }
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;

    #[test]
    fn the_most_exact_entry_counts() {
        let permissions = Permissions(BTreeMap::from([
            ("*".to_owned(), Level::Block),
            ("example.org".to_owned(), Level::User),
            ("@friend:elsewhere.org".to_owned(), Level::User),
            ("@rude:example.org".to_owned(), Level::Block),
        ]));
        let own = server_name!("example.org");
        assert_eq!(
            permissions.level(user_id!("@friend:elsewhere.org"), own),
            Level::User
        );
        assert_eq!(
            permissions.level(user_id!("@rude:example.org"), own),
            Level::Block
        );
        assert_eq!(
            permissions.level(user_id!("@alice:example.org"), own),
            Level::User
        );
        assert_eq!(
            permissions.level(user_id!("@alice:elsewhere.org"), own),
            Level::Block
        );
    }

    #[test]
    fn without_entries_the_own_server_counts() {
        let own = server_name!("example.org");
        let none = Permissions::default();
        assert_eq!(none.level(user_id!("@alice:example.org"), own), Level::User);
        assert_eq!(
            none.level(user_id!("@alice:elsewhere.org"), own),
            Level::Block
        );
    }
}
