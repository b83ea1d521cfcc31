//! `sandbox serve`.

use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Outcome, say};
use crate::{Config, PartnerConfig, Sandbox};

const CONTROL_API: &str = "\
Control API (JSON; all ids are stanza ids):
  GET  /control                             addresses and root key
  POST /control/phones                      {\"number\":\"+4915112345678\",\"name\":\"Bea\"}
  GET  /control/phones
  POST /control/phones/{number}/messages    {\"to\":\"@alice:localhost\",\"kind\":\"text\",\"text\":\"hi\",\"reply_to\"?:id}
       kinds: text image video gif round_video voice audio document sticker location live_location contact
       poll view_once timer group_invitation call unknown raw; their fields: docs/sandbox.md
  GET  /control/phones/{number}             one phone: options, chats, what waits for it
  PUT  /control/phones/{number}/uploads?kind=video   a file of any size -> {\"upload\":id} for a message
  GET  /control/phones/{number}/media/{id}  the file of a message, decrypted (POST {} fetches it again)
  GET  /control/phones/{number}/chats       who types, what is unread, the timer
  GET  /control/phones/{number}/messages?with=@alice:localhost[&after=id | &last=n]
  POST /control/phones/{number}/reactions   {\"to\",\"message\",\"emoji\"}   (an empty emoji takes it back)
  POST /control/phones/{number}/edits       {\"to\",\"message\",\"text\"}
  POST /control/phones/{number}/revokes     {\"to\",\"message\"}
  POST /control/phones/{number}/receipts    {\"to\",\"type\":\"delivery|read|played\",\"ids\":[...]}
  POST /control/phones/{number}/typing      {\"to\",\"state\":\"composing|recording|paused\"}
  POST /control/phones/{number}/block       {\"to\",\"blocked\":true}
  POST /control/phones/{number}/identity    {}
  POST /control/phones/{number}/credentials {\"device\"?:0,\"addressing\"?:\"pn|lid\"}   keys for a stock client
  GET  /control/certificate                 the TLS certificate that stock clients must trust, as PEM
  POST /control/phones/{number}/options     {\"auto_receipts\",\"auto_read\",\"read_receipts\",\"online\",
                                            \"third_party_chats\",\"combined_inbox\",\"refused\":[\"sticker\",\"edit\"]}
  GET  /phone  GET  /phone/{number}         pages: the phones; one of them
  GET  /control/events                      server-sent events
  GET  /control/faults  POST /control/faults
       {\"reset\":true,\"seed\":7,\"duplicate\":0.1,\"reorder\":0.1,\"lose_acks\":0.1,\"ignore_acks\":0.1,
        \"corrupt\":0.1,\"unknown_extras\":0.1,\"drop_connection_every\":20,\"delay_ms\":50,\"stream_error\":515,
        \"refuse\":503, \"prekeys_exhausted\":true,\"push_token\":\"wrong_aud|wrong_kid|expired|absent|none\",
        \"proxy_token\":…, \"media\":\"gone|missing|forbidden|truncated|cut|wrong_mac|too_long|wrong_hash|
        wrong_enc_hash|shorter|longer|none\"}
  GET  /control/clock   POST /control/clock {\"advance_seconds\":2678400}
  GET  /control/partners                    enlisted users, devices, what waits for them
  GET  /control/wire                        all bytes that partners sent (with --record)

Example:
  sandbox serve --partner integrator=1,base_url=http://127.0.0.1:29334 --state sandbox.json";

/// Run the sandbox until it is interrupted
#[derive(Debug, Args)]
#[command(after_help = CONTROL_API)]
pub(super) struct Serve {
    /// Where the control API listens; port 0 takes a free one. It has no password: keep it on
    /// loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:29400")]
    control: SocketAddr,
    /// A further name under which the control API is reached; may be repeated. `localhost` and numeric addresses are
    /// always good; under any other name a page of another site could speak to it
    #[arg(long = "control-name", value_name = "NAME")]
    control_names: Vec<String>,
    /// Where the gatekeeper's HTTP side listens: enlistment, key set, the chat's WebSocket
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:29401")]
    http: SocketAddr,
    /// Where the HTTP side listens over TLS as well, for stock clients
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:29403")]
    https: SocketAddr,
    /// A further name or address in the certificate of that side; may be repeated
    #[arg(long = "tls-name", value_name = "NAME")]
    tls_names: Vec<String>,
    /// Where the chat listens for plain TCP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:29402")]
    tcp: SocketAddr,
    /// A partner service: `integrator=N,base_url=URL[,audience=…][,issuer=…][,push_audience=…]`; may
    /// be repeated
    #[arg(long = "partner", value_name = "SETTINGS")]
    partners: Vec<PartnerConfig>,
    /// Keep keys, users, mailboxes and phones in this file over a restart
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Record every byte that partners send in this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Seed of faults and of the variety on the wire
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Send plain stanzas only: no compression, all digits packed, frames whole
    #[arg(long)]
    plain: bool,
    /// Seconds between two fetches of a partner's key set
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    jwks_interval: u64,
    /// Messages that a phone keeps per chat; without it all
    #[arg(long, value_name = "N")]
    log_limit: Option<usize>,
    /// Print one JSON line with all addresses when ready
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(super) async fn run(self) -> Outcome {
        let filter = EnvFilter::try_from_env("SANDBOX_LOG").unwrap_or_else(|_| {
            // An empty container has no list of whom to trust; the program brings one then.
            "info,rustls_platform_verifier=error".into()
        });
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
        if !self.control.ip().is_loopback() {
            tracing::warn!("the control API has no password and does not listen on loopback");
        }
        let sandbox = Sandbox::start(Config {
            control: self.control,
            http: self.http,
            https: self.https,
            tls_names: self.tls_names,
            control_names: self.control_names,
            tcp: self.tcp,
            partners: self.partners,
            state: self.state,
            record: self.record,
            seed: self.seed,
            variety: !self.plain,
            jwks_interval: Duration::from_secs(self.jwks_interval),
            log_limit: self.log_limit,
            ..Config::default()
        })
        .await
        .map_err(|error| error.to_string())?;
        let addresses = sandbox.addresses();
        if self.json {
            say(json!(addresses));
        } else {
            say(format_args!(
                "Sandbox gatekeeper. Nothing here reaches WhatsApp.\n\
                 control API  {}\nenlistment   {}\npush keys    {}\nchat         {}\n\
                 chat (TLS)   {}\nchat (TCP)   {}\ntrust root   {}\n\
                 phone page   {}+4915112345678 (after `sandbox phone +4915112345678 add`)",
                addresses.control,
                addresses.enlistment,
                addresses.jwks,
                addresses.chat,
                addresses.chat_tls,
                addresses.chat_tcp,
                addresses.root,
                addresses.phone_page,
            ));
        }
        stop_signal().await?;
        sandbox.stop().await;
        Ok(())
    }
}

/// Waits for an interrupt or the order to terminate.
async fn stop_signal() -> Outcome {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen to signals: {error}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }

    #[test]
    fn everything_listens_on_loopback_unless_told_otherwise() {
        let Line { serve } = Line::parse_from(["serve"]);
        for address in [serve.control, serve.http, serve.https, serve.tcp] {
            assert!(address.ip().is_loopback(), "{address}");
        }
        let Line { serve } = Line::parse_from(["serve", "--control", "0.0.0.0:29400"]);
        assert!(!serve.control.ip().is_loopback());
        assert!(serve.http.ip().is_loopback(), "each by itself");
    }
}
