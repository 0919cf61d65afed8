//! What all clients share: their settings, and where what they have to say goes.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// How long a question to the cluster (which topics there are) may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Between attempts to connect: a broker that restarts is found within a second of its
/// return. The default lets ten pass.
const RECONNECT_MS: &str = "100";
const RECONNECT_MAX_MS: &str = "1000";

pub(super) fn settings(brokers: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers)
        .set("client.id", "stockroom")
        .set("reconnect.backoff.ms", RECONNECT_MS)
        .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS)
        // A frozen broker keeps its connections: new ones are not waited for longer.
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("log.connection.close", "false");
    settings
}

impl ConsumerContext for Quiet {}

/// Hands on what a client says. It repeats itself while a broker is away, which whoever
/// uses it has reported once.
#[derive(Debug)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "{reason}");
    }
}
