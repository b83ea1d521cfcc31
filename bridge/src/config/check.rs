//! Values that cannot work, each with its cause and its cure.

use std::fmt;

use reqwest::Url;

use super::Config;
use crate::capabilities;

/// One value of the configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `section.key`.
    pub key: String,
    /// What is wrong.
    pub cause: String,
    /// What to write instead.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.cause, self.cure)
    }
}

impl Config {
    /// Everything in the configuration that cannot work, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems(Vec::new());
        problems.web_address("homeserver.url", &self.homeserver.url);
        self.check_appservice(&mut problems);
        problems.web_address("public.url", &self.public.url);
        if self.public.listen == self.appservice.listen && self.public.listen.port() != 0 {
            problems.add(
                "public.listen",
                "it is the same as appservice.listen",
                "give the two listeners different ports: this one faces the internet, that one only the homeserver",
            );
        }
        self.check_database(&mut problems);
        self.check_media(&mut problems);
        self.check_gatekeeper(&mut problems);
        for key in self.permissions.malformed() {
            problems.add(
                &format!("permissions.\"{key}\""),
                "it is neither a user id, nor a server name, nor \"*\"",
                "write for example \"@alice:example.org\", \"example.org\" or \"*\"",
            );
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log.level) {
            problems.add(
                "log.level",
                &format!("it is no filter ({error})"),
                "write error, warn, info, debug or trace, or directives such as \"info,gatehouse=debug\"",
            );
        }
        self.check_limits(&mut problems);
        problems.0
    }

    fn check_appservice(&self, problems: &mut Problems) {
        let appservice = &self.appservice;
        if appservice.id.is_empty()
            || appservice
                .id
                .contains(|c: char| !c.is_ascii_graphic() || c == '/')
        {
            problems.add(
                "appservice.id",
                "it is empty or holds a space, a slash or a letter outside ASCII",
                "write a short name such as \"whatsapp\"",
            );
        }
        problems.web_address("appservice.url", &appservice.url);
        for (key, part) in [
            ("appservice.bot_localpart", &appservice.bot_localpart),
            ("appservice.ghost_prefix", &appservice.ghost_prefix),
        ] {
            let allowed =
                |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '=' | '-' | '/' | '+');
            if part.is_empty() || !part.chars().all(allowed) {
                problems.add(
                    key,
                    "it is empty or holds a character that Matrix ids do not allow",
                    "use lower-case letters, digits and . _ = - / +",
                );
            }
            let server = self.homeserver.server_name.as_str();
            // @ : and the 15 digits of the longest phone number.
            if part.len() + server.len() + 17 > 255 {
                problems.add(
                    key,
                    "it makes ids longer than 255 bytes",
                    "use a shorter one",
                );
            }
        }
        if appservice
            .ghost_prefix
            .ends_with(|c: char| c.is_ascii_digit())
        {
            problems.add(
                "appservice.ghost_prefix",
                "it ends with a digit, so nobody could tell where the phone number begins",
                "end it with an underscore, for example \"whatsapp_\"",
            );
        }
        if appservice
            .bot_localpart
            .starts_with(&appservice.ghost_prefix)
        {
            problems.add(
                "appservice.bot_localpart",
                "it begins with appservice.ghost_prefix, so the bot would be taken for a ghost",
                "use for example \"whatsappbot\" and \"whatsapp_\"",
            );
        }
    }

    fn check_database(&self, problems: &mut Problems) {
        let url = &self.database.url;
        let known = ["sqlite:", "postgres://", "postgresql://"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            problems.add(
                "database.url",
                "it names no database that the bridge knows",
                "write \"sqlite:gatehouse.db\" or \"postgres://user:password@host/database\"",
            );
        }
        if url.contains(":memory:") {
            problems.add(
                "database.url",
                "a database in memory forgets keys and messages when the program ends",
                "write a file name, for example \"sqlite:gatehouse.db\"",
            );
        }
        if self.database.sealing_key.as_os_str().is_empty() {
            problems.add(
                "database.sealing_key",
                "it is empty",
                "name a file, for example \"gatehouse.key\"",
            );
        }
        problems.at_least_one("database.connections", self.database.connections as usize);
        problems.at_least_one("database.keep_seconds", self.database.keep_seconds as usize);
        problems.at_least_one(
            "database.prune_seconds",
            self.database.prune_seconds as usize,
        );
    }

    fn check_media(&self, problems: &mut Problems) {
        let media = &self.media;
        if media
            .folder
            .as_ref()
            .is_some_and(|folder| folder.as_os_str().is_empty())
        {
            problems.add(
                "media.folder",
                "it is empty",
                "name a folder, or leave the key out for one beside the database",
            );
        }
        problems.at_least_one("media.transfers", media.transfers);
        problems.at_least_one("media.transfers_per_login", media.transfers_per_login);
        problems.at_least_one("media.downloads", media.downloads);
        let per_login = usize::try_from(media.bytes_per_login).unwrap_or(usize::MAX);
        problems.at_least_one("media.bytes_per_login", per_login);
        problems.at_least_one(
            "gatekeeper.profile.media.retention_days",
            self.gatekeeper.profile.media.retention_days as usize,
        );
    }

    fn check_gatekeeper(&self, problems: &mut Problems) {
        let gatekeeper = &self.gatekeeper;
        problems.web_address("gatekeeper.enlistment", &gatekeeper.enlistment);
        problems.web_address("gatekeeper.jwks", &gatekeeper.jwks);
        if let Err(error) = gatekeeper.profile.check() {
            problems.add(
                &format!("gatekeeper.profile.{}", error.key),
                error.problem,
                "leave the key out for the default, or see `gatehouse example-config`",
            );
        }
        for word in &gatekeeper.profile.message.accepted {
            if !capabilities::is_flag(word) {
                problems.add(
                    "gatekeeper.profile.message.accepted",
                    &format!("\"{word}\" is no kind that the bridge knows"),
                    "see `gatehouse capabilities` for the words",
                );
            }
        }
    }

    fn check_limits(&self, problems: &mut Problems) {
        if self.limits.transaction_bytes < 1024 * 1024 {
            problems.add(
                "limits.transaction_bytes",
                "a homeserver may put 100 events of 64 KiB into one transaction, and repeats one that is refused for ever",
                "allow at least 1048576, better 33554432",
            );
        }
        problems.at_least_one("limits.text_chars", self.limits.text_chars);
        problems.at_least_one("limits.workers", self.limits.workers);
        problems.at_least_one("limits.open_machines", self.limits.open_machines);
        problems.at_least_one("limits.tries", self.limits.tries as usize);
        problems.at_least_one("limits.waiting_bytes", self.limits.waiting_bytes);
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &str, cause: &str, cure: &str) {
        self.0.push(Problem {
            key: key.to_owned(),
            cause: cause.to_owned(),
            cure: cure.to_owned(),
        });
    }

    fn web_address(&mut self, key: &str, url: &Url) {
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            self.add(
                key,
                "it is not a web address",
                "write \"http://host:port\" or \"https://host\"",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.add(
                key,
                "it has a query or a fragment",
                "leave out everything from ? or # on",
            );
        }
    }

    fn at_least_one(&mut self, key: &str, value: usize) {
        if value == 0 {
            self.add(key, "it is 0", "write 1 or more");
        }
    }
}
