//! Where a registration and a configuration say different things.

use std::fmt;

use super::{Namespace, PLACEHOLDER, Registration};
use crate::config::Config;

/// One field in which they disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The field of the registration.
    pub field: &'static str,
    /// What is wrong, with both values; never a token.
    pub cause: String,
    /// What to do.
    pub cure: &'static str,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.cause, self.cure)
    }
}

const REWRITE: &str = "correct the one that is wrong (`gatehouse registration --force` writes the registration anew and \
                       keeps its tokens), then restart the homeserver";

impl Registration {
    /// Every field in which this registration does not fit the configuration.
    #[must_use]
    pub fn disagreements(&self, config: &Config) -> Vec<Disagreement> {
        let wanted = Self::example(config);
        let mut found = Found(Vec::new());
        found.differ("id", &self.id, &wanted.id, "appservice.id");
        let url = self
            .url
            .as_deref()
            .map(|url| url.trim_end_matches('/'))
            .unwrap_or("null");
        found.differ(
            "url",
            url,
            wanted.url.as_deref().unwrap_or_default(),
            "appservice.url",
        );
        self.check_tokens(&mut found);
        let (sender, wanted_sender) = (&self.sender_localpart, &wanted.sender_localpart);
        found.differ(
            "sender_localpart",
            sender,
            wanted_sender,
            "appservice.bot_localpart",
        );
        found.names(
            "namespaces.users",
            &self.namespaces.users,
            &wanted.namespaces.users,
        );
        found.names(
            "namespaces.aliases",
            &self.namespaces.aliases,
            &wanted.namespaces.aliases,
        );
        for (field, set, why) in [
            (
                "receive_ephemeral",
                self.receive_ephemeral || self.push_ephemeral,
                "room keys would not arrive",
            ),
            (
                "org.matrix.msc3202",
                self.device_extensions,
                "changes of devices would not arrive",
            ),
        ] {
            if !set {
                found.add(field, format!("it is not true, so {why}"), REWRITE);
            }
        }
        if !self.protocols.iter().any(|protocol| protocol == "whatsapp") {
            found.add(
                "protocols",
                "it does not name whatsapp, so clients could not look up a phone number".to_owned(),
                REWRITE,
            );
        }
        found.0
    }

    fn check_tokens(&self, found: &mut Found) {
        for (field, token) in [("as_token", &self.as_token), ("hs_token", &self.hs_token)] {
            if token.secret().is_empty() || token.secret().starts_with(PLACEHOLDER) {
                found.add(
                    field,
                    "it is the example's and no secret".to_owned(),
                    "make real ones: `gatehouse registration --force`, then restart the homeserver",
                );
            }
        }
        if self.as_token == self.hs_token {
            found.add(
                "hs_token",
                "it is the same as as_token, so whoever sees one has both".to_owned(),
                "remove the file, run `gatehouse registration`, then restart the homeserver",
            );
        }
    }
}

struct Found(Vec<Disagreement>);

impl Found {
    fn add(&mut self, field: &'static str, cause: String, cure: &'static str) {
        self.0.push(Disagreement { field, cause, cure });
    }

    fn differ(&mut self, field: &'static str, is: &str, wanted: &str, key: &str) {
        if is != wanted {
            self.add(
                field,
                format!("the registration says \"{is}\", the configuration ({key}) \"{wanted}\""),
                REWRITE,
            );
        }
    }

    fn names(&mut self, field: &'static str, is: &[Namespace], wanted: &[Namespace]) {
        for name in wanted {
            if !is.contains(name) {
                self.add(
                    field,
                    format!("the exclusive namespace \"{}\", which follows from the configuration, is missing", name.regex),
                    REWRITE,
                );
            }
        }
    }
}
