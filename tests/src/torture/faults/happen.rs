//! What each fault does.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Fault, Place, Strike};
use crate::between::{Fate, HttpProxy, Keys, Refuse, Trouble};
use crate::client::Client;
use crate::database::Hold;
use crate::error::Context as _;
use crate::{Error, Result};

/// How far the gatekeeper's clock jumps, in seconds.
const JUMP: u64 = 3600;
/// How long the homeserver is away where it is away for long, at least.
const LONG: Duration = Duration::from_secs(120);
/// How far gatehouse's own clock is ahead or behind, in seconds.
const AHEAD: i64 = 5 * 3600;
const BEHIND: i64 = -3 * 24 * 3600;
/// How long a few bytes take where everything crawls.
const CRAWL: Duration = Duration::from_millis(40);

impl Fault {
    /// Happens, and is over when this returns. Gives the device that a user logged in with, if that is what happened.
    pub(super) async fn happen(self, strike: &Strike<'_>) -> Result<Option<Client>> {
        let Place { stack, actors, .. } = strike.place;
        match self {
            Self::OneTimeKeys => actors.use_up_one_time_keys().await?,
            Self::NewDevice => {}
            Self::StaleDevices => {
                stack.gatehouse.kill();
                let device = actors.second_device(stack).await?;
                stack.gatehouse.start().await?;
                return Ok(Some(device));
            }
            _ => {
                self.happen_to_all(strike).await?;
                return Ok(None);
            }
        }
        actors.second_device(stack).await.map(Some)
    }

    async fn happen_to_all(self, strike: &Strike<'_>) -> Result<()> {
        let Place {
            stack,
            postgres,
            shim,
            actors,
        } = strike.place;
        let (gatehouse, synapse, spell) = (&stack.gatehouse, &stack.synapse, strike.spell);
        let between = stack.between()?;
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
            Self::Drop => strike.sandbox(json!({"drop_connection_every": 12})).await,
            Self::Duplicate => strike.sandbox(json!({"duplicate": 0.4})).await,
            Self::Reorder => strike.sandbox(json!({"reorder": 0.4})).await,
            Self::LoseAcks => strike.sandbox(json!({"lose_acks": 0.4})).await,
            Self::Delay => strike.sandbox(json!({"delay_ms": 700})).await,
            Self::Corrupt => strike.sandbox(json!({"corrupt": 0.1})).await,
            Self::NoPrekeys => strike.sandbox(json!({"prekeys_exhausted": true})).await,
            Self::Restart515 => stack.sandbox.faults(json!({"stream_error": 515})).await,
            Self::Restart503 => stack.sandbox.faults(json!({"stream_error": 503})).await,
            Self::MailboxTwice => {
                strike.sandbox(json!({"ignore_acks": 1.0})).await?;
                stack.sandbox.faults(json!({"stream_error": 515})).await
            }
            Self::ClockJump => stack.sandbox.advance_clock(JUMP).await,
            Self::GatekeeperAway => {
                stack.sandbox.stop().await?;
                tokio::time::sleep(spell).await;
                stack.sandbox.go_on().await
            }
            Self::HalfOpen => {
                between.to_gatekeeper.forget_connections();
                Ok(())
            }
            Self::Slow => {
                between.to_gatekeeper.crawl(CRAWL);
                tokio::time::sleep(spell).await;
                between.to_gatekeeper.full_speed();
                Ok(())
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
            Self::Homeserver429 => {
                strike
                    .between(&between.to_homeserver, refuse(0.5, 429))
                    .await
            }
            Self::Homeserver500 => {
                strike
                    .between(&between.to_homeserver, refuse(0.5, 500))
                    .await
            }
            Self::Homeserver404 => {
                strike
                    .between(&between.to_homeserver, refuse(0.5, 404))
                    .await
            }
            Self::Homeserver502 => {
                strike
                    .between(&between.to_homeserver, refuse(0.5, 502))
                    .await
            }
            Self::HomeserverUnanswered => {
                strike
                    .between(&between.to_homeserver, lose_answers(0.5))
                    .await
            }
            Self::TransactionsTwice => {
                let trouble = Trouble {
                    twice: 0.7,
                    ..Trouble::default()
                };
                strike.between(&between.to_bridge, trouble).await
            }
            Self::TransactionsUnanswered => {
                strike.between(&between.to_bridge, lose_answers(0.5)).await
            }
            Self::TransactionsRefused => strike.between(&between.to_bridge, refuse(1.0, 502)).await,
            Self::TransactionsRenumbered => {
                between.to_bridge.number_from_one();
                Ok(())
            }
            Self::KeysLate => strike.keys(Keys::Late).await,
            Self::KeysTwice => strike.keys(Keys::Doubled).await,
            Self::KeysLost => strike.keys(Keys::Lost).await,
            Self::KeysWhileDown => {
                gatehouse.kill();
                strike.new_room_keys().await?;
                tokio::time::sleep(spell).await;
                gatehouse.start().await
            }
            Self::CrossSigning => actors.reset_cross_signing().await,
            Self::HomeserverAway => {
                synapse.kill();
                tokio::time::sleep(spell.max(LONG)).await;
                synapse.go_on().await
            }
            Self::MediaHang => {
                between.to_media.rule("", "/", Fate::Hangs);
                tokio::time::sleep(spell).await;
                between.to_media.heal();
                Ok(())
            }
            Self::Media503 => strike.between(&between.to_media, refuse(0.5, 503)).await,
            Self::ClockAhead => {
                shim.clock(AHEAD)?;
                tokio::time::sleep(spell).await;
                shim.clock(0)
            }
            Self::ClockBehind => {
                shim.clock(BEHIND)?;
                tokio::time::sleep(spell).await;
                shim.clock(0)
            }
            Self::DiskFull => {
                shim.disk_full(true)?;
                tokio::time::sleep(spell).await;
                shim.disk_full(false)
            }
            Self::DiskSync => {
                shim.sync_fails(true)?;
                tokio::time::sleep(spell).await;
                shim.sync_fails(false)
            }
            Self::DatabaseLocked => {
                let hold = Hold::take(gatehouse.database_url()).await?;
                tokio::time::sleep(spell).await;
                hold.release().await
            }
            Self::PostgresRestart | Self::PostgresAway => {
                let server = postgres.context("the bridge does not use PostgreSQL: --postgres")?;
                server.stop()?;
                if self == Self::PostgresAway {
                    tokio::time::sleep(spell).await;
                }
                server.go_on().await
            }
            Self::OneTimeKeys | Self::NewDevice | Self::StaleDevices => Ok(()),
        }
    }
}

impl Strike<'_> {
    /// Faults of the sandbox, for a while.
    async fn sandbox(&self, faults: Value) -> Result<()> {
        let sandbox = &self.place.stack.sandbox;
        sandbox.faults(json!({"seed": self.seed})).await?;
        sandbox.faults(faults).await?;
        tokio::time::sleep(self.spell).await;
        sandbox.faults(json!({"reset": true})).await
    }

    /// Trouble on the way, for a while.
    async fn between(&self, proxy: &HttpProxy, trouble: Trouble) -> Result<()> {
        proxy.seed(self.seed.into());
        proxy.set(trouble);
        tokio::time::sleep(self.spell).await;
        proxy.set(Trouble::default());
        Ok(())
    }

    /// New room keys, which something happens to.
    async fn keys(&self, keys: Keys) -> Result<()> {
        let proxy = &self.place.stack.between()?.to_bridge;
        proxy.set(Trouble {
            keys,
            ..Trouble::default()
        });
        self.new_room_keys().await?;
        tokio::time::sleep(self.spell).await;
        proxy.set(Trouble::default());
        Ok(())
    }

    /// The next message of each room comes with a new key; that of the probe is sent at once.
    async fn new_room_keys(&self) -> Result<()> {
        self.place.actors.forget_room_keys().await?;
        self.probe.forget_room_key().await?;
        self.probe.begin().await
    }
}

fn refuse(share: f64, status: u16) -> Trouble {
    Trouble {
        refuse: Some(Refuse { share, status }),
        ..Trouble::default()
    }
}

fn lose_answers(share: f64) -> Trouble {
    Trouble {
        lose_answers: share,
        ..Trouble::default()
    }
}
