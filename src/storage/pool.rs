//! A pool that can be replaced.
//!
//! When a network swallows packets in silence, a connection waits for an answer
//! for ever, and sqlx 0.9 counts it as taken even after its user has given up
//! (<https://github.com/launchbadge/sqlx/issues/4349>). So whoever waited longer
//! than the database itself would let a statement run replaces the whole pool, and so does
//! whoever finds that nobody was answered for as long; the old one is left to the operating
//! system's own timeouts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, Postgres};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbBackend, DbErr, QueryResult};
use tokio::time::timeout;

use super::StorageError;
use super::error::silence;
use super::raw::{RawPool, RawStatement, RawValue};
use crate::lock::lock;

/// How long a PostgreSQL connection may lie unused before it is tested again.
pub(super) const IDLE_BEFORE_TEST: Duration = Duration::from_secs(1);

/// How the connections of a pool are used at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Connections that work.
    pub in_use: u32,
    /// Connections that are open and wait for work.
    pub idle: u32,
    /// Work that waits for a connection.
    pub waiting: u32,
}

/// Work under way, counted however it ends: with an answer, without, or given up by whoever
/// waited for it.
struct Working<'a> {
    shared: &'a Shared,
    is_answered: bool,
}

impl<'a> Working<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.working.fetch_add(1, Ordering::Relaxed);
        Self {
            shared,
            is_answered: false,
        }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.shared.working.fetch_sub(1, Ordering::Relaxed);
        let mut silent_since = lock(&self.shared.silent_since);
        *silent_since = match *silent_since {
            _ if self.is_answered => None,
            None => Some(Instant::now()),
            since => since,
        };
    }
}

/// A handle on a pool; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: RwLock<Current>,
    /// Work under way, which has a connection or waits for one.
    working: AtomicU32,
    /// How to connect anew, and how long to wait before; none where nothing but
    /// the disk can be slow.
    renewal: Option<(ConnectOptions, Duration)>,
    /// Since when no work has been answered, if the last that ended was not. Callers whose
    /// patience is shorter than the pool's would take every connection with them otherwise,
    /// and nobody would be left to wait for as long as it takes to replace it.
    silent_since: Mutex<Option<Instant>>,
}

#[derive(Clone, Debug)]
struct Current {
    /// Counts the replacements, so that many who gave up replace it once.
    generation: u64,
    connection: DatabaseConnection,
    kept: Kept,
}

/// PostgreSQL connections that are kept between commits, and when each was used last.
/// The pool would ask a connection for a sign of life whenever it is given back, which
/// costs a commit of one order a quarter of its time.
type Kept = Arc<Mutex<Vec<(PoolConnection<Postgres>, Instant)>>>;

/// A connection taken from those that are kept.
#[derive(Debug)]
pub(super) struct KeptConnection {
    pub(super) connection: PoolConnection<Postgres>,
    kept: Kept,
}

impl KeptConnection {
    /// Keeps it for the next commit. One that is dropped instead goes back to the pool,
    /// which sees whether it is still good.
    pub(super) fn keep(self) {
        lock(&self.kept).push((self.connection, Instant::now()));
    }
}

/// A connection of a pool.
pub(super) async fn acquire<DB: sqlx::Database>(
    pool: &sqlx::Pool<DB>,
) -> Result<PoolConnection<DB>, StorageError> {
    pool.acquire().await.map_err(StorageError::unconnected)
}

impl Pool {
    /// A pool of files, which never fall silent.
    pub(super) fn fixed(connection: DatabaseConnection) -> Self {
        Self::new(connection, None)
    }

    /// A pool over a network. `patience` is as long as a connection, its BEGIN and a statement
    /// may take; more statements, which have milliseconds as a rule, have no more time together.
    pub(super) async fn renewable(
        options: ConnectOptions,
        patience: Duration,
    ) -> Result<Self, DbErr> {
        let connection = Database::connect(options.clone()).await?;
        Ok(Self::new(connection, Some((options, patience))))
    }

    fn new(connection: DatabaseConnection, renewal: Option<(ConnectOptions, Duration)>) -> Self {
        let current = RwLock::new(Current {
            generation: 0,
            connection,
            kept: Kept::default(),
        });
        Self {
            shared: Arc::new(Shared {
                current,
                working: AtomicU32::new(0),
                renewal,
                silent_since: Mutex::new(None),
            }),
        }
    }

    /// Work under way, which has a connection or waits for one.
    pub(super) fn working(&self) -> u32 {
        self.shared.working.load(Ordering::Relaxed)
    }

    /// How its connections are used now.
    pub(super) fn usage(&self) -> PoolUsage {
        let (size, idle) = match self.raw() {
            RawPool::Postgres(pool) => (pool.size(), pool.num_idle()),
            RawPool::Sqlite(pool) => (pool.size(), pool.num_idle()),
        };
        // Kept connections wait for work as well.
        let idle = idle + lock(&self.current().kept).len();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        let in_use = size.saturating_sub(idle);
        let working = self.working();
        PoolUsage {
            in_use,
            idle,
            waiting: working.saturating_sub(in_use),
        }
    }

    /// A connection for one commit, the one used last if it was used just now. For a
    /// pool that serves nothing else: a kept connection is not there for others. No more are
    /// out at once than the engine has lanes, which are as many as there are connections at
    /// most: who finds none that is kept waits for none that will be.
    pub(super) async fn kept(&self) -> Result<KeptConnection, StorageError> {
        let Current {
            connection, kept, ..
        } = self.current();
        let last = lock(&kept).pop();
        // One that idled goes back to the pool, which tests it, before another is waited for:
        // there may be no other.
        let last = last.filter(|(_, used)| used.elapsed() < IDLE_BEFORE_TEST);
        let connection = match last {
            Some((connection, _)) => connection,
            None => acquire(connection.get_postgres_connection_pool()).await?,
        };
        Ok(KeptConnection { connection, kept })
    }

    /// Closes the connections; waits for what is under way.
    pub(super) async fn close(&self) {
        let Current {
            connection, kept, ..
        } = self.current();
        lock(&kept).clear();
        // Errors here have no one to act on them: the process is ending.
        let _ = connection.close().await;
    }

    /// What to work with now.
    pub(super) fn connection(&self) -> DatabaseConnection {
        self.current().connection
    }

    /// The same beneath SeaORM.
    pub(super) fn raw(&self) -> RawPool {
        let connection = self.connection();
        match connection.get_database_backend() {
            DbBackend::Postgres => {
                RawPool::Postgres(connection.get_postgres_connection_pool().clone())
            }
            _ => RawPool::Sqlite(connection.get_sqlite_connection_pool().clone()),
        }
    }

    /// The rows that a statement gives, in bounded time.
    pub(super) async fn rows(
        &self,
        statement: RawStatement,
        values: &[RawValue<'_>],
    ) -> Result<Vec<QueryResult>, StorageError> {
        self.bounded(statement.on(&self.connection(), values)).await
    }

    fn current(&self) -> Current {
        let current = self.shared.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does `work`, which takes its connection from this pool, and gives up and
    /// replaces the pool when it takes longer than any work may.
    pub(super) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        self.bounded_or(work, StorageError::Unavailable).await
    }

    /// As [`Pool::bounded`]; `silent` says what it means that the database was.
    pub(super) async fn bounded_or<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>>,
        silent: impl FnOnce(DbErr) -> StorageError,
    ) -> Result<T, StorageError> {
        let mut working = Working::begin(&self.shared);
        let Some((options, patience)) = &self.shared.renewal else {
            return work.await;
        };
        // Before it is looked: whoever replaces the pool meanwhile does it for this one as well.
        let generation = self.current().generation;
        let silent_since = *lock(&self.shared.silent_since);
        if silent_since.is_some_and(|since| since.elapsed() >= *patience) {
            Box::pin(self.leave_silent(generation, options)).await?;
        }
        let generation = self.current().generation;
        match timeout(*patience, work).await {
            Ok(done) => {
                let unanswered = matches!(&done, Err(error) if error.is_without_connection());
                working.is_answered = !unanswered;
                done
            }
            Err(_) => {
                Box::pin(self.leave_silent(generation, options)).await?;
                Err(silent(silence(*patience)))
            }
        }
    }

    /// Replaces the pool, all of whose connections may be lost.
    pub(super) async fn begin_anew(&self) -> Result<(), StorageError> {
        if let Some((options, _)) = &self.shared.renewal {
            self.renew(self.current().generation, options).await?;
        }
        Ok(())
    }

    /// Replaces the pool because nobody is answered on it any more, unless somebody has.
    async fn leave_silent(
        &self,
        generation: u64,
        options: &ConnectOptions,
    ) -> Result<(), StorageError> {
        if self.renew(generation, options).await? {
            tracing::warn!("the database is silent; connecting anew");
        }
        Ok(())
    }

    /// Replaces the pool unless somebody has done so since `generation`, and says whether
    /// it did. The new one connects when it is used.
    async fn renew(&self, generation: u64, options: &ConnectOptions) -> Result<bool, StorageError> {
        let connection = Database::connect(options.clone()).await?;
        let current = self.shared.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        let is_first = current.generation == generation;
        if is_first {
            *lock(&self.shared.silent_since) = None;
            *current = Current {
                generation: generation + 1,
                connection,
                kept: Kept::default(),
            };
        }
        Ok(is_first)
    }
}
