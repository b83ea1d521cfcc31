//! A temporary folder for one run that goes when the run is over, however it ends.

use std::path::{Path, PathBuf};

use crate::process::Leash;
use crate::{Error, Result};

/// A private folder, removed on drop and also when this process dies. `GATEHOUSE_KEEP=1` keeps it for a look.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _leash: Option<Leash>,
}

impl Scratch {
    /// Makes an empty folder, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// When the system's temporary folder cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix(&format!("gatehouse-{name}-"))
            .tempdir()
            .map_err(|error| Error::new(format!("cannot make a temporary folder: {error}")))?
            .keep();
        let leash = match std::env::var_os("GATEHOUSE_KEEP") {
            Some(_) => None,
            None => Some(Leash::folder(&path)?),
        };
        Ok(Self {
            path,
            _leash: leash,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
