//! What breaks while people talk, and how long it takes to mend.

mod happen;

use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::actors::Actors;
use super::probe::Probe;
use super::report::Recovery;
use crate::postgres::Postgres;
use crate::shim::Shim;
use crate::stack::Stack;
use crate::{Error, Result, cache};

/// How long a fault lasts that lasts, at most, if nobody says; at least it is a third of it.
const SPELL: Duration = Duration::from_secs(9);
/// How long messages may take to go again after a fault. Then the fault counts as one without recovery, and the run goes on.
const RECOVERY: Duration = Duration::from_secs(120);

/// How long a run is at least that has faults of minutes.
const ROOM_FOR_LONG: Duration = Duration::from_secs(300);

macro_rules! faults {
    ($(#[doc = $doc:literal] $name:ident = $word:literal,)*) => {
        /// Something that breaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fault {
            $(#[doc = $doc] $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name on the command line and in tables.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What happens, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$name => $doc.trim_ascii(),)*
                }
            }
        }
    };
}

faults! {
    /// gatehouse is ended by SIGKILL and started again.
    Kill = "kill",
    /// gatehouse is ended by SIGKILL, started, and killed once more while it starts.
    KillTwice = "kill-twice",
    /// gatehouse is ended by SIGTERM and started again.
    Terminate = "terminate",
    /// gatehouse hangs: its connections stay open and nothing moves.
    Hang = "hang",
    /// Connections to the gatekeeper are cut again and again.
    Drop = "drop",
    /// Stanzas come twice.
    Duplicate = "duplicate",
    /// Stanzas change places.
    Reorder = "reorder",
    /// The gatekeeper's acknowledgements are lost.
    LoseAcks = "lose-acks",
    /// Everything from the gatekeeper comes late.
    Delay = "delay",
    /// Messages are damaged on the way.
    Corrupt = "corrupt",
    /// The gatekeeper has no one-time prekeys to give.
    NoPrekeys = "no-prekeys",
    /// The gatekeeper ends the streams with 515.
    Restart515 = "stream-515",
    /// The gatekeeper ends the streams with 503.
    Restart503 = "stream-503",
    /// What gatehouse acknowledges stays in its mailboxes, and all of it comes again over the next connection.
    MailboxTwice = "mailbox-twice",
    /// The gatekeeper's clock jumps by an hour.
    ClockJump = "clock-jump",
    /// The gatekeeper is away for a while.
    GatekeeperAway = "gatekeeper-away",
    /// Connections to the gatekeeper stay open, but nothing goes through them any more.
    HalfOpen = "gatekeeper-half-open",
    /// The way to the gatekeeper lets a few bytes through at a time.
    Slow = "gatekeeper-slow",
    /// The homeserver is restarted.
    HomeserverRestart = "homeserver-restart",
    /// The homeserver is ended by SIGKILL and away for a while.
    HomeserverKill = "homeserver-kill",
    /// The homeserver hangs.
    HomeserverHang = "homeserver-hang",
    /// The homeserver answers half of the requests with 429 and a time to wait.
    Homeserver429 = "homeserver-429",
    /// The homeserver answers half of the requests with 500.
    Homeserver500 = "homeserver-500",
    /// A proxy before the homeserver answers half of the requests with 404 and a page of its own.
    Homeserver404 = "homeserver-404",
    /// A proxy before the homeserver answers half of the requests with 502.
    Homeserver502 = "homeserver-502",
    /// The homeserver does what it is asked, but half of its answers are lost.
    HomeserverUnanswered = "homeserver-unanswered",
    /// The homeserver sends transactions twice, with the same id.
    TransactionsTwice = "transactions-twice",
    /// gatehouse takes transactions, but half of its answers are lost: they come again.
    TransactionsUnanswered = "transactions-unanswered",
    /// A proxy before gatehouse answers transactions with 502.
    TransactionsRefused = "transactions-refused",
    /// Transactions are numbered from 1 again, as by a homeserver that was set up anew.
    TransactionsRenumbered = "transactions-renumbered",
    /// New room keys come late.
    KeysLate = "keys-late",
    /// New room keys come twice.
    KeysTwice = "keys-twice",
    /// New room keys come in no transaction.
    KeysLost = "keys-lost",
    /// New room keys are sent while gatehouse is down.
    KeysWhileDown = "keys-while-down",
    /// All one-time keys of the ghosts are taken; then a user logs in with a new device.
    OneTimeKeys = "one-time-keys",
    /// A user logs in with a new device, and out again.
    NewDevice = "new-device",
    /// A user logs in with a new device while gatehouse is down.
    StaleDevices = "stale-devices",
    /// A user makes new cross-signing keys.
    CrossSigning = "cross-signing",
    /// The homeserver is ended by SIGKILL and away for two minutes (in runs of five minutes and more).
    HomeserverAway = "homeserver-away",
    /// The gatekeeper's media server takes requests and answers nothing.
    MediaHang = "media-hang",
    /// The gatekeeper's media server answers half of the requests with 503.
    Media503 = "media-503",
    /// gatehouse's clock is five hours ahead for a while.
    ClockAhead = "clock-ahead",
    /// gatehouse's clock is three days behind for a while.
    ClockBehind = "clock-behind",
    /// The disk has no space for the database (SQLite).
    DiskFull = "disk-full",
    /// The disk does not confirm what the database writes (SQLite).
    DiskSync = "disk-sync",
    /// Another program holds the database.
    DatabaseLocked = "database-locked",
    /// PostgreSQL is ended with all its connections, and started again (with --postgres).
    PostgresRestart = "postgres-restart",
    /// PostgreSQL is ended and away for a while (with --postgres).
    PostgresAway = "postgres-away",
}

impl Fault {
    /// Those that happen where none are named: all that this database can have, and that a run over this time has room for.
    #[must_use]
    pub fn usual(postgres: bool, spread: Duration) -> Vec<Self> {
        let can_be = |fault: &Self| match fault {
            Self::PostgresRestart | Self::PostgresAway => postgres,
            Self::DiskFull | Self::DiskSync => !postgres,
            Self::HomeserverAway => spread >= ROOM_FOR_LONG,
            _ => true,
        };
        Self::ALL.iter().copied().filter(can_be).collect()
    }
}

/// Where faults happen.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// All that runs.
    pub stack: &'a Stack,
    /// The bridge's database, if it is one that can be restarted.
    pub postgres: Option<&'a Postgres>,
    /// What the bridge's machine does.
    pub shim: &'a Shim,
    /// The people.
    pub actors: &'a Actors,
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|fault| fault.name() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|fault| fault.name()).collect();
            Error::new(format!(
                "no fault is named {name}; there are {}",
                names.join(", ")
            ))
        })
    }
}

/// Strikes with one fault after another, in an order drawn from the dice, at least once and for as long as people act. Those that
/// last go on for `spell`, or for a time that is drawn too. After each it measures how long it takes until messages go both ways again.
///
/// # Errors
///
/// When a part of the stack cannot be started again.
pub async fn strike(
    place: Place<'_>,
    faults: &[Fault],
    spell: Option<Duration>,
    dice: &mut SmallRng,
) -> Result<Vec<Recovery>> {
    let mut recoveries = Vec::new();
    if faults.is_empty() {
        return Ok(recoveries);
    }
    let probe = place.actors.probe(place.stack).await?;
    // Its chat is open before anything breaks.
    probe.pass().await?;
    loop {
        let mut round = faults.to_vec();
        round.shuffle(dice);
        for fault in round {
            tokio::time::sleep(Duration::from_millis(dice.random_range(500..3000))).await;
            let drawn = SPELL * dice.random_range(33..100) / 100;
            let strike = Strike {
                place,
                probe: &probe,
                spell: spell.unwrap_or(drawn),
                seed: dice.random(),
            };
            recoveries.push(once(fault, &strike).await?);
            if place.actors.are_done() {
                return Ok(recoveries);
            }
        }
    }
}

/// One time that a fault happens.
#[derive(Debug)]
struct Strike<'a> {
    place: Place<'a>,
    probe: &'a Probe<'a>,
    /// How long it lasts, if it is one that lasts.
    spell: Duration,
    /// What its chances are drawn from.
    seed: u32,
}

async fn once(fault: Fault, strike: &Strike<'_>) -> Result<Recovery> {
    let happened = fault.happen(strike).await;
    let device = happened.map_err(|error| Error::new(format!("{}: {error}", fault.name())))?;
    let end = Instant::now();
    let passed = tokio::time::timeout(RECOVERY, async {
        match &device {
            Some(device) => strike.probe.pass_with(device).await,
            None => strike.probe.pass().await,
        }
    })
    .await;
    let took = matches!(passed, Ok(Ok(()))).then(|| end.elapsed());
    let said = match (&passed, took) {
        (_, Some(took)) => format!("recovered in {:.1} s", took.as_secs_f64()),
        (Ok(Err(error)), _) => {
            let error = error.to_string();
            let reason = error.lines().next().unwrap_or_default();
            format!("no recovery: {reason}")
        }
        _ => "no recovery".to_owned(),
    };
    if let Some(device) = device {
        device.logout().await?;
    }
    let progress = strike.place.actors.progress();
    cache::progress(&format!("{}: {said}; {progress}", fault.name()));
    Ok(Recovery {
        fault: fault.name().into(),
        ms: took.and_then(|took| took.as_millis().try_into().ok()),
    })
}

#[cfg(test)]
mod unit {
    use std::time::Duration;

    use super::Fault;

    #[test]
    fn every_fault_is_known_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse::<Fault>().unwrap(), *fault);
        }
        assert!("nonsense".parse::<Fault>().is_err());
        let (short, long) = (Duration::from_secs(90), Duration::from_secs(600));
        for (fault, postgres, spread) in [
            (Fault::PostgresRestart, true, short),
            (Fault::DiskFull, false, short),
            (Fault::HomeserverAway, false, long),
        ] {
            assert!(Fault::usual(postgres, spread).contains(&fault));
        }
        assert!(!Fault::usual(false, short).contains(&Fault::PostgresRestart));
        assert!(!Fault::usual(true, short).contains(&Fault::DiskFull));
        assert!(!Fault::usual(true, short).contains(&Fault::HomeserverAway));
    }
}
