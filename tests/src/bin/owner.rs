//! Starts a child as the harness does, writes its process id to the file that the argument names, and waits to be killed. For
//! the test that nothing is left behind.

use std::process::Command;

use tests::error::Context as _;
use tests::process::Process;
use tests::scratch::Scratch;

fn main() -> tests::Result<()> {
    let told = std::env::args_os().nth(1).context("usage: owner FILE")?;
    let scratch = Scratch::new("owner")?;
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let child = Process::spawn("sleep", sleep, &scratch.path().join("log"))?;
    std::fs::write(told, child.pid().to_string())?;
    loop {
        std::thread::park();
    }
}
