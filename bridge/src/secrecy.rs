//! What keeps the memory of this process, in which messages are readable while they are translated, off the disk.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Switches core dumps off: neither a crash nor another program of the same user gets at this process's memory. Swap is the
/// system's affair.
///
/// # Errors
///
/// When the system refuses.
pub fn no_core_dumps() -> std::io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn afterwards_nothing_is_dumped() {
        no_core_dumps().expect("the system allows less");
        assert_eq!(
            dumpable_behavior().expect("a behaviour"),
            DumpableBehavior::NotDumpable
        );
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
