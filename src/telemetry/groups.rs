//! The metrics of one server, part by part.

use metrics::Unit;

use super::instruments::{Counter, Gauge, Histogram, Sampled};
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
    &DELIVERY_LAG,
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
    help: "Times that a write was tried before it was answered",
    unit: Unit::Count,
    buckets: ATTEMPT_COUNTS,
};

const DELIVERY_LAG: Distribution = Distribution {
    name: "stockroom_watch_delivery_lag_seconds",
    help: "Time from a change's own, when its commit began to be planned, to the moment that a message with it was handed to the transport, of one live message in 16",
    unit: Unit::Seconds,
    buckets: SECONDS,
};

/// Messages of which one is timed: at a hundred thousand a second the samples take
/// 100 KB until they are sorted, and the clock is read six thousand times.
const LAG_SAMPLED: u32 = 16;

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
    /// Times that a write was tried; once a write, when it is answered.
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
    /// For commits.
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

/// Streams of changes.
#[derive(Debug)]
pub struct Watches {
    /// Streams that are open, each held by its own state.
    pub streams: Gauge,
    /// Streams that began with versions the caller had seen.
    pub resumes: Counter,
    /// Levels sent, one for each level and stream.
    pub deliveries: Counter,
    /// Versions that a live stream was not given, because a later one was there.
    pub coalesced: Counter,
    /// Seconds from a change's own time, when its commit began to be planned, to the hand-over
    /// of a message with it.
    pub lag: Sampled,
    /// Levels that a re-read found newer than what the feed knew of them.
    pub reread_repairs: Counter,
    /// Streams that the server ended, by reason.
    pub goodbyes: Goodbyes,
}

impl Watches {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            streams: registry.gauge(
                "stockroom_watch_streams",
                "Streams of changes that are open",
            ),
            resumes: registry.counter(
                "stockroom_watch_resumes_total",
                "Streams that began with versions their caller had seen",
            ),
            deliveries: registry.counter(
                "stockroom_watch_deliveries_total",
                "Levels sent to watchers, one for each level and stream",
            ),
            coalesced: registry.counter(
                "stockroom_watch_coalesced_total",
                "Versions that a live stream was not sent because a later one was there already",
            ),
            lag: Sampled::new(registry.histogram(&DELIVERY_LAG), LAG_SAMPLED),
            reread_repairs: registry.counter(
                "stockroom_watch_reread_repairs_total",
                "Levels that the periodic re-read found newer than what was known of them",
            ),
            goodbyes: Goodbyes::new(registry),
        }
    }
}

/// Streams that the server ended, by reason.
#[derive(Debug)]
pub struct Goodbyes {
    /// The server shut down.
    pub draining: Counter,
    /// The stream reached its age limit.
    pub age: Counter,
    /// The database could not be read for it.
    pub store_unavailable: Counter,
    /// The database was another one than before.
    pub store_changed: Counter,
}

impl Goodbyes {
    fn new(registry: &mut Registry) -> Self {
        let mut goodbyes = |reason| {
            registry.counter_of(
                "stockroom_watch_goodbyes_total",
                &[("reason", reason)],
                "Streams that the server ended",
            )
        };
        Self {
            draining: goodbyes("DRAINING"),
            age: goodbyes("AGE"),
            store_unavailable: goodbyes("STORE_UNAVAILABLE"),
            store_changed: goodbyes("STORE_CHANGED"),
        }
    }
}

/// The relay and the outbox that it empties. Clones share them.
#[derive(Debug, Clone)]
pub struct RelayCounters {
    /// Commits whose events are not in Kafka, as far as they are counted.
    pub outbox_rows: Gauge,
    /// Age of the oldest of them, in seconds.
    pub outbox_age_seconds: Gauge,
    /// 1 while this instance relays.
    pub active: Gauge,
    /// Events handed to Kafka's client, repeats among them.
    pub published: Counter,
    /// Times that sending failed.
    pub failures: Counter,
    /// Times that the relay began again with a new producer.
    pub restarts: Counter,
    /// Changed levels heard from Kafka, this instance's own among them.
    pub heard: Counter,
    /// Topics that are not there.
    pub topics_missing: Gauge,
    /// Keys of which Kafka refused an event, and whose later events wait.
    pub keys_stopped: Gauge,
}

impl RelayCounters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let r = registry;
        Self {
            outbox_rows: r.gauge(
                "stockroom_outbox_rows",
                "Commits whose events Kafka has not acknowledged, counted up to 10,000",
            ),
            outbox_age_seconds: r.gauge(
                "stockroom_outbox_age_seconds",
                "Seconds since the oldest commit whose events Kafka has not acknowledged; 0 when there is none",
            ),
            active: r.gauge(
                "stockroom_relay_active",
                "1 where events are relayed to Kafka; 1 in sum over the instances of a store",
            ),
            published: r.counter(
                "stockroom_events_published_total",
                "Events handed to Kafka, those among them that were sent again",
            ),
            failures: r.counter(
                "stockroom_relay_failures_total",
                "Times that the relay met trouble and began again",
            ),
            restarts: r.counter(
                "stockroom_relay_restarts_total",
                "Times that the relay made a new producer",
            ),
            heard: r.counter(
                "stockroom_events_heard_total",
                "Changed levels heard from Kafka, this instance's own among them",
            ),
            topics_missing: r.gauge(
                "stockroom_topics_missing",
                "Topics that events wait for; 0 where all is well",
            ),
            keys_stopped: r.gauge(
                "stockroom_events_keys_stopped",
                "Keys of which Kafka refused an event, so that their later events wait in the outbox; 0 where all is well",
            ),
        }
    }
}

/// Hints between the instances on one PostgreSQL. Clones share them.
#[derive(Debug, Clone)]
pub struct HintCounters {
    /// Hints sent to other instances.
    pub sent: Counter,
    /// Hints of other instances that were heard.
    pub received: Counter,
    /// Times that the connection which listens was made anew.
    pub reconnects: Counter,
}

impl HintCounters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            sent: registry.counter(
                "stockroom_hints_sent_total",
                "Hints of changed levels sent to other instances",
            ),
            received: registry.counter(
                "stockroom_hints_received_total",
                "Hints of changed levels heard from other instances",
            ),
            reconnects: registry.counter(
                "stockroom_hint_reconnects_total",
                "Times that the connection which hears other instances was made anew",
            ),
        }
    }
}
