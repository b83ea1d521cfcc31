//! What a user can tell the bot: parsing and help. Doing it is [`crate::management`]'s work.

use crate::phone::{NotAPhoneNumber, PhoneNumber};

/// A command to the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Show what can be told.
    Help,
    /// Ask to be joined to WhatsApp: shows the warning.
    Enable,
    /// Accept the warning: enlists.
    Accept,
    /// Refuse the warning.
    Decline,
    /// Where things stand for this user.
    Status,
    /// Open the chat with a number.
    StartChat(PhoneNumber),
    /// Switch read receipts on or off; without either, say how they stand.
    ReadReceipts(Option<bool>),
    /// End the registration.
    Disable,
    /// Delete all that is kept of the user; asks first.
    Erase {
        /// Whether the user has been asked and means it.
        confirmed: bool,
    },
    /// Version of the bridge.
    Version,
}

/// Why a text is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// Nothing of that name.
    #[error("I do not know “{given}”.{} Write “help” to see what I can do.", nearest.map(|name| format!(" Did you mean “{name}”?")).unwrap_or_default())]
    Unknown {
        /// The word as given, shortened.
        given: String,
        /// The nearest command, if one is near.
        nearest: Option<&'static str>,
    },
    /// A number is missing.
    #[error("Which number? Write it like this: start-chat +49 1511 2345678")]
    NumberMissing,
    /// Neither on nor off.
    #[error("Write “{command} on” or “{command} off”.")]
    OnOrOff {
        /// The command.
        command: &'static str,
    },
    /// Something behind “erase” that is not its confirmation.
    #[error("Write “erase” to read what it does, and “erase everything” to do it.")]
    EraseWhat,
    /// The number cannot be read.
    #[error(transparent)]
    Number(#[from] NotAPhoneNumber),
}

/// Every command: its names (the first is the one that help shows), what it does, an example.
const COMMANDS: &[(&[&str], &str, &str)] = &[
    (&["help"], "shows this list", "help"),
    (
        &["enable"],
        "joins you to WhatsApp; shows first what you should know",
        "enable",
    ),
    (&["accept"], "accepts what “enable” has shown", "accept"),
    (&["decline"], "goes no further", "decline"),
    (
        &["status"],
        "says whether you are joined and connected",
        "status",
    ),
    (
        &["start-chat", "pm"],
        "opens the chat with a phone number",
        "start-chat +49 1511 2345678",
    ),
    (
        &["read-receipts"],
        "whether contacts learn what you have read, and you what they have read: on or off",
        "read-receipts off",
    ),
    (
        &["disable"],
        "ends your registration at WhatsApp; your chats stay as they are",
        "disable",
    ),
    (
        &["erase"],
        "deletes all that I keep of you; tells you first what that means",
        "erase",
    ),
    (&["version"], "says which version this is", "version"),
];

/// The help text, with the beginning of the ghosts' names.
#[must_use]
pub(crate) fn help(ghost_prefix: &str) -> String {
    let mut text = String::from("I join you to WhatsApp. Write one of these to me:");
    for (names, what, example) in COMMANDS {
        let name = names.first().copied().unwrap_or_default();
        text.push_str(&format!("\n- {name}: {what}"));
        if example != &name {
            text.push_str(&format!(" (for example: {example})"));
        }
    }
    text.push_str(&format!("\nOr invite a contact into a new encrypted chat: @{ghost_prefix} and the number's digits, at this server."));
    text
}

/// Reads a message to the bot. A leading `!wa` or `!` is taken off, case does not matter.
///
/// # Errors
///
/// A text for the user.
pub(crate) fn parse(text: &str) -> Result<Command, CommandError> {
    let text = text.trim();
    let text = text
        .strip_prefix("!wa ")
        .or_else(|| text.strip_prefix('!'))
        .unwrap_or(text)
        .trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match word.to_lowercase().as_str() {
        "help" | "" => Ok(Command::Help),
        "enable" => Ok(Command::Enable),
        "accept" => Ok(Command::Accept),
        "decline" => Ok(Command::Decline),
        "status" => Ok(Command::Status),
        "version" => Ok(Command::Version),
        "disable" => Ok(Command::Disable),
        "erase" => match rest.trim().to_lowercase().as_str() {
            "" => Ok(Command::Erase { confirmed: false }),
            "everything" => Ok(Command::Erase { confirmed: true }),
            _ => Err(CommandError::EraseWhat),
        },
        "read-receipts" => Ok(Command::ReadReceipts(on_or_off("read-receipts", rest)?)),
        "start-chat" | "pm" => {
            if rest.trim().is_empty() {
                return Err(CommandError::NumberMissing);
            }
            Ok(Command::StartChat(rest.parse()?))
        }
        other => Err(CommandError::Unknown {
            given: other.chars().take(40).collect(),
            nearest: nearest(other),
        }),
    }
}

fn on_or_off(command: &'static str, word: &str) -> Result<Option<bool>, CommandError> {
    match word.trim().to_lowercase().as_str() {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(CommandError::OnOrOff { command }),
    }
}

fn nearest(word: &str) -> Option<&'static str> {
    COMMANDS
        .iter()
        .flat_map(|(names, ..)| names.iter().copied())
        .map(|name| (strsim::normalized_damerau_levenshtein(word, name), name))
        .filter(|(near, _)| *near > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_neighbours() {
        assert_eq!(parse(" Enable "), Ok(Command::Enable));
        assert_eq!(parse("!wa help"), Ok(Command::Help));
        assert!(matches!(
            parse("pm +4915112345678"),
            Ok(Command::StartChat(_))
        ));
        assert_eq!(parse("start-chat"), Err(CommandError::NumberMissing));
        assert_eq!(
            parse("read-receipts OFF "),
            Ok(Command::ReadReceipts(Some(false)))
        );
        assert_eq!(parse("read-receipts"), Ok(Command::ReadReceipts(None)));
        assert_eq!(
            parse("read-receipts maybe").unwrap_err().to_string(),
            "Write “read-receipts on” or “read-receipts off”."
        );
        assert_eq!(parse("erase"), Ok(Command::Erase { confirmed: false }));
        assert_eq!(
            parse("!wa Erase  Everything"),
            Ok(Command::Erase { confirmed: true })
        );
        assert_eq!(parse("erase that"), Err(CommandError::EraseWhat));
        assert_eq!(
            parse("enabel"),
            Err(CommandError::Unknown {
                given: "enabel".into(),
                nearest: Some("enable")
            })
        );
        assert_eq!(
            parse("frobnicate"),
            Err(CommandError::Unknown {
                given: "frobnicate".into(),
                nearest: None
            })
        );
    }

    /// Help and parser know the same commands.
    #[test]
    fn every_command_of_the_help_parses() {
        for (names, _, example) in COMMANDS {
            assert!(parse(example).is_ok(), "{example}");
            assert!(names.iter().any(|name| example.starts_with(name)));
        }
        assert!(help("wa_").contains("@wa_ and the number"));
    }

    #[test]
    fn a_number_is_not_in_debug_output() {
        let command = parse("pm +4915112345678").unwrap();
        assert!(!format!("{command:?}").contains("1511"));
    }
}
