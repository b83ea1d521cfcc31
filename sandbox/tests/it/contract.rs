//! `docs/contract.md`: every promise is held by tests that exist.

use std::{fs, path::Path};

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

#[test]
fn every_promise_is_held_by_tests_that_exist() {
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
    for promise in promises {
        let tests = named_tests(promise);
        assert!(!tests.is_empty(), "nothing holds: {promise}");
        for (name, path) in tests {
            let source = fs::read_to_string(root.join(path))
                .unwrap_or_else(|error| panic!("docs/contract.md names {path}: {error}"));
            assert!(
                source.contains(&format!("fn {name}(")),
                "docs/contract.md names {name}, which is not in {path}"
            );
        }
    }
}
