//! What other instances tell Kafka, as one more source of the feed.
//!
//! It begins at the end and remembers nothing: whatever it misses, the re-read finds, and
//! what it repeats or brings late is sorted out by versions. It believes events of its
//! own store alone.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Feed;
use crate::error::chain;
use crate::events::{Topic, updated_level};
use crate::kafka::{Reader, Start, Topics};
use crate::storage::Store;
use crate::telemetry::Counter;

/// The pause before a topic, a broker or a database that is not there is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the topic is looked at for partitions that have been added.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(60);

/// Publishes to `feed` what is told of levels, until dropped. `heard` counts it.
pub(crate) async fn hear_forever(
    brokers: String,
    topics: Topics,
    store: Store,
    feed: Feed,
    heard: Counter,
) {
    let reader = loop {
        match Reader::new(&brokers, topics.clone()) {
            Ok(reader) => break reader,
            Err(error) => tracing::error!(error = chain(&error), "no client for Kafka"),
        }
        sleep(AGAIN).await;
    };
    let store_id = loop {
        match store.store_id().await {
            Ok(store_id) => break store_id,
            Err(_) => sleep(AGAIN).await,
        }
    };
    // A topic that is not there, or a broker, the relay reports.
    while !matches!(
        reader.assign(&[Topic::StockUpdated], Start::End).await,
        Ok(1..)
    ) {
        sleep(AGAIN).await;
    }
    let mut partitions = interval(PARTITIONS_INTERVAL);
    partitions.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = reader.next() => {
                if !received.is_of(store_id) {
                    continue;
                }
                if let Some(level) = updated_level(&received.body) {
                    heard.add(1);
                    feed.publish(&[level]);
                }
            }
            _ = partitions.tick() => {
                let _ = reader.assign(&[Topic::StockUpdated], Start::End).await;
            }
        }
    }
}
