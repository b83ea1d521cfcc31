//! Privacy settings that the server keeps for a user, such as read receipts (G 4.9).

use super::{IqHead, ParseError, iq, read};
use crate::stanza::Node;

/// The namespace.
pub const XMLNS: &str = "privacy";

/// The setting that says whether others learn what the user has read: `all` or `none`.
pub const READ_RECEIPTS: &str = "readreceipts";

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, such as [`READ_RECEIPTS`].
    pub name: String,
    /// Its value, such as `all` or `none`.
    pub value: String,
}

/// Asks for the settings, without id.
pub fn get() -> Node {
    iq::get(XMLNS).child(Node::new("privacy"))
}

/// Changes settings, without id.
pub fn set(settings: &[Setting]) -> Node {
    iq::set(XMLNS).child(list(settings))
}

/// The server's answer to both.
pub fn answer(head: &IqHead, settings: &[Setting]) -> Node {
    head.result().child(list(settings))
}

/// Reads the settings of an answer or of a change.
pub fn parse(iq: &Node) -> Result<Vec<Setting>, ParseError> {
    const TAG: &str = "category";
    read::child(iq, "iq", "privacy")?
        .children_named(TAG)
        .map(|setting| {
            Ok(Setting {
                name: read::text(setting, TAG, "name")?,
                value: read::text(setting, TAG, "value")?,
            })
        })
        .collect()
}

fn list(settings: &[Setting]) -> Node {
    Node::new("privacy").children(settings.iter().map(|setting| {
        Node::new("category")
            .attr("name", setting.name.as_str())
            .attr("value", setting.value.as_str())
    }))
}
