//! Making the topics, for those who do not leave it to their Kafka's operators.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{ANSWER_TIMEOUT, Quiet, settings};
use super::{KafkaError, Topics, Unreachable};

/// As many copies as the cluster makes unless it is told otherwise.
const REPLICATION: TopicReplication<'static> = TopicReplication::Fixed(-1);

/// Kafka would not make a topic.
#[derive(Debug, thiserror::Error)]
#[error("kafka does not make the topic {name}: {code}")]
pub struct TopicRefused {
    name: String,
    code: Code,
}

/// Makes those of `topics` that are not there, with so many partitions, and returns the
/// name of each that was made, and why another one was not.
///
/// # Errors
/// The cluster does not answer.
pub async fn make_topics(
    brokers: &str,
    topics: &Topics,
    partitions: i32,
) -> Result<Vec<Result<String, TopicRefused>>, Unreachable> {
    let client: AdminClient<Quiet> = settings(brokers)
        .create_with_context(Quiet)
        .map_err(|error| Unreachable(KafkaError(error).to_string()))?;
    let new = topics
        .names()
        .map(|name| NewTopic::new(name, partitions, REPLICATION));
    let new: Vec<NewTopic<'_>> = new.collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    let made = client.create_topics(&new, &options).await;
    let made = made.map_err(|error| Unreachable(error.to_string()))?;
    let made = made.into_iter().filter_map(|result| match result {
        Ok(name) => Some(Ok(name)),
        Err((_, Code::TopicAlreadyExists)) => None,
        Err((name, code)) => Some(Err(TopicRefused { name, code })),
    });
    Ok(made.collect())
}
