//! Read replicas: which one answers a read that may be older than now.
//!
//! Owns a pool for each replica, apart from the primary's, and what is known of its
//! health. Promises that a replica is asked only while it is known to be one of this
//! store, to answer, and to be behind by no more than is allowed; that one which fails or
//! keeps silent costs a read `store.replica_timeout_ms` at most; and that one on which
//! reads fail again and again does so ever more seldom. Decides nothing about versions:
//! whoever reads says whether what came will do, and asks the primary if not.

mod health;
mod lag;
mod pause;
mod reads;

use std::fmt;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{ConnectOptions, DatabaseConnection};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::lag::Position;
use self::pause::Pause;
pub use self::reads::Moment;
use super::level_list::list_levels;
use super::pool::{Pool, PoolUsage};
use super::{LevelFilter, StorageError};
use crate::config::StoreConfig;
use crate::error::chain;
use crate::lock::lock;

/// The replicas of a store; there is at least one.
#[derive(Debug)]
pub(super) struct Replicas {
    all: Box<[Replica]>,
    /// Counts choices, so that replicas with equal loads take turns.
    turn: AtomicUsize,
    /// When a watch asked last where the primary stood, and what it was told, if anything.
    asked: Mutex<Option<(Instant, Option<Position>)>>,
    timeout: Duration,
    lag_max: Duration,
    check_interval: Duration,
}

/// One replica.
struct Replica {
    /// `HOST:PORT`.
    name: String,
    pool: Pool,
    /// Work that can be under way without anybody waiting for a connection.
    pool_max: u32,
    /// For a connection of the health check's own: a busy pool is not a sick replica.
    options: PgConnectOptions,
    /// Whether it may be asked. Not before it has been checked.
    serves: AtomicBool,
    /// How long it is left out for the failures of reads.
    pause: std::sync::Mutex<Pause>,
    /// At the last check, as a time in microseconds.
    lag_us: AtomicI64,
    /// How far it has replayed at least.
    replayed: AtomicI64,
    /// Whether somebody waited for it in vain: others do not, until a check finds that it
    /// shows what the primary has.
    is_late: AtomicBool,
    counts: Counts,
}

/// What became of the reads of one replica.
#[derive(Debug, Default)]
struct Counts {
    served: AtomicU64,
    behind: AtomicU64,
    failed: AtomicU64,
    left_out: AtomicU64,
}

/// One replica, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// `HOST:PORT`.
    pub name: String,
    /// Whether it is asked.
    pub serves: bool,
    /// How far it was behind at most when it was checked last.
    pub lag: Duration,
    /// Its connections.
    pub pool: PoolUsage,
    /// Reads that it answered since its status was asked for last.
    pub served: u64,
    /// Reads, likewise, that wanted more than it had.
    pub behind: u64,
    /// Reads, likewise, that failed or took too long.
    pub failed: u64,
    /// Times, likewise, that it was left out.
    pub left_out: u64,
}

/// Without the options, which hold a password.
impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("name", &self.name)
            .field("serves", &self.serves)
            .finish_non_exhaustive()
    }
}

impl Replicas {
    /// Those of a configuration, if it has any. `session` is how connections to the
    /// primary are set up.
    pub(super) async fn of(
        config: &StoreConfig,
        session: impl Fn(PgConnectOptions) -> PgConnectOptions + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<Option<Self>> {
        let mut all = Vec::with_capacity(config.replicas.len());
        for (place, url) in config.replicas.iter().enumerate() {
            let replica = Replica::of(url, config, session.clone()).await;
            all.push(replica.with_context(|| format!("store.replicas[{place}] is no usable URL"))?);
        }
        Ok((!all.is_empty()).then(|| Self {
            all: all.into(),
            turn: AtomicUsize::new(0),
            asked: Mutex::default(),
            timeout: config.replica_timeout(),
            lag_max: config.replica_lag_max(),
            check_interval: config.replica_check_interval(),
        }))
    }

    /// How each of them is now, and what happened since the last call.
    pub(super) fn status(&self) -> Vec<ReplicaStatus> {
        self.all.iter().map(Replica::status).collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) async fn close(&self) {
        for replica in &self.all {
            replica.pool.close().await;
        }
    }

    /// The replica with the least work under way among those that may be asked.
    fn least_loaded(&self) -> Option<&Replica> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn =
            (0..self.all.len()).map(|i| &self.all[(first.wrapping_add(i)) % self.all.len()]);
        in_turn
            .filter(|replica| replica.serves.load(Ordering::Relaxed))
            .min_by_key(|replica| replica.pool.working())
    }
}

impl Replica {
    async fn of(
        url: &str,
        config: &StoreConfig,
        session: impl Fn(PgConnectOptions) -> PgConnectOptions + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(url)?;
        let name = format!("{}:{}", options.get_host(), options.get_port());
        let options = session(options);
        let timeout = config.replica_timeout();
        let mut pooled = ConnectOptions::new(url.to_owned());
        pooled
            .max_connections(config.replica_pool_max)
            // Leaves the read itself the other half.
            .acquire_timeout(timeout / 2)
            .connect_lazy(true)
            .test_before_acquire_if_idle_for(super::pool::IDLE_BEFORE_TEST)
            .sqlx_logging(false)
            .map_sqlx_postgres_opts(session);
        Ok(Self {
            name,
            pool: Pool::renewable(pooled, timeout).await?,
            pool_max: config.replica_pool_max,
            options,
            serves: AtomicBool::new(false),
            pause: std::sync::Mutex::default(),
            lag_us: AtomicI64::new(0),
            replayed: AtomicI64::new(0),
            is_late: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    fn status(&self) -> ReplicaStatus {
        let counted = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        ReplicaStatus {
            name: self.name.clone(),
            serves: self.serves.load(Ordering::Relaxed),
            lag: Duration::from_micros(self.lag_us.load(Ordering::Relaxed).unsigned_abs()),
            pool: self.pool.usage(),
            served: counted(&self.counts.served),
            behind: counted(&self.counts.behind),
            failed: counted(&self.counts.failed),
            left_out: counted(&self.counts.left_out),
        }
    }

    /// Does a read on it, in bounded time. A failure that is not the read's own leaves it
    /// out for a pause and until a check says otherwise, so that one that keeps silent is
    /// waited for by those who asked it already and by nobody else.
    async fn read<T>(
        &self,
        read: impl AsyncFnOnce(DatabaseConnection) -> Result<T, StorageError>,
    ) -> Option<T> {
        let connection = self.pool.connection();
        match self.pool.bounded(read(connection)).await {
            Ok(done) => Some(done),
            Err(error) => {
                count(&self.counts.failed);
                if !self.is_of_the_moment(&error) && self.leave_out(&chain(&error)) {
                    lock(&self.pause).begin(Instant::now());
                }
                None
            }
        }
    }

    /// Asks it no more until a check takes it back. Says whether it was asked before.
    fn leave_out(&self, why: &str) -> bool {
        let served = self.serves.swap(false, Ordering::Relaxed);
        if served {
            count(&self.counts.left_out);
            tracing::warn!(replica = self.name, why, "a replica is left out");
        }
        served
    }

    /// Whether it is as good after this as before: it cancelled a read that stood in the
    /// way of replay, or all its connections were busy. When there is one for everybody
    /// and yet somebody waits, it cannot be connected to.
    fn is_of_the_moment(&self, error: &StorageError) -> bool {
        match error {
            StorageError::Conflict { .. } => true,
            // The read that failed is counted no more.
            StorageError::Unavailable(_) if error.is_without_connection() => {
                self.pool.working() >= self.pool_max
            }
            StorageError::Unavailable(_)
            | StorageError::CommitUnknown(_)
            | StorageError::Failed(_) => false,
        }
    }

    /// Lets it be asked again, on connections that are made anew: those that it had may
    /// be lost in silence. Not while it is paused, and not unless a read is answered in the
    /// time that reads have.
    async fn take_back(&self, patience: Duration) {
        if self.serves.load(Ordering::Relaxed) || !lock(&self.pause).is_over(Instant::now()) {
            return;
        }
        if self.pool.begin_anew().await.is_ok() && self.answers_reads(patience).await {
            lock(&self.pause).end(Instant::now());
            self.serves.store(true, Ordering::Relaxed);
            tracing::info!(replica = self.name, "a replica takes reads");
        }
    }

    /// Whether a read such as callers make is answered in time.
    async fn answers_reads(&self, patience: Duration) -> bool {
        let connection = self.pool.connection();
        let (all, levels) = (LevelFilter::default(), 1);
        let read = list_levels(&connection, None, &all, levels);
        matches!(timeout(patience, read).await, Ok(Ok(_)))
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
