//! What a process uses: processor time and memory, as the system counts them.

use std::fs;
use std::time::Duration;

use crate::Result;
use crate::error::Context as _;

/// Processor time of a process so far, in all its threads, user and system together.
///
/// # Errors
///
/// When there is no such process.
pub fn processor(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    ticks(&stat)
        .map(|ticks| {
            let hertz = rustix::param::clock_ticks_per_second().max(1);
            Duration::from_millis(ticks * 1000 / hertz)
        })
        .context("the system writes /proc/PID/stat in another form")
}

/// The 14th and 15th field: user and system time in clock ticks. The second field, a name in brackets, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// In use now (`VmRSS`).
    pub resident: u64,
    /// The most it ever used (`VmHWM`).
    pub peak: u64,
}

/// What memory a process uses.
///
/// # Errors
///
/// When there is no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .context(format!("the system does not tell {name}"))
    };
    Ok(Memory {
        resident: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100 1 2";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42 (a"), None);
    }

    #[test]
    fn this_process_uses_something() -> Result<()> {
        let memory = memory(std::process::id())?;
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        let before = processor(std::process::id())?;
        let mut sum = 0_u64;
        while processor(std::process::id())? == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        Ok(())
    }
}
