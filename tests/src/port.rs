//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::{Error, Result};

// Below the range from which the system takes ports for outgoing connections, so that nothing else is handed
// the port between this look and the server's start.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A TCP port on 127.0.0.1 that nothing listens on.
///
/// # Errors
///
/// When a few hundred random ports are all taken.
pub fn free() -> Result<u16> {
    for _ in 0..400 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|error| Error::new(format!("random: {error}")))?;
        let port = RANGE.start + u16::from_le_bytes(random) % (RANGE.end - RANGE.start);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new(
        "no free loopback port between 20000 and 31999; stop what occupies them",
    ))
}
