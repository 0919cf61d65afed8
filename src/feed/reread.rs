//! The periodic re-read of watched levels: the net beneath every other source.
//!
//! It brings what other processes committed, and what a local commit of unknown
//! outcome turned out to have changed. What is watched by selectors is read page
//! by page, so that levels which are new are found too; and those whose products were
//! deleted, which are told to whoever knew them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::Feed;
use crate::domain::{LevelKey, LoadedLevel, StockLevel};
use crate::storage::{LevelFilter, StorageError, Store};
use crate::telemetry::Counter;

/// Levels that one statement reads.
const PAGE_LEVELS: usize = 1_000;

/// Levels that the re-read may read a second, so that watching a large store
/// takes a bounded share of its database: a round over more takes longer.
const LEVELS_PER_SECOND_MAX: u32 = 20_000;

/// What a statement counts as, however few levels it reads: so much lies around
/// them that a thousand watched prefixes are a thousand such rounds.
const STATEMENT_LEVELS: usize = 10;

/// The pause before a round that somebody asks for: hints that name no level come up
/// to two hundred times a second from each instance, and one round answers them all.
const EARLY_PAUSE: Duration = Duration::from_millis(50);

/// The pause before a round that failed is begun anew, unless one is due before: what
/// asked for it has not been answered.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Asks for a round before it is due; clones ask the same re-read.
#[derive(Debug, Clone, Default)]
pub(super) struct EarlyReread {
    asked: Arc<Notify>,
}

impl EarlyReread {
    /// Asks for a round soon. One that is under way may have passed what is meant, so
    /// there will be another.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits until somebody asks, at least until `earliest`.
    async fn due(&self, earliest: Instant) {
        self.asked.notified().await;
        sleep_until(earliest).await;
    }
}

/// Re-reads watched levels, a round each `every` and when somebody asks, until dropped.
/// Counts the levels of which it knew more than the other sources had told as `repairs`.
pub(super) async fn reread_forever(
    feed: Feed,
    store: Store,
    every: Duration,
    early: EarlyReread,
    repairs: Counter,
) {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let round = Round {
        feed,
        store,
        repairs,
    };
    let mut earliest = Instant::now() + EARLY_PAUSE;
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = early.due(earliest) => {}
        }
        let done = round.read().await;
        let pause = if done.is_ok() {
            EARLY_PAUSE
        } else {
            early.ask();
            FAILED_PAUSE
        };
        earliest = Instant::now() + pause;
        match done {
            Err(error) if !failing => {
                // Once an outage; watchers are late meanwhile, not wrong.
                tracing::warn!(%error, "cannot re-read watched levels");
                failing = true;
            }
            done => failing = done.is_err(),
        }
    }
}

struct Round {
    feed: Feed,
    store: Store,
    repairs: Counter,
}

impl Round {
    async fn read(&self) -> Result<(), StorageError> {
        let targets = self.feed.targets();
        let selectors = &targets.selectors;
        if selectors.all {
            return self.read_pages(LevelFilter::default()).await;
        }
        for sku_prefix in selectors.prefixes.iter() {
            let filter = LevelFilter {
                sku_prefix,
                ..LevelFilter::default()
            };
            self.read_pages(filter).await?;
        }
        for location in &selectors.locations {
            let filter = LevelFilter {
                location: Some(location),
                ..LevelFilter::default()
            };
            self.read_pages(filter).await?;
        }
        if selectors.low {
            let filter = LevelFilter {
                low_only: true,
                ..LevelFilter::default()
            };
            self.read_pages(filter).await?;
        }
        let keys: Vec<LevelKey> = targets.keys.into_iter().collect();
        for keys in keys.chunks(PAGE_LEVELS) {
            let loaded = self.store.read_levels(keys).await?;
            let levels: Vec<StockLevel> = loaded.into_iter().map(|it| it.level).collect();
            let newer = self.feed.publish(&levels);
            self.account(newer, levels.len()).await;
        }
        Ok(())
    }

    async fn read_pages(&self, filter: LevelFilter<'_>) -> Result<(), StorageError> {
        let mut after: Option<LevelKey> = None;
        loop {
            let page = self
                .store
                .list_levels_with_deleted(after.as_ref(), &filter, PAGE_LEVELS)
                .await?;
            let read = page.len();
            after = page.last().map(|it| it.level.key.clone());
            self.account(self.publish(page), read).await;
            if read < PAGE_LEVELS {
                return Ok(());
            }
        }
    }

    /// Tells the feed of a page. Returns of how many levels it knew less.
    fn publish(&self, page: Vec<LoadedLevel>) -> usize {
        let (mut levels, mut deleted) = (Vec::with_capacity(page.len()), Vec::new());
        for LoadedLevel { level, sku_known } in page {
            let those = if sku_known { &mut levels } else { &mut deleted };
            those.push(level);
        }
        self.feed.publish(&levels) + self.feed.publish_deleted(&deleted)
    }

    /// Counts what the feed did not know, and waits for what reading it may cost.
    async fn account(&self, newer: usize, read: usize) {
        self.repairs.add(newer as u64);
        let read = read.max(STATEMENT_LEVELS) as u32;
        sleep(Duration::from_secs(1) * read / LEVELS_PER_SECOND_MAX).await;
    }
}
