//! Making the topics, for those who do not leave it to their Kafka's operators.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{ANSWER_TIMEOUT, Quiet, settings};
use super::{KafkaError, Topics, Unreachable};

/// As many copies as the cluster makes unless it is told otherwise.
const REPLICATION: TopicReplication<'static> = TopicReplication::Fixed(-1);

/// Makes those of `topics` that are not there, with so many partitions, and returns
/// their names.
///
/// # Errors
/// The cluster does not answer, or does not allow it.
pub async fn make_topics(
    brokers: &str,
    topics: &Topics,
    partitions: i32,
) -> Result<Vec<String>, Unreachable> {
    let client: AdminClient<Quiet> = settings(brokers)
        .create_with_context(Quiet)
        .map_err(|error| Unreachable(KafkaError(error).to_string()))?;
    let new = topics
        .names()
        .map(|name| NewTopic::new(name, partitions, REPLICATION));
    let new: Vec<NewTopic<'_>> = new.collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    let made = client.create_topics(&new, &options).await;
    let mut names = Vec::new();
    for result in made.map_err(|error| Unreachable(error.to_string()))? {
        match result {
            Ok(name) => names.push(name),
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(Unreachable(format!("{name}: {code}"))),
        }
    }
    Ok(names)
}
