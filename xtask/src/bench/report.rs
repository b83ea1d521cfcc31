//! The figures, and how they are shown.

use std::fmt;

use serde::Serialize;
use tests::large::Measured;

use super::machine::Machine;
use super::memory::{Footprint, Idle};
use super::numbers::Latency;
use super::parts::Part;
use super::synapse::{BeforeSynapse, Compared};

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) load_after: [f64; 3],
    pub(super) parts: Vec<Part>,
    pub(super) standin: Option<Whole>,
    pub(super) synapse: Option<BeforeSynapse>,
    pub(super) memory: Option<Vec<Footprint>>,
    pub(super) media: Option<Measured>,
}

impl Report {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            load_after: machine.load_before,
            machine,
            parts: Vec::new(),
            standin: None,
            synapse: None,
            memory: None,
            media: None,
        }
    }
}

/// The whole bridge before the stand-in.
#[derive(Debug, Serialize)]
pub(super) struct Whole {
    pub(super) rooms: usize,
    pub(super) users: usize,
    pub(super) to_whatsapp: Crossing,
    pub(super) to_matrix: Crossing,
    pub(super) idle: Idle,
}

/// One direction.
#[derive(Debug, Serialize)]
pub(super) struct Crossing {
    pub(super) rate: Rate,
    pub(super) latency: Latency,
}

/// Many messages at once.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    pub(super) messages: usize,
    /// From the first that could start to the last that arrived.
    pub(super) milliseconds: u64,
    pub(super) per_second: f64,
    pub(super) processor: Processor,
    /// Durable commits of the bridge.
    pub(super) commits: f64,
    /// Batches in these commits.
    pub(super) batches: f64,
}

/// Processor time in seconds, by process.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Processor {
    pub(super) gatehouse: f64,
    pub(super) sandbox: f64,
    pub(super) homeserver: f64,
    /// The users, the phones' owners, and the clock: this program.
    pub(super) load: f64,
}

impl Processor {
    /// What was used since `before`. A process that has started anew meanwhile counts from its start.
    pub(super) fn since(&self, before: &Self) -> Self {
        let used = |now: f64, before: f64| if now >= before { now - before } else { now };
        Self {
            gatehouse: used(self.gatehouse, before.gatehouse),
            sandbox: used(self.sandbox, before.sandbox),
            homeserver: used(self.homeserver, before.homeserver),
            load: used(self.load, before.load),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            processor,
            cores,
            memory,
            system,
            load_before,
            profile,
        } = &self.machine;
        writeln!(
            f,
            "machine  {processor}, {cores} cores, {} MiB, {system}",
            mib(*memory)
        )?;
        writeln!(f, "profile  {profile}")?;
        writeln!(
            f,
            "load     {} before, {} after",
            load(load_before),
            load(&self.load_after)
        )?;
        self.parts.iter().try_for_each(|part| write!(f, "{part}"))?;
        if let Some(whole) = &self.standin {
            write!(f, "{whole}")?;
        }
        if let Some(synapse) = &self.synapse {
            write!(f, "{synapse}")?;
        }
        if let Some(memory) = &self.memory {
            footprints(f, memory)?;
        }
        match &self.media {
            Some(media) => files(f, media),
            None => Ok(()),
        }
    }
}

fn files(f: &mut fmt::Formatter<'_>, measured: &Measured) -> fmt::Result {
    let size = measured.to_whatsapp.size;
    writeln!(
        f,
        "\na file of {} MiB            seconds     MiB/s  idle MiB  peak MiB",
        mib(size)
    )?;
    for (way, carried) in [
        ("Matrix to WhatsApp", &measured.to_whatsapp),
        ("WhatsApp to Matrix", &measured.to_matrix),
    ] {
        writeln!(
            f,
            "  {way:<28}{:>10.1}{:>10.1}{:>10}{:>10}",
            carried.seconds,
            carried.rate(),
            mib(carried.idle),
            mib(carried.peak)
        )?;
    }
    writeln!(
        f,
        "  {:<28}{:>10.1}{:>10.1}",
        "Synapse alone, up and down",
        measured.copy_seconds,
        measured.copy_rate()
    )
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operations(name, operations) => {
                writeln!(f, "\n{name:<40}{:>14}", "operations/s")?;
                operations
                    .iter()
                    .try_for_each(|(name, rate)| writeln!(f, "  {name:<38}{rate:>14.0}"))
            }
            Self::Table(name, columns, rows) => {
                writeln!(f, "\n{name}")?;
                let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
                    for (cell, column) in cells.iter().zip(columns) {
                        let width = column.len().max(10);
                        write!(f, "  {cell:>width$}")?;
                    }
                    writeln!(f)
                };
                line(f, columns)?;
                rows.iter().try_for_each(|row| line(f, row))
            }
        }
    }
}

const HEAD: &str = "messages   msg/s   p50 ms  p99 ms   batches per commit   processor ms per message: gatehouse sandbox homeserver load";

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rooms, users) = (self.rooms, self.users);
        writeln!(
            f,
            "\nwhole bridge before the stand-in ({users} users, {rooms} chats)"
        )?;
        writeln!(f, "  {:<22}{HEAD}", "")?;
        for (name, crossing) in [
            ("Matrix to WhatsApp", &self.to_whatsapp),
            ("WhatsApp to Matrix", &self.to_matrix),
        ] {
            let Crossing { rate, latency } = crossing;
            writeln!(f, "  {name:<22}{}", line(rate, Some(latency)))?;
        }
        let Latency { rate, .. } = self.to_whatsapp.latency;
        writeln!(
            f,
            "  latencies at {rate} messages/s; idle afterwards: {}",
            self.idle
        )
    }
}

impl fmt::Display for BeforeSynapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            rooms,
            users,
            ..
        } = self;
        writeln!(
            f,
            "\nwhole bridge before Synapse {version} ({users} users, {rooms} chats)"
        )?;
        writeln!(f, "  {:<22}{HEAD}", "")?;
        for (name, compared) in [
            ("Matrix to WhatsApp", &self.to_whatsapp),
            ("WhatsApp to Matrix", &self.to_matrix),
        ] {
            let Compared {
                alone,
                bridged,
                alone_per_second,
                bridged_per_second,
                share,
                latency,
            } = compared;
            writeln!(f, "  {name}")?;
            for rate in alone {
                writeln!(f, "    {:<20}{}", "Synapse alone", line(rate, None))?;
            }
            for rate in bridged {
                writeln!(
                    f,
                    "    {:<20}{}",
                    "with the bridge",
                    line(rate, Some(latency))
                )?;
            }
            writeln!(
                f,
                "    together            {bridged_per_second:.1} of {alone_per_second:.1} messages/s: {:.1} %",
                share * 100.0
            )?;
        }
        let Latency { rate, .. } = self.to_whatsapp.latency;
        writeln!(f, "  latencies at {rate} messages/s, before the rounds")
    }
}

fn line(rate: &Rate, latency: Option<&Latency>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let each = |seconds: f64| seconds * 1000.0 / rate.messages as f64;
    let Processor {
        gatehouse,
        sandbox,
        homeserver,
        load,
    } = rate.processor;
    let (p50, p99) = latency.map_or(("-".to_owned(), "-".to_owned()), |it| {
        (it.p50_ms.to_string(), it.p99_ms.to_string())
    });
    let batches = if rate.commits > 0.0 {
        format!("{:.1}", rate.batches / rate.commits)
    } else {
        "-".to_owned()
    };
    format!(
        "{:>8}{:>8.0}{p50:>9}{p99:>8}{batches:>21}{:>37.2}{:>8.2}{:>11.2}{:>5.2}",
        rate.messages,
        rate.per_second,
        each(gatehouse),
        each(sandbox),
        each(homeserver),
        each(load),
    )
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.processor * 100.0;
        write!(f, "{} MiB, {percent:.1} % of a core", mib(self.resident))
    }
}

fn footprints(f: &mut fmt::Formatter<'_>, memory: &[Footprint]) -> fmt::Result {
    writeln!(f, "\nmemory of the bridge")?;
    writeln!(
        f,
        "  {:>8}{:>10}{:>10}  {:<30}{:<30}{:>10}",
        "ghosts", "made/s", "peak MiB", "idle", "idle after a restart", "peak MiB"
    )?;
    memory.iter().try_for_each(|footprint| {
        let Footprint {
            ghosts,
            made_per_second,
            peak,
            idle,
            restarted,
            restarted_peak,
        } = footprint;
        writeln!(
            f,
            "  {ghosts:>8}{made_per_second:>10.0}{:>10}  {:<30}{:<30}{:>10}",
            mib(*peak),
            idle.to_string(),
            restarted.to_string(),
            mib(*restarted_peak)
        )
    })
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn load([one, five, fifteen]: &[f64; 3]) -> String {
    format!("{one:.2} {five:.2} {fifteen:.2}")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn processor_time_of_a_restarted_process_counts_from_its_start() {
        let before = Processor {
            gatehouse: 5.0,
            sandbox: 1.0,
            homeserver: 1.0,
            load: 1.0,
        };
        let now = Processor {
            gatehouse: 2.0,
            sandbox: 4.0,
            ..before
        };
        let used = now.since(&before);
        assert!((used.gatehouse - 2.0).abs() < 1e-9);
        assert!((used.sandbox - 3.0).abs() < 1e-9);
        assert!(used.load.abs() < 1e-9);
    }
}
