//! What `cargo test` says of its results.

/// More failed tests than this are not run a second time: something is broken.
const SECOND_TRIES: usize = 5;

/// Results of one run of `cargo test`, or of several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// How many tests passed.
    pub(super) passed: usize,
    /// The tests that failed.
    pub(super) failed: Vec<String>,
    /// The tests that failed at first and passed at the second try.
    pub(super) unsteady: Vec<String>,
    /// Arguments that select each test program with a failed test.
    pub(super) targets: Vec<Vec<String>>,
    /// How many test programs ended with a list of failed tests.
    lists: usize,
    /// Whether cargo itself was content.
    pub(super) ended_well: bool,
    /// Whether the lines that come are the names of failed tests.
    listing: bool,
}

impl Outcome {
    /// Reads a line of the tests' output: the counts at a program's end, and the list of failed tests before them.
    pub(super) fn result(&mut self, line: &str) {
        if line == "failures:" {
            self.listing = true;
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| self.listing) {
            self.failed.push(name.to_owned());
        } else {
            self.listing = false;
            self.passed += passed(line).unwrap_or_default();
            self.lists += usize::from(line.starts_with("test result: FAILED"));
        }
    }

    /// Reads a line of cargo's own, such as ``error: test failed, to rerun pass `-p tests --test faults` ``.
    pub(super) fn complaint(&mut self, line: &str) {
        let selection = line
            .split_once("test failed, to rerun pass `")
            .and_then(|(_, rest)| rest.split_once('`'));
        if let Some((selection, _)) = selection {
            let words = selection.split_whitespace().map(str::to_owned);
            self.targets.push(words.collect());
        }
    }

    /// Whether a few tests failed and nothing else is wrong: no program broke off before it could say which.
    pub(super) fn deserves_second_try(&self) -> bool {
        (1..=SECOND_TRIES).contains(&self.failed.len()) && self.targets.len() == self.lists
    }

    /// Takes in what came of running the failed tests of all these programs once more.
    pub(super) fn second_try(&mut self, again: Vec<Self>) {
        let first = std::mem::take(&mut self.failed);
        self.targets.clear();
        self.ended_well = !again.is_empty();
        for run in again {
            self.passed += run.passed;
            self.failed.extend(run.failed);
            self.targets.extend(run.targets);
            self.ended_well &= run.ended_well;
        }
        self.unsteady = first
            .into_iter()
            .filter(|name| !self.failed.contains(name))
            .collect();
    }

    /// Whether everything passed, at the second try at the latest.
    pub(super) fn is_good(&self) -> bool {
        self.failed.is_empty() && self.ended_well
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; ...`.
fn passed(line: &str) -> Option<usize> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    counts.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::{Outcome, passed};

    const FAILED: &str = "\
running 3 tests
test one ... ok
test two::three ... FAILED
test four ... ok

failures:

---- two::three stdout ----
    indented words of the test
failures:
    two::three

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";

    fn read(text: &str, ended_well: bool) -> Outcome {
        let mut outcome = Outcome {
            ended_well,
            ..Outcome::default()
        };
        text.lines().for_each(|line| outcome.result(line));
        outcome
    }

    #[test]
    fn results_are_read_and_other_lines_are_not() {
        let ok = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(passed(ok), Some(12));
        assert_eq!(passed("test passes ... ok"), None);
        assert_eq!(passed("running 3 tests"), None);
        let outcome = read(FAILED, false);
        assert_eq!(outcome.passed, 2);
        assert_eq!(outcome.failed, ["two::three"]);
        assert!(!outcome.is_good());
    }

    #[test]
    fn cargo_says_how_to_select_a_program() {
        let mut outcome = Outcome::default();
        outcome.complaint("error: test failed, to rerun pass `-p tests --test faults`");
        outcome.complaint("warning: something else");
        assert_eq!(outcome.targets, [["-p", "tests", "--test", "faults"]]);
    }

    #[test]
    fn what_passes_at_the_second_try_is_named() {
        let ok = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 1s";
        let mut outcome = read(FAILED, false);
        outcome.second_try(vec![read(ok, true)]);
        assert!(outcome.is_good());
        assert_eq!(outcome.passed, 3);
        assert_eq!(outcome.unsteady, ["two::three"]);
    }

    #[test]
    fn what_fails_twice_has_failed() {
        let mut outcome = read(FAILED, false);
        outcome.second_try(vec![read(FAILED, false)]);
        assert!(!outcome.is_good());
        assert_eq!(outcome.failed, ["two::three"]);
        assert!(outcome.unsteady.is_empty());
    }

    #[test]
    fn a_program_that_broke_off_is_no_success() {
        let mut outcome = read(FAILED, false);
        outcome.complaint("error: test failed, to rerun pass `-p tests --test one`");
        assert!(outcome.deserves_second_try());
        outcome.complaint("error: test failed, to rerun pass `-p tests --test two`");
        assert!(!outcome.deserves_second_try());
        outcome.second_try(vec![read("running 1 test", false)]);
        assert!(!outcome.is_good());
    }
}
