//! What crosses, in which direction, and what becomes of the rest.
//!
//! One table, [`TABLE`], drives the conversion, the `com.beeper.room_features` state of every portal, the bot's help
//! and the page docs/capabilities.md, so that they cannot disagree. Rows may stand behind a flag: a word in
//! `gatekeeper.profile.message.accepted`, because the interface grows and each partner is told what it shows.

mod page;
mod room_features;
mod table;

use gatekeeper::profile::Profile;

pub use self::table::{Feature, Level, Row, TABLE, Way};

/// Longest emoji of a reaction, in bytes: a family of four with skin tones and joiners has 41.
const EMOJI_BYTES: usize = 64;

/// Bounds that the other side, or this bridge, sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest text or caption, in characters.
    pub text_chars: usize,
    /// Largest file, in bytes.
    pub file_bytes: u64,
    /// Longest emoji of a reaction, in bytes.
    pub emoji_bytes: usize,
    /// For how long after sending a message can be edited, in seconds.
    pub edit_seconds: u64,
    /// For how long after sending a message can be deleted for everyone, in seconds.
    pub delete_seconds: u64,
}

/// The table as one gatekeeper's profile leaves it.
#[derive(Clone, Debug)]
pub struct Capabilities {
    accepted: Vec<String>,
    notices: bool,
    limits: Limits,
}

impl Capabilities {
    /// Reads the flags and limits of a profile. `text_chars` is the longest text in characters, `notices` whether
    /// what bots write goes to WhatsApp.
    #[must_use]
    pub fn new(profile: &Profile, text_chars: usize, notices: bool) -> Self {
        Self {
            accepted: profile.message.accepted.clone(),
            notices,
            limits: Limits {
                text_chars,
                file_bytes: profile.media.max_bytes,
                emoji_bytes: EMOJI_BYTES,
                edit_seconds: profile.message.edit_seconds,
                delete_seconds: profile.message.delete_seconds,
            },
        }
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether the flag of this row, if it has one, is set.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        if feature == Feature::Notice {
            return self.notices;
        }
        let flag = feature.row().flag;
        flag.is_none_or(|flag| self.accepted.iter().any(|accepted| accepted == flag))
    }

    /// What becomes of it on the way to WhatsApp.
    #[must_use]
    pub fn to_whatsapp(&self, feature: Feature) -> Way {
        let row = feature.row();
        if row.flag.is_some() && self.has(feature) {
            return row.to_whatsapp;
        }
        let carrier = row.carried_as.map(|carrier| self.to_whatsapp(carrier));
        match (carrier, row.without) {
            (Some(refused), _) if refused.level == Level::Refused => refused,
            (_, Some(without)) if !self.has(feature) => without,
            _ => row.to_whatsapp,
        }
    }

    /// What becomes of it on the way to Matrix. Flags do not matter: what comes is shown.
    #[must_use]
    pub fn to_matrix(&self, feature: Feature) -> Way {
        feature.row().to_matrix
    }

    /// What the bot says about what crosses.
    #[must_use]
    pub fn summary(&self) -> String {
        let names = |levels: &[Level]| {
            let names: Vec<&str> = TABLE
                .iter()
                .filter(|row| levels.contains(&self.to_whatsapp(row.feature).level))
                .map(|row| row.title)
                .collect();
            names.join(", ")
        };
        format!(
            "What goes to WhatsApp: {}.\nWhat goes in another form: {}.\nWhat does not go, and you are told each time: {}.",
            names(&[Level::Full]),
            names(&[Level::Partial]),
            names(&[Level::Refused]),
        )
    }
}

/// Whether this word may stand in `gatekeeper.profile.message.accepted`.
#[must_use]
pub fn is_flag(word: &str) -> bool {
    // Text is the one kind that always crosses: the word is there for completeness.
    word == "text" || TABLE.iter().any(|row| row.flag == Some(word))
}

impl Default for Capabilities {
    /// Those of a profile that nobody has edited.
    fn default() -> Self {
        let limits = crate::config::Limits::default();
        Self::new(&Profile::default(), limits.text_chars, false)
    }
}

#[cfg(test)]
mod tests;
