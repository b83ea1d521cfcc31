//! How busy the machine is.

use std::fs;

use crate::Result;

/// The load averages over 1, 5 and 15 minutes.
///
/// # Errors
///
/// When the system does not tell.
pub fn load() -> Result<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let mut all = text.split(' ').filter_map(|each| each.parse().ok());
    let mut next = || all.next().unwrap_or(f64::NAN);
    Ok([next(), next(), next()])
}
