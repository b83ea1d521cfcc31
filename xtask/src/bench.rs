//! `cargo xtask bench`: how fast the parts are, how fast the whole is, what memory it takes, and on what machine that was.

mod flow;
mod machine;
mod media;
mod memory;
mod nobody;
mod numbers;
mod parts;
mod report;
mod rig;
mod synapse;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tests::machine::load;
use tests::standin::{self, Appservice};
use tests::synapse::SERVER_NAME;
use tests::{Error, Result, binaries, cache};

use crate::{distribution, prerequisites, steps};
use flow::Start;
use machine::Machine;
use report::{Crossing, Report, Whole};
use rig::{Kind, Rig};

/// Measure codec, Noise, Signal, Megolm, commits, the whole bridge, its memory, and a large file
#[derive(Debug, Args)]
#[command(after_help = "\
Everything is built for release and runs on loopback. The whole bridge is measured twice: before a stand-in homeserver
that costs next to nothing, and before Synapse, beside the rate that Synapse reaches without a bridge. docs/benchmarks.md says
how to read the figures. Keep the machine quiet meanwhile: its load is printed with them.

Examples:
  cargo xtask bench
  cargo xtask bench --only standin --messages 20000 --rooms 200
  cargo xtask bench --only memory --ghosts 0,1000 --json")]
pub(crate) struct Bench {
    /// Measure only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Messages that cross the bridge in each direction, before the stand-in
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    messages: usize,
    /// Messages in each direction and round, before Synapse
    #[arg(long, value_name = "N", default_value_t = 500)]
    synapse_messages: usize,
    /// Chats that they go through
    #[arg(long, value_name = "N", default_value_t = 100)]
    rooms: usize,
    /// Enlisted users who have these chats
    #[arg(long, value_name = "N", default_value_t = 10)]
    users: usize,
    /// Messages per second while latencies are measured, before the stand-in
    #[arg(long, value_name = "N", default_value_t = 50)]
    rate: u32,
    /// Messages per second while latencies are measured, before Synapse: well below what it can do
    #[arg(long, value_name = "N", default_value_t = 5)]
    synapse_rate: u32,
    /// Numbers of ghosts at which memory is measured
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [0, 1000, 10_000])]
    ghosts: Vec<usize>,
    /// Size of the file that is carried each way, in MiB: at most what Synapse is told to take
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=2000))]
    file: u64,
    /// Print one JSON document instead of tables
    #[arg(long)]
    json: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Operations per second of codec, Noise, Signal, Megolm and commits
    Codec,
    /// The whole bridge before the stand-in
    Standin,
    /// The whole bridge before Synapse, and Synapse alone
    Synapse,
    /// Memory by number of ghosts
    Memory,
    /// A large file each way, before Synapse
    Media,
}

/// The stand-in homeserver, as a process of its own; `cargo xtask bench` starts it.
#[derive(Debug, Args)]
pub(crate) struct ServeStandIn {
    #[arg(long)]
    port: u16,
    /// A file with the application service, as JSON.
    #[arg(long)]
    appservice: PathBuf,
}

impl ServeStandIn {
    pub(crate) async fn run(&self) -> Result<()> {
        let appservice: Appservice = serde_json::from_slice(&std::fs::read(&self.appservice)?)?;
        standin::serve(self.port, SERVER_NAME, appservice).await
    }
}

impl Bench {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::new(format!("--{what} must be at least 1")));
        match (self.users, self.rooms, self.rate.min(self.synapse_rate)) {
            (0, ..) => wrong("users"),
            (_, 0, _) => wrong("rooms"),
            (.., 0) => wrong("rate"),
            _ if self.messages < self.rooms || self.synapse_messages < self.rooms => {
                Err(Error::new("there must be a message for each of --rooms"))
            }
            _ => Ok(()),
        }
    }
}

/// Set for the program that measures, which is built for release as those that it measures.
const MEASURED: &str = "GATEHOUSE_BIN";

pub(crate) async fn run(arguments: &Bench) -> Result<()> {
    arguments.check()?;
    if cfg!(debug_assertions) || std::env::var_os(MEASURED).is_none() {
        return for_release();
    }
    prerequisites::to_try()?;
    let mut report = Report::new(Machine::read()?);
    if arguments.wants(Part::Codec) {
        distribution::install_postgres()?;
        report.parts = parts::measure()?;
    }
    if arguments.wants(Part::Standin) {
        report.standin = Some(before_standin(arguments).await?);
    }
    if arguments.wants(Part::Synapse) {
        report.synapse = Some(synapse::measure(arguments).await?);
    }
    if arguments.wants(Part::Memory) {
        report.memory = Some(memory::measure(&arguments.ghosts).await?);
    }
    if arguments.wants(Part::Media) {
        report.media = Some(media::measure(arguments.file).await?);
    }
    report.load_after = load()?;
    if arguments.json {
        steps::say(serde_json::to_string_pretty(&report)?);
    } else {
        steps::say(report);
    }
    Ok(())
}

/// The programs that measure and are measured.
const PROGRAMS: [&str; 3] = ["gatehouse", "sandbox", "xtask"];

/// Builds what is measured, and this program, for release; then that one goes on with the same arguments.
fn for_release() -> Result<()> {
    cache::progress("building gatehouse, the sandbox and this program for release");
    let mut more = vec!["--release"];
    more.extend(parts::selection());
    let built = binaries::build_programs(&PROGRAMS, &more)?;
    let [gatehouse, sandbox, xtask] = built.as_slice() else {
        return Err(Error::new("cargo built other programs than were asked for"));
    };
    let mut command = Command::new(xtask);
    command
        .args(std::env::args_os().skip(1))
        .env(MEASURED, gatehouse)
        .env("SANDBOX_BIN", sandbox);
    steps::run("measuring", &mut command)
}

async fn before_standin(arguments: &Bench) -> Result<Whole> {
    let rig = Rig::start(Kind::StandIn, arguments.users, arguments.rooms).await?;
    let measured = async {
        let (messages, rate) = (arguments.messages, arguments.rate);
        let to_whatsapp = Crossing {
            rate: rig.to_whatsapp(messages, Start::Loaded).await?,
            latency: rig.latency_to_whatsapp(rate).await?,
        };
        let to_matrix = Crossing {
            rate: rig.to_matrix(messages).await?,
            latency: rig.latency_to_matrix(rate).await?,
        };
        Ok(Whole {
            rooms: arguments.rooms,
            users: arguments.users,
            to_whatsapp,
            to_matrix,
            idle: memory::idle(&rig.gatehouse, Duration::from_secs(10)).await?,
        })
    };
    measured.await.map_err(|error| rig.explain(error))
}
