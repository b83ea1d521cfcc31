//! `docs/contract.md`: every promise says where it comes from, and is held by tests that run.

use std::{fs, path::Path};

/// Where a promise may come from.
const SOURCES: [&str; 4] = ["published", "seen", "assumed", "sound conduct"];

/// The links of a page that name a test: `[name](../path/of/the/file.rs)`.
fn named_tests(page: &str) -> Vec<(&str, &str)> {
    page.split('[')
        .filter_map(|part| {
            let (name, rest) = part.split_once("](../")?;
            let (path, _) = rest.split_once(')')?;
            path.ends_with(".rs").then_some((name, path))
        })
        .filter(|(name, _)| !name.starts_with('`'))
        .collect()
}

/// What keeps `name` from being a test that runs: nothing of this name, no attribute that makes it one, or one that
/// passes it over.
fn not_a_test(source: &str, name: &str) -> Option<&'static str> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declares = |line: &str| {
        let plain = line.trim_start_matches("pub(crate) ");
        let plain = plain.trim_start_matches("async ");
        plain
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    let Some(at) = lines.iter().position(|line| declares(line)) else {
        return Some("is not there");
    };
    let attributes: Vec<&str> = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
        .copied()
        .collect();
    let has = |start: &str| attributes.iter().any(|line| line.starts_with(start));
    if !(has("#[test]") || has("#[tokio::test]") || has("#[tokio::test(")) {
        return Some("is no test");
    }
    (has("#[ignore") || has("#[cfg")).then_some("is passed over in a usual run")
}

/// The cells of a row of a table.
fn cells(row: &str) -> Vec<&str> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|');
    row.split(" | ").map(str::trim).collect()
}

#[test]
fn every_promise_has_a_source_and_is_held_by_tests_that_run() {
    // Asked for when it runs: build folders are shared between checkouts.
    let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let root = Path::new(&member).join("..");
    let page = fs::read_to_string(root.join("docs/contract.md")).unwrap();
    let promises: Vec<&str> = page
        .lines()
        .filter(|line| {
            line.starts_with("| ") && !line.starts_with("| promise") && !line.contains("---")
        })
        .collect();
    assert!(promises.len() > 40, "the page has lost its tables");
    let mut wrong = Vec::new();
    for promise in promises {
        let cells = cells(promise);
        let [_, source, held] = cells[..] else {
            panic!("not three cells: {promise}");
        };
        if !SOURCES.iter().any(|known| source.contains(known)) {
            wrong.push(format!("comes from nowhere: {promise}"));
        }
        let tests = named_tests(held);
        if tests.is_empty() {
            wrong.push(format!("nothing holds: {promise}"));
        }
        for (name, path) in tests {
            let source = fs::read_to_string(root.join(path))
                .unwrap_or_else(|error| panic!("docs/contract.md names {path}: {error}"));
            if let Some(why) = not_a_test(&source, name) {
                wrong.push(format!("{name} in {path} {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let source = "\
        #[test]\n\
        fn one() {}\n\
        fn helper() {}\n\
        #[tokio::test]\n\
        /// What it is about.\n\
        async fn two() {}\n\
        #[tokio::test]\n\
        #[ignore = \"slow\"]\n\
        async fn three() {}\n";
    assert_eq!(not_a_test(source, "one"), None);
    assert_eq!(not_a_test(source, "two"), None);
    assert_eq!(not_a_test(source, "helper"), Some("is no test"));
    assert_eq!(not_a_test(source, "tw"), Some("is not there"));
    let passed_over = Some("is passed over in a usual run");
    assert_eq!(not_a_test(source, "three"), passed_over);
}
