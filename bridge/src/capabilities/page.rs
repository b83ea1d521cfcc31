//! The table as a page of the documentation.

use super::{Capabilities, Level, TABLE, Way};

fn cell(way: Way) -> String {
    let mark = match way.level {
        Level::Full => "yes",
        Level::Partial => "partly",
        Level::Placeholder => "placeholder",
        Level::Refused => "refused",
        Level::Dropped => "dropped",
        Level::Absent => return "–".to_owned(),
    };
    format!("**{mark}**: {}", way.words)
}

impl Capabilities {
    /// The page, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let limits = self.limits();
        let mut page = String::from(
            "# What crosses\n\n\
             Made from the table in the code ([`bridge/src/capabilities/table.rs`](../bridge/src/capabilities/table.rs)) by `gatehouse capabilities --default`: the same table\n\
             converts messages, tells clients what a chat can do (`com.beeper.room_features`) and writes the bot's help. `gatehouse capabilities` prints the page for your own configuration.\n\n\
             **yes**: as what it is. **partly**: in another form. **placeholder**: a text says what came. **refused**: it does not cross, and its sender is told with these words.\n\
             **dropped**: it does not cross by design. **–**: there is no such thing on that side. A *flag* is a word in `gatekeeper.profile.message.accepted`.\n\n\
             | | Matrix to WhatsApp | WhatsApp to Matrix | flag |\n|---|---|---|---|\n",
        );
        for row in TABLE {
            let flag = match row.flag {
                Some(flag) if self.has(row.feature) => format!("`{flag}`, set"),
                Some(flag) => format!("`{flag}`, not set"),
                None => String::new(),
            };
            page.push_str(&format!(
                "| {} | {} | {} | {flag} |\n",
                row.title,
                cell(self.to_whatsapp(row.feature)),
                cell(self.to_matrix(row.feature)),
            ));
        }
        page.push_str(&format!(
            "\nLimits: a text or caption of {} characters; a file of {} MiB; an emoji of {} bytes; edits for {} minutes and deletions for {} hours after the message.\n",
            limits.text_chars,
            limits.file_bytes / (1024 * 1024),
            limits.emoji_bytes,
            limits.edit_seconds / 60,
            limits.delete_seconds / 3600,
        ));
        page
    }
}
