//! The other floor: PostgreSQL with no service before it.
//!
//! A tokio-postgres client in a process of its own, as the server is one, over TCP
//! with the server's session settings, does the statements of a guard in batches of
//! the size that the server made, and nothing else: no gRPC, no queue, no plan. The
//! next batch leaves when the last is durable; it is made up while that one is under
//! way, as the server does. Levels are known from the first read on: nobody else
//! writes them.
//!
//! Without batching each connection commits one order at a time. Connections order
//! from products of their own, since the server never lets two of its connections
//! meet on a level.

mod book;
mod statements;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::setup::Guard;
use crate::support::load::{self, Load};
use crate::support::servers::stockroom::command;
use book::Book;
use statements::Connection;

/// Digits of a latency that are kept, and the longest that is told from longer ones.
const DIGITS: u8 = 3;
const LATENCY_MAX_US: u64 = 60_000_000;

/// What the client is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) url: String,
    pub(crate) guard: Guard,
    /// Orders of each transaction.
    pub(crate) batch_orders: usize,
    pub(crate) connections: usize,
    pub(crate) skus: usize,
    /// Numbers of lines to draw from; one line each without.
    pub(crate) lines_file: Option<PathBuf>,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

/// Runs the client as a child process and returns what it reports.
///
/// # Errors
/// It fails, or takes longer than it should.
pub(crate) fn run(folder: &Path, spec: &Spec) -> anyhow::Result<Load> {
    let mut client: Command = command(std::env::current_exe()?, folder);
    client.args(["--bare-client", &serde_json::to_string(spec)?]);
    let limit = spec.warmup + spec.measured + load::GRACE;
    load::report_of(client, limit).context("the bare client")
}

/// Is the client: does what `spec` says and prints what came of it, in the form of
/// `stockroom load --json`.
///
/// # Errors
/// The database failed, or was not as only this client left it.
pub(crate) fn be(spec: &str) -> anyhow::Result<()> {
    let spec: Spec = serde_json::from_str(spec)?;
    let mut runtime = if spec.batch_orders > 1 {
        // A batch is made up on one core while the last is sent and awaited on another.
        tokio::runtime::Builder::new_multi_thread()
    } else {
        // An order alone would only pay for the way between threads.
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.enable_all().build()?;
    let report = runtime.block_on(client(&spec))?;
    println!("{report}");
    Ok(())
}

async fn client(spec: &Spec) -> anyhow::Result<serde_json::Value> {
    let counts = match &spec.lines_file {
        None => vec![1],
        Some(path) => {
            let text = std::fs::read_to_string(path)?;
            let counts: Result<_, _> = text.lines().map(str::parse).collect();
            counts?
        }
    };
    let counts: Arc<[usize]> = counts.into();
    let mut lanes = Vec::new();
    for number in 0..spec.connections {
        let connection = Connection::open(&spec.url, spec.guard).await?;
        let own = (number..spec.skus).step_by(spec.connections);
        let levels = connection.levels(own).await?;
        ensure!(
            levels.len() >= counts.iter().copied().max().unwrap_or(1),
            "a connection has {} products, too few for the widest order",
            levels.len()
        );
        let book = Book::new(levels, Arc::clone(&counts));
        lanes.push((connection, book));
    }
    let measure_from = Instant::now() + spec.warmup;
    let window = (measure_from, measure_from + spec.measured);
    let mut running = JoinSet::new();
    for (connection, book) in lanes {
        running.spawn(commit_until(window, connection, book, spec.batch_orders));
    }
    let mut tally = Tally::new()?;
    while let Some(lane) = running.join_next().await {
        tally.add(&lane??)?;
    }
    Ok(tally.report(spec.measured))
}

async fn commit_until(
    (measure_from, end): (Instant, Instant),
    connection: Connection,
    mut book: Book,
    batch_orders: usize,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    let mut batch = book.batch(batch_orders);
    loop {
        let begun = Instant::now();
        if begun >= end {
            return Ok(tally);
        }
        let commit = connection.commit(&batch);
        let (committed, next) = tokio::join!(commit, async { book.batch(batch_orders) });
        committed?;
        let ended = Instant::now();
        let (orders, lines) = (batch.orders() as u64, batch.lines() as u64);
        tally.orders_total += orders;
        tally.lines_total += lines;
        if (measure_from..end).contains(&ended) {
            tally.orders += orders;
            tally.lines += lines;
            let us = u64::try_from((ended - begun).as_micros())?;
            tally.latencies.saturating_record_n(us, orders);
        }
        batch = next;
    }
}

/// What was committed, in the time that is measured and in all.
struct Tally {
    orders: u64,
    lines: u64,
    latencies: Histogram<u64>,
    orders_total: u64,
    lines_total: u64,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            orders: 0,
            lines: 0,
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS)?,
            orders_total: 0,
            lines_total: 0,
        })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.orders += other.orders;
        self.lines += other.lines;
        self.latencies.add(&other.latencies)?;
        self.orders_total += other.orders_total;
        self.lines_total += other.lines_total;
        Ok(())
    }

    fn report(&self, measured: Duration) -> serde_json::Value {
        let per_s = |count: u64| count as f64 / measured.as_secs_f64();
        let ms_at = |percent| self.latencies.value_at_percentile(percent) as f64 / 1_000.0;
        json!({
            "accepted_per_s": per_s(self.orders),
            "lines_per_s": per_s(self.lines),
            "refused_per_s": 0.0,
            "refused_p99_ms": null,
            "refused_for_good_per_s": 0.0,
            "not_sent": 0,
            "p50_ms": ms_at(50.0),
            "p99_ms": ms_at(99.0),
            "accepted_total": self.orders_total,
            // Each line takes one unit.
            "units_total": self.lines_total,
        })
    }
}
