//! What breaks while people talk, and how long it takes to mend.

use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use serde_json::json;

use super::actors::Actors;
use super::report::Recovery;
use crate::stack::Stack;
use crate::{Error, Result, cache};

/// How long a fault of the network lasts, at most; at least it is a third of it.
const SPELL: Duration = Duration::from_secs(9);
/// How long messages may take to go again after a fault. Then the fault counts as one without recovery, and the run goes on.
const RECOVERY: Duration = Duration::from_secs(120);

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Something that breaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
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
    /// The gatekeeper is away for a while.
    GatekeeperAway = "gatekeeper-away",
    /// The homeserver is restarted.
    HomeserverRestart = "homeserver-restart",
    /// The homeserver is ended by SIGKILL and away for a while.
    HomeserverKill = "homeserver-kill",
    /// The homeserver hangs.
    HomeserverHang = "homeserver-hang",
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

/// Strikes with one fault after another, in an order drawn from the dice, as long as people act; each of `faults` at least once.
/// After each it measures how long it takes until messages go both ways again.
///
/// # Errors
///
/// When a part of the stack cannot be started again.
pub async fn strike(
    stack: &Stack,
    actors: &Actors,
    faults: &[Fault],
    dice: &mut SmallRng,
) -> Result<Vec<Recovery>> {
    let mut recoveries = Vec::new();
    if faults.is_empty() {
        return Ok(recoveries);
    }
    let probe = actors.probe(stack).await?;
    loop {
        let mut round = faults.to_vec();
        round.shuffle(dice);
        for fault in round {
            tokio::time::sleep(Duration::from_millis(dice.random_range(500..3000))).await;
            let spell = SPELL * dice.random_range(33..100) / 100;
            fault.happen(stack, spell).await?;
            let end = Instant::now();
            let passed = tokio::time::timeout(RECOVERY, probe.pass()).await;
            let took = matches!(passed, Ok(Ok(()))).then(|| end.elapsed());
            cache::progress(&format!(
                "{}: {}; {}",
                fault.name(),
                took.map_or_else(
                    || "no recovery".to_owned(),
                    |took| format!("recovered in {:.1} s", took.as_secs_f64())
                ),
                actors.progress()
            ));
            recoveries.push(Recovery {
                fault: fault.name(),
                took,
            });
        }
        if actors.are_done() {
            return Ok(recoveries);
        }
    }
}

impl Fault {
    /// Happens, lasts `spell` if it is one that lasts, and is over when this returns.
    async fn happen(self, stack: &Stack, spell: Duration) -> Result<()> {
        let (gatehouse, synapse) = (&stack.gatehouse, &stack.synapse);
        match self {
            Self::Kill => {
                gatehouse.kill();
                gatehouse.start().await
            }
            Self::KillTwice => {
                gatehouse.kill();
                gatehouse.launch()?;
                tokio::time::sleep(spell / 30).await;
                gatehouse.kill();
                gatehouse.start().await
            }
            Self::Terminate => {
                let status = gatehouse.stop().await?;
                if !status.success() {
                    return Err(Error::new(format!("gatehouse ended with {status}")));
                }
                gatehouse.start().await
            }
            Self::Hang => {
                gatehouse.freeze();
                tokio::time::sleep(spell).await;
                gatehouse.thaw();
                Ok(())
            }
            Self::Drop => lasting(stack, json!({"drop_connection_every": 12}), spell).await,
            Self::Duplicate => lasting(stack, json!({"duplicate": 0.4}), spell).await,
            Self::Reorder => lasting(stack, json!({"reorder": 0.4}), spell).await,
            Self::LoseAcks => lasting(stack, json!({"lose_acks": 0.4}), spell).await,
            Self::Delay => lasting(stack, json!({"delay_ms": 700}), spell).await,
            Self::Corrupt => lasting(stack, json!({"corrupt": 0.1}), spell).await,
            Self::NoPrekeys => lasting(stack, json!({"prekeys_exhausted": true}), spell).await,
            Self::Restart515 => stack.sandbox.faults(json!({"stream_error": 515})).await,
            Self::Restart503 => stack.sandbox.faults(json!({"stream_error": 503})).await,
            Self::GatekeeperAway => {
                stack.sandbox.stop().await?;
                tokio::time::sleep(spell).await;
                stack.sandbox.go_on().await
            }
            Self::HomeserverRestart => {
                synapse.stop().await?;
                synapse.go_on().await
            }
            Self::HomeserverKill => {
                synapse.kill();
                tokio::time::sleep(spell).await;
                synapse.go_on().await
            }
            Self::HomeserverHang => {
                synapse.freeze();
                tokio::time::sleep(spell).await;
                synapse.thaw();
                Ok(())
            }
        }
    }
}

async fn lasting(stack: &Stack, faults: serde_json::Value, spell: Duration) -> Result<()> {
    stack.sandbox.faults(faults).await?;
    tokio::time::sleep(spell).await;
    stack.sandbox.faults(json!({"reset": true})).await
}

#[cfg(test)]
mod unit {
    use super::Fault;

    #[test]
    fn every_fault_is_known_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse::<Fault>().unwrap(), *fault);
        }
        assert!("nonsense".parse::<Fault>().is_err());
    }
}
