//! What values stand for: times instead of milliseconds, choices that `auto` and 0
//! leave to the program. And a form for logs that shows no password.

use std::fmt;
use std::time::Duration;

use super::choices::{MigrateAtStart, Switch};
use super::neighbours::{CacheConfig, EventsConfig, RedisConfig};
use super::sections::{
    EngineConfig, HoldsConfig, HttpConfig, LockingConfig, OFF, ServerConfig, StoreConfig,
    WatchConfig,
};
use super::store_url::{REDIS_CLUSTER, without_password};

impl ServerConfig {
    /// [`Self::drain_timeout_ms`].
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// [`Self::request_timeout_ms`].
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// [`Self::worker_threads`], decided.
    pub fn worker_threads(&self) -> usize {
        match self.worker_threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1)),
            threads => threads,
        }
    }

    /// [`Self::keepalive_interval_ms`].
    pub fn keepalive_interval(&self) -> Duration {
        Duration::from_millis(self.keepalive_interval_ms)
    }

    /// [`Self::keepalive_timeout_ms`].
    pub fn keepalive_timeout(&self) -> Duration {
        Duration::from_millis(self.keepalive_timeout_ms)
    }

    /// [`Self::connection_age_max_ms`].
    pub fn connection_age_max(&self) -> Duration {
        Duration::from_millis(self.connection_age_max_ms)
    }
}

impl HttpConfig {
    /// [`Self::listen`], if it is one.
    pub fn address(&self) -> Option<&str> {
        (self.listen != OFF).then_some(self.listen.as_str())
    }
}

impl StoreConfig {
    /// Whether the store is an embedded file.
    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    /// [`Self::migrate_at_start`], decided.
    pub fn migrates_at_start(&self) -> bool {
        match self.migrate_at_start {
            MigrateAtStart::Auto => self.is_sqlite(),
            MigrateAtStart::Always => true,
            MigrateAtStart::Never => false,
        }
    }

    /// [`Self::acquire_timeout_ms`].
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    /// [`Self::statement_timeout_ms`].
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    /// [`Self::replica_timeout_ms`].
    pub fn replica_timeout(&self) -> Duration {
        Duration::from_millis(self.replica_timeout_ms)
    }

    /// [`Self::replica_lag_max_ms`].
    pub fn replica_lag_max(&self) -> Duration {
        Duration::from_millis(self.replica_lag_max_ms)
    }

    /// [`Self::replica_check_interval_ms`].
    pub fn replica_check_interval(&self) -> Duration {
        Duration::from_millis(self.replica_check_interval_ms)
    }
}

/// Hides the passwords, so that no log of a configuration can show them.
impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replicas = self.replicas.iter().map(|url| without_password(url));
        f.debug_struct("StoreConfig")
            .field("url", &without_password(&self.url))
            .field("pool_max", &self.pool_max)
            .field("acquire_timeout_ms", &self.acquire_timeout_ms)
            .field("statement_timeout_ms", &self.statement_timeout_ms)
            .field("migrate_at_start", &self.migrate_at_start)
            .field("replicas", &replicas.collect::<Vec<_>>())
            .field("replica_pool_max", &self.replica_pool_max)
            .field("replica_timeout_ms", &self.replica_timeout_ms)
            .field("replica_lag_max_ms", &self.replica_lag_max_ms)
            .field("replica_check_interval_ms", &self.replica_check_interval_ms)
            .finish()
    }
}

impl HoldsConfig {
    /// [`Self::length_max_ms`].
    pub fn length_max(&self) -> Duration {
        Duration::from_millis(self.length_max_ms)
    }

    /// [`Self::sweep_interval_ms`].
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_millis(self.sweep_interval_ms)
    }
}

impl EngineConfig {
    /// [`Self::settle_timeout_ms`].
    pub fn settle_timeout(&self) -> Duration {
        Duration::from_millis(self.settle_timeout_ms)
    }

    /// [`Self::retry_total_ms`].
    pub fn retry_total(&self) -> Duration {
        Duration::from_millis(self.retry_total_ms)
    }
}

impl EventsConfig {
    /// [`Self::brokers`], if there are any.
    pub fn brokers(&self) -> Option<&str> {
        (self.brokers != OFF).then_some(self.brokers.as_str())
    }

    /// [`Self::feed`], where there are brokers.
    pub fn feeds(&self) -> bool {
        self.brokers().is_some() && self.feed == Switch::On
    }

    /// [`Self::relay_poll_ms`].
    pub fn relay_poll(&self) -> Duration {
        Duration::from_millis(self.relay_poll_ms)
    }

    /// [`Self::ack_timeout_ms`].
    pub fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }

    /// [`Self::refused_retry_ms`].
    pub fn refused_retry(&self) -> Duration {
        Duration::from_millis(self.refused_retry_ms)
    }

    /// [`Self::drain_timeout_ms`].
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

impl WatchConfig {
    /// [`Self::heartbeat_ms`].
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// [`Self::reread_interval_ms`].
    pub fn reread_interval(&self) -> Duration {
        Duration::from_millis(self.reread_interval_ms)
    }

    /// [`Self::age_max_ms`], before the jitter.
    pub fn age_max(&self) -> Duration {
        Duration::from_millis(self.age_max_ms)
    }
}

impl LockingConfig {
    /// [`Self::redis_lock_ttl_ms`].
    pub fn redis_lock_ttl(&self) -> Duration {
        Duration::from_millis(self.redis_lock_ttl_ms)
    }

    /// [`Self::redis_lock_wait_ms`].
    pub fn redis_lock_wait(&self) -> Duration {
        Duration::from_millis(self.redis_lock_wait_ms)
    }
}

impl RedisConfig {
    /// Whether there is a Redis.
    pub fn is_on(&self) -> bool {
        !self.urls.is_empty()
    }

    /// Whether [`Self::urls`] name servers of a Redis Cluster: there are several, or one
    /// says so.
    pub fn is_cluster(&self) -> bool {
        self.urls.len() > 1 || self.urls.iter().any(|url| url.starts_with(REDIS_CLUSTER))
    }

    /// [`Self::urls`] as clients take them: `redis://…`.
    pub fn client_urls(&self) -> impl Iterator<Item = String> {
        self.urls
            .iter()
            .map(|url| match url.strip_prefix(REDIS_CLUSTER) {
                Some(rest) => format!("redis://{rest}"),
                None => url.clone(),
            })
    }

    /// [`Self::timeout_ms`].
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// [`Self::breaker_pause_ms`].
    pub fn breaker_pause(&self) -> Duration {
        Duration::from_millis(self.breaker_pause_ms)
    }
}

/// Hides the passwords, so that no log of a configuration can show them.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.urls.iter().map(|url| without_password(url));
        f.debug_struct("RedisConfig")
            .field("urls", &urls.collect::<Vec<_>>())
            .field("timeout_ms", &self.timeout_ms)
            .field("breaker_failures_max", &self.breaker_failures_max)
            .field("breaker_pause_ms", &self.breaker_pause_ms)
            .finish()
    }
}

impl CacheConfig {
    /// [`Self::ttl_ms`].
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// [`Self::fast_refusal`].
    pub fn refuses_fast(&self) -> bool {
        self.fast_refusal == Switch::On
    }
}
