//! A seeded random workload against the real thing while everything that can break breaks, and the comparison of what
//! clients and phones have in the end with what they must have.
//!
//! [`plan`](mod@plan) draws what people do, [`actors`] does it, [`faults`] breaks things meanwhile, [`model`] knows what must be seen
//! and counts what is wrong, [`probe`] tells when messages go again, [`report`] adds runs up.

pub mod actors;
pub mod faults;
pub mod model;
pub mod plan;
pub mod probe;
pub mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::Result;
use crate::machine::load;
use crate::postgres::Postgres;
use crate::scratch::Scratch;
use crate::shim::Shim;
use crate::stack::{Options, Stack};

use self::actors::Actors;
use self::faults::{Fault, Place};
use self::model::Findings;
use self::plan::Mix;
use self::report::{Outcome, Recovery};

/// The setting of the bridge that says what the gatekeeper's phones show.
const ACCEPTED: &str = "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED";
/// All that people send each other in a run; what the delivered settings say is less.
const KINDS: &str =
    r#"["text","image","video","audio","document","reaction","reply","edit","revoke","location"]"#;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Torture {
    /// What everything random is drawn from. The timing of a busy machine is not: what people do and which faults happen in
    /// which order is the same for the same seed.
    pub seed: u64,
    /// What people do.
    pub mix: Mix,
    /// Which faults may happen; none for a quiet run.
    pub faults: Vec<Fault>,
    /// How long a fault lasts that lasts; a few seconds, drawn from the seed, if nothing.
    pub spell: Option<Duration>,
    /// Over how long the acts are spread; as fast as possible if nothing.
    pub spread: Option<Duration>,
    /// How long after the last act and fault everything may take to arrive.
    pub patience: Duration,
    /// The bridge's database server, for the faults that restart it; [`Torture::stack`] names the database.
    pub postgres: Option<Arc<Postgres>>,
    /// The stack: database, room version, environment of the bridge.
    pub stack: Options,
}

impl Torture {
    /// Runs it once.
    ///
    /// # Errors
    ///
    /// When the stack does not start or a part of the harness fails; what the bridge does wrong is in the outcome.
    pub async fn run(&self) -> Result<Outcome> {
        let begin = Instant::now();
        let mut options = self.stack.clone();
        options.between = true;
        let library = Scratch::new("shim")?;
        let shim = Shim::new(library.path())?;
        let environment = shim.environment().to_vec();
        options.gatehouse.environment.extend(environment);
        let shown = (ACCEPTED.to_owned(), KINDS.to_owned());
        options.gatehouse.environment.push(shown);
        let stack = Stack::start(&format!("torture-{}", self.seed), options).await?;
        let result = self.with(&stack, &shim).await;
        let (findings, recoveries, details) = match result {
            Ok(found) => found,
            Err(error) => return Err(stack.explain(error)),
        };
        let [load, ..] = load()?;
        Ok(Outcome {
            seed: self.seed,
            messages: self.mix.messages,
            database: match self.stack.gatehouse.database {
                Some(_) => "PostgreSQL",
                None => "SQLite",
            }
            .into(),
            findings,
            details,
            seconds: begin.elapsed().as_secs(),
            load,
            recoveries,
        })
    }

    async fn with(
        &self,
        stack: &Stack,
        shim: &Shim,
    ) -> Result<(Findings, Vec<Recovery>, Vec<String>)> {
        let scripts = plan::plan(self.seed, &self.mix);
        let actors = Actors::open(stack, scripts, self.mix.users, self.mix.contacts).await?;
        let acts = actors.total();
        let pause = self
            .spread
            .map(|spread| spread / u32::try_from(acts.max(1)).unwrap_or(u32::MAX));
        let mut dice = SmallRng::seed_from_u64(self.seed ^ 0x5eed);
        let place = Place {
            stack,
            postgres: self.postgres.as_deref(),
            shim,
            actors: &actors,
        };
        // Faults go on as long as people act, then everything is mended.
        let (acting, recoveries) = tokio::join!(
            actors.act(pause),
            faults::strike(place, &self.faults, self.spell, &mut dice)
        );
        acting?;
        let recoveries = recoveries?;
        let (findings, details) = actors.settle(stack, self.patience).await?;
        Ok((findings, recoveries, details))
    }
}
