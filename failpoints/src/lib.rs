//! Named places in the bridge at which a test can end it by SIGKILL: before and after each commit, acknowledgement, request,
//! ratchet step and key upload.
//!
//! [`pass!`](macro@pass) marks a place, [`around!`](macro@around) the two sides of a step. Their names are checked against [`ALL`] when they are compiled. Without
//! the feature `armed` they compile to nothing. With it the process looks into the file that `GATEHOUSE_FAILPOINT` names
//! whenever it passes a place: if the file holds the place's name, it kills itself there; with `name:3`, at the third passing.
//!
//! The crate `fail` does the same in principle. It has no list of places, so that no test could know that it has been at all of them; it
//! cannot end a process as an abrupt death does, and its places are set when the process starts, not while it runs.

#[cfg(feature = "armed")]
mod armed;
mod points;

pub use points::{ALL, Place};

/// Marks a place by its name in [`ALL`]; a name that is not there does not compile.
#[macro_export]
macro_rules! pass {
    ($name:literal) => {
        $crate::passed(const { $crate::index($name) }, "")
    };
}

/// Marks the places `NAME.before` and `NAME.after` around a step, and gives what the step gives.
#[macro_export]
macro_rules! around {
    ($name:literal, $step:expr) => {{
        $crate::passed(const { $crate::index($name) }, ".before");
        let outcome = $step;
        $crate::passed(const { $crate::index($name) }, ".after");
        outcome
    }};
}

/// A way in which the bridge can be made to break its promises, so that the test that counts losses and doubles can be
/// tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// Homeserver and gatekeeper are answered before what they sent is durable; nothing is looked for afterwards.
    EarlyAnswers,
    /// What is sent to the homeserver has another id at each attempt.
    RandomIds,
}

/// How long after an early answer the work is done.
pub const LATE: std::time::Duration = std::time::Duration::from_millis(300);

/// Whether `GATEHOUSE_BREAK` names this breakage (`early-answers`, `random-ids`). Never, in a program for use.
#[must_use]
pub fn is_broken(breakage: Breakage) -> bool {
    #[cfg(feature = "armed")]
    return armed::is_broken(breakage);
    #[cfg(not(feature = "armed"))]
    {
        let _ = breakage;
        false
    }
}

/// What a derived id becomes under [`Breakage::RandomIds`]; otherwise the same id.
#[must_use]
pub fn id(derived: &str) -> String {
    #[cfg(feature = "armed")]
    if is_broken(Breakage::RandomIds) {
        return armed::random_id();
    }
    derived.to_owned()
}

/// The position of a name in [`ALL`]. For the macros.
///
/// # Panics
///
/// While compiling, if there is no such name.
#[doc(hidden)]
#[must_use]
pub const fn index(name: &str) -> usize {
    let mut index = 0;
    while index < ALL.len() {
        if is_same(ALL[index].name.as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("no failpoint has this name: add it to the list")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A place is passed. For the macros.
#[doc(hidden)]
#[inline]
pub fn passed(index: usize, side: &str) {
    #[cfg(feature = "armed")]
    armed::passed(ALL[index].name, side);
    #[cfg(not(feature = "armed"))]
    let _ = (index, side);
}

/// The names of all points: a place's name with each of its sides.
pub fn names() -> impl Iterator<Item = String> {
    let sides = |place: &'static Place| {
        place
            .sides
            .iter()
            .map(|side| format!("{}{side}", place.name))
    };
    ALL.iter().flat_map(sides)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let unique: HashSet<_> = names().collect();
        assert_eq!(unique.len(), names().count());
    }

    #[test]
    fn a_step_gives_what_it_gives() {
        assert_eq!(around!("store.commit", 7), 7);
        assert_eq!(ALL[const { index("store.commit") }].name, "store.commit");
    }

    #[cfg(not(feature = "armed"))]
    #[test]
    fn nothing_is_broken_in_a_program_for_use() {
        assert!(!is_broken(Breakage::EarlyAnswers));
        assert_eq!(id("derived"), "derived");
    }
}
