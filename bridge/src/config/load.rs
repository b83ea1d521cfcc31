//! Reading the configuration from file, environment and secret files.

use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Format as _, Serialized, Toml},
    value::{Dict, Map, Value},
};

use super::{Config, Problem};

/// The example configuration: every key with its default and what it means.
pub const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// The secret values: each may also come from the file that `GATEHOUSE_SECTION__KEY_FILE` names.
pub const SECRETS: [&str; 1] = ["database.url"];

const PREFIX: &str = "GATEHOUSE_";

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "the configuration {} cannot be read ({source}); name an existing file with -c, or write one with \
         `gatehouse example-config > {}`", path.display(), path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that should hold a secret cannot be read.
    #[error("{variable} names {} but it cannot be read ({source}); correct the path or its permissions", path.display())]
    SecretUnreadable {
        /// The environment variable.
        variable: String,
        /// The file that it names.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key that does not exist, a value of the wrong type, or text that is no TOML.
    #[error("{0}")]
    Malformed(String),
    /// Values that cannot work.
    #[error("{}", list(.0))]
    Unusable(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Config {
    /// Reads and checks the configuration in `path`, with what the environment of this process adds.
    ///
    /// # Errors
    ///
    /// Unreadable files, malformed or unknown keys, and values that cannot work (all of them at once).
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, env::vars_os().collect())
    }

    /// As [`Config::load`], with the given environment instead of the process's.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn load_with(
        path: &Path,
        variables: Vec<(OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let config = Self::parse(&text, &path.display().to_string(), variables)?;
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Unusable(problems))
        }
    }

    /// Reads a configuration text without checking its values.
    fn parse(
        text: &str,
        origin: &str,
        variables: Vec<(OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let (secrets, variables) = split_secrets(variables)?;
        let mut figment = Figment::new()
            .merge(Toml::string(text))
            .merge(Environment(variables));
        for (key, value) in secrets {
            figment = figment.merge(Serialized::default(key, value));
        }
        figment
            .extract()
            .map_err(|error| ConfigError::Malformed(explain(error, origin)))
    }
}

type Secrets = Vec<(&'static str, String)>;
type Variables = Vec<(OsString, OsString)>;

/// Reads the secrets that are given as files, and takes their variables out of the environment.
fn split_secrets(variables: Variables) -> Result<(Secrets, Variables), ConfigError> {
    let mut secrets = Vec::new();
    let mut others = Vec::new();
    for (name, value) in variables {
        let secret = SECRETS
            .into_iter()
            .find(|key| name == variable_of(key, "_FILE").as_str());
        let Some(key) = secret else {
            others.push((name, value));
            continue;
        };
        let path = PathBuf::from(value);
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::SecretUnreadable {
            variable: variable_of(key, "_FILE"),
            path: path.clone(),
            source,
        })?;
        secrets.push((key, text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok((secrets, others))
}

/// `GATEHOUSE_SECTION__KEY` of a key.
fn variable_of(key: &str, suffix: &str) -> String {
    format!("{PREFIX}{}{suffix}", key.replace('.', "__").to_uppercase())
}

/// The values that the environment gives, as a provider.
struct Environment(Variables);

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut values = Dict::new();
        for (name, value) in &self.0 {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
                continue;
            };
            let key = name.strip_prefix(PREFIX).map(str::to_lowercase);
            // A variable without a section (GATEHOUSE_CONFIG) is not a value of the configuration.
            let Some((section, key)) = key.as_deref().and_then(|key| key.split_once("__")) else {
                continue;
            };
            // Booleans and numbers where the text looks like such, as figment's own environment provider has it.
            let value: Value = value.parse().unwrap_or_else(|never| match never {});
            insert(&mut values, section, key, value);
        }
        Ok(Profile::Default.collect(values))
    }
}

/// Puts a value at `section.key`, where the key may go deeper (`a__b`).
fn insert(values: &mut Dict, section: &str, key: &str, value: Value) {
    let inner = values
        .entry(section.to_owned())
        .or_insert_with(|| Value::from(Dict::new()));
    // A value where a table should be loses: no key can be below it.
    if !matches!(inner, Value::Dict(..)) {
        *inner = Value::from(Dict::new());
    }
    let Value::Dict(_, inner) = inner else { return };
    match key.split_once("__") {
        Some((section, key)) => insert(inner, section, key, value),
        None => {
            inner.insert(key.to_owned(), value);
        }
    }
}

/// One sentence per error: where it is, what it is, what to write instead.
fn explain(error: figment::Error, origin: &str) -> String {
    error
        .into_iter()
        .map(|error| explain_one(&error, origin))
        .collect::<Vec<_>>()
        .join("\n")
}

fn explain_one(error: &figment::Error, origin: &str) -> String {
    let mut path = error.path.join(".");
    let from_environment = error
        .metadata
        .as_ref()
        .is_some_and(|metadata| metadata.name == "environment");
    let origin = if from_environment {
        "the environment"
    } else {
        origin
    };
    match &error.kind {
        Kind::UnknownField(field, known) => {
            if error.path.last().is_none_or(|last| last != field) {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(field);
            }
            format!(
                "{origin}: there is no key {path}; {}",
                suggestion(field, known)
            )
        }
        Kind::UnknownVariant(value, _) if value == "relay" => format!(
            "{origin}: {path}: there is no relay mode, because an enlisted identity belongs to one person; use \
             block or user"
        ),
        Kind::UnknownVariant(value, known) => {
            format!(
                "{origin}: {path}: \"{value}\" is not possible; {}",
                suggestion(value, known)
            )
        }
        kind if path.is_empty() => format!("{origin}: {kind}"),
        kind => {
            format!("{origin}: {path}: {kind}; see `gatehouse example-config` for what it may be")
        }
    }
}

/// Names the nearest of what exists, or all of it when nothing is near.
fn suggestion(given: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3);
    match nearest {
        Some((_, name)) => format!("did you mean {name}?"),
        None => format!("it may be one of {}", Names(known)),
    }
}

struct Names<'a>(&'a [&'a str]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}
