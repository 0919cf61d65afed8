//! One measurement: a fresh database, servers, a load, the books.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::bare;
use crate::invoices;
use crate::meter::{Cpu, Meter};
use crate::results::Results;
use crate::setup::{Course, Guard, Served, Setup, Shape, Target};
use crate::support::load::{self, Load, Orders};
use crate::support::processes::Server;
use crate::support::servers::kafka::Kafka;
use crate::support::stock::Stocks;
use crate::support::stores::{Audit, Database, StoreKind, Totals};
use crate::support::trial::Trial;

/// Connections that the calls of a load share.
const CONNECTIONS: usize = 8;

/// In an open loop orders that fell due while the first ones found everything cold
/// wait in a queue, which shall be gone before latencies count.
const OPEN_WARMUP_LEAST: Duration = Duration::from_secs(2);

/// SQLite's log grows until it has 64 MiB and is written over from then on, which is faster:
/// so goes a server that has been up for a while.
const SQLITE_WARMUP_LEAST: Duration = Duration::from_secs(3);

/// Unbatched, a warm-up names a third of 10,000 levels, and an order for one that the engine
/// does not know reads it first, which the bare client never does. Orders of this many lines
/// name them all within [`KNOWING`], so that a server is measured that has been up for a while.
const KNOWING_LINES: usize = 100;

const KNOWING: Duration = Duration::from_secs(1);

/// Baskets of one transaction of the bare client: what is asked for. The server's batches
/// are several times larger, and its ratio to this floor is the better for it.
const BARE_BASKETS: usize = 64;

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) load: Load,
    /// None for an echo, which keeps no books.
    pub(crate) audit: Option<Audit>,
    pub(crate) cpu: Cpu,
    /// Orders that were due each second; none in a closed loop.
    pub(crate) offered_per_s: Option<f64>,
    /// What this case alone has to say, by name.
    pub(crate) details: BTreeMap<&'static str, f64>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load {
            accepted_per_s,
            p50_ms,
            p99_ms,
            ..
        } = &self.load;
        write!(
            f,
            "{accepted_per_s:.0} orders/s, p50 {p50_ms:.2} p99 {p99_ms:.2} ms"
        )?;
        match &self.audit {
            Some(audit) if !audit.problems.is_empty() => f.write_str(", THE BOOKS DO NOT BALANCE"),
            Some(audit) => write!(f, ", {:.1} a commit", audit.orders_per_commit),
            None => Ok(()),
        }?;
        match self.load.not_sent {
            0 => Ok(()),
            not_sent => write!(f, ", {not_sent} NOT SENT"),
        }
    }
}

/// What measurements share.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    /// Where children run, so that no stockroom.toml of the caller's is read.
    pub(crate) folder: TempDir,
    lines_file: PathBuf,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    stocks: Stocks,
    /// Started when it is first needed; it gets faster with use.
    pub(crate) broker: Option<Arc<Kafka>>,
}

impl Bench {
    /// Prepares to measure for `measured` after `warmup`.
    ///
    /// # Errors
    /// The sample of invoices cannot be read, or there is no room for files.
    pub(crate) fn new(warmup: Duration, measured: Duration) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("stockroom-bench-")
            .tempdir()?;
        let lines_file = folder.path().join("line_counts");
        let mut text = String::new();
        for lines in invoices::line_counts()? {
            writeln!(text, "{lines}")?;
        }
        fs::write(&lines_file, text)?;
        Ok(Self {
            // A thread behind this one, which waits for children: whatever is
            // dropped in the meantime is closed all the same.
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            folder,
            lines_file,
            warmup,
            measured,
            stocks: Stocks::default(),
            broker: None,
        })
    }

    /// How PostgreSQL keeps its promise; none when it was not measured.
    pub(crate) fn postgres_settings(&self) -> Option<&str> {
        self.stocks.postgres_settings()
    }

    /// Measures `setup` once. What it depends on is taken from what is `known`.
    ///
    /// # Errors
    /// Something does not start, does not end, or does not answer. Books that
    /// do not balance are part of the result.
    pub(crate) fn measure(&mut self, setup: Setup, known: &Results) -> anyhow::Result<Measured> {
        let measured = self.measure_one(setup, known);
        measured.with_context(|| setup.to_string())
    }

    fn measure_one(&mut self, setup: Setup, known: &Results) -> anyhow::Result<Measured> {
        match (setup.target, setup.course) {
            (Target::Echo, _) => self.echo(setup),
            (
                Target::Bare {
                    guard,
                    batching,
                    connections,
                },
                _,
            ) => {
                let batch_orders = batch_orders(setup.shape, guard, batching, known)?;
                self.bare(setup.shape, guard, batch_orders, connections)
            }
            (Target::Store(served), Course::Closed | Course::Holds | Course::Confirms) => {
                self.store(setup, served, None)
            }
            (Target::Store(served), Course::PercentOfPeak(percent)) => {
                let peak = known.accepted(Setup::batched(setup.shape, served.store, served.guard));
                let peak = peak.context("the peak has not been measured")?;
                let rate = peak * f64::from(percent) / 100.0;
                self.store(setup, served, Some(rate as u32))
            }
            (Target::Store(served), Course::Overload) => self.overload(served),
            (Target::Store(served), Course::Events) => self.events(setup, served),
            (Target::Store(served), Course::Beside(crowd)) => self.beside(served, crowd),
        }
    }

    fn echo(&self, setup: Setup) -> anyhow::Result<Measured> {
        let server = Server::own(&self.runtime, self.folder.path(), "--serve-echo")?;
        let meter = Meter::start(vec![server.pid()], None)?;
        let load = self.load(&[&server.url], &self.orders(setup, None, 1))?;
        let cpu = meter.read([&load])?;
        server.stop()?;
        Ok(Measured {
            load,
            cpu,
            ..Measured::default()
        })
    }

    fn bare(
        &mut self,
        shape: Shape,
        guard: Guard,
        batch_orders: usize,
        connections: usize,
    ) -> anyhow::Result<Measured> {
        let (database, opening_units) = self.copy(StoreKind::Postgres)?;
        let spec = bare::Spec {
            url: database.url(),
            guard,
            batch_orders,
            connections,
            skus: shape.skus(),
            lines_file: (shape == Shape::Baskets).then(|| self.lines_file.clone()),
            warmup: self.warmup,
            measured: self.measured,
        };
        let meter = Meter::start(Vec::new(), database.postmaster()?)?;
        let load = bare::run(self.folder.path(), &spec)?;
        let cpu = meter.read([&load])?;
        let audit = database.audit(opening_units, Totals::of([&load]));
        let audit = Some(self.runtime.block_on(audit)?);
        Ok(Measured {
            load,
            audit,
            cpu,
            ..Measured::default()
        })
    }

    fn store(
        &mut self,
        setup: Setup,
        served: Served,
        rate: Option<u32>,
    ) -> anyhow::Result<Measured> {
        let trial = self.trial(served)?;
        let orders = self.orders(setup, rate, served.instances);
        let known = self.make_levels_known(setup, served, &trial)?;
        let meter = Meter::of(&trial)?;
        let load = self.load(&trial.urls(), &orders)?;
        let cpu = meter.read([&load])?;
        let totals = match setup.course {
            Course::Holds => Totals::of_holds(&load),
            _ => Totals::of(known.iter().chain([&load])),
        };
        let audit = Some(trial.end(&self.runtime, totals)?);
        Ok(Measured {
            load,
            audit,
            cpu,
            offered_per_s: rate.map(f64::from),
            ..Measured::default()
        })
    }

    /// Lets the servers meet every level once where the warm-up is too short for it.
    fn make_levels_known(
        &self,
        setup: Setup,
        served: Served,
        trial: &Trial,
    ) -> anyhow::Result<Option<Load>> {
        if setup.shape != Shape::Spread || served.batching {
            return Ok(None);
        }
        let wide = Orders {
            lines: KNOWING_LINES,
            warmup: Duration::ZERO,
            measured: KNOWING,
            ..self.orders(setup, None, served.instances)
        };
        self.load(&trial.urls(), &wide).map(Some)
    }

    /// Servers as `served` says on a fresh copy of the stocked database.
    pub(crate) fn trial(&mut self, served: Served) -> anyhow::Result<Trial> {
        let (database, opening_units) = self.copy(served.store)?;
        let url = database.url();
        let servers: anyhow::Result<Vec<_>> = (0..served.instances)
            .map(|_| self.serve(&url, served, &[]))
            .collect();
        Ok(Trial::new(database, opening_units, servers?))
    }

    /// A copy of the stocked database and the units in it. The first one takes the
    /// time to receive the stock.
    pub(crate) fn copy(&mut self, store: StoreKind) -> anyhow::Result<(Database, i64)> {
        self.stocks.copy(&self.runtime, self.folder.path(), store)
    }

    /// A server on the database at `url`, with `more` settings than `served` has.
    pub(crate) fn serve(
        &self,
        url: &str,
        served: Served,
        more: &[(&'static str, String)],
    ) -> anyhow::Result<Server> {
        let mut settings = vec![
            ("STOCKROOM_STORE_POOL_MAX", served.pool_max.to_string()),
            ("STOCKROOM_LOCKING_STRATEGY", served.guard.name().to_owned()),
        ];
        if !served.batching {
            settings.push(("STOCKROOM_ENGINE_BATCH_ORDERS_MAX", "1".to_owned()));
        }
        settings.extend(more.iter().cloned());
        Server::stockroom(&self.runtime, self.folder.path(), url, &settings)
    }

    pub(crate) fn orders(&self, setup: Setup, rate: Option<u32>, instances: usize) -> Orders {
        Orders {
            skus: setup.shape.skus(),
            lines: 1,
            lines_file: (setup.shape == Shape::Baskets).then(|| self.lines_file.clone()),
            in_flight: setup.in_flight,
            rate,
            connections: CONNECTIONS / instances,
            more: match setup.course {
                Course::Holds => &["--hold=86400"],
                Course::Confirms => &["--hold=86400", "--confirm"],
                _ => &[],
            },
            warmup: match (rate, setup.target) {
                (Some(_), _) => self.open_warmup(),
                (None, Target::Store(served)) if served.store == StoreKind::Sqlite => {
                    self.warmup.max(SQLITE_WARMUP_LEAST)
                }
                _ => self.warmup,
            },
            measured: self.measured,
        }
    }

    /// The warm-up of an open loop.
    pub(crate) fn open_warmup(&self) -> Duration {
        self.warmup.max(OPEN_WARMUP_LEAST)
    }

    /// Sends `orders` to the servers at `urls`.
    pub(crate) fn load(&self, urls: &[&str], orders: &Orders) -> anyhow::Result<Load> {
        let limit = orders.warmup + orders.measured + load::GRACE;
        load::run(urls, self.folder.path(), &orders.arguments(), limit)
    }
}

/// Batches as large as the server's own on average, so that both do the same work.
///
/// # Errors
/// They have not been measured.
fn batch_orders(
    shape: Shape,
    guard: Guard,
    batching: bool,
    known: &Results,
) -> anyhow::Result<usize> {
    if !batching {
        return Ok(1);
    }
    if shape == Shape::Baskets {
        return Ok(BARE_BASKETS);
    }
    let served = Setup::batched(shape, StoreKind::Postgres, guard);
    let orders = known.orders_per_commit(served);
    let orders = orders.context("the server's batches have not been measured")?;
    Ok((orders.round() as usize).max(1))
}
