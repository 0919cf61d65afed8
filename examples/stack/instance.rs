//! Processes of `stockroom`.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;

use crate::servers::stockroom::{Process, START_DEADLINE, address_in, command};

/// Above what it takes to drain: 10 s for calls, and 2 s for events.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Environment variables.
pub(crate) type Settings = [(&'static str, String)];

/// `stockroom`, with these settings alone.
fn stockroom(program: &Path, folder: &Path, settings: &Settings) -> Command {
    let mut command = command(program, folder);
    command
        .envs(settings.iter().map(|(name, value)| (name, value)))
        // Ctrl-C is for the stack, which ends one after the other.
        .process_group(0);
    command
}

/// Runs a command to its end.
pub(crate) fn run(program: &Path, settings: &Settings, arguments: &[&str]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = stockroom(program, folder.path(), settings);
    let output = command.args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "stockroom {arguments:?}: {said}");
    Ok(())
}

/// A `stockroom serve`; drained and ended with this value.
pub(crate) struct Instance {
    process: Process,
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
        let mut serve = stockroom(program, folder.path(), settings);
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args([
            "--set",
            "http.listen=127.0.0.1:0",
            "--set",
            "log.format=json",
        ]);
        let path = folder.path().join("log");
        let mut log = File::create(&path)?;
        let (tell, http) = mpsc::channel();
        let started = Process::start(serve, move |line| {
            let _ = writeln!(log, "{line}");
            if let Some(address) = address_in(line, "listening for scrapes") {
                let _ = tell.send(address);
            }
        });
        let served = started.and_then(|mut process| {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(process.served())?;
            Ok((process, http.recv_timeout(START_DEADLINE)?))
        });
        let (process, http) = served.with_context(|| {
            let log = fs::read_to_string(path).unwrap_or_default();
            format!("stockroom does not serve:\n{log}")
        })?;
        Ok(Self {
            grpc: process.addr,
            process,
            http,
            folder,
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.signal(Signal::SIGTERM);
        if self.process.wait(STOP_DEADLINE).is_err() {
            println!("{} did not drain in time, and was killed", self.grpc);
        }
    }
}
