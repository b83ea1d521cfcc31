//! What the doctor asks of the homeserver and of the gatekeeper.

use std::time::Duration;

use axum::{Router, routing::post};
use http::Method;
use reqwest::Client;
use ruma::UserId;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Failure, doctor::Finding};
use crate::{
    client, config::Config, phone::PhoneNumber, public, registration::Registration, serve,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Homeserver reachable, tokens and namespaces as it knows them, and the way back to the bridge.
pub(super) async fn homeserver(
    config: &Config,
    registration: Option<&Registration>,
    mut report: impl FnMut(&str, Finding) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let asker = Asker {
        base: config
            .homeserver
            .url
            .as_str()
            .trim_end_matches('/')
            .to_owned(),
        // Without the token: a homeserver that does not know it would refuse even this.
        token: None,
        client: client::client()?,
    };
    match asker
        .ask(Method::GET, "/_matrix/client/versions", &[], None)
        .await
    {
        Ok(answer) if answer.body["versions"].is_array() => {
            let newest = answer.body["versions"]
                .as_array()
                .and_then(|list| list.last());
            let newest = newest.and_then(Value::as_str).unwrap_or("none").to_owned();
            report(
                "homeserver",
                Finding::good(format!("{} speaks Matrix up to {newest}", asker.base)),
            )?;
        }
        Ok(answer) => {
            let cause = format!(
                "{} answers {} and is no Matrix homeserver",
                asker.base, answer.status
            );
            let cure = "correct homeserver.url: it is the base address of the client-server API";
            return report("homeserver", Finding::bad(cause, cure));
        }
        Err(reason) => {
            let cause = format!("{} cannot be reached ({reason})", asker.base);
            return report(
                "homeserver",
                Finding::bad(cause, "start the homeserver, or correct homeserver.url"),
            );
        }
    }
    let Some(registration) = registration else {
        return Ok(());
    };
    let asker = Asker {
        token: Some(registration.as_token.secret().to_owned()),
        ..asker
    };
    let token = as_token(&asker, config).await;
    let known = matches!(token, Finding::Good(_));
    report("as_token", token)?;
    if known {
        report("namespaces", namespaces(&asker, config).await)?;
        report("way back (ping)", ping(&asker, config).await)?;
    }
    Ok(())
}

/// What the homeserver answered.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["errcode"].as_str().unwrap_or_default()
    }

    fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

struct Asker {
    base: String,
    token: Option<String>,
    client: Client,
}

impl Asker {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Answer, String> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .query(query)
            .timeout(TIMEOUT);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request
            .send()
            .await
            .map_err(|error| super::chain(&error.without_url()))?;
        let status = response.status().as_u16();
        let body = response.json().await.unwrap_or(Value::Null);
        Ok(Answer { status, body })
    }

    async fn whoami(&self, user: &UserId) -> Result<Answer, String> {
        let path = "/_matrix/client/v3/account/whoami";
        self.ask(Method::GET, path, &[("user_id", user.as_str())], None)
            .await
    }
}

const RESTART: &str = "name this registration in the homeserver's app_service_config_files and restart the homeserver";

/// Whether the homeserver knows the token, as this bot's.
async fn as_token(asker: &Asker, config: &Config) -> Finding {
    let bot = config.bot_id();
    match asker.whoami(&bot).await {
        Ok(answer) if answer.status == 200 && answer.body["user_id"] == bot.as_str() => {
            Finding::good(format!("the homeserver knows it as {bot}'s"))
        }
        Ok(answer) if answer.status == 401 => {
            Finding::bad("the homeserver does not know it", RESTART)
        }
        Ok(answer) if is_unregistered(&answer) => Finding::good(format!(
            "the homeserver knows it; {bot} will be made at the first start"
        )),
        Ok(answer) if answer.status == 403 => Finding::bad(
            format!(
                "the homeserver knows it, but not for {bot} ({})",
                answer.error()
            ),
            "correct homeserver.server_name or appservice.bot_localpart, or restart the homeserver after a change of the registration",
        ),
        Ok(answer) => Finding::unknown(format!(
            "cannot be told: {} {}",
            answer.status,
            answer.error()
        )),
        Err(reason) => Finding::unknown(format!("cannot be told ({reason})")),
    }
}

/// Synapse refuses a user of the namespace who was never made with a text of its own.
fn is_unregistered(answer: &Answer) -> bool {
    answer.status == 403 && answer.error().contains("not registered")
}

/// Whether the homeserver lets the bridge speak for its ghosts. Asks for one that hardly exists, and makes none.
async fn namespaces(asker: &Asker, config: &Config) -> Finding {
    // An unassigned country code.
    let Some(nobody) = PhoneNumber::from_digits("999000000000000") else {
        return Finding::unknown("cannot be told");
    };
    let ghost = config.ghost_id(&nobody);
    match asker.whoami(&ghost).await {
        Ok(answer) if answer.status == 200 || is_unregistered(&answer) => {
            let prefix = &config.appservice.ghost_prefix;
            Finding::good(format!(
                "the homeserver lets the bridge speak for @{prefix}…:{}",
                config.homeserver.server_name
            ))
        }
        Ok(answer) if answer.status == 403 || answer.code() == "M_EXCLUSIVE" => Finding::bad(
            format!(
                "the homeserver does not let the bridge speak for its ghosts ({})",
                answer.error()
            ),
            "the homeserver runs with an older registration: restart it",
        ),
        Ok(answer) => Finding::unknown(format!(
            "cannot be told: {} {}",
            answer.status,
            answer.error()
        )),
        Err(reason) => Finding::unknown(format!("cannot be told ({reason})")),
    }
}

/// Whether the homeserver reaches the bridge. If no bridge runs, the doctor answers in its place.
async fn ping(asker: &Asker, config: &Config) -> Finding {
    let stand_in = stand_in(config).await;
    let path = format!(
        "/_matrix/client/v1/appservice/{}/ping",
        config.appservice.id
    );
    let body = json!({ "transaction_id": "doctor" });
    let answer = asker.ask(Method::POST, &path, &[], Some(body)).await;
    let by = if stand_in.is_some() {
        "doctor in the bridge's place"
    } else {
        "running bridge"
    };
    drop(stand_in);
    let url = &config.appservice.url;
    match answer {
        Ok(answer) if answer.status == 200 => {
            Finding::good(format!("the homeserver reached the {by} at {url}"))
        }
        Ok(answer) => match answer.code() {
            "M_CONNECTION_FAILED" | "M_CONNECTION_TIMEOUT" => Finding::bad(
                format!("the homeserver cannot reach {url}"),
                "correct appservice.url (as the homeserver sees it) and appservice.listen; open the port between them",
            ),
            "M_BAD_STATUS" => Finding::bad(
                format!("{url} refuses the homeserver ({})", answer.error()),
                "the bridge and the homeserver use different hs_tokens, or something else listens there: restart both with the same registration",
            ),
            "M_URL_NOT_SET" => Finding::bad("the homeserver's registration has no url", RESTART),
            "M_FORBIDDEN" => Finding::bad(
                format!(
                    "the homeserver knows the bridge by another id than \"{}\"",
                    config.appservice.id
                ),
                RESTART,
            ),
            "M_UNRECOGNIZED" => Finding::bad(
                "the homeserver does not know how to ping",
                "bring the homeserver up to date (Synapse 1.141 or newer)",
            ),
            _ => Finding::unknown(format!(
                "cannot be told: {} {}",
                answer.status,
                answer.error()
            )),
        },
        Err(reason) => Finding::unknown(format!("cannot be told ({reason})")),
    }
}

/// Answers pings on the bridge's address; nothing if a bridge is there.
async fn stand_in(config: &Config) -> Option<DropGuard> {
    let listener = TcpListener::bind(config.appservice.listen).await.ok()?;
    let stop = CancellationToken::new();
    let answer = post(|| async { axum::Json(json!({})) });
    let router = Router::new().route("/_matrix/app/v1/ping", answer);
    tokio::spawn(serve::serve(
        listener,
        router,
        serve::Bounds::NONE,
        stop.clone(),
    ));
    Some(stop.drop_guard())
}

/// The addresses of the gatekeeper.
pub(super) async fn gatekeeper(
    config: &Config,
    mut report: impl FnMut(&str, Finding) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let settings = &config.gatekeeper;
    let endpoint = settings.endpoint.authority();
    report(
        "gatekeeper, chat",
        connect(&endpoint, "gatekeeper.endpoint").await,
    )?;
    let url = &settings.enlistment;
    let enlistment = url.host_str().zip(url.port_or_known_default());
    let enlistment = enlistment
        .map(|(host, port)| format!("{host}:{port}"))
        .unwrap_or_default();
    report(
        "gatekeeper, enlistment",
        connect(&enlistment, "gatekeeper.enlistment").await,
    )?;
    let keys = match public::fetch_keys(&client::client()?, settings.jwks.clone()).await {
        Ok(keys) if keys.keys.is_empty() => Finding::bad(
            format!(
                "{} holds no usable key, so no push could be checked",
                settings.jwks
            ),
            "correct gatekeeper.jwks",
        ),
        Ok(keys) => Finding::good(format!("{} keys at {}", keys.keys.len(), settings.jwks)),
        Err(error) => Finding::bad(
            format!("{}: {}", settings.jwks, super::chain(&error)),
            "correct gatekeeper.jwks, or see why this machine does not reach it; until then nobody is woken by a push",
        ),
    };
    report("gatekeeper, keys of pushes", keys)
}

async fn connect(address: &str, key: &str) -> Finding {
    match tokio::time::timeout(TIMEOUT, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Finding::good(format!("{address} takes connections")),
        Ok(Err(error)) => Finding::bad(
            format!("{address} cannot be reached ({error})"),
            format!("correct {key}, or open the way to it"),
        ),
        Err(_) => Finding::bad(
            format!("{address} does not answer"),
            format!("correct {key}, or open the firewall towards it"),
        ),
    }
}
