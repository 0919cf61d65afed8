//! Load generators as child processes, and what they report.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::Deserialize;

use super::cpu;
use super::processes::STOCKROOM;
use super::servers::stockroom::command;

/// What a load may take beyond its own time: an open loop sends for 10 s more what fell
/// due before, and the server gives a call 10 s.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// What `stockroom load --json` prints; its own source explains the fields.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Load {
    pub(crate) accepted_per_s: f64,
    pub(crate) lines_per_s: f64,
    pub(crate) refused_per_s: f64,
    pub(crate) refused_p99_ms: Option<f64>,
    pub(crate) refused_for_good_per_s: f64,
    pub(crate) not_sent: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) accepted_total: i64,
    pub(crate) units_total: i64,
    /// Processor time of the generator, from its start to its end.
    #[serde(skip)]
    pub(crate) cpu: Duration,
}

impl Load {
    /// Why its numbers are not those of the load that was asked for.
    pub(crate) fn problem(&self) -> Option<String> {
        let not_sent = self.not_sent;
        (not_sent > 0).then(|| format!("{not_sent} orders that were due were not sent"))
    }
}

/// Runs `stockroom load` with `arguments` against the servers at `urls`; it may take
/// `limit`.
///
/// # Errors
/// It fails or takes longer.
pub(crate) fn run(
    urls: &[&str],
    folder: &Path,
    arguments: &[String],
    limit: Duration,
) -> anyhow::Result<Load> {
    let mut load = command(STOCKROOM, folder);
    load.args(["load", "--json"])
        .args(urls.iter().map(|url| format!("--addr={url}")))
        .args(arguments);
    report_of(load, limit).context("stockroom load")
}

/// Runs a generator and reads its report.
///
/// # Errors
/// It fails or takes longer than `limit`.
pub(crate) fn report_of(mut generator: Command, limit: Duration) -> anyhow::Result<Load> {
    let child = generator
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let id = Pid::from_raw(child.id().try_into()?);
    let (send, ended) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let _ = send.send(end_of(child));
    });
    let ended = ended.recv_timeout(limit);
    if ended.is_err() {
        // Not waited for yet, so the id is still its own.
        kill(id, Signal::SIGKILL).context("cannot end a child")?;
    }
    // An error would be a panic of the waiter, which left no output either.
    let _ = waiter.join();
    let (output, cpu) = ended.with_context(|| format!("took longer than {limit:?}"))??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let load: Load = serde_json::from_slice(&output.stdout).context("other JSON than expected")?;
    Ok(Load { cpu, ..load })
}

/// Waits for the end and looks at what was used before the system forgets it. What
/// is printed fits into the pipes.
fn end_of(child: Child) -> anyhow::Result<(std::process::Output, Duration)> {
    let id = Pid::from_raw(child.id().try_into()?);
    waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let cpu = cpu::used(child.id())?;
    Ok((child.wait_with_output()?, cpu))
}

/// The orders of a load: the arguments of `stockroom load`, where they are explained.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) skus: usize,
    pub(crate) lines: usize,
    /// Instead of `lines`.
    pub(crate) lines_file: Option<PathBuf>,
    pub(crate) in_flight: usize,
    /// None is a closed loop.
    pub(crate) rate: Option<u32>,
    pub(crate) connections: usize,
    /// More arguments, of the case alone.
    pub(crate) more: &'static [&'static str],
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

impl Orders {
    /// For the command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "--no-setup".to_owned(),
            format!("--skus={}", self.skus),
            format!("--in-flight={}", self.in_flight),
            format!("--connections={}", self.connections),
            format!("--warmup-seconds={}", self.warmup.as_secs_f64()),
            format!("--seconds={}", self.measured.as_secs_f64()),
            match &self.lines_file {
                Some(file) => format!("--lines-file={}", file.display()),
                None => format!("--lines={}", self.lines),
            },
        ];
        arguments.extend(self.more.iter().map(|argument| (*argument).to_owned()));
        arguments.extend(self.rate.map(|rate| format!("--rate={}", rate.max(1))));
        arguments
    }
}
