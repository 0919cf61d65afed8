//! How an event becomes a message: a CloudEvent in Kafka's binary mode
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>).

use rdkafka::message::{Header, OwnedHeaders};
use uuid::Uuid;

use crate::domain::Timestamp;
use crate::events::Event;

/// Headers that each message has.
const HEADERS: usize = 7;

/// The name of the header that says which store an event comes from.
pub(super) const SOURCE: &str = "ce_source";

/// `ce_source` of a store's events.
pub(super) fn source(store_id: Uuid) -> String {
    format!("urn:uuid:{store_id}")
}

/// `ce_time` of what was committed at `time`.
pub(super) fn time(time: Timestamp) -> String {
    prost_types::Timestamp::from(time).to_string()
}

/// The headers of an event, of which `id` is the CloudEvents id.
pub(super) fn headers(source: &str, id: &str, time: &str, event: &Event<'_>) -> OwnedHeaders {
    let trace = event.trace.to_string();
    [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        (SOURCE, source),
        ("ce_type", event.topic.message()),
        ("ce_time", time),
        ("content-type", "application/protobuf"),
        // Where OpenTelemetry looks for it.
        ("traceparent", &trace),
    ]
    .into_iter()
    .fold(
        OwnedHeaders::new_with_capacity(HEADERS),
        |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        },
    )
}
