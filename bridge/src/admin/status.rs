//! Numbers and names, as the database has them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use store::{Error, Store, ghosts, inbox, logins, outbox, quarantine, sends};

/// How much there is, and how much waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Enlisted users by state.
    pub logins: BTreeMap<String, usize>,
    /// Ghosts, and the bot.
    pub ghosts: i64,
    /// Events from the homeserver that are to be handled.
    pub inbox: i64,
    /// Of these, events that wait for their key.
    pub waiting_for_keys: i64,
    /// What was set aside because it could not be handled, on all ways.
    pub quarantined: i64,
    /// Stanzas that the gatekeeper has not accepted yet.
    pub outbox: i64,
    /// Events that the homeserver has not accepted yet.
    pub sends: i64,
    /// Why the database takes no writes, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Status {
    /// Counts.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn read(store: &Store) -> Result<Self, Error> {
        let mut by_state = BTreeMap::new();
        for login in logins::list(store).await? {
            *by_state.entry(login.state.as_str().to_owned()).or_default() += 1;
        }
        let waiting_for_keys = inbox::count(store, inbox::State::WaitingKey).await?;
        Ok(Self {
            logins: by_state,
            ghosts: ghosts::count(store).await?,
            inbox: inbox::count(store, inbox::State::New).await?
                + inbox::count(store, inbox::State::Held).await?
                + waiting_for_keys,
            waiting_for_keys,
            quarantined: quarantine::count(store).await?,
            outbox: outbox::count(store).await?,
            sends: sends::count(store).await?,
            trouble: store.trouble(),
        })
    }

    /// Puts the numbers among the metrics.
    pub(super) fn record(&self) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; rows never come near 2^52"
        )]
        let set = |name: &'static str, value: i64| metrics::gauge!(name).set(value as f64);
        set("gatehouse_ghosts", self.ghosts);
        set("gatehouse_inbox_events", self.inbox);
        set("gatehouse_inbox_waiting_for_keys", self.waiting_for_keys);
        set("gatehouse_quarantined", self.quarantined);
        set("gatehouse_outbox_stanzas", self.outbox);
        set("gatehouse_sends", self.sends);
        set("gatehouse_database_trouble", self.trouble.is_some().into());
        for state in logins::State::ALL {
            // Also those that nobody is in any more.
            let count = self.logins.get(state.as_str()).copied().unwrap_or_default();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!("gatehouse_logins", "state" => state.as_str()).set(count);
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logins: Vec<_> = self
            .logins
            .iter()
            .map(|(state, n)| format!("{n} {state}"))
            .collect();
        let logins = if logins.is_empty() {
            "none".to_owned()
        } else {
            logins.join(", ")
        };
        if let Some(trouble) = &self.trouble {
            writeln!(f, "takes no writes: {trouble}")?;
        }
        writeln!(f, "users:           {logins}")?;
        writeln!(f, "ghosts:          {}", self.ghosts)?;
        writeln!(
            f,
            "from Matrix:     {} to handle, {} of them wait for a key",
            self.inbox, self.waiting_for_keys
        )?;
        writeln!(f, "to Matrix:       {} to send", self.sends)?;
        writeln!(f, "to WhatsApp:     {} to send", self.outbox)?;
        write!(f, "set aside:       {}", self.quarantined)?;
        if self.quarantined > 0 {
            write!(f, " (see `gatehouse replay --list`)")?;
        }
        Ok(())
    }
}

/// A Matrix user who is or was enlisted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their Matrix id.
    pub mxid: String,
    /// Where their enlistment stands.
    pub state: String,
    /// Why it was refused or does not connect.
    pub last_error: Option<String>,
    /// When they consented, milliseconds since 1970.
    pub since_ms: i64,
}

impl User {
    /// All of them.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn list(store: &Store) -> Result<Vec<Self>, Error> {
        let user = |login: logins::Login| Self {
            mxid: login.mxid,
            state: login.state.as_str().to_owned(),
            last_error: login.last_error,
            since_ms: login.created_ts,
        };
        Ok(logins::list(store).await?.into_iter().map(user).collect())
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.mxid, self.state)?;
        match &self.last_error {
            Some(error) => write!(f, "  ({error})"),
            None => Ok(()),
        }
    }
}
