//! One measurement: a fresh database, a server, a load, the books.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::invoices;
use crate::processes::{self, Load, Server};
use crate::stores::{Audit, Database, StoreKind, postgres_settings};

/// Connections that the calls of a load share.
const CONNECTIONS: usize = 8;

/// The server's connections to PostgreSQL.
const POOL_MAX: &str = "8";

/// Products of every store, however few of them a case orders: a shop has
/// many, and PostgreSQL plans for tables as large as they have been.
const PRODUCTS: usize = 10_000;

/// What a load may take beyond its own time: its calls under way have
/// deadlines of 10 s.
const LOAD_GRACE: Duration = Duration::from_secs(30);

/// What receiving stock of every product may take.
const STOCK_UP_LIMIT: Duration = Duration::from_secs(120);

/// What the orders look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// One line, everybody wants the same product
    Hot,
    /// One line over 10,000 products
    Spread,
    /// The line counts of real invoices over 10,000 products
    Baskets,
}

impl Case {
    pub(crate) const ALL: [Self; 3] = [Self::Hot, Self::Spread, Self::Baskets];

    /// What it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Spread => "spread",
            Self::Baskets => "baskets",
        }
    }

    /// Products that are ordered.
    fn skus(self) -> usize {
        match self {
            Self::Hot => 1,
            Self::Spread | Self::Baskets => PRODUCTS,
        }
    }
}

/// Who answers the orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nobody: they are sent back.
    Echo,
    /// Stockroom on `store`.
    Store { store: StoreKind, batching: bool },
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) case: Case,
    pub(crate) target: Target,
    pub(crate) in_flight: usize,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = self.case.name();
        match self.target {
            Target::Echo => write!(f, "echo of {case}")?,
            Target::Store { store, batching } => {
                let batched = if batching { "batched" } else { "unbatched" };
                write!(f, "{case} on {}, {batched}", store.name())?;
            }
        }
        write!(f, ", {} in flight", self.in_flight)
    }
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) load: Load,
    /// None for an echo, which keeps no books.
    pub(crate) audit: Option<Audit>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} orders/s", self.load.accepted_per_s)?;
        match &self.audit {
            Some(audit) if !audit.problems.is_empty() => f.write_str(", THE BOOKS DO NOT BALANCE"),
            Some(audit) => write!(f, ", {:.1} a commit", audit.orders_per_commit),
            None => Ok(()),
        }
    }
}

/// A database with stock of every product and nothing sold, to copy.
struct Stocked {
    database: Database,
    units: i64,
}

/// What measurements share.
pub(crate) struct Bench {
    runtime: Runtime,
    /// Where children run, so that no stockroom.toml of the caller's is read.
    folder: TempDir,
    lines_file: PathBuf,
    warmup: Duration,
    measured: Duration,
    stocked: HashMap<StoreKind, Stocked>,
    postgres_settings: Option<String>,
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
            stocked: HashMap::new(),
            postgres_settings: None,
        })
    }

    /// How PostgreSQL keeps its promise; none when it was not measured.
    pub(crate) fn postgres_settings(&self) -> Option<&str> {
        self.postgres_settings.as_deref()
    }

    /// Measures `setup` once.
    ///
    /// # Errors
    /// Something does not start, does not end, or does not answer. Books that
    /// do not balance are part of the result.
    pub(crate) fn measure(&mut self, setup: Setup) -> anyhow::Result<Measured> {
        let measured = match setup.target {
            Target::Echo => self.measure_echo(setup),
            Target::Store { store, batching } => self.measure_store(setup, store, batching),
        };
        measured.with_context(|| setup.to_string())
    }

    fn measure_echo(&self, setup: Setup) -> anyhow::Result<Measured> {
        let server = Server::echo(&self.runtime, self.folder.path())?;
        let load = self.load(&server, setup)?;
        server.stop()?;
        Ok(Measured { load, audit: None })
    }

    fn measure_store(
        &mut self,
        setup: Setup,
        store: StoreKind,
        batching: bool,
    ) -> anyhow::Result<Measured> {
        let stocked = self.stocked(store)?;
        let (database, opening_units) = (stocked.database.copy()?, stocked.units);
        let server = self.serve(&database, batching)?;
        let load = self.load(&server, setup)?;
        // The books are read from what a stopped server has left on disk.
        server.stop()?;
        let audit = self
            .runtime
            .block_on(database.audit(opening_units, &load))?;
        let audit = Some(audit);
        Ok(Measured { load, audit })
    }

    /// The database to copy. The first time takes the time to receive the stock.
    fn stocked(&mut self, store: StoreKind) -> anyhow::Result<&Stocked> {
        if !self.stocked.contains_key(&store) {
            let stocked = self.stock_up(store).context("cannot stock up")?;
            if store == StoreKind::Postgres {
                self.postgres_settings = Some(postgres_settings(&stocked.database.url())?);
            }
            self.stocked.insert(store, stocked);
        }
        Ok(&self.stocked[&store])
    }

    fn stock_up(&self, store: StoreKind) -> anyhow::Result<Stocked> {
        let database = self.runtime.block_on(Database::migrated(store))?;
        let server = self.serve(&database, true)?;
        let arguments = [
            format!("--skus={PRODUCTS}"),
            "--seconds=0".to_owned(),
            "--warmup-seconds=0".to_owned(),
        ];
        processes::load(&server, self.folder.path(), &arguments, STOCK_UP_LIMIT)?;
        server.stop()?;
        database.settle()?;
        let units = self.runtime.block_on(database.units_on_hand())?;
        Ok(Stocked { database, units })
    }

    fn serve(&self, database: &Database, batching: bool) -> anyhow::Result<Server> {
        let mut settings = vec![("STOCKROOM_STORE_POOL_MAX", POOL_MAX)];
        if !batching {
            settings.push(("STOCKROOM_ENGINE_BATCH_ORDERS_MAX", "1"));
        }
        Server::stockroom(
            &self.runtime,
            self.folder.path(),
            &database.url(),
            &settings,
        )
    }

    fn load(&self, server: &Server, setup: Setup) -> anyhow::Result<Load> {
        let mut arguments = vec![
            "--no-setup".to_owned(),
            format!("--connections={CONNECTIONS}"),
            format!("--in-flight={}", setup.in_flight),
            format!("--skus={}", setup.case.skus()),
            format!("--warmup-seconds={}", self.warmup.as_secs_f64()),
            format!("--seconds={}", self.measured.as_secs_f64()),
        ];
        if setup.case == Case::Baskets {
            arguments.push(format!("--lines-file={}", self.lines_file.display()));
        }
        let limit = self.warmup + self.measured + LOAD_GRACE;
        processes::load(server, self.folder.path(), &arguments, limit)
    }
}
