//! Runs added up: what anyone can reproduce.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::Findings;

/// How long it took after a fault's end until messages went both ways again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recovery {
    /// The fault.
    pub fault: Cow<'static, str>,
    /// The time in milliseconds, if messages went before the run was over.
    pub ms: Option<u64>,
}

/// What came of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Where the bridge kept its data: `SQLite` or `PostgreSQL`.
    pub database: Cow<'static, str>,
    /// Messages that were written, both ways.
    pub messages: usize,
    /// What was wrong.
    #[serde(flatten)]
    pub findings: Findings,
    /// What was wrong, in words.
    pub details: Vec<String>,
    /// How many seconds it took.
    pub seconds: u64,
    /// The machine's load average over the last minute, at its end.
    pub load: f64,
    /// How it came back from each fault.
    pub recoveries: Vec<Recovery>,
}

impl Outcome {
    /// Whether nothing is wrong, and messages went again after every fault.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_clean() && self.stuck() == 0
    }

    /// After how many faults messages did not go again.
    fn stuck(&self) -> usize {
        let stuck = self.recoveries.iter().filter(|each| each.ms.is_none());
        stuck.count()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {}: {} in {} s, {} faults ({} without recovery), load {:.0}",
            self.seed,
            self.database,
            self.findings,
            self.seconds,
            self.recoveries.len(),
            self.stuck(),
            self.load
        )?;
        self.details
            .iter()
            .try_for_each(|detail| writeln!(f, "  {detail}"))
    }
}

/// Runs added up: a row for each fault says how often it happened, what was wrong with the runs in which it did, and how long
/// the way back took.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: BTreeMap<String, Row>,
    total: Findings,
    stuck: usize,
    runs: BTreeMap<String, usize>,
    messages: usize,
    loads: Vec<f64>,
}

#[derive(Debug, Clone, Default)]
struct Row {
    times: Vec<Option<u64>>,
    runs: usize,
    findings: Findings,
}

impl Table {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        *self.runs.entry(outcome.database.to_string()).or_default() += 1;
        self.messages += outcome.messages;
        self.loads.push(outcome.load);
        self.total += outcome.findings;
        self.stuck += outcome.stuck();
        let mut seen = BTreeSet::new();
        for Recovery { fault, ms } in &outcome.recoveries {
            let row = self.rows.entry(fault.to_string()).or_default();
            row.times.push(*ms);
            if seen.insert(fault) {
                row.runs += 1;
                row.findings += outcome.findings;
            }
        }
    }

    /// Whether every run was clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.total.is_clean() && self.stuck == 0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: Vec<String> = self
            .runs
            .iter()
            .map(|(database, runs)| format!("{runs} with {database}"))
            .collect();
        let least = self.loads.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.loads.iter().copied().fold(0.0, f64::max);
        writeln!(
            f,
            "{} runs ({}), {} messages, load average {least:.0} to {most:.0}: {}",
            self.runs.values().sum::<usize>(),
            runs.join(", "),
            self.messages,
            self.total
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "| fault | times | runs | lost / doubled / reordered | median recovery | worst recovery |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        for (fault, row) in &self.rows {
            let mut known: Vec<u64> = row.times.iter().copied().flatten().collect();
            known.sort_unstable();
            let never = row.times.len() - known.len();
            let median = known.get(known.len() / 2);
            let worst = known.last().filter(|_| never == 0);
            let Findings {
                lost,
                doubled,
                reordered,
                ..
            } = row.findings;
            writeln!(
                f,
                "| `{fault}` | {} | {} | {lost} / {doubled} / {reordered} | {} | {} |",
                row.times.len(),
                row.runs,
                seconds(median),
                seconds(worst)
            )?;
        }
        Ok(())
    }
}

fn seconds(ms: Option<&u64>) -> String {
    ms.map_or_else(
        || "never".to_owned(),
        |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    )
}

#[cfg(test)]
mod unit {
    use super::{Findings, Outcome, Recovery, Table};

    fn outcome() -> Outcome {
        let recovery = |ms| Recovery {
            fault: "kill".into(),
            ms: Some(ms),
        };
        Outcome {
            seed: 1,
            database: "SQLite".into(),
            messages: 10,
            findings: Findings::default(),
            details: Vec::new(),
            seconds: 9,
            load: 2.0,
            recoveries: vec![recovery(1000), recovery(3000), recovery(2000)],
        }
    }

    #[test]
    fn a_fault_without_recovery_has_no_worst_time() {
        let mut table = Table::default();
        let mut outcome = outcome();
        table.add(&outcome);
        let shown = table.to_string();
        assert!(shown.contains("| `kill` | 3 | 1 | 0 / 0 / 0 | 2.0 s | 3.0 s |"));
        assert!(shown.starts_with("1 runs (1 with SQLite), 10 messages"));
        assert!(table.is_clean() && outcome.is_clean());
        outcome.recoveries.truncate(1);
        outcome.recoveries[0].ms = None;
        table.add(&outcome);
        let shown = table.to_string();
        assert!(shown.contains("| `kill` | 4 | 2 | 0 / 0 / 0 | 2.0 s | never |"));
        assert!(!table.is_clean() && !outcome.is_clean());
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        let written = serde_json::to_string(&outcome()).unwrap();
        let read: Outcome = serde_json::from_str(&written).unwrap();
        let table = |outcome| {
            let mut table = Table::default();
            table.add(outcome);
            table.to_string()
        };
        assert_eq!(table(&read), table(&outcome()));
    }
}
