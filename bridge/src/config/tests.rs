use std::{ffi::OsString, fs};

use figment::{
    Figment, Provider as _,
    providers::{Format as _, Serialized, Toml},
};
use ruma::user_id;

use super::*;

/// Loads a text as if it were a file, with variables in the environment.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    fs::write(&path, text).expect("written");
    let variables = variables
        .iter()
        .map(|(k, v)| (OsString::from(k), OsString::from(v)))
        .collect();
    Config::load_with(&path, variables)
}

#[track_caller]
fn refused(text: &str, variables: &[(&str, &str)], told: &[&str]) {
    let error = load(text, variables).expect_err(text).to_string();
    for part in told {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn the_defaults_work() {
    assert_eq!(load("", &[]).expect("usable"), Config::default());
    assert_eq!(Config::default().problems(), []);
    assert_eq!(Config::default().bot_id(), "@whatsappbot:localhost");
}

/// The example holds every key, and each with its default.
#[test]
fn the_example_is_complete_and_equals_the_defaults() {
    assert_eq!(load(EXAMPLE, &[]).expect("usable"), Config::default());
    let example = Figment::from(Toml::string(EXAMPLE)).data().expect("TOML");
    let defaults = Figment::from(Serialized::defaults(Config::default()))
        .data()
        .expect("data");
    let (mut in_example, mut in_defaults) = (Vec::new(), Vec::new());
    for dict in example.values() {
        keys("", dict, &mut in_example);
    }
    for dict in defaults.values() {
        keys("", dict, &mut in_defaults);
    }
    for key in &in_defaults {
        assert!(
            in_example.contains(key),
            "{key} is not in config.example.toml"
        );
    }
    for key in ["integrator", "push_audience", "folder"] {
        assert!(
            EXAMPLE.contains(&format!("# {key} = ")),
            "{key} is not explained"
        );
    }
}

fn keys(prefix: &str, dict: &figment::value::Dict, found: &mut Vec<String>) {
    use figment::value::Value;
    for (key, value) in dict {
        let key = format!("{prefix}{key}");
        match value {
            Value::Dict(_, inner) => keys(&format!("{key}."), inner, found),
            // Keys without a default.
            Value::Empty(..) => {}
            _ => found.push(key),
        }
    }
}

#[test]
fn file_then_environment_then_secret_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "postgres://gatehouse:geheim@db/gatehouse\n").expect("written");
    let file =
        "[appservice]\nid = \"from-file\"\nbot_localpart = \"from-file\"\n[limits]\nworkers = 3";
    let config = load(
        file,
        &[
            ("GATEHOUSE_APPSERVICE__BOT_LOCALPART", "from-environment"),
            ("GATEHOUSE_LIMITS__WORKERS", "7"),
            ("GATEHOUSE_LOG__FORMAT", "json"),
            ("GATEHOUSE_DATABASE__URL", "sqlite:other.db"),
            (
                "GATEHOUSE_DATABASE__URL_FILE",
                secret.to_str().expect("a path"),
            ),
            ("GATEHOUSE_CONFIG", "config.toml"),
            ("OTHER_LIMITS__WORKERS", "9"),
        ],
    )
    .expect("usable");
    assert_eq!(config.appservice.id, "from-file");
    assert_eq!(config.appservice.bot_localpart, "from-environment");
    assert_eq!(
        (config.limits.workers, config.log.format),
        (7, LogFormat::Json)
    );
    assert_eq!(
        config.database.url,
        "postgres://gatehouse:geheim@db/gatehouse"
    );
    assert!(!format!("{config:?}").contains("geheim"));
}

#[test]
fn an_unknown_key_names_the_nearest() {
    refused(
        "[homeserver]\nurll = \"x\"",
        &[],
        &["config.toml", "homeserver.urll", "did you mean url?"],
    );
    refused(
        "[homesever]\nurl = \"x\"",
        &[],
        &["homesever", "did you mean homeserver?"],
    );
    refused(
        "[log]\ncolour = true",
        &[],
        &["log.colour", "format, level"],
    );
    refused(
        "[gatekeeper.profile.chat]\nwebsocket_pth = \"/\"",
        &[],
        &["websocket_pth", "did you mean websocket_path?"],
    );
    let variable = ("GATEHOUSE_LIMITS__WORKER", "7");
    refused(
        "",
        &[variable],
        &["the environment", "limits.worker", "did you mean workers?"],
    );
}

#[test]
fn wrong_values_say_what_would_be_right() {
    refused(
        "[log]\nformat = \"jsn\"",
        &[],
        &["log.format", "jsn", "did you mean json?"],
    );
    refused("[permissions]\n\"*\" = \"relay\"", &[], &["no relay mode"]);
    refused(
        "[permissions]\n\"a b\" = \"user\"",
        &[],
        &["permissions.\"a b\"", "server name"],
    );
    refused(
        "[limits]\nworkers = \"many\"",
        &[],
        &["limits.workers", "example-config"],
    );
    refused(
        "[homeserver]\nurl = \"localhost\"",
        &[],
        &["homeserver.url"],
    );
    refused(
        "[homeserver]\nurl = \"ftp://localhost\"",
        &[],
        &["homeserver.url", "web address"],
    );
    refused(
        "[gatekeeper]\nendpoint = \"http://localhost\"",
        &[],
        &["gatekeeper.endpoint", "wss"],
    );
    refused(
        "[gatekeeper.profile.offline]\nbatch = 0",
        &[],
        &["gatekeeper.profile.offline.batch", "at least 1"],
    );
    refused(
        "[database]\nurl = \"mysql://localhost\"",
        &[],
        &["database.url", "sqlite:"],
    );
    refused("[database]\nurl = \"sqlite::memory:\"", &[], &["forgets"]);
    refused(
        "[appservice]\nghost_prefix = \"wa7\"",
        &[],
        &["ghost_prefix", "digit"],
    );
    refused(
        "[appservice]\nbot_localpart = \"whatsapp_bot\"",
        &[],
        &["bot_localpart", "ghost"],
    );
    refused("[log]\nlevel = \"info,=\"", &[], &["log.level"]);
    refused(
        "[public]\nlisten = \"127.0.0.1:29333\"",
        &[],
        &["public.listen", "different ports"],
    );
    refused("this is no toml", &[], &["config.toml"]);
}

#[test]
fn all_wrong_values_are_told_at_once() {
    refused(
        "[limits]\nworkers = 0\nopen_machines = 0",
        &[],
        &["limits.workers", "limits.open_machines"],
    );
}

#[test]
fn files_that_are_not_there() {
    let missing = std::path::Path::new("/nowhere/config.toml");
    let error = Config::load_with(missing, Vec::new())
        .expect_err("missing")
        .to_string();
    assert!(
        error.contains("/nowhere/config.toml") && error.contains("example-config"),
        "{error}"
    );
    refused(
        "",
        &[("GATEHOUSE_DATABASE__URL_FILE", "/nowhere/secret")],
        &["GATEHOUSE_DATABASE__URL_FILE", "/nowhere/secret"],
    );
}

#[test]
fn ghosts_and_numbers() {
    let config = Config::default();
    let phone: PhoneNumber = "+4915112345678".parse().expect("a number");
    let ghost = config.ghost_id(&phone);
    assert_eq!(ghost, "@whatsapp_4915112345678:localhost");
    assert_eq!(config.phone_of(&ghost), Some(phone));
    for other in [
        user_id!("@whatsappbot:localhost"),
        user_id!("@whatsapp_49:localhost"),
        user_id!("@whatsapp_04915112345678:localhost"),
        user_id!("@whatsapp_4915112345678:elsewhere"),
        user_id!("@alice:localhost"),
    ] {
        assert_eq!(config.phone_of(other), None, "{other}");
    }
    assert!(config.is_own(&ghost) && config.is_own(&config.bot_id()));
    assert!(!config.is_own(user_id!("@alice:localhost")));
    assert_eq!(config.level_of(&ghost), Level::Block);
    assert_eq!(config.level_of(user_id!("@alice:localhost")), Level::User);
}

#[test]
fn a_push_may_name_the_base_or_its_origin() {
    let mut config = Config::default();
    config.public.url = constant_url("https://foobar.com/whatsapp/");
    assert_eq!(
        config.push_audiences(),
        ["https://foobar.com", "https://foobar.com/whatsapp"]
    );
    assert_eq!(config.token_issuer(), "https://foobar.com/whatsapp");
    config.public.url = constant_url("https://foobar.com");
    assert_eq!(config.push_audiences(), ["https://foobar.com"]);
    config.gatekeeper.push_audience = Some("https://integrator.com".to_owned());
    assert_eq!(config.push_audiences(), ["https://integrator.com"]);
}

#[test]
fn an_unknown_kind_is_refused() {
    let found = load(
        "gatekeeper.profile.message.accepted = [\"text\", \"edits\"]",
        &[],
    );
    let error = found.expect_err("no such kind").to_string();
    assert!(error.contains("\"edits\" is no kind"), "{error}");
}
