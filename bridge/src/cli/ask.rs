//! Answers about the bridge: from the running one, or from its database when none runs.

use std::time::Duration;

use http::StatusCode;
use ruma::OwnedUserId;
use serde::de::DeserializeOwned;
use store::{SealingKey, Store, StoreConfig};

use super::Failure;
use crate::{
    admin::{About, Departure, REPLAY_PATH, STATUS_PATH, Status, USERS_PATH, User},
    client,
    config::Config,
    quarantine::{self, Listed, Selection},
    registration::Registration,
};

const TIMEOUT: Duration = Duration::from_secs(5);
/// For what takes the bridge a word with its neighbours.
const LONG: Duration = Duration::from_secs(300);

/// How much there is and how much waits.
pub(super) async fn status(
    config: &Config,
    registration: &Registration,
) -> Result<Status, Failure> {
    match from_bridge(config, registration, STATUS_PATH).await? {
        Some(status) => Ok(status),
        None => {
            let store = open(config).await?;
            let status = Status::read(&store).await;
            store.close().await;
            Ok(status?)
        }
    }
}

/// Who is enlisted.
pub(super) async fn users(
    config: &Config,
    registration: &Registration,
) -> Result<Vec<User>, Failure> {
    match from_bridge(config, registration, USERS_PATH).await? {
        Some(users) => Ok(users),
        None => {
            let store = open(config).await?;
            let users = User::list(&store).await;
            store.close().await;
            Ok(users?)
        }
    }
}

/// Has the running bridge end a user's enlistment; `path` says how thoroughly.
pub(super) async fn leave(
    config: &Config,
    registration: &Registration,
    path: &str,
    user: OwnedUserId,
) -> Result<Departure, Failure> {
    let request = client::client()?
        .post(address(config, path))
        .timeout(LONG)
        .json(&About { user });
    answer(config, registration, request).await?.ok_or_else(|| {
        "no bridge runs that could tell WhatsApp; start it with `gatehouse run`, then do this again"
            .into()
    })
}

/// What is set aside.
pub(super) async fn set_aside(
    config: &Config,
    registration: &Registration,
    selection: &Selection,
) -> Result<Vec<Listed>, Failure> {
    let query = match selection {
        Selection::One(id) => vec![("one", id.as_str())],
        Selection::Room(id) => vec![("room", id.as_str())],
        Selection::All => vec![],
    };
    let request = client::client()?
        .get(address(config, REPLAY_PATH))
        .query(&query)
        .timeout(TIMEOUT);
    match answer(config, registration, request).await? {
        Some(listed) => Ok(listed),
        None => {
            let store = open(config).await?;
            let listed = quarantine::list(&store, selection).await;
            store.close().await;
            Ok(listed?)
        }
    }
}

/// Brings back what was set aside; the running bridge does it, or the database is marked.
pub(super) async fn replay(
    config: &Config,
    registration: &Registration,
    selection: &Selection,
) -> Result<Vec<Listed>, Failure> {
    let request = client::client()?
        .post(address(config, REPLAY_PATH))
        .json(selection)
        .timeout(TIMEOUT);
    match answer(config, registration, request).await? {
        Some(brought) => Ok(brought),
        None => {
            let store = open(config).await?;
            let brought = quarantine::replay(&store, selection).await;
            store.close().await;
            Ok(brought?)
        }
    }
}

/// What the running bridge says; nothing if none runs.
async fn from_bridge<T: DeserializeOwned>(
    config: &Config,
    registration: &Registration,
    path: &str,
) -> Result<Option<T>, Failure> {
    let request = client::client()?
        .get(address(config, path))
        .timeout(TIMEOUT);
    answer(config, registration, request).await
}

/// Where the bridge listens for its operator.
fn address(config: &Config, path: &str) -> String {
    format!("http://{}{path}", listener(config))
}

fn listener(config: &Config) -> std::net::SocketAddr {
    let mut address = config.appservice.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The answer to a request to the bridge; nothing if none runs.
async fn answer<T: DeserializeOwned>(
    config: &Config,
    registration: &Registration,
    request: reqwest::RequestBuilder,
) -> Result<Option<T>, Failure> {
    let address = listener(config);
    let request = request.bearer_auth(registration.as_token.secret());
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Ok(None),
        Err(error) => {
            return Err(format!("the bridge at {address} does not answer ({}); is it overloaded or hanging? See its log", error.without_url()).into());
        }
    };
    match response.status() {
        StatusCode::OK => Ok(Some(response.json().await?)),
        StatusCode::FORBIDDEN => Err(format!(
            "the bridge at {address} runs with another registration; name that one with -r"
        )
        .into()),
        StatusCode::SERVICE_UNAVAILABLE => {
            Err("the bridge runs, but cannot do this now: its database, the homeserver or WhatsApp is away; see its log".into())
        }
        status => Err(format!(
            "{address} answers {status}: something other than gatehouse listens there; correct appservice.listen"
        )
        .into()),
    }
}

/// Opens the database as the bridge would, but makes none.
async fn open(config: &Config) -> Result<Store, Failure> {
    if let Some(path) = config.database.file()
        && !path.exists()
    {
        return Err(format!(
            "there is no database {} yet, and no bridge runs; start one with `gatehouse run`",
            path.display()
        )
        .into());
    }
    let key = SealingKey::load(&config.database.sealing_key)?;
    let settings = StoreConfig {
        readers: 1,
        ..StoreConfig::new(config.database.url.clone())
    };
    Ok(Store::open(&settings, key).await?)
}
