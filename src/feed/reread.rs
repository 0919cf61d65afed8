//! The periodic re-read of watched levels: the net beneath every other source.
//!
//! It brings what other processes committed, and what a local commit of unknown
//! outcome turned out to have changed. What is watched by selectors is read page
//! by page, so that levels which are new are found too; and those whose products were
//! deleted, which are told to whoever knew them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::watch::LOOKED_UP_MAX;
use super::{Feed, Selectors};
use crate::domain::{LevelKey, LoadedLevel, StockLevel};
use crate::error::chain;
use crate::storage::{LevelFilter, StorageError, Store};
use crate::telemetry::Counter;

/// Levels that one statement looks at.
const PAGE_LEVELS: usize = 1_000;

/// Levels that the re-read may look at a second, so that watching a large store
/// takes a bounded share of its database: a round over more takes longer. To find the low
/// ones it looks at all.
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
    let mut round = Round {
        feed,
        store,
        repairs,
        failing: false,
    };
    let mut earliest = Instant::now() + EARLY_PAUSE;
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = early.due(earliest) => {}
        }
        round.failing = !round.read().await;
        let pause = if round.failing {
            early.ask();
            FAILED_PAUSE
        } else {
            EARLY_PAUSE
        };
        earliest = Instant::now() + pause;
    }
}

struct Round {
    feed: Feed,
    store: Store,
    repairs: Counter,
    /// Whether something could not be read since all was read last.
    failing: bool,
}

impl Round {
    /// Reads all that is watched, and says whether it could. What cannot be read stands in
    /// nothing else's way.
    async fn read(&mut self) -> bool {
        let selectors = self.feed.selectors();
        let mut whole = true;
        // Levels that are named first: to look for low ones among millions takes a minute.
        let (mut place, mut keys) = (usize::MAX, Vec::new());
        while place > 0 && !selectors.all {
            place = self.feed.add_unread(&selectors, place, &mut keys);
            let full = keys.len() > PAGE_LEVELS - LOOKED_UP_MAX;
            if full || (place == 0 && !keys.is_empty()) {
                let read = self.read_named(&keys).await;
                whole &= self.succeeds(read);
                keys.clear();
            } else {
                // There may be a million on the way to the next that is named.
                yield_now().await;
            }
        }
        for filter in filters(&selectors) {
            let read = self.read_pages(filter).await;
            whole &= self.succeeds(read);
        }
        whole
    }

    /// Whether it was read. If not, says so once an outage; watchers are late meanwhile, not
    /// wrong.
    fn succeeds(&mut self, read: Result<(), StorageError>) -> bool {
        let Err(error) = &read else { return true };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error = chain(error), "cannot re-read watched levels");
        }
        false
    }

    async fn read_named(&self, keys: &[LevelKey]) -> Result<(), StorageError> {
        let loaded = self.store.read_levels(keys).await?;
        let levels: Vec<StockLevel> = loaded.into_iter().map(|it| it.level).collect();
        let newer = self.feed.publish(&levels);
        self.account(newer, levels.len()).await;
        Ok(())
    }

    async fn read_pages(&self, filter: LevelFilter<'_>) -> Result<(), StorageError> {
        let mut after: Option<LevelKey> = None;
        loop {
            let piece = self
                .store
                .look_at_levels(after.as_ref(), &filter, PAGE_LEVELS)
                .await?;
            let newer = self.publish(piece.levels);
            self.account(newer, piece.looked_at).await;
            after = piece.next;
            if after.is_none() {
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

    /// Counts what the feed did not know, and waits for what looking at it may cost.
    async fn account(&self, newer: usize, looked_at: usize) {
        self.repairs.add(newer as u64);
        let levels = looked_at.max(STATEMENT_LEVELS) as u32;
        sleep(Duration::from_secs(1) * levels / LEVELS_PER_SECOND_MAX).await;
    }
}

/// What selectors read, each of these page by page.
fn filters(selectors: &Selectors) -> Vec<LevelFilter<'_>> {
    let all = LevelFilter::default();
    if selectors.all {
        return vec![all];
    }
    let prefixes = selectors.prefixes.iter();
    let prefixes = prefixes.map(|sku_prefix| LevelFilter { sku_prefix, ..all });
    let locations = selectors.locations.iter().map(|location| LevelFilter {
        location: Some(location),
        ..all
    });
    let low = selectors.low.then_some(LevelFilter {
        low_only: true,
        ..all
    });
    prefixes.chain(locations).chain(low).collect()
}
