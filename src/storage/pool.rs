//! A pool that can be replaced.
//!
//! When a network swallows packets in silence, a connection waits for an answer
//! for ever, and sqlx 0.9 counts it as taken even after its user has given up
//! (<https://github.com/launchbadge/sqlx/issues/4349>). So whoever waited longer
//! than the database itself would let a statement run replaces the whole pool;
//! the old one is left to the operating system's own timeouts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sea_orm::sqlx::Postgres;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr};
use tokio::time::timeout;

use super::{Connection, StorageError};

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

/// Counts work while it is under way, however it ends.
struct Working<'a>(&'a AtomicU32);

impl<'a> Working<'a> {
    fn begin(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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

/// The worst that a panic could leave is a connection less.
fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
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
            }),
        }
    }

    /// Work under way, which has a connection or waits for one.
    pub(super) fn working(&self) -> u32 {
        self.shared.working.load(Ordering::Relaxed)
    }

    /// How its connections are used now.
    pub(super) fn usage(&self) -> PoolUsage {
        let (size, idle) = match Connection::of(&self.connection()) {
            Connection::Postgres(pool) => (pool.size(), pool.num_idle()),
            Connection::Sqlite(pool) => (pool.size(), pool.num_idle()),
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
    /// pool that serves nothing else: a kept connection is not there for others.
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
            None => connection.get_postgres_connection_pool().acquire().await?,
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
        let _working = Working::begin(&self.shared.working);
        let Some((options, patience)) = &self.shared.renewal else {
            return work.await;
        };
        let generation = self.current().generation;
        match timeout(*patience, work).await {
            Ok(done) => done,
            Err(_) => {
                if self.renew(generation, options).await? {
                    tracing::warn!("the database is silent; connecting anew");
                }
                let silence = format!("no answer in {} ms", patience.as_millis());
                Err(silent(DbErr::Conn(RuntimeErr::Internal(silence))))
            }
        }
    }

    /// Replaces the pool, all of whose connections may be lost.
    pub(super) async fn begin_anew(&self) -> Result<(), StorageError> {
        let _renewed = match &self.shared.renewal {
            Some((options, _)) => self.renew(self.current().generation, options).await?,
            None => false,
        };
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
            *current = Current {
                generation: generation + 1,
                connection,
                kept: Kept::default(),
            };
        }
        Ok(is_first)
    }
}
