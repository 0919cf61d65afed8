//! Databases to measure on, and their books.
//!
//! Stock is received once for each kind; every measurement gets a copy of that
//! database, so that none meets what another left behind and none waits for
//! 10,000 receipts.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use stockroom::config::{Config, StoreConfig};
use stockroom::domain::StockLevel;
use stockroom::storage::{Access, LevelFilter, Store};
use tempfile::TempDir;

use super::load::Load;
use super::servers::postgres;

/// Every row is read to check the books, which may take longer than any
/// statement of the service.
const AUDIT_TIMEOUT_MS: u64 = 600_000;

/// More products than any case has.
const LEVELS_MAX: usize = 1_000_000;

const SQLITE_FILE: &str = "stockroom.db";

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum StoreKind {
    Sqlite,
    Postgres,
}

impl StoreKind {
    /// What it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A database of its own, gone when it is dropped.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(postgres::Database),
}

impl Database {
    /// An empty one with Stockroom's schema.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) async fn migrated(kind: StoreKind) -> anyhow::Result<Self> {
        let database = match kind {
            StoreKind::Sqlite => Self::Sqlite(sqlite_folder()?),
            StoreKind::Postgres => Self::Postgres(postgres::database()),
        };
        let store = Store::open(&database.config(), Access::Write).await?;
        store.migrate().await?;
        store.close().await;
        Ok(database)
    }

    /// Its URL, as the configuration takes it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => {
                format!("sqlite://{}", folder.path().join(SQLITE_FILE).display())
            }
            Self::Postgres(database) => database.url.clone(),
        }
    }

    /// A copy. Nobody may be connected to the original.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn copy(&self) -> anyhow::Result<Self> {
        match self {
            Self::Sqlite(original) => {
                let copy = sqlite_folder()?;
                let from = original.path().join(SQLITE_FILE);
                // The writer that closes the file last has emptied the log beside it.
                let log = fs::metadata(format!("{}-wal", from.display()));
                let bytes = log.map_or(0, |log| log.len());
                ensure!(bytes == 0, "{} is still being written", from.display());
                fs::copy(from, copy.path().join(SQLITE_FILE))?;
                Ok(Self::Sqlite(copy))
            }
            Self::Postgres(original) => {
                let copy = original.copy();
                // What was written so far shall not be flushed while it is measured.
                sql(&copy.url, "CHECKPOINT")?;
                Ok(Self::Postgres(copy))
            }
        }
    }

    /// Leaves a freshly filled database as one that has been in use for a
    /// while, which PostgreSQL's autovacuum sees to within a minute or so.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(database) => sql(&database.url, "VACUUM (ANALYZE)").map(drop),
        }
    }

    /// Units on hand in all levels together.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn units_on_hand(&self) -> anyhow::Result<i64> {
        let levels = self.levels().await?;
        Ok(levels.iter().map(|level| level.on_hand).sum())
    }

    /// All levels, in order.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn levels(&self) -> anyhow::Result<Vec<StockLevel>> {
        let store = Store::open(&self.config(), Access::Read).await?;
        let page = store
            .list_levels(None, &LevelFilter::default(), LEVELS_MAX)
            .await?;
        store.close().await;
        Ok(page.levels)
    }

    /// Holds the books against what the loads were `told`. `opening_units` were on hand
    /// when it began; nobody else has written since.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn audit(&self, opening_units: i64, told: Totals) -> anyhow::Result<Audit> {
        let fall = opening_units - self.units_on_hand().await?;
        let store = Store::open(&self.config(), Access::Read).await?;
        let books = store
            .check_books()
            .await
            .context("cannot check the books")?;
        store.close().await;

        let mut problems = Vec::new();
        for rule in books.rules.iter().filter(|rule| rule.broken_by != 0) {
            problems.push(format!("{}: broken by {} rows", rule.rule, rule.broken_by));
        }
        let mut same = |what, have, want| {
            if have != want {
                problems.push(format!("{what}: {have}, but the load was told of {want}"));
            }
        };
        same("orders in the store", books.orders, told.orders);
        same("units sold by the ledger", books.units_sold, told.units);
        same("fall of on_hand", fall, told.units);
        let orders_per_commit = books.orders as f64 / books.order_commits as f64;
        Ok(Audit {
            problems,
            orders_per_commit,
        })
    }

    /// The process whose children are all of the database's; none of a database
    /// that has no process of its own.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) fn postmaster(&self) -> anyhow::Result<Option<u32>> {
        let Self::Postgres(database) = self else {
            return Ok(None);
        };
        let folder = sql(&database.url, "SHOW data_directory")?;
        let file = fs::read_to_string(Path::new(&folder).join("postmaster.pid"))?;
        let first = file.lines().next().context("postmaster.pid is empty")?;
        Ok(Some(first.trim().parse()?))
    }

    /// How to open it beside a server.
    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig {
            url: self.url(),
            statement_timeout_ms: AUDIT_TIMEOUT_MS,
            ..Config::default().store
        }
    }
}

/// What all loads on a database were told that they bought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    orders: i64,
    units: i64,
}

impl Totals {
    /// Of a load whose orders reserve: nothing has been taken.
    pub(crate) fn of_holds(load: &Load) -> Self {
        Self {
            orders: load.accepted_total,
            units: 0,
        }
    }

    /// Of `loads` together.
    pub(crate) fn of<'a>(loads: impl IntoIterator<Item = &'a Load>) -> Self {
        let mut totals = Self {
            orders: 0,
            units: 0,
        };
        for load in loads {
            totals.orders += load.accepted_total;
            totals.units += load.units_total;
        }
        totals
    }
}

/// What the books say after a measurement.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Whatever does not balance.
    pub(crate) problems: Vec<String>,
    /// How many orders shared a commit on average.
    pub(crate) orders_per_commit: f64,
}

/// How PostgreSQL keeps its promise, in its own words.
///
/// # Errors
/// The database failed.
pub(crate) fn postgres_settings(url: &str) -> anyhow::Result<String> {
    let mut settings = vec![format!("PostgreSQL {}", sql(url, "SHOW server_version")?)];
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        settings.push(format!("{name} = {}", sql(url, &format!("SHOW {name}"))?));
    }
    Ok(settings.join(", "))
}

/// Beside PostgreSQL's own folder, so that both stores flush to the same disk.
fn sqlite_folder() -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("stockroom-bench-")
        .tempdir();
    folder.context("cannot make a temporary folder")
}

/// What psql prints of `sql`.
///
/// # Errors
/// The database failed.
pub(crate) fn sql(url: &str, sql: &str) -> anyhow::Result<String> {
    let output = postgres::psql(url, sql);
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{sql}: {problem}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
