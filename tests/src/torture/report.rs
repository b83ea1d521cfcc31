//! Runs added up: what anyone can reproduce.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::model::Findings;

/// How long it took after a fault's end until messages went both ways again.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// The fault.
    pub fault: &'static str,
    /// The time, if messages went before the run was over.
    pub took: Option<Duration>,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Messages that were written, both ways.
    pub messages: usize,
    /// What was wrong.
    pub findings: Findings,
    /// How it came back from each fault.
    pub recoveries: Vec<Recovery>,
    /// What was wrong, in words.
    pub details: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Findings {
            lost,
            doubled,
            reordered,
            undecryptable,
            wrong,
            status,
        } = self.findings;
        let recoveries: Vec<Value> = self
            .recoveries
            .iter()
            .map(|each| json!({"fault": each.fault, "ms": each.took.map(|took| took.as_millis())}))
            .collect();
        json!({
            "seed": self.seed, "messages": self.messages, "lost": lost, "doubled": doubled, "reordered": reordered,
            "undecryptable": undecryptable, "wrong": wrong, "wrong_status": status, "recoveries": recoveries,
            "details": self.details, "seconds": self.took.as_secs(),
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} in {} s, {} faults",
            self.seed,
            self.findings,
            self.took.as_secs(),
            self.recoveries.len()
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
    rows: BTreeMap<&'static str, Row>,
    total: Findings,
    runs: usize,
    messages: usize,
}

#[derive(Debug, Clone, Default)]
struct Row {
    times: Vec<Option<Duration>>,
    runs: usize,
    findings: Findings,
}

impl Table {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.messages += outcome.messages;
        self.total += outcome.findings;
        let mut seen = BTreeSet::new();
        for Recovery { fault, took } in &outcome.recoveries {
            let row = self.rows.entry(fault).or_default();
            row.times.push(*took);
            if seen.insert(fault) {
                row.runs += 1;
                row.findings += outcome.findings;
            }
        }
    }

    /// Whether no run found anything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.total.is_clean()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs, {} messages: {}",
            self.runs, self.messages, self.total
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "| fault | times | runs | lost / doubled / reordered | median recovery | worst recovery |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        for (fault, row) in &self.rows {
            let mut known: Vec<Duration> = row.times.iter().copied().flatten().collect();
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

fn seconds(time: Option<&Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |time| format!("{:.1} s", time.as_secs_f64()),
    )
}

#[cfg(test)]
mod unit {
    use std::time::Duration;

    use super::{Findings, Outcome, Recovery, Table};

    #[test]
    fn a_fault_without_recovery_has_no_worst_time() {
        let took = |seconds| Some(Duration::from_secs(seconds));
        let recovery = |took| Recovery {
            fault: "kill",
            took,
        };
        let mut table = Table::default();
        let mut outcome = Outcome {
            seed: 1,
            messages: 10,
            findings: Findings::default(),
            recoveries: vec![recovery(took(1)), recovery(took(3)), recovery(took(2))],
            details: Vec::new(),
            took: Duration::from_secs(9),
        };
        table.add(&outcome);
        let shown = table.to_string();
        assert!(shown.contains("| `kill` | 3 | 1 | 0 / 0 / 0 | 2.0 s | 3.0 s |"));
        outcome.recoveries = vec![recovery(None)];
        table.add(&outcome);
        let shown = table.to_string();
        assert!(shown.contains("| `kill` | 4 | 2 | 0 / 0 / 0 | 2.0 s | never |"));
    }
}
