//! `redis_lock`: lock in Redis, read, and let the version decide.
//!
//! **How.** A lock for each level, taken in ascending (SKU, location): a random token
//! that ends by itself after `locking.redis_lock_ttl_ms` and is given back by a script
//! that looks whether it is still ours (`redis_link/locks.rs`). Then levels are read, and
//! written `WHERE version = expected` as under `optimistic`. That version is the fence: a
//! holder that was paused past the life of its lock, a Redis that forgot its keys, and an
//! instance that goes without all end at the same check, and cost a retry, never a unit.
//!
//! **What it costs.** Two round trips to Redis and one more to the database a batch, and no
//! planning ahead. On a Redis Cluster each lock is a question of its own, all at once. What
//! cannot be locked within `locking.redis_lock_wait_ms`, or while Redis is away, goes
//! without.
//!
//! **When.** Many instances sell the same few products, and waiting shall not take
//! connections and row locks of the database, as it does under `pessimistic`.

use tokio::sync::OnceCell;

use crate::config::Config;
use crate::domain::LevelKey;
use crate::redis_link::{Held, Link, Locks, key_prefix};
use crate::storage::{StorageError, Store};
use crate::telemetry::RedisLocks;

/// Locks levels of the store.
pub(in crate::engine) struct RedisLock {
    locks: Locks,
    /// Of a lock's name. A store that became another one meanwhile keeps it until the
    /// next start: instances that do not meet in Redis meet at the version.
    prefix: OnceCell<String>,
}

impl RedisLock {
    pub(super) fn start(config: &Config, metrics: &RedisLocks) -> anyhow::Result<Self> {
        let link = Link::start(&config.redis, metrics.link.clone())?;
        let (life, wait_max) = (
            config.locking.redis_lock_ttl(),
            config.locking.redis_lock_wait(),
        );
        Ok(Self {
            locks: Locks::new(link, life, wait_max, metrics.clone()),
            prefix: OnceCell::new(),
        })
    }

    /// Locks `keys`, which ascend, as far as that can be done in time.
    pub(super) async fn take(
        &self,
        store: &Store,
        keys: &[LevelKey],
    ) -> Result<Held, StorageError> {
        let read = async || Ok::<_, StorageError>(key_prefix(store.store_id().await?, "lock"));
        let prefix = self.prefix.get_or_try_init(read).await?;
        let names = keys.iter().map(|key| format!("{prefix}{key}"));
        Ok(self.locks.take(names.collect()).await)
    }
}
