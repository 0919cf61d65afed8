//! The metrics of read replicas, of which a configuration may have up to sixteen.

use super::instruments::{Counter, Gauge};
use super::registry::Registry;

/// One replica. Clones share its metrics.
#[derive(Debug, Clone)]
pub struct Replica {
    /// 1 while it is asked, 0 while it is left out.
    pub serves: Gauge,
    /// How far it was behind at most, in microseconds; exported in seconds.
    pub lag_us: Gauge,
    /// Connections at work.
    pub in_use: Gauge,
    /// Connections that are open and not at work.
    pub idle: Gauge,
    /// Reads that wait for a connection.
    pub waiting: Gauge,
    /// Reads that it answered.
    pub served: Counter,
    /// Reads that wanted more than it had.
    pub behind: Counter,
    /// Reads that failed or took too long.
    pub failed: Counter,
    /// Times that it was left out.
    pub left_out: Counter,
}

impl Replica {
    /// `name` is its host and port: a URL would show its password.
    pub(super) fn new(registry: &mut Registry, name: &str) -> Self {
        let it = ("replica", name);
        let mut reads = |outcome| {
            registry.counter_of(
                "stockroom_replica_reads_total",
                &[it, ("outcome", outcome)],
                "Reads that a replica was asked for: served, behind what was wanted, or failed; all but the served went on to the primary",
            )
        };
        let (served, behind, failed) = (reads("served"), reads("behind"), reads("failed"));
        let mut connections = |state| {
            registry.gauge_of(
                "stockroom_replica_pool_connections",
                &[it, ("state", state)],
                "Connections to a replica that are open",
            )
        };
        let (in_use, idle) = (connections("in_use"), connections("idle"));
        Self {
            serves: registry.gauge_of(
                "stockroom_replica_serves",
                &[it],
                "1 while a replica is asked, 0 while it is left out",
            ),
            lag_us: registry.time_gauge(
                "stockroom_replica_lag_seconds",
                &[it],
                "How far a replica was behind the primary at most when it was checked last",
            ),
            in_use,
            idle,
            waiting: registry.gauge_of(
                "stockroom_replica_pool_waiting",
                &[it],
                "Reads that wait for a connection to a replica",
            ),
            served,
            behind,
            failed,
            left_out: registry.counter_of(
                "stockroom_replica_left_out_total",
                &[it],
                "Times that a replica was left out because it failed, kept silent, lagged or was another store's",
            ),
        }
    }
}
