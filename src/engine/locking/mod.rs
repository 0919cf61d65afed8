//! Guards: how a batch makes sure that nobody else has sold its units meanwhile. A guard
//! decides how levels are loaded and what is written first; the rest of a commit is the
//! same for all of them (`engine/commit.rs`).
//!
//! The version of every level is checked under each of them, so instances with
//! different guards may share a database.

pub(super) mod atomic;
pub(super) mod optimistic;
pub(super) mod pessimistic;
mod redis_lock;

use self::optimistic::Escalation;
use self::redis_lock::RedisLock;
use super::Prepared;
use super::plan::Plan;
use crate::config::{Config, LockingStrategy};
use crate::domain::LevelKey;
use crate::redis_link::Held;
use crate::storage::{Guard, StorageError, Store, WriteTx};
use crate::telemetry::Counters;

/// The guard of an engine.
pub(super) enum Guarding {
    Optimistic(Escalation),
    Pessimistic,
    Atomic,
    RedisLock(RedisLock),
}

/// How the next batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Its plan is made before its transaction begins.
    Ahead,
    /// Its levels are locked first, and planned on as they are then.
    Locked,
    /// Its levels are locked elsewhere and read; then it is planned and its transaction
    /// begins, which proves it.
    Fenced,
}

impl Guarding {
    /// The guard of the configuration. To be called on the runtime that commits.
    pub(super) fn new(config: &Config, counters: &Counters) -> anyhow::Result<Self> {
        Ok(match config.locking.strategy {
            LockingStrategy::Optimistic => {
                Self::Optimistic(Escalation::new(counters.locks.escalated.clone()))
            }
            LockingStrategy::Pessimistic => Self::Pessimistic,
            LockingStrategy::Atomic => Self::Atomic,
            LockingStrategy::RedisLock => {
                Self::RedisLock(RedisLock::start(config, &counters.redis_locks)?)
            }
        })
    }

    pub(super) fn manner(&self) -> Manner {
        match self {
            Self::Optimistic(escalation) if escalation.is_on() => Manner::Locked,
            Self::Optimistic(_) | Self::Atomic => Manner::Ahead,
            Self::Pessimistic => Manner::Locked,
            Self::RedisLock(_) => Manner::Fenced,
        }
    }

    /// To be told of each conflict.
    pub(super) fn conflicted(&self) -> bool {
        match self {
            Self::Optimistic(escalation) => escalation.conflicted(),
            Self::Pessimistic | Self::Atomic | Self::RedisLock(_) => false,
        }
    }

    /// Locks `keys`, which ascend, as far as that can be done: before they are read. None
    /// where nothing is locked elsewhere.
    pub(super) async fn lock(
        &self,
        store: &Store,
        keys: &[LevelKey],
    ) -> Result<Option<Held>, StorageError> {
        match self {
            Self::RedisLock(lock) => Ok(Some(lock.take(store, keys).await?)),
            Self::Optimistic(_) | Self::Pessimistic | Self::Atomic => Ok(None),
        }
    }

    /// Commits a plan that was made ahead, and returns the one that was written: a guard
    /// that finds the levels elsewhere may have planned anew.
    pub(super) async fn commit(
        &self,
        store: &Store,
        commands: &[&Prepared],
        plan: Plan,
    ) -> Result<Plan, StorageError> {
        match self {
            Self::Optimistic(_) | Self::RedisLock(_) => optimistic::commit(store, plan).await,
            Self::Atomic => atomic::commit(store, commands, plan).await,
            Self::Pessimistic => unreachable!("a pessimistic guard makes no plan ahead"),
        }
    }
}

/// Writes what `plan` has to write, if anything.
async fn write(tx: &mut WriteTx, plan: &Plan, guard: Guard) -> Result<(), StorageError> {
    if plan.writes.is_empty() {
        return Ok(());
    }
    tx.write(&plan.writes, guard).await
}
