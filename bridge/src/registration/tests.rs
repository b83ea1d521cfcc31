use super::*;

/// The file in the root of the workspace is what the default configuration makes, byte for byte.
#[test]
fn the_example_is_reproduced() {
    let example = include_str!("../../../registration.yaml");
    assert_eq!(
        Registration::example(&Config::default()).to_string(),
        example
    );
    let read: Registration = serde_yaml_ng::from_str(example).expect("YAML");
    assert_eq!(read, Registration::example(&Config::default()));
}

#[test]
fn written_once_with_secret_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registration.yaml");
    let config = Config::default();
    assert_eq!(
        Registration::write(&path, &config, false).expect("written"),
        Written::New
    );
    let first = Registration::load(&path, &config).expect("agrees");
    assert_eq!(first.as_token.secret().len(), 64);
    assert_ne!(first.as_token, first.hs_token);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(
        Registration::write(&path, &config, false).expect("same"),
        Written::Unchanged
    );
    assert_eq!(Registration::load(&path, &config).expect("agrees"), first);
}

#[test]
fn another_one_is_replaced_only_by_force_and_keeps_its_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registration.yaml");
    let mut config = Config::default();
    Registration::write(&path, &config, false).expect("written");
    let before = Registration::read(&path).expect("there");
    config.appservice.bot_localpart = "portier".to_owned();
    let error = Registration::write(&path, &config, false)
        .expect_err("differs")
        .to_string();
    assert!(
        error.contains("sender_localpart")
            && error.contains("portier")
            && error.contains("--force"),
        "{error}"
    );
    assert_eq!(Registration::read(&path).expect("there"), before);
    assert_eq!(
        Registration::write(&path, &config, true).expect("forced"),
        Written::Replaced
    );
    let after = Registration::load(&path, &config).expect("agrees");
    assert_eq!(
        (after.as_token, after.hs_token),
        (before.as_token.clone(), before.hs_token.clone())
    );
}

#[test]
fn the_examples_tokens_are_refused() {
    let config = Config::default();
    let fields: Vec<_> = Registration::example(&config)
        .disagreements(&config)
        .iter()
        .map(|d| d.field)
        .collect();
    assert_eq!(fields, ["as_token", "hs_token"]);
}

#[test]
fn each_disagreement_is_named() {
    let config = Config::default();
    let good = Registration::generate(&config).expect("tokens");
    assert_eq!(good.disagreements(&config), []);
    let fields = |change: fn(&mut Registration)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
            .disagreements(&config)
            .into_iter()
            .map(|d| d.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(|r| r.id = "x".to_owned()), ["id"]);
    assert_eq!(fields(|r| r.url = None), ["url"]);
    assert_eq!(
        fields(|r| r.url = Some("http://127.0.0.1:29333/".to_owned())),
        [""; 0]
    );
    assert_eq!(
        fields(|r| r.sender_localpart = "x".to_owned()),
        ["sender_localpart"]
    );
    assert_eq!(
        fields(|r| r.namespaces.users.clear()),
        ["namespaces.users", "namespaces.users"]
    );
    assert_eq!(
        fields(|r| r.namespaces.users[0].exclusive = false),
        ["namespaces.users"]
    );
    assert_eq!(
        fields(|r| r.namespaces.aliases.clear()),
        ["namespaces.aliases"]
    );
    assert_eq!(
        fields(|r| r.device_extensions = false),
        ["org.matrix.msc3202"]
    );
    assert_eq!(fields(|r| r.push_ephemeral = false), [""; 0]);
    assert_eq!(
        fields(|r| (r.receive_ephemeral, r.push_ephemeral) = (false, false)),
        ["receive_ephemeral"]
    );
    assert_eq!(fields(|r| r.protocols.clear()), ["protocols"]);
    assert_eq!(fields(|r| r.hs_token = r.as_token.clone()), ["hs_token"]);
}

#[test]
fn errors_and_debug_hide_the_tokens() {
    let config = Config::default();
    let registration = Registration::generate(&config).expect("tokens");
    let secret = registration.as_token.secret().to_owned();
    assert!(!format!("{registration:?}").contains(&secret));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registration.yaml");
    fs::write(&path, format!("id: [\nas_token: {secret}")).expect("written");
    let error = Registration::read(&path)
        .expect_err("malformed")
        .to_string();
    assert!(
        !error.contains(&secret) && error.contains("line"),
        "{error}"
    );
}

#[test]
fn a_missing_field_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registration.yaml");
    let text = Registration::example(&Config::default())
        .to_string()
        .replace("hs_token:", "hs_tokn:");
    fs::write(&path, text).expect("written");
    let error = Registration::read(&path)
        .expect_err("malformed")
        .to_string();
    assert!(error.contains("the field hs_token is missing"), "{error}");
}

#[test]
fn ids_are_escaped() {
    let mut config = Config::default();
    config.homeserver.server_name = ruma::server_name!("chat.example.org").to_owned();
    config.appservice.ghost_prefix = "wa+".to_owned();
    let registration = Registration::example(&config);
    assert_eq!(
        registration.namespaces.users[0].regex,
        r"@wa\+.*:chat\.example\.org"
    );
}
