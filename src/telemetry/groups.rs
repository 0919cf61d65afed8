//! The metrics of one server, part by part.

use metrics::Unit;

use super::instruments::{Counter, Gauge, Histogram};
use super::registry::{Distribution, Registry};

/// From a commit on a good disk to the longest that a call may take.
pub(super) const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Up to the largest batch that can be configured.
const BATCH_ORDERS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0,
    16_384.0,
];

/// One by one up to where a retry is the exception, then up to the most that can
/// be configured.
const ATTEMPT_COUNTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0];

/// All of them, for the registry.
pub(super) const DISTRIBUTIONS: [&Distribution; 6] = [
    &QUEUE_WAIT,
    &COMMIT_TIME,
    &COMMIT_ORDERS,
    &ATTEMPTS,
    &super::watches::DELIVERY_LAG,
    &super::redis_groups::LOCK_WAIT,
];

const QUEUE_WAIT: Distribution = Distribution {
    name: "stockroom_queue_wait_seconds",
    help: "Time that the write of a batch which waited longest spent in the queue, once a batch",
    unit: Unit::Seconds,
    buckets: SECONDS,
};

const COMMIT_TIME: Distribution = Distribution {
    name: "stockroom_commit_seconds",
    help: "Time from the begin of a transaction that committed to the end of its COMMIT",
    unit: Unit::Seconds,
    buckets: SECONDS,
};

const COMMIT_ORDERS: Distribution = Distribution {
    name: "stockroom_commit_orders",
    help: "Orders and adjustments that a commit made",
    unit: Unit::Count,
    buckets: BATCH_ORDERS,
};

const ATTEMPTS: Distribution = Distribution {
    name: "stockroom_order_attempts",
    help: "Attempts that a write took before it was answered, each of one try or, where it met a conflict, of two",
    unit: Unit::Count,
    buckets: ATTEMPT_COUNTS,
};

/// The queue of writes.
#[derive(Debug)]
pub struct Queue {
    /// Writes that wait.
    pub orders: Gauge,
    /// Order lines that wait, of all writes together.
    pub lines: Gauge,
    /// Seconds that the write of a batch which waited longest was in the queue; once a batch.
    pub wait: Histogram,
    /// Writes that no batch took, because their callers' deadline had passed.
    pub abandoned: Counter,
}

impl Queue {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            orders: registry.gauge(
                "stockroom_queue_orders",
                "Orders and adjustments that wait for a commit",
            ),
            lines: registry.gauge(
                "stockroom_queue_lines",
                "Order lines that wait for a commit",
            ),
            wait: registry.histogram(&QUEUE_WAIT),
            abandoned: registry.counter(
                "stockroom_queue_abandoned_total",
                "Writes that no batch took because their callers' deadline had passed",
            ),
        }
    }
}

/// What a commit takes and brings.
#[derive(Debug)]
pub struct Commits {
    /// Commits of orders, their changes and adjustments; not those whose outcome was found out
    /// later (`settled`), nor those of products. `orders.accepted` over this is what batching
    /// gains.
    pub made: Counter,
    /// Seconds from BEGIN to the end of COMMIT, of transactions that committed.
    pub time: Histogram,
    /// Writes that it made; once a commit.
    pub orders: Histogram,
    /// Attempts that a write took, each of up to two tries; once a write, when it is answered.
    pub attempts: Histogram,
    /// Commits whose outcome was unknown, and that were found out about.
    pub settled: Counter,
}

impl Commits {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            made: registry.counter(
                "stockroom_commits_total",
                "Commits of orders, their changes and adjustments; without those that had to be settled, and without PutProducts and DeleteProduct",
            ),
            time: registry.histogram(&COMMIT_TIME),
            orders: registry.histogram(&COMMIT_ORDERS),
            attempts: registry.histogram(&ATTEMPTS),
            settled: registry.counter(
                "stockroom_commits_settled_total",
                "Commits whose outcome was unknown and that were found out about",
            ),
        }
    }
}

/// What `optimistic` does under repeated conflict: it loads levels `FOR UPDATE`.
#[derive(Debug)]
pub struct Locks {
    /// Times that it began to.
    pub escalations: Counter,
    /// 1 while it does.
    pub escalated: Gauge,
}

impl Locks {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            escalations: registry.counter(
                "stockroom_lock_escalations_total",
                "Times that repeated conflicts made optimistic batches lock their levels for a while",
            ),
            escalated: registry.gauge(
                "stockroom_lock_escalated",
                "1 while optimistic batches lock their levels first, otherwise 0",
            ),
        }
    }
}

/// The pools of connections. SQLite's are those to its file.
#[derive(Debug)]
pub struct Pools {
    /// For commits, and for what they are planned on.
    pub writer: Pool,
    /// For reads.
    pub reader: Pool,
}

impl Pools {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            writer: Pool::new(registry, "writer"),
            reader: Pool::new(registry, "reader"),
        }
    }
}

/// A pool of connections.
#[derive(Debug)]
pub struct Pool {
    /// Connections at work.
    pub in_use: Gauge,
    /// Connections that are open and not at work.
    pub idle: Gauge,
    /// Tasks that wait for a connection.
    pub waiting: Gauge,
}

impl Pool {
    fn new(registry: &mut Registry, pool: &'static str) -> Self {
        let mut connections = |state| {
            registry.gauge_of(
                "stockroom_pool_connections",
                &[("pool", pool), ("state", state)],
                "Connections to the database that are open",
            )
        };
        Self {
            in_use: connections("in_use"),
            idle: connections("idle"),
            waiting: registry.gauge_of(
                "stockroom_pool_waiting",
                &[("pool", pool)],
                "Tasks that wait for a connection to the database",
            ),
        }
    }
}
