//! The command line: `sandbox serve`, and commands that drive a running sandbox.

mod chat;
mod client;
mod credentials;
mod drive;
mod phone;
mod send;
mod serve;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::client::Client;

const EXAMPLES: &str = "\
Examples:
  sandbox serve --partner integrator=1,base_url=http://127.0.0.1:29334 --control 127.0.0.1:29400
  export SANDBOX_URL=http://127.0.0.1:29400
  sandbox phone +4915112345678 add --name Bea
  sandbox phone +4915112345678 send @alice:localhost \"hi\"
  sandbox phone +4915112345678 send @alice:localhost --image cat.png --caption \"my cat\"
  sandbox phone +4915112345678 chat @alice:localhost
  sandbox credentials +4915112345678 --out bea
  sandbox faults --drop-connection-every 20 --seed 7
  sandbox clock --advance 31d";

/// A gatekeeper that anyone can run, with simulated phones. Nothing in it reaches WhatsApp.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sandbox
    Serve(Box<serve::Serve>),
    /// Make a phone, or do what its owner would do with it
    Phone(phone::PhoneArgs),
    /// Make keys with which a stock WhatsApp client logs in as a phone
    Credentials(credentials::CredentialsArgs),
    /// List the phones
    Phones(At),
    /// List the partners, their users, and what waits for them
    Partners(At),
    /// Show or change what goes wrong
    Faults(drive::FaultsArgs),
    /// Show or advance the sandbox's clock
    Clock(drive::ClockArgs),
    /// Print the root key of the chat's certificate chain
    Root(At),
    /// Print what happens, as it happens, one JSON object per line
    Events(At),
}

/// Which sandbox.
#[derive(Clone, Debug, Args)]
struct At {
    /// Base address of the control API of the running sandbox
    #[arg(
        long = "sandbox",
        global = true,
        env = "SANDBOX_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:29400"
    )]
    url: String,
}

impl At {
    fn client(&self) -> Result<Client, String> {
        Client::new(&self.url)
    }
}

/// What a command fails with: text for people.
type Outcome = Result<(), String>;

/// Runs the command line of this process.
pub async fn run() -> ExitCode {
    // Fails when the process has a provider already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => serve.run().await,
        Command::Phone(phone) => phone.run().await,
        Command::Credentials(credentials) => credentials.run().await,
        Command::Phones(at) => drive::phones(&at).await,
        Command::Partners(at) => drive::partners(&at).await,
        Command::Faults(faults) => faults.run().await,
        Command::Clock(clock) => clock.run().await,
        Command::Root(at) => drive::root(&at).await,
        Command::Events(at) => drive::events(&at).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn say(text: impl std::fmt::Display) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a command's complaint")]
fn complain(error: &str) {
    eprintln!("error: {error}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_sandbox_may_be_named_before_and_behind_what_a_phone_does() {
        let url = "http://127.0.0.1:1";
        for line in [
            &["phone", "+4915112345678", "--sandbox", url, "show"][..],
            &["phone", "+4915112345678", "show", "--sandbox", url],
            &["phone", "+4915112345678", "chat", "@a:b", "--sandbox", url],
        ] {
            let cli = Cli::try_parse_from([&["sandbox"], line].concat()).unwrap();
            let Command::Phone(phone) = cli.command else {
                panic!("{line:?} is another command");
            };
            assert_eq!(phone.at.url, url, "{line:?}");
        }
        let cli = Cli::try_parse_from(["sandbox", "phones", "--sandbox", url]).unwrap();
        assert!(matches!(cli.command, Command::Phones(at) if at.url == url));
    }
}
