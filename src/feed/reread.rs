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
use crate::telemetry::{Counter, SaidOnce};

/// Levels that one statement looks at.
const PAGE_LEVELS: usize = 1_000;

/// Levels that rounds of each kind may look at a second, so that watching a large store
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

/// Asks for rounds before they are due; clones ask the same re-read.
#[derive(Debug, Clone, Default)]
pub(super) struct EarlyReread {
    selected: Arc<Notify>,
    low: Arc<Notify>,
}

impl EarlyReread {
    /// Asks for a round of each kind soon. One that is under way may have passed what is
    /// meant, so there will be another.
    pub(super) fn ask(&self) {
        self.selected.notify_one();
        self.low.notify_one();
    }
}

/// What a round reads. To find the low ones it looks at every level of the store, which takes
/// a minute where there are a million: the others do not wait for that.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Selected,
    Low,
}

/// Re-reads watched levels, a round of each kind each `every` and when somebody asks, until
/// dropped. Counts the levels of which it knew more than the other sources had told as
/// `repairs`.
pub(super) async fn reread_forever(
    feed: Feed,
    store: Store,
    every: Duration,
    early: EarlyReread,
    repairs: Counter,
) {
    let rounds = |kind, asked| {
        let round = Round {
            kind,
            feed: feed.clone(),
            store: store.clone(),
            repairs: repairs.clone(),
            reading: SaidOnce::default(),
        };
        round.read_forever(every, asked)
    };
    tokio::join!(
        rounds(Kind::Selected, early.selected),
        rounds(Kind::Low, early.low)
    );
}

struct Round {
    kind: Kind,
    feed: Feed,
    store: Store,
    repairs: Counter,
    /// Whether all could be read.
    reading: SaidOnce,
}

impl Round {
    async fn read_forever(mut self, every: Duration, asked: Arc<Notify>) {
        let mut rounds = interval(every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut earliest = Instant::now() + EARLY_PAUSE;
        loop {
            let early = async {
                asked.notified().await;
                sleep_until(earliest).await;
            };
            tokio::select! {
                _ = rounds.tick() => {}
                () = early => {}
            }
            let pause = if self.read().await {
                self.reading.succeeded();
                EARLY_PAUSE
            } else {
                asked.notify_one();
                FAILED_PAUSE
            };
            earliest = Instant::now() + pause;
        }
    }

    /// Reads all that it is for, and says whether it could. What cannot be read stands in
    /// nothing else's way.
    async fn read(&mut self) -> bool {
        let selectors = self.feed.selectors();
        let mut whole = match self.kind {
            Kind::Selected if !selectors.all => self.read_all_named(&selectors).await,
            Kind::Selected | Kind::Low => true,
        };
        for filter in filters(&selectors, self.kind) {
            let read = self.read_pages(filter).await;
            whole &= self.succeeds(read);
        }
        whole
    }

    async fn read_all_named(&mut self, selectors: &Selectors) -> bool {
        let mut whole = true;
        let (mut place, mut keys) = (usize::MAX, Vec::new());
        while place > 0 {
            place = self.feed.add_unread(selectors, place, &mut keys);
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
        whole
    }

    /// Whether it was read. If not, says so once an outage; watchers are late meanwhile, not
    /// wrong.
    fn succeeds(&mut self, read: Result<(), StorageError>) -> bool {
        let Err(error) = &read else { return true };
        if self.reading.failed() {
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
fn filters(selectors: &Selectors, kind: Kind) -> Vec<LevelFilter<'_>> {
    let all = LevelFilter::default();
    match kind {
        Kind::Low if selectors.low && !selectors.all => {
            let low_only = true;
            return vec![LevelFilter { low_only, ..all }];
        }
        Kind::Low => return Vec::new(),
        Kind::Selected if selectors.all => return vec![all],
        Kind::Selected => {}
    }
    let prefixes = selectors.prefixes.iter();
    let prefixes = prefixes.map(|sku_prefix| LevelFilter { sku_prefix, ..all });
    let locations = selectors.locations.iter().map(|location| LevelFilter {
        location: Some(location),
        ..all
    });
    prefixes.chain(locations).collect()
}
