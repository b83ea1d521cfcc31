//! Child processes that end with the test, whichever way the test ends.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::error::Context as _;
use crate::{Error, Result, wait};

/// A small watcher that acts when this process lets go of it or dies, even by SIGKILL: it waits for the end of
/// its standard input, which only this process holds open.
#[derive(Debug)]
pub struct Leash {
    watcher: Mutex<Child>,
}

impl Leash {
    /// Ends the process group `pgid` when this process is gone.
    fn group(pgid: u32) -> Result<Self> {
        Self::new(
            "read -r _; kill -s KILL -- \"-$1\" 2>/dev/null",
            &pgid.to_string(),
        )
    }

    /// Removes the folder when this process is gone.
    pub(crate) fn folder(path: &Path) -> Result<Self> {
        // A killed server may still be writing for a moment: look again until the folder is gone.
        let script = "read -r _; for _ in 1 2 3 4 5; do rm -rf -- \"$1\" && exit; sleep 1; done";
        Self::new(script, &path.to_string_lossy())
    }

    fn new(script: &str, argument: &str) -> Result<Self> {
        let watcher = Command::new("sh")
            .args(["-c", script, "leash", argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // a signal to our own group must not end it
            .spawn()
            .context("cannot start sh")?;
        Ok(Self {
            watcher: Mutex::new(watcher),
        })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        drop(watcher.stdin.take());
        let _ = watcher.wait();
    }
}

/// A running program in a process group of its own, its output in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    start_of_log: u64,
    child: Mutex<Child>,
    // Dropped after `Drop::drop` has ended the group, when its signal finds nobody.
    _leash: Leash,
}

impl Process {
    /// Starts `command`; standard output and error are appended to `log`.
    ///
    /// # Errors
    ///
    /// When the program or the log file cannot be opened.
    pub fn spawn(name: &str, command: Command, log: &Path) -> Result<Self> {
        Self::spawn_with(name, command, log, false)
    }

    /// As [`Process::spawn`], with standard input and output as pipes for the caller to take.
    pub(crate) fn spawn_piped(name: &str, command: Command, log: &Path) -> Result<Self> {
        Self::spawn_with(name, command, log, true)
    }

    fn spawn_with(name: &str, mut command: Command, log: &Path, piped: bool) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .context(format!("cannot write {}", log.display()))?;
        let start_of_log = file.metadata()?.len();
        command.stderr(file.try_clone()?).process_group(0);
        if piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(file);
        }
        let child = command.spawn().context(format!(
            "cannot start {name} ({})",
            command.get_program().to_string_lossy()
        ))?;
        let pid = child.id();
        let leash = Leash::group(pid)?;
        Ok(Self {
            name: name.to_owned(),
            pid,
            log: log.to_owned(),
            start_of_log,
            child: Mutex::new(child),
            _leash: leash,
        })
    }

    /// Gives away the pipes of a piped process.
    pub(crate) fn take_pipes(
        &self,
    ) -> Option<(std::process::ChildStdin, std::process::ChildStdout)> {
        let mut child = self.child();
        Some((child.stdin.take()?, child.stdout.take()?))
    }

    /// The process id, which is also its group's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has written since it was started.
    ///
    /// # Errors
    ///
    /// When the log file cannot be read.
    pub fn output(&self) -> Result<String> {
        let bytes = fs::read(&self.log)?;
        let start = usize::try_from(self.start_of_log)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        Ok(String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned())
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child().try_wait()?)
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.exited(), Ok(None))
    }

    /// Waits for a line of its output that `read` accepts, and stops early if the program ends.
    ///
    /// # Errors
    ///
    /// A timeout or an early end, with the last lines of the log.
    pub async fn wait_for_line<T>(
        &self,
        what: &str,
        deadline: Duration,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let found = wait::until(what, deadline, || async {
            // Asked first: what a program wrote just before its end still counts.
            let exited = self.exited()?;
            if let Some(value) = self.output()?.lines().find_map(&read) {
                return Ok(Some(value));
            }
            match exited {
                Some(status) => Err(Error::new(format!(
                    "{} ended with {status} before {what}",
                    self.name
                ))),
                None => Ok(None),
            }
        })
        .await;
        found.map_err(|error| Error::new(format!("{error}\n{}", self.tail(30))))
    }

    /// The last lines of the log, and of its earlier warnings the first of each kind, for an error message.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let text = self.output().unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        let (earlier, last) = all.split_at(all.len().saturating_sub(lines));
        let (name, log) = (&self.name, self.log.display());
        format!(
            "--- earlier warnings of {name}, each kind once ({log})\n{}\n--- its last lines\n{}",
            warnings(earlier).join("\n"),
            last.join("\n")
        )
    }

    /// SIGKILL to the whole group, and waits until the program is gone.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        let _ = self.child().wait();
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    ///
    /// When it has not ended within `deadline`; it is killed then.
    pub async fn terminate(&self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        let ended = wait::until("the end after SIGTERM", deadline, || async {
            self.exited()
        })
        .await;
        if ended.is_err() {
            self.kill();
        }
        ended.context(&self.name)
    }

    /// Stops it from running without its knowing (`SIGSTOP`), as a machine that hangs.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen program go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // Held over the call: the id is not given to another process before it has been waited for.
        let mut child = self.child();
        if matches!(child.try_wait(), Ok(None))
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The warnings and errors among log lines, the first of each kind. Lines are of one kind when they say the same up to their first
/// field.
fn warnings<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    let mut is_new = |line: &'a str| {
        let said = line.split_once(" WARN ").or(line.split_once("ERROR "));
        said.is_some_and(|(_, said)| seen.insert(said.split('=').next()))
    };
    lines.iter().copied().filter(|&line| is_new(line)).collect()
}

/// Runs a program to its end and gives its standard output.
///
/// # Errors
///
/// When it cannot be started or fails; the message carries its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .context(format!("cannot start {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!(
        "{command:?} ended with {}: {}",
        output.status,
        reason.trim()
    )))
}

/// Makes a file that only its owner can read.
///
/// # Errors
///
/// When it cannot be written.
pub fn private_file(path: &Path, content: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file: File = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::warnings;

    #[test]
    fn of_each_kind_of_warning_the_first_is_shown() {
        let lines = [
            "2026-11-29T16:47:10Z  INFO gatehouse::logins: connected login=#1",
            "2026-11-29T16:47:11Z  WARN gatehouse::keys: not uploaded login=#1",
            "2026-11-29T16:47:12Z  WARN gatehouse::keys: not uploaded login=#2",
            "2026-11-29T16:47:13Z ERROR gatehouse::keys: damaged login=#1",
        ];
        assert_eq!(warnings(&lines), [lines[1], lines[3]]);
    }
}
