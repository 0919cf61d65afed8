//! The metrics of one server: what there is, what it means, in which unit.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::books::BookGauges;
use super::groups::{Commits, DISTRIBUTIONS, Locks, Pools, Queue};
use super::hints::HintCounters;
use super::holds::HoldCounters;
use super::instruments::{Counter, Gauge};
use super::outcomes::{Outcomes, Unanswered};
use super::redis_groups::{CacheCounters, RedisLocks};
use super::registry::Registry;
use super::relay::RelayCounters;
use super::replicas::Replica;
use super::watches::Watches;
use crate::lock::lock;

/// How long samples of histograms lie unsorted when nobody scrapes: at 30,000
/// a second they take half a megabyte.
const KEEP_UP_INTERVAL: Duration = Duration::from_secs(1);

/// What a server does: counters since it started, gauges of now, distributions.
///
/// Each is counted on its own; read together they may be a moment apart. Exported
/// names begin with `stockroom_`.
#[derive(Debug)]
pub struct Counters {
    /// Orders by outcome.
    pub orders: Outcomes,
    /// Requests to confirm, cancel or extend orders, by outcome.
    pub order_changes: Outcomes,
    /// Adjustments by outcome.
    pub adjustments: Outcomes,
    /// Calls of any kind that came to no answer.
    pub unanswered: Unanswered,
    /// 1 while requests are taken, as `/readyz` and gRPC health say.
    pub ready: Gauge,
    /// Transactions rolled back because a level that they wrote, or a `request_id`, was no longer
    /// as they had read it.
    pub conflicts: Counter,
    /// Writes given up because every attempt met a conflict: `STOCK_CONTENTION`.
    pub contention_exhausted: Counter,
    /// The queue of writes.
    pub queue: Queue,
    /// What a commit takes and brings.
    pub commit: Commits,
    /// What `optimistic` does under repeated conflict.
    pub locks: Locks,
    /// Connections to the database.
    pub pools: Pools,
    /// Streams of changes.
    pub watches: Watches,
    /// Hints between instances.
    pub hints: HintCounters,
    /// Orders on hold.
    pub holds: HoldCounters,
    /// Events on their way to Kafka.
    pub relay: RelayCounters,
    /// Levels in Redis.
    pub cache: CacheCounters,
    /// Locks in Redis.
    pub redis_locks: RedisLocks,
    /// What the last check of the books found.
    pub books: BookGauges,
    /// Those that were asked for, by name.
    replicas: Mutex<Vec<(String, Replica)>>,
    /// Locked to register and to read, never to count.
    registry: Mutex<Registry>,
}

impl Default for Counters {
    fn default() -> Self {
        let mut registry = Registry::new(&DISTRIBUTIONS);
        let r = &mut registry;
        Self {
            orders: Outcomes::new(
                r,
                "stockroom_orders_total",
                "Orders answered, by outcome; accepted ones are counted when they commit",
            ),
            order_changes: Outcomes::new(
                r,
                "stockroom_order_changes_total",
                "Requests to confirm, cancel or extend an order that were answered, by outcome",
            ),
            adjustments: Outcomes::new(
                r,
                "stockroom_adjustments_total",
                "Adjustments answered, by outcome; accepted ones are counted when they commit",
            ),
            unanswered: Unanswered::new(r),
            ready: r.gauge(
                "stockroom_ready",
                "1 while requests are taken, 0 before that, while the database is away, and while the server drains",
            ),
            conflicts: r.counter(
                "stockroom_conflicts_total",
                "Transactions rolled back because a level or a request_id was not as they had read it",
            ),
            contention_exhausted: r.counter(
                "stockroom_contention_exhausted_total",
                "Writes given up because every attempt met a conflict",
            ),
            queue: Queue::new(r),
            commit: Commits::new(r),
            locks: Locks::new(r),
            pools: Pools::new(r),
            watches: Watches::new(r),
            hints: HintCounters::new(r),
            holds: HoldCounters::new(r),
            relay: RelayCounters::new(r),
            cache: CacheCounters::new(r),
            redis_locks: RedisLocks::new(r),
            books: BookGauges::new(r),
            replicas: Mutex::default(),
            registry: Mutex::new(registry),
        }
    }
}

impl Counters {
    /// The metrics of a replica, which begin with the first call.
    pub fn replica(&self, name: &str) -> Replica {
        let mut replicas = lock(&self.replicas);
        if let Some((_, known)) = replicas.iter().find(|(known, _)| known == name) {
            return known.clone();
        }
        let replica = Replica::new(&mut lock(&self.registry), name);
        replicas.push((name.to_owned(), replica.clone()));
        replica
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        lock(&self.registry).render()
    }
}

/// Bounds the memory of histograms, also when nobody scrapes; until dropped.
pub async fn keep_up_forever(counters: Arc<Counters>) {
    let mut rounds = interval(KEEP_UP_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        lock(&counters.registry).keep_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_once_whoever_sorts_them() {
        let counters = Counters::default();
        counters.commit.attempts.record(1.0);
        lock(&counters.registry).keep_up();
        counters.commit.attempts.record(2.0);
        counters.commit.time.record_time(Duration::from_millis(3));
        for _ in 0..2 {
            let text = counters.render();
            for line in [
                "stockroom_order_attempts_bucket{le=\"1\"} 1",
                "stockroom_order_attempts_bucket{le=\"2\"} 2",
                "stockroom_order_attempts_count 2",
                "stockroom_commit_seconds_bucket{le=\"0.0025\"} 0",
                "stockroom_commit_seconds_bucket{le=\"0.005\"} 1",
                "stockroom_commit_seconds_sum 0.003",
            ] {
                assert!(text.lines().any(|it| it == line), "no {line} in {text}");
            }
        }
    }

    #[test]
    fn a_replica_has_one_set_of_metrics_however_often_it_is_asked_for() {
        let counters = Counters::default();
        for _ in 0..2 {
            let replica = counters.replica("db-2:5432");
            replica.served.add(1);
            replica.lag_us.set(1_500_000);
        }
        let text = counters.render();
        for line in [
            "stockroom_replica_reads_total{replica=\"db-2:5432\",outcome=\"served\"} 2",
            "stockroom_replica_lag_seconds{replica=\"db-2:5432\"} 1.5",
        ] {
            assert_eq!(text.lines().filter(|it| *it == line).count(), 1, "{text}");
        }
    }

    #[test]
    fn what_is_counted_within_is_what_is_scraped() {
        let counters = Counters::default();
        counters.orders.accepted.add(5);
        counters.books.set(
            1,
            2,
            crate::domain::Timestamp::from_us(1_700_000_000_000_000),
        );
        let _waits = counters.pools.writer.waiting.hold(1);
        let text = counters.render();
        for line in [
            "stockroom_orders_total{outcome=\"accepted\",reason=\"\"} 5",
            "stockroom_stock_negative 1",
            "stockroom_reserved_mismatch 2",
            "stockroom_books_checked_timestamp_seconds 1700000000",
            "stockroom_pool_waiting{pool=\"writer\"} 1",
            "stockroom_pool_waiting{pool=\"reader\"} 0",
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in {text}");
        }
    }
}
