//! The periodic re-read of watched levels: the net beneath every other source.
//!
//! It brings what other processes committed, and what a local commit of unknown
//! outcome turned out to have changed.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Feed;
use crate::domain::{LevelKey, StockLevel};
use crate::storage::{StorageError, Store};
use crate::telemetry::Counter;

/// Levels that one statement reads.
const PAGE_LEVELS: usize = 1_000;

/// Levels that the re-read may read a second, so that watching a large store
/// takes a bounded share of its database: a round over more takes longer.
const LEVELS_PER_SECOND_MAX: u32 = 20_000;

/// Re-reads watched levels, a round each `every`, until dropped. Counts the levels
/// of which it knew more than the other sources had told as `repairs`.
pub async fn reread_forever(feed: Feed, store: Store, every: Duration, repairs: Counter) {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        rounds.tick().await;
        match reread(&feed, &store, &repairs).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                // Once an outage; watchers are late meanwhile, not wrong.
                failing = true;
                tracing::warn!(%error, "cannot re-read watched levels");
            }
            Err(_) => {}
        }
    }
}

async fn reread(feed: &Feed, store: &Store, repairs: &Counter) -> Result<(), StorageError> {
    let targets = feed.targets();
    if targets.all {
        let mut after: Option<LevelKey> = None;
        loop {
            let page = store
                .list_levels(after.as_ref(), "", false, PAGE_LEVELS)
                .await?;
            publish(feed, &page.levels, repairs).await;
            if !page.more {
                return Ok(());
            }
            after = page.levels.last().map(|level| level.key.clone());
        }
    }
    let keys: Vec<LevelKey> = targets.keys.into_iter().collect();
    for keys in keys.chunks(PAGE_LEVELS) {
        let levels: Vec<StockLevel> = store
            .read_levels(keys)
            .await?
            .into_iter()
            .map(|loaded| loaded.level)
            .collect();
        publish(feed, &levels, repairs).await;
    }
    Ok(())
}

async fn publish(feed: &Feed, levels: &[StockLevel], repairs: &Counter) {
    repairs.add(feed.publish(levels) as u64);
    if levels.len() == PAGE_LEVELS {
        tokio::time::sleep(Duration::from_secs(1) * PAGE_LEVELS as u32 / LEVELS_PER_SECOND_MAX)
            .await;
    }
}
