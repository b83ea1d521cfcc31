//! Free loopback ports.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::{Error, Result};

// Below the range from which the system takes ports for outgoing connections, so that nothing else is handed
// the port between this look and the server's start.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// The ports that this process was given. Whoever has one may not listen on it yet, or be between two starts.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A TCP port on 127.0.0.1 that nothing listens on and that nobody else in this process was given.
///
/// # Errors
///
/// When a few hundred random ports are all taken.
pub fn free() -> Result<u16> {
    for _ in 0..400 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|error| Error::new(format!("random: {error}")))?;
        let port = RANGE.start + u16::from_le_bytes(random) % (RANGE.end - RANGE.start);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if is_free && given.insert(port) {
            return Ok(port);
        }
    }
    Err(Error::new(
        "no free loopback port between 20000 and 31999; stop what occupies them",
    ))
}

#[cfg(test)]
mod unit {
    use std::collections::HashSet;

    use super::free;

    #[test]
    fn no_port_is_given_twice() {
        let ports: Vec<u16> = (0..1000).map(|_| free().unwrap()).collect();
        let different: HashSet<&u16> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
    }
}
