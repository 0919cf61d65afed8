//! Reading events: all partitions of topics, by assignment. There is no consumer group:
//! every reader reads everything, and nothing is remembered on the broker.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::client::{Quiet, settings};
use super::topics::partitions;
use super::{KafkaError, Topics, Unreachable, message};
use crate::events::Topic;
use crate::lock::lock;

/// The pause after an error, of which a broker that is away makes many.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event that Kafka has kept.
    Beginning,
    /// After the newest.
    End,
}

/// Reads topics from all their partitions.
pub struct Reader {
    consumer: Arc<StreamConsumer<Quiet>>,
    topics: Topics,
    assigned: Arc<Mutex<HashSet<(String, i32)>>>,
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it came from.
    pub topic: Topic,
    /// Its key; empty if it has none.
    pub key: String,
    /// Its headers; what is no text is left out.
    pub headers: Vec<(String, String)>,
    /// The encoded message.
    pub body: Vec<u8>,
    /// Its place in the topic.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader that reads nothing yet.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(brokers: &str, topics: Topics) -> Result<Self, KafkaError> {
        let mut settings = settings(brokers);
        settings
            // The client wants one, and never joins it.
            .set("group.id", "stockroom-reads-without-a-group")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        Ok(Self {
            consumer: Arc::new(settings.create_with_context(Quiet)?),
            topics,
            assigned: Arc::default(),
        })
    }

    /// Begins to read those partitions of `which` that are there and not read yet: the
    /// first time from `start`, later, when they have been added, from their beginning.
    /// Returns how many are read now.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub async fn assign(&self, which: &[Topic], start: Start) -> Result<usize, Unreachable> {
        let names = which
            .iter()
            .map(|topic| self.topics.name(*topic).to_owned());
        let names: Vec<String> = names.collect();
        let (consumer, assigned) = (Arc::clone(&self.consumer), Arc::clone(&self.assigned));
        let asked = spawn_blocking(move || {
            let mut assigned = lock(&assigned);
            let offset = match start {
                Start::End if assigned.is_empty() => Offset::End,
                Start::End | Start::Beginning => Offset::Beginning,
            };
            let mut new = HashSet::new();
            for name in names {
                for partition in 0..partitions(consumer.client(), &name)? {
                    new.insert((name.clone(), partition));
                }
            }
            new.retain(|partition| !assigned.contains(partition));
            if !new.is_empty() {
                read_from(&consumer, &new, offset)?;
                assigned.extend(new);
            }
            Ok(assigned.len())
        });
        asked
            .await
            .map_err(|error| Unreachable(error.to_string()))?
    }

    /// The next event. While brokers are away there is none. Cancel safe.
    pub async fn next(&self) -> Received {
        loop {
            match self.consumer.recv().await {
                Ok(message) => {
                    if let Some(received) = self.received(&message) {
                        return received;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "reading from kafka");
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    fn received(&self, message: &BorrowedMessage<'_>) -> Option<Received> {
        let mut topics = Topic::ALL.into_iter();
        let topic = topics.find(|topic| self.topics.name(*topic) == message.topic())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let headers = message.headers().into_iter().flat_map(|it| it.iter());
        let headers = headers.filter_map(|it| Some((it.key.to_owned(), text(it.value?)?)));
        Some(Received {
            topic,
            key: message.key().and_then(text).unwrap_or_default(),
            headers: headers.collect(),
            body: message.payload().unwrap_or_default().to_vec(),
            partition: message.partition(),
            offset: message.offset(),
        })
    }
}

/// Reads these partitions too.
fn read_from(
    consumer: &StreamConsumer<Quiet>,
    partitions: &HashSet<(String, i32)>,
    offset: Offset,
) -> Result<(), Unreachable> {
    let mut list = TopicPartitionList::new();
    for (name, partition) in partitions {
        list.add_partition(name, *partition);
    }
    let placed = list.set_all_offsets(offset);
    let done = placed.and_then(|()| consumer.incremental_assign(&list));
    done.map_err(|error| Unreachable(error.to_string()))
}

impl Received {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it says that it comes from this store.
    pub fn is_of(&self, store_id: uuid::Uuid) -> bool {
        self.header(message::SOURCE) == Some(&message::source(store_id))
    }
}
