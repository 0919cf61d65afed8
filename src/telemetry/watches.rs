//! The metrics of streams of changes.

use metrics::Unit;

use super::groups::SECONDS;
use super::instruments::{Counter, Gauge, Sampled};
use super::registry::{Distribution, Registry};

pub(super) const DELIVERY_LAG: Distribution = Distribution {
    name: "stockroom_watch_delivery_lag_seconds",
    help: "Time from a change's own, when its commit began to be planned, to the moment that a message with it was handed to the transport, of one live message in 16",
    unit: Unit::Seconds,
    buckets: SECONDS,
};

/// Messages of which one is timed: at a hundred thousand a second the samples take
/// 100 KB until they are sorted, and the clock is read six thousand times.
const LAG_SAMPLED: u32 = 16;

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
