//! No commit without its failpoint.

use std::fs;
use std::path::{Path, PathBuf};

/// Commits that no failpoint stands around: how often in a file of the workspace, and why a death there is no other than one
/// somewhere else.
const WITHOUT: &[(&str, usize, &str)] = &[
    (
        "bridge/src/core.rs",
        1,
        "tells enlisted users that they are blocked: told at the next start",
    ),
    (
        "bridge/src/enlistment.rs",
        2,
        "a refusal: whoever asks next is refused again, and told then",
    ),
    (
        "bridge/src/fading.rs",
        3,
        "what is due is put off, or has nothing in a room: it is looked at again",
    ),
    (
        "bridge/src/leaving.rs",
        1,
        "a word beside what `leave.commit` has ended; the operator sees that it failed",
    ),
    (
        "bridge/src/management.rs",
        2,
        "no command, or one that is put off: read again, as before `management.done`",
    ),
    (
        "bridge/src/media/outgoing.rs",
        1,
        "forgets a file that is gone: it is carried over again, as before `hosting.commit`",
    ),
    (
        "bridge/src/media/shelf.rs",
        1,
        "deletes old rows; what is left is deleted the next time",
    ),
    (
        "bridge/src/outgoing.rs",
        2,
        "a session of an identity that is gone: found to be so again; what needs no sending where nobody is enlisted: read again, as before `notice.commit`",
    ),
    (
        "bridge/src/quarantine.rs",
        1,
        "why something stays set aside: found again the next time",
    ),
    (
        "bridge/src/retries.rs",
        1,
        "a session for a second retry receipt: the receipt comes again, as before `retry.commit`",
    ),
    (
        "bridge/src/run.rs",
        1,
        "deletes old rows; what is left is deleted the next time",
    ),
    (
        "bridge/src/tokens.rs",
        1,
        "a new key for identity tokens: nobody has seen it, the next start makes one",
    ),
    (
        "bridge/src/watch.rs",
        2,
        "notes what has waited for long: looked for again at the next turn",
    ),
    (
        "puppeting/src/puppet.rs",
        1,
        "passes on what is committed with it",
    ),
    (
        "puppeting/src/puppet/stages.rs",
        1,
        "a new device in the place of a lost one: found to be lost again",
    ),
    (
        "puppeting/src/puppets.rs",
        1,
        "writes out what an unused device still holds, in the background",
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path
                .file_name()
                .is_some_and(|name| name != "tests.rs" && name != "testing.rs")
        {
            found.push(path);
        }
    }
}

/// How many commits of a source stand outside `around!`.
fn without(source: &str) -> usize {
    let code = source
        .split("#[cfg(test)]\nmod ")
        .next()
        .unwrap_or(source)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let calls = [".commit(", ".commit_with("];
    let all: usize = calls.iter().map(|call| code.matches(call).count()).sum();
    let mut inside = 0;
    for rest in code.split("failpoints::around!(").skip(1) {
        let mut depth = 1;
        let end = rest.find(|letter| {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            depth == 0
        });
        let step = rest.get(..end.unwrap_or(0)).unwrap_or_default();
        inside += calls
            .iter()
            .map(|call| step.matches(call).count())
            .sum::<usize>();
    }
    all - inside
}

#[test]
fn every_commit_has_a_failpoint_or_a_reason_to_have_none() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for krate in ["bridge/src", "puppeting/src"] {
        sources(&workspace.join(krate), &mut files);
    }
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(workspace).unwrap().to_str().unwrap();
        let count = without(&fs::read_to_string(&file).unwrap());
        let known = WITHOUT.iter().find(|(known, ..)| *known == name);
        let allowed = known.map_or(0, |(_, allowed, _)| *allowed);
        if count != allowed {
            wrong.push(format!("{name}: {count} without, {allowed} known"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every name of the list stands in the code; that every name in the code stands in the list is checked where it is compiled.
#[test]
fn every_failpoint_is_in_the_code() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for krate in ["bridge/src", "puppeting/src", "gatekeeper/src", "store/src"] {
        sources(&workspace.join(krate), &mut files);
    }
    let code: String = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let code: String = code.split_whitespace().collect();
    for place in failpoints::ALL {
        let marks = [
            format!("around!(\"{}\"", place.name),
            format!("pass!(\"{}\")", place.name),
        ];
        assert!(
            marks.iter().any(|mark| code.contains(mark)),
            "{} is nowhere",
            place.name
        );
    }
}

/// The documents say how many there are.
#[test]
fn the_documents_count_them() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let steps = failpoints::ALL
        .iter()
        .filter(|place| place.sides.len() == 2);
    let (steps, points) = (steps.count(), failpoints::names().count());
    let places = failpoints::ALL.len() - steps;
    for (document, words) in [
        ("README.md", format!("SIGKILL at {points} named places")),
        (
            "docs/reliability.md",
            format!("{steps} steps and {places} places, {points} points in all"),
        ),
    ] {
        let text = fs::read_to_string(workspace.join(document)).unwrap();
        assert!(text.contains(&words), "{document} does not say: {words}");
    }
}

#[test]
fn a_commit_outside_is_found() {
    assert_eq!(without("core.store.commit(batch).await?;"), 1);
    assert_eq!(
        without("failpoints::around!(\"x\", core.store.commit(batch).await)?; a.commit_with(b)"),
        1
    );
    assert_eq!(without("// store.commit(batch)\n"), 0);
}
