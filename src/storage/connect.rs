//! Opening the store: pools, their settings, and SQLite's lock file.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::pool::PoolConnectionMetadata;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::query;
use sea_orm::sqlx::sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, SqlxError};

use super::incarnation::{Incarnation, unusable};
use super::pool::{IDLE_BEFORE_TEST, Pool};
use super::replicas::Replicas;
use super::wal::Wal;
use super::{Access, Store};
use crate::config::StoreConfig;

/// Readers beside SQLite's one writer. Reads are short and the file is cached.
const SQLITE_READERS_MAX: u32 = 4;

/// How long SQLite waits for a lock. Only a reader that checkpoints can hold one.
pub(super) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What every session is set to.
const SESSION: [(&str, &str); 9] = [
    // A statement that has waited for a row must see it as it is now, and what is read after
    // a lock must be what the lock waited for, whatever is the database's default.
    ("default_transaction_isolation", "read committed"),
    // How our statements are planned: once, and always as look-ups in an index,
    // which every one of them has. Left alone PostgreSQL would keep a plan that it made
    // while a table was empty, and scan the table from end to end when it is not.
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    // Would gather and sort all that a page of a list is the beginning of.
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // Compiling a plan takes longer than running any of them, and so does starting workers.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    // Migrations ask for tables "if not exists", and are told when they do.
    ("client_min_messages", "warning"),
];

/// Where commits are not flushed before they are answered, they are for us: after a crash that
/// takes some of them back, what is remembered of a level would be of no database. What
/// waits for more than a flush, as for a standby, stays as it is.
const FLUSH_COMMITS: &str = "\
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// What PostgreSQL's own timeouts get before a silent network is suspected.
const MARGIN: Duration = Duration::from_secs(1);

/// What SQLite's writer may keep of the file in memory, as `cache_size` has it
/// (negative: KiB). The default of 2 MiB, which does for the readers, would read
/// index pages back from the file for every batch. More is no better: a commit that
/// split a page walks the whole cache's hash table (`balance_nonroot` passes a page
/// through the highest number there is, which `pcache1Truncate` then cleans up after).
const SQLITE_WRITER_CACHE_KIB: &str = "-16384";

/// The page size of a new SQLite file. A random request_id makes each order write
/// a page of its own into the WAL; half the default writes half as much.
const SQLITE_PAGE_BYTES: u32 = 2_048;

/// Pages in the WAL (64 MiB of them) before a commit copies them into the database
/// file, which costs that commit two more flushes. The default of 1,000 does so
/// every other batch. One that is twice as long has readers in its way, which `Wal` waits for.
const SQLITE_CHECKPOINT_PAGES: &str = "32000";

/// Statements that a connection keeps prepared. PostgreSQL is sent fewer. On SQLite the 12
/// that store lists have up to 22 lengths each, which makes 264 texts: the same callers use
/// a few of them again and again, and what was used longest ago is prepared anew.
const STATEMENT_CACHE: usize = 192;

impl Store {
    /// Opens the store that `config.url` names. PostgreSQL is connected to when
    /// it is first used, so that a server can start before its database.
    ///
    /// # Errors
    /// The URL is of another kind, the SQLite file cannot be opened, or another
    /// process has it open for writing.
    pub async fn open(config: &StoreConfig, access: Access) -> anyhow::Result<Self> {
        match path_of(&config.url) {
            Some(path) => open_sqlite(config, &path, access).await,
            None => open_postgres(config).await,
        }
    }
}

/// The file that a SQLite URL names; none for other URLs.
fn path_of(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
}

async fn open_sqlite(config: &StoreConfig, path: &Path, access: Access) -> anyhow::Result<Store> {
    let lock = match access {
        Access::Write => Some(Arc::new(lock_beside(path)?)),
        Access::Read => None,
    };
    let writer = sqlite_pool(config, 1, access)
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    let readers = sqlite_pool(config, SQLITE_READERS_MAX, access)
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    // One and the same, which everything that writes waits for.
    let writer = Pool::fixed(writer);
    Ok(Store {
        committers: writer.clone(),
        writer,
        readers: Pool::fixed(readers),
        incarnation: Incarnation::default(),
        replicas: None,
        wal: lock.as_ref().map(|_| Arc::new(Wal::of(path))),
        _lock: lock,
    })
}

/// Two servers on one file would each believe to be its only writer.
fn lock_beside(path: &Path) -> anyhow::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = File::create(&name).with_context(|| format!("cannot create {}", name.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another stockroom has {} open (it holds {}); SQLite serves one process, PostgreSQL many",
            path.display(),
            name.display()
        ),
        Err(TryLockError::Error(e)) => {
            Err(e).with_context(|| format!("cannot lock {}", name.display()))
        }
    }
}

async fn sqlite_pool(
    config: &StoreConfig,
    connections_max: u32,
    access: Access,
) -> anyhow::Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(config.url.clone());
    options
        .max_connections(connections_max)
        .min_connections(1)
        .acquire_timeout(config.acquire_timeout())
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |options| {
            let options = options
                .busy_timeout(SQLITE_BUSY_TIMEOUT)
                .statement_cache_capacity(STATEMENT_CACHE);
            let options = match connections_max {
                1 => options.pragma("cache_size", SQLITE_WRITER_CACHE_KIB),
                _ => options,
            };
            match access {
                Access::Read => options.read_only(true),
                Access::Write => options
                    .create_if_missing(true)
                    .page_size(SQLITE_PAGE_BYTES)
                    .journal_mode(SqliteJournalMode::Wal)
                    // An OK means that the order is on disk, so every commit is flushed.
                    .synchronous(SqliteSynchronous::Full)
                    .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES),
            }
        });
    options.map_sqlx_sqlite_pool_opts(|pool| pool.before_acquire(is_out_of_transaction));
    Ok(Database::connect(options).await?)
}

/// A full disk ends a transaction in SQLite that sqlx goes on to believe in, and nothing
/// would begin on that connection again: it is closed, and another is opened.
fn is_out_of_transaction(
    connection: &mut SqliteConnection,
    _: PoolConnectionMetadata,
) -> BoxFuture<'_, Result<bool, SqlxError>> {
    Box::pin(std::future::ready(Ok(!connection.is_in_transaction())))
}

/// How every connection to PostgreSQL is set up.
fn session(config: &StoreConfig) -> impl Fn(PgConnectOptions) -> PgConnectOptions + Clone + use<> {
    let statement_timeout_ms = config.statement_timeout_ms.to_string();
    move |options| {
        options
            .application_name("stockroom")
            .statement_cache_capacity(STATEMENT_CACHE)
            .options([
                ("statement_timeout", statement_timeout_ms.as_str()),
                // A transaction of ours never waits for a caller, so one that idles
                // as long as a statement may run has lost its server.
                (
                    "idle_in_transaction_session_timeout",
                    statement_timeout_ms.as_str(),
                ),
            ])
            .options(SESSION)
    }
}

async fn open_postgres(config: &StoreConfig) -> anyhow::Result<Store> {
    // Asked first, since SeaORM's error would show the password.
    PgConnectOptions::from_str(&config.url).context("store.url is no usable PostgreSQL URL")?;
    let session = session(config);
    let mut options = ConnectOptions::new(config.url.clone());
    options
        .max_connections(config.pool_max)
        .acquire_timeout(config.acquire_timeout())
        .connect_lazy(true)
        // A round trip for each acquire would be the dearest part of a short read. A
        // busy connection proves itself; an idle one may have lost its server.
        .test_before_acquire_if_idle_for(IDLE_BEFORE_TEST)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(session.clone());
    let incarnation = Incarnation::default();
    let asked = incarnation.clone();
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let asked = asked.clone();
        pool.after_connect(move |connection, _| {
            let asked = asked.clone();
            Box::pin(async move {
                asked.ask(&mut *connection).await?;
                let flush = query(FLUSH_COMMITS).persistent(false);
                let flushed = flush.execute(connection).await.inspect_err(unusable);
                flushed.map(|_| ())
            })
        })
    });
    // A connection, its BEGIN and a statement may each take all of their time.
    let patience = config.acquire_timeout() + config.statement_timeout() + MARGIN;
    let pool = async || {
        let pool = Pool::renewable(options.clone(), patience).await;
        pool.context("store.url is no usable PostgreSQL URL")
    };
    Ok(Store {
        committers: pool().await?,
        writer: pool().await?,
        readers: pool().await?,
        incarnation,
        replicas: Replicas::of(config, session).await?.map(Arc::new),
        wal: None,
        _lock: None,
    })
}
