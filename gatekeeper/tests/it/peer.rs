//! Peers from npm, each in a process of its own that answers calls on its standard input.
//!
//! The packages are pinned in `tests/peers`. The first test that needs them installs them into a
//! cache folder outside the tree: `$GATEHOUSE_CACHE`, else `~/.cache/gatehouse`.

use std::{
    env, fs,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::Value;

/// Longest time that a call may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running peer. It ends when this is dropped.
pub(crate) struct Peer {
    script: &'static str,
    process: Child,
    calls: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    /// Starts a script of `tests/peers`.
    pub(crate) fn start(script: &'static str) -> Self {
        // Asked of cargo now: checkouts may share what was built.
        let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
        let folder = Path::new(&member).join("../gatekeeper/tests/peers");
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("peer script");
        // As an argument and not as a file, so that packages are found from the cache folder.
        let source = format!("{}\n{}", read(script), read("serve.mjs"));
        let mut process = Command::new("node")
            .args(["--input-type=module", "--eval", &source])
            .current_dir(packages(&folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node must be installed (https://nodejs.org, version 20 or later)");
        let calls = process.stdin.take().expect("standard input is a pipe");
        let output = BufReader::new(process.stdout.take().expect("standard output is a pipe"));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            script,
            process,
            calls,
            answers,
        }
    }

    /// Calls a function of the script: `{"call": name, ..arguments}`.
    ///
    /// # Panics
    ///
    /// If the peer throws: see [`try_call`](Self::try_call).
    pub(crate) fn call(&mut self, call: Value) -> Value {
        self.try_call(call)
            .unwrap_or_else(|error| panic!("{} failed: {error}", self.script))
    }

    /// As [`call`](Self::call), with what the peer throws as the error.
    pub(crate) fn try_call(&mut self, call: Value) -> Result<Value, String> {
        writeln!(self.calls, "{call}").expect("the peer takes calls");
        let answer = self
            .answers
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|error| panic!("{} gave no answer: {error}", self.script));
        let mut answer: Value = serde_json::from_str(&answer).expect("the peer answers in JSON");
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It is idle between calls and has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder with the installed packages.
fn packages(manifests: &Path) -> PathBuf {
    let names = ["package.json", "package-lock.json"];
    let mut hasher = DefaultHasher::new();
    for name in names {
        fs::read(manifests.join(name))
            .expect("peer manifest")
            .hash(&mut hasher);
    }
    let folder = cache().join(format!("peers-{:016x}", hasher.finish()));
    fs::create_dir_all(&folder).expect("the cache folder can be made");

    // One test process installs, the others wait.
    let lock = File::create(folder.join("lock")).expect("the cache folder can be written");
    lock.lock().expect("the cache folder can be locked");
    let done = folder.join("installed");
    if !done.exists() {
        for name in names {
            fs::copy(manifests.join(name), folder.join(name)).expect("manifest can be copied");
        }
        let status = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--omit=optional", "--omit=peer"])
            .args(["--no-audit", "--no-fund"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .status()
            .expect("npm must be installed (it comes with Node)");
        assert!(
            status.success(),
            "npm could not install the peers: see its output above"
        );
        File::create(done).expect("the cache folder can be written");
    }
    folder
}

fn cache() -> PathBuf {
    match (env::var_os("GATEHOUSE_CACHE"), env::var_os("HOME")) {
        (Some(cache), _) => cache.into(),
        (None, Some(home)) => Path::new(&home).join(".cache/gatehouse"),
        (None, None) => panic!("set GATEHOUSE_CACHE to a folder for downloaded packages"),
    }
}

#[test]
fn peer_answers_and_reports_errors() {
    let mut peer = Peer::start("baileys_codec.mjs");
    let error = peer
        .try_call(serde_json::json!({"call": "decode", "stanza": ""}))
        .unwrap_err();
    assert!(error.contains("RangeError"), "{error}");
    let node = peer.call(serde_json::json!({"call": "decode", "stanza": "00f80102"}));
    assert_eq!(
        node,
        serde_json::json!({"tag": "xmlstreamend", "attrs": {}})
    );
}
