//! Faults of the machine for one process: a clock that jumps, a disk that is full or fails.
//!
//! A small library, made with the system's C compiler, stands between the process and the C library.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use crate::error::Context as _;
use crate::{Result, binaries, process};

/// The faults of one process. They hold at once, also for what runs already.
#[derive(Debug)]
pub struct Shim {
    control: File,
    environment: Vec<(String, String)>,
}

impl Shim {
    /// Makes the library in `folder`; nothing fails yet.
    ///
    /// # Errors
    ///
    /// When there is no C compiler.
    pub fn new(folder: &Path) -> Result<Self> {
        let library = folder.join("faults.so");
        let source = binaries::workspace().join("tests/shims/faults.c");
        process::output(
            Command::new("cc")
                .args(["-O2", "-shared", "-fPIC", "-o"])
                .arg(&library)
                .arg(&source),
        )
        .context("making the library of faults takes a C compiler")?;
        let path = folder.join("faults");
        let control = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .read(true)
            .open(&path)?;
        control.write_all_at(&[0; 24], 0)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let environment = vec![
            ("LD_PRELOAD".to_owned(), text(&library)),
            ("GATEHOUSE_FAULTS".to_owned(), text(&path)),
        ];
        Ok(Self {
            control,
            environment,
        })
    }

    /// What the process must have in its environment.
    #[must_use]
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Sets the wall clock this many seconds off.
    ///
    /// # Errors
    ///
    /// When the control file cannot be written.
    pub fn clock(&self, seconds: i64) -> Result<()> {
        self.set(0, seconds)
    }

    /// Whether the disk has no space for the database.
    ///
    /// # Errors
    ///
    /// As [`Shim::clock`].
    pub fn disk_full(&self, full: bool) -> Result<()> {
        self.set(1, full.into())
    }

    /// Whether the disk fails to confirm what the database writes.
    ///
    /// # Errors
    ///
    /// As [`Shim::clock`].
    pub fn sync_fails(&self, fails: bool) -> Result<()> {
        self.set(2, fails.into())
    }

    fn set(&self, field: u64, value: i64) -> Result<()> {
        Ok(self.control.write_all_at(&value.to_ne_bytes(), field * 8)?)
    }
}
