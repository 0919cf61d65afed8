//! Processes of `stockroom`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Opening a store takes milliseconds; the rest is for a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Above what it takes to drain: 10 s for calls, and 2 s for events.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// How often a process is asked whether it is ready, or gone.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Environment variables.
pub(crate) type Settings = [(&'static str, String)];

/// `stockroom`, with these settings alone, ended with this process. To be spawned by the
/// main thread: the kernel ends it with the thread that did.
fn stockroom(program: &Path, settings: &Settings) -> Command {
    let mut command = Command::new("setpriv");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STOCKROOM_") {
            command.env_remove(name);
        }
    }
    let settings = settings
        .iter()
        .map(|(name, value)| (OsStr::new(name), value));
    command
        .args(["--pdeathsig", "TERM"])
        .arg(program)
        .envs(settings)
        // Ctrl-C is for the stack, which ends one after the other.
        .process_group(0)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(program: &Path, settings: &Settings, arguments: &[&str]) -> anyhow::Result<()> {
    let output = stockroom(program, settings).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "stockroom {arguments:?}: {said}");
    Ok(())
}

/// A `stockroom serve`; drained and ended with this value.
pub(crate) struct Instance {
    child: Child,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Its working directory, with its log.
    pub(crate) folder: tempfile::TempDir,
}

impl Instance {
    /// Starts it and waits until it serves.
    pub(crate) fn start(program: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("stockroom-stack-")
            .tempdir()?;
        let mut child = stockroom(program, settings)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args([
                "--set",
                "http.listen=127.0.0.1:0",
                "--set",
                "log.format=json",
            ])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start stockroom")?;
        let stderr = child.stderr.take().context("it was asked for")?;
        let mut log = File::create(folder.path().join("log"))?;
        let mut lines = BufReader::new(stderr).lines();
        let (mut grpc, mut http) = (None, None);
        while grpc.is_none() || http.is_none() {
            let line = lines.next().context("stockroom ended at once")??;
            writeln!(log, "{line}")?;
            let event: Value = serde_json::from_str(&line)?;
            let address = event["address"].as_str().map(str::parse);
            match event["message"].as_str() {
                Some("listening") => grpc = address.transpose()?,
                Some("listening for scrapes") => http = address.transpose()?,
                _ => {}
            }
        }
        // Read on, so that the process never waits for its own log.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = writeln!(log, "{line}");
            }
        });
        let (grpc, http) = grpc.zip(http).context("both have been told")?;
        let instance = Self {
            child,
            grpc,
            http,
            folder,
        };
        instance.wait_until_it_serves(program)?;
        Ok(instance)
    }

    fn wait_until_it_serves(&self, program: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        let addr = format!("--addr=http://{}", self.grpc);
        while run(program, &[], &["health", &addr]).is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                bail!("stockroom does not serve:\n{}", log.unwrap_or_default());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Ok(id) = self.child.id().try_into() {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                println!("{} did not drain in time, and was killed", self.grpc);
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}
