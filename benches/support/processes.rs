//! Servers as child processes, for as long as a measurement takes.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::servers::stockroom::{Process, command};

/// The program as cargo built it for this bench.
pub(crate) const STOCKROOM: &str = env!("CARGO_BIN_EXE_stockroom");

/// Above the server's own time to drain.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Lines of one server's log that are passed on; a sick one repeats itself.
const LOG_LINES_MAX: usize = 20;

/// A server in a process of its own. Killed if it is dropped before it is stopped.
pub(crate) struct Server {
    process: Process,
    /// Where it serves, as a URL.
    pub(crate) url: String,
    /// When it said so: from then on connections are taken.
    pub(crate) listening_at: Instant,
}

impl Server {
    /// Starts `stockroom serve` on the database at `store_url` and waits until it serves.
    ///
    /// # Errors
    /// It ends or is not healthy in time.
    pub(crate) fn stockroom(
        runtime: &Runtime,
        folder: &Path,
        store_url: &str,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let mut serve = command(STOCKROOM, folder);
        serve
            .arg("serve")
            .env("STOCKROOM_STORE_URL", store_url)
            .env("STOCKROOM_SERVER_LISTEN", "127.0.0.1:0")
            // Nobody scrapes, and another server may have the port.
            .env("STOCKROOM_HTTP_LISTEN", "off")
            // Warnings, and the one line that tells the port.
            .env("STOCKROOM_LOG_FILTER", "warn,stockroom::cli::serve=info")
            .env("STOCKROOM_LOG_FORMAT", "json")
            .envs(settings.iter().map(|(name, value)| (name, value)));
        Self::start(runtime, serve)
    }

    /// Starts this executable as the server that `role` asks for.
    ///
    /// # Errors
    /// It ends or is not healthy in time.
    pub(crate) fn own(runtime: &Runtime, folder: &Path, role: &str) -> anyhow::Result<Self> {
        let mut serve = command(std::env::current_exe()?, folder);
        serve.arg(role);
        Self::start(runtime, serve)
    }

    fn start(runtime: &Runtime, serve: Command) -> anyhow::Result<Self> {
        let mut process = Process::start(serve, complaints())?;
        let listening_at = Instant::now();
        runtime.block_on(process.served())?;
        Ok(Self {
            url: format!("http://{}", process.addr),
            process,
            listening_at,
        })
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks it to drain and waits for its end.
    ///
    /// # Errors
    /// It does not end in time, or not well.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(STOP_DEADLINE)?;
        // The echo has nothing to drain: the signal itself ends it.
        let by_signal = status.signal() == Some(Signal::SIGTERM as i32);
        ensure!(
            status.success() || by_signal,
            "the server ended with {status}"
        );
        Ok(())
    }
}

/// Passes on what a server complains of.
fn complaints() -> impl FnMut(&str) {
    let mut passed_on = 0;
    move |line| {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        let is_expected = matches!(said["message"].as_str(), Some("listening" | "stopped"));
        if !is_expected && passed_on < LOG_LINES_MAX {
            passed_on += 1;
            eprintln!("  server: {line}");
        }
    }
}
