//! The deadly half.

use std::{
    ffi::OsString,
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::Breakage;

/// The place at which to die, as the file says it, and how often it has been passed since the file says so.
static WANTED: Mutex<(String, u64)> = Mutex::new((String::new(), 0));

/// Ends the process if it is to die here.
pub(crate) fn passed(name: &str, side: &str) {
    static FILE: OnceLock<Option<OsString>> = OnceLock::new();
    let Some(file) = FILE.get_or_init(|| std::env::var_os("GATEHOUSE_FAILPOINT")) else {
        return;
    };
    // Read each time, so that a running process can be told.
    let Ok(text) = std::fs::read_to_string(file) else {
        return;
    };
    let text = text.trim();
    let (wanted, nth) = match text.split_once(':') {
        Some((wanted, nth)) => (wanted, nth.parse().unwrap_or(1)),
        None => (text, 1),
    };
    if wanted.strip_prefix(name) != Some(side) {
        return;
    }
    let mut counted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
    if counted.0 != text {
        *counted = (text.to_owned(), 0);
    }
    counted.1 += 1;
    if counted.1 == nth {
        die(wanted);
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last words, for the test that reads them"
)]
fn die(name: &str) {
    eprintln!("failpoint {name}: killed");
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        // Nothing runs here after the signal.
        std::thread::park();
    }
}

pub(crate) fn is_broken(breakage: Breakage) -> bool {
    static BROKEN: OnceLock<String> = OnceLock::new();
    let broken = BROKEN.get_or_init(|| std::env::var("GATEHOUSE_BREAK").unwrap_or_default());
    let name = match breakage {
        Breakage::EarlyAnswers => "early-answers",
        Breakage::RandomIds => "random-ids",
    };
    broken.split(',').any(|each| each == name)
}

pub(crate) fn random_id() -> String {
    let mut random = [0; 16];
    // Without randomness the ids would merely be the same, and the test would say so.
    let _ = getrandom::fill(&mut random);
    hex::encode(random)
}
