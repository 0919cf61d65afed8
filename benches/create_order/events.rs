//! What it costs orders that Kafka is told of them.
//!
//! `hot` again, with events on and a broker on the same machine. The broker takes
//! processor time that orders do not get, which is its own affair; what is left of the
//! loss is ours: encoding, the outbox, the relay. Two cores that give a share to the
//! broker could take as many orders fewer, so the loss beside it is 1 − (on ÷ off) ÷ (1 −
//! share). How far the relay is behind when the load ends, and how long it takes to
//! catch up, is looked at in the outbox.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use stockroom::kafka::{Topics, make_topics};

use crate::bench::{Bench, Measured};
use crate::meter::Meter;
use crate::setup::{Served, Setup};
use crate::support::cpu;
use crate::support::servers::kafka::{self, Kafka};
use crate::support::stores::{Totals, sql};
use crate::support::trial::Trial;

/// Partitions of each topic.
const PARTITIONS: i32 = 4;

/// A JVM that is set up for work. The tests' compiles as little as it can.
const JVM: [&str; 4] = [
    "-Xmx512m",
    "-Xms256m",
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
];

/// How long the relay may take to empty the outbox.
const DRAIN_MAX: Duration = Duration::from_secs(120);

impl Bench {
    /// Measures `hot` with events on; Kafka is there.
    pub(crate) fn events(&mut self, setup: Setup, served: Served) -> anyhow::Result<Measured> {
        let broker = self.broker.get_or_insert_with(|| Kafka::start_in(&JVM));
        let (brokers, pid, prefix) = (broker.brokers(), broker.pid(), kafka::prefix());
        let topics = Topics::new(&prefix);
        let made = self
            .runtime
            .block_on(make_topics(&brokers, &topics, PARTITIONS))?;
        made.into_iter().collect::<Result<Vec<String>, _>>()?;
        let (database, opening_units) = self.copy(served.store)?;
        let url = database.url();
        let settings = [
            ("STOCKROOM_EVENTS_BROKERS", brokers),
            ("STOCKROOM_EVENTS_TOPIC_PREFIX", prefix),
        ];
        let server = self.serve(&url, served, &settings)?;
        let trial = Trial::new(database, opening_units, vec![server]);
        let orders = self.orders(setup, None, served.instances);

        let meter = Meter::of(&trial)?;
        let (began, before) = (Instant::now(), cpu::used(pid)?);
        let load = self.load(&trial.urls(), &orders)?;
        let used = cpu::used(pid)?.saturating_sub(before);
        let took = began.elapsed();
        let cpu = meter.read([&load])?;
        let (left, drained) = drain(&url)?;

        let audit = Some(trial.end(&self.runtime, Totals::of([&load]))?);
        let cores = std::thread::available_parallelism()?.get() as f64;
        let share = used.as_secs_f64() / (took.as_secs_f64() * cores);
        let each = used.as_secs_f64() * 1e6 / load.accepted_total.max(1) as f64;
        let mut measured = Measured {
            load,
            audit,
            cpu,
            ..Measured::default()
        };
        measured.details.extend([
            ("broker_cores_percent", share * 100.0),
            ("broker_us", each),
            ("relay_commits_behind", left),
            ("relay_catches_up_ms", drained.as_secs_f64() * 1_000.0),
        ]);
        Ok(measured)
    }
}

/// What is in the outbox, and how long it takes until nothing is.
fn drain(url: &str) -> anyhow::Result<(f64, Duration)> {
    let began = Instant::now();
    let left = || -> anyhow::Result<f64> {
        let count = sql(url, "SELECT count(*) FROM outbox")?;
        count.trim().parse().context("a count is a number")
    };
    let first = left()?;
    let mut now = first;
    while now > 0.0 {
        ensure!(began.elapsed() < DRAIN_MAX, "the outbox is not emptied");
        now = left()?;
    }
    Ok((first, began.elapsed()))
}
