//! What the figures were measured on. They mean nothing without it.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Flushes of which the median is taken.
const FLUSHES: usize = 201;

/// What one flush writes: a small commit's worth of log.
const FLUSH_BYTES: usize = 8_192;

/// No disk is faster, battery and flash included: below this the folder is in memory.
const FLUSH_LEAST: Duration = Duration::from_micros(10);

/// The machine, as it was when the bench began.
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    /// Tasks that ran or wanted to, in the minute before.
    load: String,
    /// Median time to write to a file in the temporary directory and flush it.
    flush: Duration,
    date: String,
}

impl Machine {
    /// Looks around; takes a second at most on a usual disk.
    ///
    /// # Errors
    /// The temporary directory cannot be written.
    pub(crate) fn look() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        // The clock is the library's own; a bench asks the system.
        let date = Command::new("date")
            .arg("--iso-8601")
            .output()
            .context("cannot run date")?;
        Ok(Self {
            cpu: model
                .unwrap_or("CPU of unknown model")
                .trim_start_matches(['\t', ' ', ':'])
                .to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            load: loadavg.split(' ').next().unwrap_or("unknown").to_owned(),
            flush: flush_time().context("cannot flush a file in the temporary directory")?,
            date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cores,
            load,
            flush,
            date,
        } = self;
        let flush_us = flush.as_micros();
        write!(
            f,
            "{date}, {cpu}, {cores} cores, load before {load}, fdatasync {flush_us} µs"
        )?;
        if *flush < FLUSH_LEAST {
            let folder = std::env::temp_dir();
            write!(
                f,
                "\nWARNING: {} is in memory, so nothing was durable: set TMPDIR",
                folder.display()
            )?;
        }
        Ok(())
    }
}

/// Over bytes that the file has already, as a write-ahead log is written: a
/// file that grows is flushed with its folder's journal, which takes longer.
fn flush_time() -> std::io::Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let bytes = [b'x'; FLUSH_BYTES];
    file.write_all(&bytes)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let began = Instant::now();
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}
