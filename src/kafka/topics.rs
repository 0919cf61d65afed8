//! The topics: their names, and whether they are there.

use rdkafka::client::{Client, ClientContext};

use super::client::ANSWER_TIMEOUT;
use crate::events::Topic;

/// The names that a configuration gives the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    names: [String; Topic::ALL.len()],
}

/// The brokers do not answer.
#[derive(Debug, thiserror::Error)]
#[error("kafka does not answer: {0}")]
pub struct Unreachable(pub(super) String);

impl Topics {
    /// The names after `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self {
            names: Topic::ALL.map(|topic| format!("{prefix}{}", topic.name())),
        }
    }

    /// What `topic` is called.
    pub fn name(&self, topic: Topic) -> &str {
        let place = Topic::ALL.iter().position(|it| *it == topic);
        &self.names[place.expect("all of them are there")]
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// How many partitions a topic has; 0 where there is no such topic. Blocks.
pub(super) fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
) -> Result<i32, Unreachable> {
    let metadata = client.fetch_metadata(Some(topic), ANSWER_TIMEOUT);
    let metadata = metadata.map_err(|error| Unreachable(error.to_string()))?;
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    let partitions = found
        .filter(|it| it.error().is_none())
        .map_or(0, |it| it.partitions().len());
    // Kafka itself counts them in 32 bits.
    Ok(i32::try_from(partitions).unwrap_or(i32::MAX))
}
