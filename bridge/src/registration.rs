//! The registration: the file that tells the homeserver about the bridge, and both their tokens.
//!
//! The homeserver reads it at its start, the bridge at its own. A file that does not agree with the configuration
//! is refused, because the homeserver would then route other users than the bridge plays.

mod disagreement;

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::disagreement::Disagreement;
use crate::config::Config;

/// What stands for the tokens in the example; refused in use.
const PLACEHOLDER: &str = "made-by-gatehouse-registration";

/// A registration file.
///
/// ruma's own type has neither the old names nor the unstable ones that Synapse needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Id of the application service on its homeserver.
    pub id: String,
    /// Where the homeserver reaches the bridge; nothing means that it sends nothing.
    pub url: Option<String>,
    /// Token of the bridge's requests.
    pub as_token: Token,
    /// Token of the homeserver's requests.
    pub hs_token: Token,
    /// Localpart of the bot.
    pub sender_localpart: String,
    /// Whether the homeserver's rate limits hold for ghosts.
    #[serde(default = "yes")]
    pub rate_limited: bool,
    /// Which users and aliases are the bridge's.
    pub namespaces: Namespaces,
    /// Protocols that the bridge answers look-ups for.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// Typing, receipts and to-device messages in transactions (stable since Matrix 1.13).
    #[serde(default)]
    pub receive_ephemeral: bool,
    /// The same for older homeservers.
    #[serde(rename = "de.sorunome.msc2409.push_ephemeral", default)]
    pub push_ephemeral: bool,
    /// Device lists and key counts in transactions.
    #[serde(rename = "org.matrix.msc3202", default)]
    pub device_extensions: bool,
    /// Devices are made without a login.
    #[serde(rename = "io.element.msc4190", default)]
    pub device_management: bool,
}

fn yes() -> bool {
    true
}

/// The bridge's part of the homeserver's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Ghosts and bot.
    #[serde(default)]
    pub users: Vec<Namespace>,
    /// Aliases of portals.
    #[serde(default)]
    pub aliases: Vec<Namespace>,
    /// Rooms; none, because the ghosts' own rooms come by themselves.
    #[serde(default)]
    pub rooms: Vec<Namespace>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which ids.
    pub regex: String,
    /// Whether nobody else may have such an id.
    pub exclusive: bool,
}

/// A shared secret of bridge and homeserver.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A new one: 32 random bytes in hexadecimal.
    fn generate() -> Result<Self, RegistrationError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| RegistrationError::NoRandomness)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why there is no usable registration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The file cannot be read.
    #[error(
        "the registration {} cannot be read ({source}); make one with `gatehouse registration -c config.toml -r {}` \
         and name it in the homeserver's app_service_config_files", path.display(), path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no registration.
    #[error(
        "{} is no registration ({reason}); correct it, or write it anew with `gatehouse registration --force`",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why, without the file's text.
        reason: String,
    },
    /// The file cannot be written.
    #[error("the registration {} cannot be written ({source}); is the folder there, and may you write in it?", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is one already, and it says something else.
    #[error(
        "{} exists and differs from the configuration; it was left as it is:\n{}\nTo write it anew and keep its \
         tokens: gatehouse registration --force. Then restart the homeserver.", path.display(), lines(.differences)
    )]
    Exists {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        differences: Vec<Disagreement>,
    },
    /// It does not agree with the configuration.
    #[error("registration and configuration disagree:\n{}", lines(.0))]
    Disagrees(Vec<Disagreement>),
    /// The operating system gives no random numbers.
    #[error(
        "the operating system gives no random numbers, so no tokens can be made; try again when it has started up"
    )]
    NoRandomness,
}

fn lines(differences: &[Disagreement]) -> String {
    differences
        .iter()
        .map(|d| format!("  {d}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What [`Registration::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// A new file with new tokens.
    New,
    /// The file was replaced, its tokens kept.
    Replaced,
    /// It says the same already and was not touched.
    Unchanged,
}

impl Registration {
    /// The registration that belongs to a configuration.
    fn of(config: &Config, as_token: Token, hs_token: Token) -> Self {
        let server = escape(config.homeserver.server_name.as_str());
        let prefix = escape(&config.appservice.ghost_prefix);
        let bot = escape(&config.appservice.bot_localpart);
        let exclusive = |regex: String| Namespace {
            regex,
            exclusive: true,
        };
        Self {
            id: config.appservice.id.clone(),
            url: Some(
                config
                    .appservice
                    .url
                    .as_str()
                    .trim_end_matches('/')
                    .to_owned(),
            ),
            as_token,
            hs_token,
            // Not the bot: Synapse answers no /sync to the sender itself, and the bot must read its inbox of room keys.
            sender_localpart: format!("{}-sender", config.appservice.bot_localpart),
            rate_limited: false,
            namespaces: Namespaces {
                users: vec![
                    exclusive(format!("@{prefix}.*:{server}")),
                    exclusive(format!("@{bot}:{server}")),
                ],
                aliases: vec![exclusive(format!("#{prefix}.*:{server}"))],
                rooms: Vec::new(),
            },
            protocols: vec!["whatsapp".to_owned()],
            receive_ephemeral: true,
            push_ephemeral: true,
            device_extensions: true,
            device_management: true,
        }
    }

    /// The registration of a configuration with new tokens.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random numbers.
    pub fn generate(config: &Config) -> Result<Self, RegistrationError> {
        Ok(Self::of(config, Token::generate()?, Token::generate()?))
    }

    /// The registration of a configuration with words instead of tokens, to be looked at.
    #[must_use]
    pub fn example(config: &Config) -> Self {
        let token = |side| Token(format!("{PLACEHOLDER}-{side}"));
        Self::of(config, token("as"), token("hs"))
    }

    /// Reads a registration and refuses one that does not agree with the configuration.
    ///
    /// # Errors
    ///
    /// Unreadable and malformed files, and every field that disagrees.
    pub fn load(path: &Path, config: &Config) -> Result<Self, RegistrationError> {
        let registration = Self::read(path)?;
        let differences = registration.disagreements(config);
        if differences.is_empty() {
            Ok(registration)
        } else {
            Err(RegistrationError::Disagrees(differences))
        }
    }

    /// Reads a registration.
    ///
    /// # Errors
    ///
    /// Unreadable and malformed files.
    pub fn read(path: &Path) -> Result<Self, RegistrationError> {
        let text = fs::read_to_string(path).map_err(|source| RegistrationError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        serde_yaml_ng::from_str(&text).map_err(|error| RegistrationError::Malformed {
            path: path.to_owned(),
            reason: fault(&error),
        })
    }

    /// Writes the registration of a configuration to `path`, readable for its owner alone. Tokens that are there are
    /// kept; a file that says something else is replaced only with `force`.
    ///
    /// # Errors
    ///
    /// A file that differs (without `force`), or one that cannot be written.
    pub fn write(path: &Path, config: &Config, force: bool) -> Result<Written, RegistrationError> {
        let unwritable = |source| RegistrationError::Unwritable {
            path: path.to_owned(),
            source,
        };
        if !path.try_exists().map_err(unwritable)? {
            Self::generate(config)?.create(path).map_err(unwritable)?;
            return Ok(Written::New);
        }
        let (as_token, hs_token) = match Self::read(path) {
            Ok(present) => {
                let differences = present.disagreements(config);
                if differences.is_empty() {
                    return Ok(Written::Unchanged);
                }
                if !force {
                    return Err(RegistrationError::Exists {
                        path: path.to_owned(),
                        differences,
                    });
                }
                let kept = |token: &Token| {
                    if token.0.is_empty() || token.0.starts_with(PLACEHOLDER) {
                        Token::generate()
                    } else {
                        Ok(token.clone())
                    }
                };
                (kept(&present.as_token)?, kept(&present.hs_token)?)
            }
            Err(RegistrationError::Malformed { .. }) if force => {
                (Token::generate()?, Token::generate()?)
            }
            Err(error) => return Err(error),
        };
        // Beside it first, then in its place: a crash leaves the old file or the new one, never half of one.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(error)),
            _ => {}
        }
        Self::of(config, as_token, hs_token)
            .create(&beside)
            .map_err(unwritable)?;
        fs::rename(&beside, path).map_err(unwritable)?;
        Ok(Written::Replaced)
    }

    /// Makes a file that was not there, mode 0600 from its first byte.
    fn create(&self, path: &Path) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(self.to_string().as_bytes())?;
        file.sync_all()
    }
}

impl fmt::Display for Registration {
    /// The YAML of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# Made by `gatehouse registration`. Name this file in the homeserver's app_service_config_files.\n")?;
        f.write_str(&serde_yaml_ng::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Where the YAML is wrong. Its own text could quote a token, except where it names a field that is missing.
fn fault(error: &serde_yaml_ng::Error) -> String {
    let text = error.to_string();
    let missing = text
        .split("missing field `")
        .nth(1)
        .and_then(|rest| rest.split('`').next());
    match (missing, error.location()) {
        (Some(field), _) => format!("the field {field} is missing"),
        (None, Some(place)) => format!("line {}, column {}", place.line(), place.column()),
        (None, None) => "it is not YAML of that shape".to_owned(),
    }
}

/// Text as a regular expression that matches it alone. Only what ids may hold needs escaping; the rest stays readable.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(
            c,
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' | '\\'
        ) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
