//! The metrics of the relay and its outbox.

use super::instruments::{Counter, Gauge};
use super::registry::Registry;

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
