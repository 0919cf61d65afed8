//! What changes stock: a batch's writes in one transaction, all of them or none.
//!
//! Owns the order in which rows are written and locked: orders that change, then levels,
//! each ascending, so that two instances wait for each other and never in a ring.
//! Leaves what to write, and how levels are guarded, to the engine.

mod holds;
mod kept;
mod load;
mod postgres;
mod sqlite;
mod wide;

pub(super) use postgres::column;
#[doc(hidden)]
pub use postgres::{COMMIT_BATCH, LOCK_LEVELS, TAKE};
pub(super) use sqlite::{Parameters, store};

use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::DbErr;
use sea_orm::sqlx::{Sqlite, Transaction};

use self::kept::KeptTransaction;
use super::Store;
use super::error::StorageError;
use super::raw::RawPool;
use crate::domain::{
    LevelKey, LevelTake, LevelWrite, LoadedLevel, Movement, RequestWrite, StockLevel, Timestamp,
    Version, Writes,
};
use crate::error::chain;

/// An open write transaction; [`Store::transaction`] ends it.
#[derive(Debug)]
pub enum WriteTx {
    /// On PostgreSQL.
    Postgres(KeptTransaction),
    /// On SQLite, whose transactions shut every other writer out.
    Sqlite(Transaction<'static, Sqlite>),
}

/// Whether the versions of levels are still to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Each level is written where it is at its expected version.
    ByVersion,
    /// [`WriteTx::take`] has written the levels that have rows; the new ones are
    /// guarded by having none.
    Taken,
}

/// How the work of a transaction ends when nothing failed.
#[derive(Debug)]
pub enum Verdict<T> {
    /// Make the writes durable first.
    Commit(T),
    /// There are none: give the transaction up.
    Leave(T),
}

impl Store {
    /// Stores `writes`, each level guarded by its version, in a transaction of their
    /// own: on PostgreSQL a single statement, but for requests with several movements.
    /// Must run in a task of its own, so that a caller that hangs up does not drop it
    /// half-way.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when a level is not at its expected version or a
    /// request has been answered; [`StorageError::Unavailable`] when no connection
    /// can be had; [`StorageError::CommitUnknown`] when it breaks or falls silent
    /// while the writes are under way.
    pub async fn commit(&self, writes: &Writes) -> Result<(), StorageError> {
        if !self.is_shared() || writes.is_wide() {
            return self
                .transaction(async |tx| {
                    tx.write(writes, Guard::ByVersion).await?;
                    Ok(Verdict::Commit(()))
                })
                .await;
        }
        let sent = AtomicBool::new(false);
        let statement = async {
            let mut kept = self.committers.kept().await?;
            sent.store(true, Ordering::Relaxed);
            let written = postgres::write(&mut kept.connection, writes, Guard::ByVersion).await;
            written.map_err(StorageError::of_commit)?;
            kept.keep();
            Ok(())
        };
        let silent = |error| silence(&sent, error);
        self.committers.bounded_or(statement, silent).await
    }

    /// Does `work` in one write transaction. Must run in a task of its own, as
    /// [`Store::commit`].
    ///
    /// # Errors
    /// Those of `work`, and those of [`Store::commit`].
    pub async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut WriteTx) -> Result<Verdict<T>, StorageError>,
    ) -> Result<T, StorageError> {
        let committing = AtomicBool::new(false);
        let transaction = async {
            let mut tx = WriteTx::begin(self).await?;
            match work(&mut tx).await {
                Ok(Verdict::Commit(done)) => {
                    committing.store(true, Ordering::Relaxed);
                    tx.commit().await?;
                    Ok(done)
                }
                Ok(Verdict::Leave(done)) => {
                    tx.rollback().await;
                    Ok(done)
                }
                Err(error) => {
                    // At once, not when the connection is used next: its locks
                    // stand in others' way.
                    tx.rollback().await;
                    Err(error)
                }
            }
        };
        let silent = |error| silence(&committing, error);
        self.committers.bounded_or(transaction, silent).await
    }
}

/// Once a commit may have reached the database, silence does not say what became of it.
fn silence(sent: &AtomicBool, error: DbErr) -> StorageError {
    if sent.load(Ordering::Relaxed) {
        StorageError::CommitUnknown(error)
    } else {
        StorageError::Unavailable(error)
    }
}

impl WriteTx {
    /// May write from its first statement on: a deferred transaction of SQLite would
    /// fail at once when it turns into a writer.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that begins transactions"
    )]
    async fn begin(store: &Store) -> Result<Self, StorageError> {
        Ok(match store.committers.raw() {
            RawPool::Postgres(_) => {
                let connection = store.committers.kept().await?;
                Self::Postgres(KeptTransaction::begin(connection).await?)
            }
            RawPool::Sqlite(pool) => {
                if let Some(wal) = &store.wal {
                    wal.shorten(&pool).await?;
                }
                Self::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?)
            }
        })
    }

    async fn commit(self) -> Result<(), StorageError> {
        match self {
            Self::Postgres(tx) => tx.commit().await,
            Self::Sqlite(tx) => tx.commit().await.map_err(StorageError::from),
        }
        .map_err(StorageError::of_commit)
    }

    /// A connection that fails here has lost its transaction anyway.
    async fn rollback(self) {
        let rolled_back = match self {
            Self::Postgres(tx) => tx.rollback().await,
            Self::Sqlite(tx) => tx.rollback().await.map_err(StorageError::from),
        };
        if let Err(error) = rolled_back {
            tracing::debug!(error = chain(&error), "rollback failed");
        }
    }

    /// Reads levels and keeps their rows locked until the transaction ends. A level
    /// without a row cannot be locked; its first row is guarded by its absence.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock_levels(
        &mut self,
        keys: &[LevelKey],
    ) -> Result<Vec<LoadedLevel>, StorageError> {
        match self {
            Self::Postgres(tx) => postgres::lock_levels(tx, keys).await,
            // The transaction itself is the lock.
            Self::Sqlite(tx) => sqlite::read_levels(tx, keys).await,
        }
    }

    /// Moves levels that have rows, wherever they stand, and returns what they are
    /// then; their rows are locked from here on. A level whose `available`
    /// would fall below its limit stays as it is and is not returned. PostgreSQL only.
    ///
    /// # Errors
    /// The database failed.
    pub async fn take(
        &mut self,
        takes: &[LevelTake],
        now: Timestamp,
    ) -> Result<Vec<StockLevel>, StorageError> {
        match self {
            Self::Postgres(tx) => postgres::take(tx, takes, now).await,
            Self::Sqlite(_) => {
                unreachable!("the configuration allows `atomic` on PostgreSQL alone")
            }
        }
    }

    /// Stores what was planned.
    ///
    /// # Errors
    /// As [`Store::commit`]. After one the transaction must be given up.
    pub async fn write(&mut self, writes: &Writes, guard: Guard) -> Result<(), StorageError> {
        match self {
            Self::Postgres(tx) => {
                postgres::write(tx, writes, guard).await?;
                if writes.is_wide() {
                    wide::write_postgres(tx, writes).await?;
                }
            }
            Self::Sqlite(tx) => {
                sqlite::write(tx, writes).await?;
                if writes.is_wide() {
                    wide::write_sqlite(tx, writes).await?;
                }
            }
        }
        Ok(())
    }
}

/// Sorted, so that two instances with the same ids wait and never deadlock.
fn sorted_requests(writes: &Writes) -> Vec<&RequestWrite> {
    let mut requests: Vec<_> = writes.requests.iter().collect();
    requests.sort_unstable_by(|a, b| a.request_id.cmp(&b.request_id));
    requests
}

/// In ascending (sku, location, version): neighbours in the index. Those that `wide`
/// writes are left out.
fn sorted_movements(writes: &Writes) -> Vec<&Movement> {
    let movements = writes.movements.iter().map(|movement| &**movement);
    let mut movements: Vec<_> = movements.filter(|m| m.counterpart.is_none()).collect();
    // Stable within a level: plan made its versions in ascending order.
    movements.sort_by(|a, b| a.key.cmp(&b.key));
    movements
}

/// Levels that get their first row, and levels whose row is replaced.
fn split_levels(writes: &Writes) -> (Vec<&LevelWrite>, Vec<&LevelWrite>) {
    writes
        .levels
        .iter()
        .partition(|write| write.expected == Version::NONE)
}
