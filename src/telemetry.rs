//! What the program says about itself: its log, and counts of what it did.
//!
//! Owns the log's form and the counters. The counters are handed to whoever
//! counts, never reached through a static, so that two servers in one process
//! count apart.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging to stderr, which leaves stdout to what a command prints.
///
/// # Errors
/// The filter cannot be parsed, or the process logs already.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .context("log.filter cannot be parsed")?;
    let on_terminal = std::io::stderr().is_terminal();
    let pretty = match config.format {
        LogFormat::Auto => on_terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if pretty {
        // `NO_COLOR` is honoured: colours are only ever switched off here.
        let log = log.compact();
        if on_terminal {
            log.try_init()
        } else {
            log.with_ansi(false).try_init()
        }
    } else {
        log.json().flatten_event(true).try_init()
    };
    started.map_err(|e| anyhow::anyhow!(e).context("cannot start logging"))
}

/// What a server did since it started.
///
/// Each is counted on its own and only ever rises; read together they may be a
/// moment apart.
#[derive(Debug, Default)]
pub struct Counters {
    /// Transactions that committed. `orders_committed` over this is what batching gains.
    pub commits: Counter,
    /// Orders that were made; replays of a `request_id` are not counted.
    pub orders_committed: Counter,
    /// Adjustments that were made; replays of a `request_id` are not counted.
    pub adjustments_committed: Counter,
    /// Writes that were answered with a definite no: too little stock, an unknown SKU, a reused
    /// `request_id`, a stale expected version.
    pub refused: Counter,
    /// Transactions rolled back because a level that they wrote, or a `request_id`, was no longer
    /// as they had read it.
    pub conflicts: Counter,
    /// Writes given up because every attempt met a conflict: `STOCK_CONTENTION`.
    pub contention_exhausted: Counter,
    /// Levels sent to watchers, one for each level and stream.
    pub watch_deliveries: Counter,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
