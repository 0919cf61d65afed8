//! The metrics of what is in Redis: the cache of levels, and locks.

use metrics::Unit;

use super::groups::SECONDS;
use super::instruments::{Counter, Gauge, Histogram};
use super::registry::{Distribution, Registry};

pub(super) const LOCK_WAIT: Distribution = Distribution {
    name: "stockroom_redis_lock_wait_seconds",
    help: "Time that a batch waited for its locks in Redis, got or not",
    unit: Unit::Seconds,
    buckets: SECONDS,
};

/// A connection to Redis. Clones share them.
#[derive(Debug, Clone)]
pub struct RedisLink {
    /// 1 while Redis is not asked.
    pub open: Gauge,
    /// Answers that did not come in time, or were of no use.
    pub failures: Counter,
}

impl RedisLink {
    pub(super) fn new(registry: &mut Registry, user: &'static str) -> Self {
        let labels = &[("user", user)];
        Self {
            open: registry.gauge_of(
                "stockroom_redis_breaker_open",
                labels,
                "1 while Redis is configured and not asked, because it cannot be reached, did not answer or takes no writes; otherwise 0",
            ),
            failures: registry.counter_of(
                "stockroom_redis_failures_total",
                labels,
                "Questions that Redis did not answer in time or with something of use",
            ),
        }
    }
}

/// The cache of levels. Clones share them.
#[derive(Debug, Clone)]
pub struct CacheCounters {
    /// Reads that were answered from the cache; a batch counts once.
    pub hits: Counter,
    /// Reads that the cache could not answer because it had not all of the levels.
    pub misses: Counter,
    /// … because it had one below the version asked for.
    pub behind: Counter,
    /// Reads that could not ask it.
    pub unavailable: Counter,
    /// Levels written.
    pub writes: Counter,
    /// Levels not written because the cache had a later version.
    pub refused: Counter,
    /// Levels not written because too many waited.
    pub dropped: Counter,
    /// Levels that wait to be written.
    pub waiting: Gauge,
    /// Reads of the database for levels that the cache had not, each for all who missed
    /// them meanwhile.
    pub fills: Counter,
    /// Orders refused on cached levels.
    pub refusals: Counter,
    /// The connection.
    pub link: RedisLink,
}

impl CacheCounters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let mut reads = |result| {
            registry.counter_of(
                "stockroom_cache_reads_total",
                &[("result", result)],
                "Reads of stock that may come from the cache, by whether it had what was asked for",
            )
        };
        let (hits, misses) = (reads("hit"), reads("miss"));
        let (behind, unavailable) = (reads("behind"), reads("unavailable"));
        let mut writes = |result| {
            registry.counter_of(
                "stockroom_cache_writes_total",
                &[("result", result)],
                "Levels to be written to the cache; refused ones were older than what it had",
            )
        };
        Self {
            hits,
            misses,
            behind,
            unavailable,
            writes: writes("written"),
            refused: writes("refused"),
            dropped: writes("dropped"),
            waiting: registry.gauge(
                "stockroom_cache_writes_waiting",
                "Levels that wait to be written to the cache",
            ),
            fills: registry.counter(
                "stockroom_cache_fills_total",
                "Reads of the database for levels that the cache had not",
            ),
            refusals: registry.counter(
                "stockroom_cache_refusals_total",
                "Orders refused on cached levels that had not enough",
            ),
            link: RedisLink::new(registry, "cache"),
        }
    }
}

/// Locks of levels. Clones share them.
#[derive(Debug, Clone)]
pub struct RedisLocks {
    /// Seconds that a batch waited for its locks.
    pub wait: Histogram,
    /// Batches that went on without all of their locks, because somebody held one for too long.
    pub timeouts: Counter,
    /// Batches that went on without, because Redis was away.
    pub unavailable: Counter,
    /// Locks that were no longer ours when they were to be given back.
    pub lost: Counter,
    /// The connection.
    pub link: RedisLink,
}

impl RedisLocks {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let mut without = |reason| {
            registry.counter_of(
                "stockroom_redis_lock_missing_total",
                &[("reason", reason)],
                "Batches that were committed without all of their locks in Redis, on the guard of versions alone",
            )
        };
        let (timeouts, unavailable) = (without("timeout"), without("unavailable"));
        Self {
            timeouts,
            unavailable,
            wait: registry.histogram(&LOCK_WAIT),
            lost: registry.counter(
                "stockroom_redis_lock_lost_total",
                "Locks in Redis that had ended before their holder gave them back",
            ),
            link: RedisLink::new(registry, "locks"),
        }
    }
}
