//! Runs added up: what anyone can reproduce.

use std::collections::BTreeMap;
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
        } = self.findings;
        let recoveries: Vec<Value> = self
            .recoveries
            .iter()
            .map(|each| json!({"fault": each.fault, "ms": each.took.map(|took| took.as_millis())}))
            .collect();
        json!({
            "seed": self.seed, "lost": lost, "doubled": doubled, "reordered": reordered,
            "undecryptable": undecryptable, "wrong": wrong, "recoveries": recoveries,
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

/// A row for each fault: how often it happened and how long the way back took.
#[derive(Debug, Clone, Default)]
pub struct Table {
    times: BTreeMap<&'static str, Vec<Option<Duration>>>,
    total: Findings,
    runs: usize,
}

impl Table {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.total += outcome.findings;
        for recovery in &outcome.recoveries {
            self.times
                .entry(recovery.fault)
                .or_default()
                .push(recovery.took);
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
        writeln!(f, "{} runs: {}", self.runs, self.total)?;
        writeln!(f)?;
        writeln!(f, "| fault | times | median recovery | worst recovery |")?;
        writeln!(f, "|---|---:|---:|---:|")?;
        for (fault, times) in &self.times {
            let mut known: Vec<Duration> = times.iter().copied().flatten().collect();
            known.sort_unstable();
            let never = times.len() - known.len();
            let median = known.get(known.len() / 2);
            let worst = known.last().filter(|_| never == 0);
            writeln!(
                f,
                "| {fault} | {} | {} | {} |",
                times.len(),
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
            findings: Findings::default(),
            recoveries: vec![recovery(took(1)), recovery(took(3)), recovery(took(2))],
            details: Vec::new(),
            took: Duration::from_secs(9),
        };
        table.add(&outcome);
        assert!(table.to_string().contains("| kill | 3 | 2.0 s | 3.0 s |"));
        outcome.recoveries = vec![recovery(None)];
        table.add(&outcome);
        assert!(table.to_string().contains("| kill | 4 | 2.0 s | never |"));
    }
}
