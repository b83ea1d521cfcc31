//! `sandbox credentials`: lets a stock client be a phone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::{At, Outcome, drive::print, say};
use crate::Number;

/// Make keys with which a stock WhatsApp client logs in as a phone
#[derive(Debug, Args)]
#[command(
    after_help = "The keys are new, as after a reinstallation, and the sandbox forgets the private ones: whoever has\n\
    the folder is the phone. `sandbox phone NUMBER identity` makes it the sandbox's again.\n\n\
    Examples:\n  sandbox credentials +4915112345678 --out bea\n  \
    sandbox credentials +4915112345678 --device 3 --out bea-laptop"
)]
pub(super) struct CredentialsArgs {
    /// The phone's number, e.g. +4915112345678
    number: String,
    #[command(flatten)]
    at: At,
    /// Write `creds.json`, `certificate.pem` and `sandbox.json` into this folder, as the npm package
    /// baileys keeps its state in one; without it print everything
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Number of the device: 0 is the phone itself, others are companions of it
    #[arg(long, default_value_t = 0)]
    device: u16,
    /// Show partners' users under opaque numbers (LID) instead of phone numbers
    #[arg(long)]
    lid: bool,
}

impl CredentialsArgs {
    pub(super) async fn run(self) -> Outcome {
        let client = self.at.client()?;
        let number = Number::parse(&self.number).map_err(|error| error.to_string())?;
        let addressing = if self.lid { "lid" } else { "pn" };
        let body = json!({"device": self.device, "addressing": addressing});
        let path = format!("/control/phones/{number}/credentials");
        let made = client.post(&path, &body).await?;
        let Some(folder) = self.out else {
            return print(&made);
        };
        let failed = |error: io::Error| format!("cannot write to {}: {error}", folder.display());
        write(&folder, &made).map_err(failed)?;
        let text = |name: &str| made.get(name).and_then(Value::as_str).unwrap_or_default();
        say(format_args!(
            "{number} is whoever logs in with {}/creds.json.\nchat        {}\ntrust root  {}",
            folder.display(),
            text("chat"),
            text("root"),
        ));
        for user in made
            .get("users")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let field = |name: &str| user.get(name).and_then(Value::as_str).unwrap_or_default();
            say(format_args!("{} is {}", field("user"), field("number")));
        }
        Ok(())
    }
}

/// How the names of the files begin in which a client of the package keeps keys and sessions.
const LEFT: [&str; 8] = [
    "pre-key-",
    "session-",
    "sender-key-",
    "identity-key-",
    "app-state-sync-",
    "device-list-",
    "lid-mapping-",
    "tctoken-",
];

/// Writes the folder. What an earlier client of the folder has left would not fit to new keys.
fn write(folder: &Path, made: &Value) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".json") && LEFT.iter().any(|begin| name.starts_with(begin)) {
            fs::remove_file(entry.path())?;
        }
    }
    let mut rest = made.clone();
    let mut take = |name: &str| rest.as_object_mut().and_then(|rest| rest.remove(name));
    let creds = take("creds").unwrap_or_default();
    let certificate = take("certificate").unwrap_or_default();
    private(&folder.join("creds.json"), creds.to_string().as_bytes())?;
    let certificate = certificate.as_str().unwrap_or_default();
    fs::write(folder.join("certificate.pem"), certificate)?;
    fs::write(folder.join("sandbox.json"), format!("{rest:#}\n"))
}

/// Writes a file that only its owner can read.
fn private(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text)
}
