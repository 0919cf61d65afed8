//! One measurement: a fresh database, servers, a reader, orders, the books.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::reader::{Finished, Lag, Spec, Window, Work};
use crate::readers::Reader;
use crate::subjects::Subject;
use crate::support::cpu;
use crate::support::load::{self, Load, Orders};
use crate::support::processes::Server;
use crate::support::stock::Stocks;
use crate::support::stores::{Audit, Database, StoreKind};
use crate::support::trial::Trial;
use crate::truth;

/// What all streams may take to be synced for the first time.
pub(crate) const SYNCED_LIMIT: Duration = Duration::from_secs(120);

/// How much longer orders flow than the reader counts: both start and end a process.
const ORDERS_SLACK: Duration = Duration::from_millis(700);

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// By the names that [`crate::rows::Row`] explains.
    pub(crate) values: BTreeMap<&'static str, f64>,
    pub(crate) violations: u64,
    /// The first of them in words, and whatever else should not be.
    pub(crate) problems: Vec<String>,
    /// None where nothing was ordered.
    pub(crate) audit: Option<Audit>,
}

impl Measured {
    pub(crate) fn set(&mut self, name: &'static str, value: f64) {
        self.values.insert(name, value);
    }

    /// What came while it was measured.
    pub(crate) fn window(&mut self, window: &Window) {
        self.set("messages_per_s", window.messages as f64 / window.seconds);
        self.set("stream_messages_least", window.messages_least as f64);
        self.set("stream_messages_most", window.messages_most as f64);
        self.set("message_bytes", window.message_bytes as f64);
    }

    /// How late it came.
    pub(crate) fn lag(&mut self, lag: Option<Lag>) {
        let Some(lag) = lag else { return };
        self.values.extend([
            ("p50_ms", lag.p50_ms),
            ("p90_ms", lag.p90_ms),
            ("p99_ms", lag.p99_ms),
            ("p99_9_ms", lag.p99_9_ms),
            ("max_ms", lag.max_ms),
        ]);
    }

    /// What the orders of an open loop say of themselves.
    pub(crate) fn ordered(&mut self, load: &Load) {
        self.problems.extend(load.problem());
    }

    /// What the reader found in the end. Streams that end and come back keep every
    /// promise, but what was measured is not what it seems to be.
    pub(crate) fn finished(&mut self, finished: Finished) {
        if finished.ended > 0 {
            let (ended, ends) = (finished.ended, finished.ends.join("; "));
            let problem = format!("{ended} streams ended while they were measured: {ends}");
            self.problems.push(problem);
        }
        self.checked(finished);
    }

    /// As [`Self::finished`], where streams were made to end.
    pub(crate) fn checked(&mut self, finished: Finished) {
        self.set("streams_opened", finished.streams as f64);
        self.violations += finished.violations;
        self.problems.extend(finished.examples);
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, value) in &self.values {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{comma}{name} {value:.2}")?;
        }
        if self.violations > 0 {
            write!(f, ", {} VIOLATIONS", self.violations)?;
        }
        match &self.audit {
            Some(audit) if !audit.problems.is_empty() => f.write_str(", THE BOOKS DO NOT BALANCE"),
            _ => Ok(()),
        }
    }
}

/// What measurements share.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    /// Where children run, so that no stockroom.toml of the caller's is read.
    pub(crate) folder: TempDir,
    pub(crate) store: StoreKind,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    stocks: Stocks,
}

impl Bench {
    /// Prepares to measure on `store`, for `measured` after `warmup`.
    ///
    /// # Errors
    /// There is no room for files.
    pub(crate) fn new(
        store: StoreKind,
        warmup: Duration,
        measured: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            // A thread behind this one, which waits for children.
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            folder: tempfile::Builder::new()
                .prefix("stockroom-bench-")
                .tempdir()?,
            store,
            warmup,
            measured,
            stocks: Stocks::default(),
        })
    }

    /// How PostgreSQL keeps its promise; none when it was not measured.
    pub(crate) fn postgres_settings(&self) -> Option<&str> {
        self.stocks.postgres_settings()
    }

    /// Measures `subject` once.
    ///
    /// # Errors
    /// Something does not start, does not end, or does not answer. Violations and books
    /// that do not balance are part of the result.
    pub(crate) fn measure(&mut self, subject: Subject) -> anyhow::Result<Measured> {
        match subject {
            Subject::Idle => self.idle(),
            Subject::BareIdle => self.bare_idle(),
            Subject::Fanout => self.fanout(),
            Subject::BareFanout => self.bare_fanout(),
            Subject::Levels => self.lag(1),
            Subject::Instances => self.lag(2),
            Subject::HotAlone => self.hot_alone(),
            Subject::Hot => self.hot(),
            Subject::Snapshot => self.snapshot(),
            Subject::Storm => self.storm(crate::storm::End::Asked),
            Subject::StormKilled => self.storm(crate::storm::End::Killed),
        }
    }

    /// A copy of the stocked database and the units in it.
    pub(crate) fn copy(&mut self) -> anyhow::Result<(Database, i64)> {
        self.stocks
            .copy(&self.runtime, self.folder.path(), self.store)
    }

    /// A server on `database`.
    pub(crate) fn serve(
        &self,
        database: &Database,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Server> {
        let folder = self.folder.path();
        Server::stockroom(&self.runtime, folder, &database.url(), settings)
    }

    /// So many servers on a fresh copy of the stocked database.
    pub(crate) fn trial(
        &mut self,
        instances: usize,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Trial> {
        let (database, opening_units) = self.copy()?;
        let servers: anyhow::Result<Vec<_>> = (0..instances)
            .map(|_| self.serve(&database, settings))
            .collect();
        Ok(Trial::new(database, opening_units, servers?))
    }

    /// The floor, with a new value so many times a second.
    pub(crate) fn bare(&self, newer_per_s: u32) -> anyhow::Result<Server> {
        let role = format!("--serve-bare={newer_per_s}");
        Server::own(&self.runtime, self.folder.path(), &role)
    }

    /// A reader of the server at `url` whose streams are synced.
    pub(crate) fn reader(
        &self,
        url: &str,
        connections: usize,
        work: Work,
    ) -> anyhow::Result<Reader> {
        let url = url.to_owned();
        let spec = Spec {
            url,
            connections,
            work,
        };
        let reader = Reader::start(self.folder.path(), &spec)?;
        if matches!(work, Work::Watch { .. }) {
            reader.synced(SYNCED_LIMIT)?;
        }
        Ok(reader)
    }

    /// Lets the reader count, and notes what it takes of each message's processor time
    /// and what the servers do.
    pub(crate) fn window(
        &self,
        reader: &mut Reader,
        servers: &[u32],
        measured: &mut Measured,
    ) -> anyhow::Result<Window> {
        let used = |reader: &Reader| -> anyhow::Result<(Duration, Duration)> {
            let mut used = Duration::ZERO;
            for pid in servers {
                used += cpu::used(*pid)?;
            }
            Ok((used, reader.cpu()?))
        };
        let before = used(reader)?;
        let window = reader.window(self.measured)?;
        let after = used(reader)?;
        let messages = window.messages.max(1) as f64;
        for (name_us, name_percent, used) in [
            (
                "server_us_per_message",
                "server_core_percent",
                after.0.saturating_sub(before.0),
            ),
            (
                "reader_us_per_message",
                "reader_core_percent",
                after.1.saturating_sub(before.1),
            ),
        ] {
            measured.set(name_us, used.as_secs_f64() * 1e6 / messages);
            measured.set(name_percent, used.as_secs_f64() / window.seconds * 100.0);
        }
        measured.window(&window);
        Ok(window)
    }

    /// `orders` for as long as a window takes, warm-up included.
    pub(crate) fn orders(&self, orders: Orders) -> Orders {
        Orders {
            warmup: self.warmup,
            measured: self.measured + ORDERS_SLACK,
            ..orders
        }
    }

    /// Sends `orders` to the server at `url`.
    pub(crate) fn load(&self, url: &str, orders: &Orders) -> anyhow::Result<Load> {
        let limit = orders.warmup + orders.measured + load::GRACE;
        load::run(&[url], self.folder.path(), &orders.arguments(), limit)
    }

    /// Sends `orders` to the server at `url`, and once they have warmed up lets the
    /// reader count.
    pub(crate) fn watched_load(
        &self,
        url: &str,
        orders: &Orders,
        reader: &mut Reader,
        servers: &[u32],
        measured: &mut Measured,
    ) -> anyhow::Result<(Load, Window)> {
        thread::scope(|scope| {
            let load = scope.spawn(|| self.load(url, orders));
            thread::sleep(self.warmup);
            let window = self.window(reader, servers, measured);
            match load.join() {
                Ok(load) => Ok((load?, window?)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Lets the reader check everything against what really happened to the first
    /// `levels` products.
    pub(crate) fn finish(
        &self,
        reader: Reader,
        database: &Database,
        levels: usize,
    ) -> anyhow::Result<Finished> {
        let path = self.folder.path().join("truth");
        truth::write(database, &self.runtime, levels, &path)?;
        reader.finish(Some(&path))
    }
}
