use clap::CommandFactory as _;

use super::*;

fn parse(arguments: &[&str]) -> Cli {
    Cli::try_parse_from(arguments).expect("a command line")
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_shows_an_example() {
    for command in Cli::command().get_subcommands() {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            help.contains(&format!("gatehouse {}", command.get_name())),
            "{}",
            command.get_name()
        );
        assert!(command.get_about().is_some());
    }
    assert!(
        Cli::command()
            .render_help()
            .to_string()
            .contains("gatehouse -c config.toml -r registration.yaml")
    );
}

#[test]
fn files_may_stand_before_or_behind_the_command() {
    for line in [
        &["gatehouse", "-c", "a.toml", "-r", "b.yaml"][..],
        &["gatehouse", "-c", "a.toml", "-r", "b.yaml", "run"],
        &["gatehouse", "run", "-c", "a.toml", "-r", "b.yaml"],
    ] {
        let cli = parse(line);
        assert_eq!(
            (cli.files.config.as_path(), cli.files.registration.as_path()),
            (Path::new("a.toml"), Path::new("b.yaml"))
        );
        assert!(matches!(cli.command, None | Some(Command::Run)));
    }
}

#[test]
fn the_short_forms() {
    assert!(parse(&["gatehouse", "-g", "-c", "a.toml", "-r", "b.yaml"]).generate_registration);
    assert!(parse(&["gatehouse", "-e"]).example_config);
    assert!(Cli::try_parse_from(["gatehouse", "-e", "-g"]).is_err());
}

async fn not_run(_: Config, _: Registration) -> Result<(), Failure> {
    panic!("the bridge must not start");
}

fn arguments(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

#[test]
fn a_bridge_whose_files_disagree_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, registration) = (
        folder.path().join("config.toml"),
        folder.path().join("registration.yaml"),
    );
    let (c, r) = (
        config.to_str().expect("a path"),
        registration.to_str().expect("a path"),
    );
    std::fs::write(&config, "").expect("written");
    let run = |line: &[&str]| main(arguments(line), not_run);
    // No registration yet.
    assert_eq!(run(&["gatehouse", "-c", c, "-r", r]), ExitCode::FAILURE);
    assert_eq!(
        run(&["gatehouse", "-g", "-c", c, "-r", r]),
        ExitCode::SUCCESS
    );
    assert_eq!(
        run(&["gatehouse", "registration", "-c", c, "-r", r]),
        ExitCode::SUCCESS
    );
    std::fs::write(&config, "[appservice]\nid = \"other\"").expect("written");
    assert_eq!(run(&["gatehouse", "-c", c, "-r", r]), ExitCode::FAILURE);
    assert_eq!(
        run(&["gatehouse", "-g", "-c", c, "-r", r]),
        ExitCode::FAILURE
    );
    assert_eq!(
        run(&["gatehouse", "registration", "--force", "-c", c, "-r", r]),
        ExitCode::SUCCESS
    );
    let started = main(
        arguments(&["gatehouse", "-c", c, "-r", r]),
        |config, registration| async move {
            assert_eq!(
                (config.appservice.id.as_str(), registration.id.as_str()),
                ("other", "other")
            );
            Ok(())
        },
    );
    assert_eq!(started, ExitCode::SUCCESS);
}

#[test]
fn causes_are_said_once() {
    let inner = std::io::Error::other("disk full");
    let error = crate::config::ConfigError::Unreadable {
        path: "a".into(),
        source: inner,
    };
    assert_eq!(chain(&error).matches("disk full").count(), 1);
}
