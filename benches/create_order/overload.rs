//! Twice as many orders as the database lets through.
//!
//! The database lies behind a proxy that adds 5 ms to each round trip, and batches
//! are small, so that it is the database that is short and not the two cores, for
//! which refusals and generator would fight the orders. The peak is measured in a
//! closed loop, then twice as many are due in an open one. Meanwhile somebody reads a
//! level, somebody watches it, and the server's memory is looked at.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use stockroom::client::proto::{GetStockRequest, StockKey};
use stockroom::client::{Client, WatchEvent, WatchTargets};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, Measured};
use crate::meter::Meter;
use crate::proxy::Proxy;
use crate::setup::{IN_FLIGHT, Served};
use crate::silence::Silence;
use crate::support::cpu;
use crate::support::load::Orders;
use crate::support::stores::Totals;
use crate::support::trial::Trial;

/// What the proxy adds to a round trip.
const DELAY: Duration = Duration::from_millis(5);

/// Orders of a batch: some thousands a second come through, and twice as many are
/// little work for the two cores.
const BATCH_ORDERS_MAX: usize = 32;

/// Callers of the flood: a full queue of 8,192, and those that are being refused.
pub(crate) const CALLERS: usize = 12_288;

/// Each takes 1,024 streams of the server, which must not be what holds callers back.
const CONNECTIONS: usize = 16;

/// The queue takes seconds to fill; only then refusals begin, and memory may be flat.
const FLOOD_WARMUP: Duration = Duration::from_secs(4);

/// Memory needs a while to show where it goes.
const FLOOD_LEAST: Duration = Duration::from_secs(4);

/// How often the level is read, and the memory.
const READ_INTERVAL: Duration = Duration::from_millis(20);
const MEMORY_INTERVAL: Duration = Duration::from_millis(50);

/// The product that everybody orders.
const SKU: &str = "load-00000";

impl Bench {
    /// Measures the flood: its load is that of the result, the rest are details.
    pub(crate) fn overload(&mut self, served: Served) -> anyhow::Result<Measured> {
        let (database, opening_units) = self.copy(served.store)?;
        let url = database.url();
        let (target, rest) = split(&url)?;
        let proxy = self.runtime.block_on(Proxy::before(target, DELAY))?;
        let url = format!("postgres://postgres@{}/{rest}", proxy.addr);
        let batch_max = (
            "STOCKROOM_ENGINE_BATCH_ORDERS_MAX",
            BATCH_ORDERS_MAX.to_string(),
        );
        let server = self.serve(&url, served, &[batch_max])?;
        let trial = Trial::new(database, opening_units, vec![server]);
        let urls = trial.urls();

        let mut orders = Orders {
            skus: 1,
            lines: 1,
            lines_file: None,
            in_flight: IN_FLIGHT,
            rate: None,
            more: &[],
            connections: CONNECTIONS,
            warmup: self.warmup,
            measured: self.measured,
        };
        let peak = self.load(&urls, &orders)?;

        orders.in_flight = CALLERS;
        orders.rate = Some((peak.accepted_per_s * 2.0) as u32);
        orders.warmup = FLOOD_WARMUP;
        orders.measured = orders.measured.max(FLOOD_LEAST);
        let meter = Meter::of(&trial)?;
        let (flood, seen) = self.watched(&trial, &urls, &orders)?;
        let cpu = meter.read([&flood])?;

        let audit = Some(trial.end(&self.runtime, Totals::of([&peak, &flood]))?);
        let mut measured = Measured {
            load: flood,
            audit,
            cpu,
            offered_per_s: orders.rate.map(f64::from),
            ..Measured::default()
        };
        seen.note(&mut measured);
        measured.details.insert("peak_per_s", peak.accepted_per_s);
        Ok(measured)
    }

    /// Runs the flood and looks on.
    fn watched(
        &self,
        trial: &Trial,
        urls: &[&str],
        orders: &Orders,
    ) -> anyhow::Result<(crate::support::load::Load, Seen)> {
        let pid = *trial.pids().first().context("there is a server")?;
        let over = CancellationToken::new();
        let reading = self.runtime.spawn(read(urls[0].to_owned(), over.clone()));
        let watching = self.runtime.spawn(watch(urls[0].to_owned(), over.clone()));
        let ended = AtomicBool::new(false);
        let (load, memory) = thread::scope(|scope| {
            let looking = scope.spawn(|| memory(pid, orders.warmup, &ended));
            let load = self.load(urls, orders);
            // Nobody orders any more: what is not heard from here on is no silence.
            over.cancel();
            ended.store(true, Ordering::Relaxed);
            (load, looking.join())
        });
        // Without it the others have nothing to tell, or only what came of its failure.
        let load = load?;
        let seen = Seen {
            reads: self.runtime.block_on(reading)?.context("GetStock")?,
            changes: self.runtime.block_on(watching)?.context("WatchStock")?,
            memory: memory.map_err(|_| anyhow::anyhow!("the look at memory panicked"))??,
        };
        Ok((load, seen))
    }
}

/// How often something came, and the longest that one had to wait for it.
#[derive(Debug, Default)]
struct Answers {
    count: u64,
    failures: u64,
    worst: Duration,
}

struct Seen {
    reads: Answers,
    changes: Answers,
    /// Of the first third of the flood and of the last, on average.
    memory: (f64, f64),
}

impl Seen {
    fn note(&self, measured: &mut Measured) {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        measured.details.extend([
            ("reads", self.reads.count as f64),
            ("reads_failed", self.reads.failures as f64),
            ("read_worst_ms", ms(self.reads.worst)),
            ("watch_changes", self.changes.count as f64),
            ("watch_interruptions", self.changes.failures as f64),
            ("watch_gap_worst_ms", ms(self.changes.worst)),
            ("memory_first_third_bytes", self.memory.0),
            ("memory_last_third_bytes", self.memory.1),
        ]);
    }
}

async fn read(url: String, over: CancellationToken) -> anyhow::Result<Answers> {
    let client = Client::connect(&url, 1).await?;
    let mut answers = Answers::default();
    while !over.is_cancelled() {
        let request = GetStockRequest {
            sku: SKU.to_owned(),
            ..GetStockRequest::default()
        };
        let asked = Instant::now();
        match client.get_stock(request).await {
            Ok(_) => answers.count += 1,
            Err(_) => answers.failures += 1,
        }
        answers.worst = answers.worst.max(asked.elapsed());
        sleep(READ_INTERVAL).await;
    }
    Ok(answers)
}

async fn watch(url: String, over: CancellationToken) -> anyhow::Result<Answers> {
    let client = Client::connect(&url, 1).await?;
    let level = StockKey {
        sku: SKU.to_owned(),
        ..StockKey::default()
    };
    let mut watch = client.watch(WatchTargets::levels([level]));
    let mut silence = Silence::begin(Instant::now());
    let mut failures = 0;
    while let Some(event) = over.run_until_cancelled(watch.next()).await {
        match event? {
            WatchEvent::Changes { .. } => silence.change(Instant::now()),
            WatchEvent::Synced => silence.synced(Instant::now()),
            WatchEvent::Goodbye { .. } | WatchEvent::Interrupted { .. } => failures += 1,
            WatchEvent::Started { .. } | WatchEvent::Heartbeat => {}
        }
    }
    Ok(Answers {
        count: silence.changes,
        failures,
        worst: silence.longest_until(Instant::now()),
    })
}

/// Memory of the first third after `warmup` and of the last one, on average.
fn memory(pid: u32, warmup: Duration, ended: &AtomicBool) -> anyhow::Result<(f64, f64)> {
    thread::sleep(warmup);
    let mut samples = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        samples.push(cpu::resident_bytes(pid)? as f64);
        thread::sleep(MEMORY_INTERVAL);
    }
    let third = samples.len() / 3;
    ensure!(third > 0, "the flood was too short to look at memory");
    let mean = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len() as f64;
    Ok((
        mean(&samples[..third]),
        mean(&samples[samples.len() - third..]),
    ))
}

/// The address in a URL of the bench's own PostgreSQL, and the name of the database.
fn split(url: &str) -> anyhow::Result<(SocketAddr, &str)> {
    let (_, rest) = url.split_once('@').context("a URL has a user")?;
    let (addr, name) = rest.split_once('/').context("a URL has a path")?;
    Ok((addr.parse()?, name))
}
