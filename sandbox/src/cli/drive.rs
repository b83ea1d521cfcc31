//! Commands that drive a running sandbox.

use clap::Args;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{At, Outcome, say};

/// A JSON object of what was given.
pub(super) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

pub(super) fn print(value: &Value) -> Outcome {
    say(serde_json::to_string_pretty(value).map_err(|error| error.to_string())?);
    Ok(())
}

/// `sandbox phones`.
pub(super) async fn phones(at: &At) -> Outcome {
    let phones = at.client()?.get("/control/phones").await?;
    let phones = phones.as_array().map(Vec::as_slice).unwrap_or_default();
    if phones.is_empty() {
        say("No phones yet: sandbox phone +4915112345678 add --name Bea");
    }
    for phone in phones {
        let chats = phone["chats"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let with: Vec<_> = chats
            .iter()
            .filter_map(|chat| chat["with"].as_str())
            .collect();
        say(format_args!(
            "{}  {}  {}",
            phone["number"].as_str().unwrap_or_default(),
            phone["name"].as_str().unwrap_or_default(),
            with.join(", ")
        ));
    }
    Ok(())
}

/// `sandbox partners`.
pub(super) async fn partners(at: &At) -> Outcome {
    print(&at.client()?.get("/control/partners").await?)
}

/// `sandbox root`.
pub(super) async fn root(at: &At) -> Outcome {
    let about = at.client()?.get("/control").await?;
    say(about["root"]
        .as_str()
        .ok_or("the sandbox names no root key")?);
    Ok(())
}

/// `sandbox events`.
pub(super) async fn events(at: &At) -> Outcome {
    let client = at.client()?;
    let mut events = Box::pin(client.events().await?);
    while let Some(event) = events.next().await {
        let event = event?;
        let mut line = event.data;
        if let Value::Object(fields) = &mut line {
            fields.insert("event".to_owned(), event.name.into());
        }
        say(line);
    }
    Ok(())
}

/// Show or change what goes wrong
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sandbox faults\n  \
    sandbox faults --reset --seed 7 --drop-connection-every 20 --lose-acks 0.1\n  \
    sandbox faults --stream-error 515")]
pub(super) struct FaultsArgs {
    #[command(flatten)]
    at: At,
    /// Turn everything off first
    #[arg(long)]
    reset: bool,
    /// Start the sequence of chances again from this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Deliver stanzas twice, with this probability
    #[arg(long, value_name = "P")]
    duplicate: Option<f64>,
    /// Let stanzas change places, with this probability
    #[arg(long, value_name = "P")]
    reorder: Option<f64>,
    /// Lose the server's acks, with this probability
    #[arg(long, value_name = "P")]
    lose_acks: Option<f64>,
    /// Keep what partner users have acknowledged in their mailboxes, with this probability: it comes again over the next
    /// connection
    #[arg(long, value_name = "P")]
    ignore_acks: Option<f64>,
    /// Refuse the messages of partner users with this error; 0 takes them
    #[arg(long, value_name = "CODE")]
    refuse: Option<u16>,
    /// Damage ciphertexts to partner users, with this probability
    #[arg(long, value_name = "P")]
    corrupt: Option<f64>,
    /// Add attributes and children that nobody knows, with this probability
    #[arg(long, value_name = "P")]
    unknown_extras: Option<f64>,
    /// Cut every connection after this many stanzas from the user; 0 never
    #[arg(long, value_name = "N")]
    drop_connection_every: Option<u64>,
    /// Hold every stanza back for this long
    #[arg(long, value_name = "MS")]
    delay_ms: Option<u64>,
    /// End all connections once with this error
    #[arg(long, value_name = "CODE")]
    stream_error: Option<u16>,
    /// Give out bundles without one-time prekeys
    #[arg(long, value_name = "true|false")]
    prekeys_exhausted: Option<bool>,
    /// What is wrong with the tokens of pushes: wrong_aud, wrong_kid, expired, absent or none
    #[arg(long, value_name = "FAULT")]
    push_token: Option<String>,
    /// What is wrong with the tokens of the proxy to partners' files: as with pushes
    #[arg(long, value_name = "FAULT")]
    proxy_token: Option<String>,
    /// What is wrong with the files that phones send: gone, missing, forbidden, truncated, cut,
    /// wrong_mac, too_long, wrong_hash, wrong_enc_hash, shorter, longer or none
    #[arg(long, value_name = "FAULT")]
    media: Option<String>,
}

impl FaultsArgs {
    pub(super) async fn run(self) -> Outcome {
        let client = self.at.client()?;
        let body = object([
            ("reset", self.reset.then_some(Value::Bool(true))),
            ("seed", self.seed.map(Value::from)),
            ("duplicate", self.duplicate.map(Value::from)),
            ("reorder", self.reorder.map(Value::from)),
            ("lose_acks", self.lose_acks.map(Value::from)),
            ("ignore_acks", self.ignore_acks.map(Value::from)),
            ("refuse", self.refuse.map(Value::from)),
            ("corrupt", self.corrupt.map(Value::from)),
            ("unknown_extras", self.unknown_extras.map(Value::from)),
            (
                "drop_connection_every",
                self.drop_connection_every.map(Value::from),
            ),
            ("delay_ms", self.delay_ms.map(Value::from)),
            ("stream_error", self.stream_error.map(Value::from)),
            ("prekeys_exhausted", self.prekeys_exhausted.map(Value::from)),
            ("push_token", self.push_token.map(Value::from)),
            ("proxy_token", self.proxy_token.map(Value::from)),
            ("media", self.media.map(Value::from)),
        ]);
        if body == json!({}) {
            return print(&client.get("/control/faults").await?);
        }
        print(&client.post("/control/faults", &body).await?)
    }
}

/// Show or advance the sandbox's clock
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sandbox clock --advance 31d")]
pub(super) struct ClockArgs {
    #[command(flatten)]
    at: At,
    /// How far: seconds, or a number with s, m, h or d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    advance: Option<u64>,
}

fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(format!("`{unit}` is no unit: use s, m, h or d, e.g. 31d")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "write a number and a unit, e.g. 31d".to_owned())
}

impl ClockArgs {
    pub(super) async fn run(self) -> Outcome {
        let client = self.at.client()?;
        print(&match self.advance {
            None => client.get("/control/clock").await?,
            Some(seconds) => {
                client
                    .post("/control/clock", &json!({"advance_seconds": seconds}))
                    .await?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(seconds("31d"), Ok(31 * 86400));
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("2h"), Ok(7200));
        for text in ["", "d", "3w", "-1", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
