//! The machine that was measured on, and how busy it was.

use std::fs;

use serde::Serialize;
use tests::Result;
use tests::machine::load;

/// What the figures depend on.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    /// As the processor calls itself.
    pub(super) processor: String,
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// Bytes.
    pub(super) memory: u64,
    /// The kernel's name and release.
    pub(super) system: String,
    /// Load averages over 1, 5 and 15 minutes before anything was started.
    pub(super) load_before: [f64; 3],
    /// How the programs were built.
    pub(super) profile: &'static str,
}

impl Machine {
    pub(super) fn read() -> Result<Self> {
        let unknown = || "unknown".to_owned();
        let processor = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib =
            field(&memory, "MemTotal").and_then(|it| it.trim_end_matches("kB").trim().parse().ok());
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Self {
            processor: field(&processor, "model name").map_or_else(unknown, str::to_owned),
            cores: std::thread::available_parallelism()?.get(),
            memory: kib.unwrap_or(0_u64) * 1024,
            system: format!("{} {}", std::env::consts::OS, release.trim()),
            load_before: load()?,
            profile: "release",
        })
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().strip_prefix(':')?.trim())
}

#[cfg(test)]
mod unit {
    use super::field;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A B\nMemTotal:    12 kB\n";
        assert_eq!(field(text, "model name"), Some("A B"));
        assert_eq!(field(text, "MemTotal"), Some("12 kB"));
        assert_eq!(field(text, "flags"), None);
    }
}
