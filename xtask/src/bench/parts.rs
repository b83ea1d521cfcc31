//! Operations per second of the parts: the packages' own benches, run and read.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tests::scratch::Scratch;
use tests::{Error, Result, cache};

use crate::steps;

/// The benches under criterion, all of one package.
const CRITERION: [&str; 3] = ["codec", "noise", "signal"];
/// The benches that need more than criterion's one thread: they print a table.
const TABLES: [(&str, &str); 2] = [("puppeting", "megolm"), ("store", "commits")];

/// The arguments of cargo that choose the benches. Together with those that choose [`PROGRAMS`](super::PROGRAMS) they stand in
/// each call of cargo, so that dependencies have the same features in all of them and are built once.
pub(super) fn selection() -> Vec<&'static str> {
    let mut chosen = vec!["--package", "gatekeeper"];
    for bench in CRITERION {
        chosen.extend(["--bench", bench]);
    }
    for (package, bench) in TABLES {
        chosen.extend(["--package", package, "--bench", bench]);
    }
    chosen
}

/// What was measured of one part.
#[derive(Debug, Serialize)]
pub(super) enum Part {
    /// Operations per second, by name.
    Operations(String, Vec<(String, f64)>),
    /// A table: the names of its columns, then its rows.
    Table(String, Vec<String>, Vec<Vec<String>>),
}

pub(super) fn measure() -> Result<Vec<Part>> {
    let scratch = Scratch::new("bench-parts")?;
    let mut parts = Vec::new();
    for bench in CRITERION {
        cache::progress(&format!("measuring {bench}"));
        let home = scratch.path().join(bench);
        run(bench, &home)?;
        let mut operations = Vec::new();
        estimates(&home, &mut operations)?;
        if operations.is_empty() {
            return Err(Error::new(format!("the bench {bench} left no estimates")));
        }
        operations.sort_by(|(a, _), (b, _)| a.cmp(b));
        parts.push(Part::Operations(bench.to_owned(), operations));
    }
    for (_, bench) in TABLES {
        cache::progress(&format!("measuring {bench}"));
        let printed = run(bench, scratch.path())?;
        let (columns, rows) = table(&printed)
            .ok_or_else(|| Error::new(format!("the bench {bench} printed no table")))?;
        parts.push(Part::Table(bench.to_owned(), columns, rows));
    }
    Ok(parts)
}

/// Runs a bench and gives what it printed.
fn run(bench: &str, home: &Path) -> Result<String> {
    let mut command = steps::cargo();
    let packages = super::PROGRAMS.iter().chain(&["gatekeeper"]);
    command
        .arg("bench")
        .args(packages.flat_map(|name| ["--package", name]))
        .args(TABLES.iter().flat_map(|(name, _)| ["--package", name]))
        .args(["--bench", bench]);
    if CRITERION.contains(&bench) {
        command.args([
            "--",
            "--noplot",
            "--warm-up-time",
            "1",
            "--measurement-time",
            "3",
        ]);
    }
    let output = command
        .env("CRITERION_HOME", home)
        .stderr(Stdio::inherit())
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::new(format!(
            "the bench {bench} ended with {}",
            output.status
        )))
    }
}

/// Which benchmark a folder of criterion's is of.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

/// Collects what criterion has found out under `folder`: name and operations per second.
fn estimates(folder: &Path, operations: &mut Vec<(String, f64)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with("new") {
            let benchmark: Benchmark = read(&path.join("benchmark.json"))?;
            let estimates: Value = read(&path.join("estimates.json"))?;
            // The slope leaves out what is constant; benches that are timed call by call have none.
            let nanoseconds = estimates["slope"]["point_estimate"]
                .as_f64()
                .or_else(|| estimates["mean"]["point_estimate"].as_f64());
            if let Some(nanoseconds) = nanoseconds.filter(|it| *it > 0.0) {
                operations.push((benchmark.full_id, 1e9 / nanoseconds));
            }
        } else {
            estimates(&path, operations)?;
        }
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Reads a table whose columns are named in its first line, two spaces apart.
fn table(text: &str) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let columns: Vec<String> = lines
        .next()?
        .split("  ")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let rows: Vec<Vec<String>> = lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .filter(|row: &Vec<String>| row.len() == columns.len())
        .collect();
    (!rows.is_empty()).then_some((columns, rows))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn tables_are_read() {
        let text = "engine      submitters  p50 ms\nSQLite   1   0.20\nPostgreSQL  16  1.0\n";
        let (columns, rows) = table(text).expect("a table");
        assert_eq!(columns, ["engine", "submitters", "p50 ms"]);
        assert_eq!(rows, [["SQLite", "1", "0.20"], ["PostgreSQL", "16", "1.0"]]);
        assert!(table("nothing").is_none());
    }

    #[test]
    fn estimates_are_found_at_any_depth() -> Result<()> {
        let scratch = Scratch::new("estimates")?;
        let new = scratch.path().join("group/function/new");
        fs::create_dir_all(&new)?;
        fs::write(
            new.join("benchmark.json"),
            r#"{"full_id":"group/function"}"#,
        )?;
        fs::write(
            new.join("estimates.json"),
            r#"{"mean":{"point_estimate":500.0},"slope":null}"#,
        )?;
        let mut found = Vec::new();
        estimates(scratch.path(), &mut found)?;
        assert_eq!(found, [("group/function".to_owned(), 2e6)]);
        Ok(())
    }
}
