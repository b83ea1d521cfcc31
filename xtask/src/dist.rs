//! `cargo xtask dist`: the sandbox as one file that runs on any Linux, and alone in a container.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use tests::error::Context as _;
use tests::{Error, Result, binaries, cache};

use crate::steps;

/// Build the sandbox as one static program
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask dist                                                     makes dist/sandbox
  docker build --tag sandbox --file sandbox/Containerfile dist         and a container of it
  docker run --rm --network host sandbox serve --partner integrator=1,base_url=http://127.0.0.1:29334")]
pub(crate) struct Dist {
    /// Where the program goes; a relative path counts from here
    #[arg(long, value_name = "FOLDER", default_value = "dist")]
    out: PathBuf,
    /// For which machine [default: this one, with musl]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

pub(crate) fn run(arguments: &Dist) -> Result<()> {
    let default = || format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let target = arguments.target.clone().unwrap_or_else(default);
    cache::progress(&format!("building the sandbox for {target}"));
    let built = binaries::build_programs(&["sandbox"], &["--profile", "dist", "--target", &target])
        .map_err(|error| {
            Error::new(format!(
                "{error}\nIf the target or its C compiler is missing: `rustup target add {target}`, and musl-tools from the \
                 distribution (`apt-get install musl-tools`)"
            ))
        })?;
    let program = built.first().context("cargo named no program")?;
    refuse_dynamic(program)?;

    // The image has nothing but what is copied into it: its folder for data comes from here.
    let data = arguments.out.join("data");
    fs::create_dir_all(&data).context(format_args!("cannot make {}", data.display()))?;
    let file = arguments.out.join("sandbox");
    let bytes =
        fs::copy(program, &file).context(format_args!("cannot write {}", file.display()))?;
    steps::say(format_args!(
        "{} ({} MiB): runs on any Linux with this processor",
        file.display(),
        bytes.div_ceil(1024 * 1024)
    ));
    Ok(())
}

/// A program that wants a loader would not start in an empty container.
fn refuse_dynamic(program: &std::path::Path) -> Result<()> {
    let ldd = Command::new("ldd").arg(program).output();
    let loads =
        ldd.is_ok_and(|said| said.status.success() && said.stdout.windows(2).any(|at| at == b"=>"));
    if loads {
        return Err(Error::new(format!(
            "{} needs libraries of the system: choose a target that links statically, such as one with musl",
            program.display()
        )));
    }
    Ok(())
}
