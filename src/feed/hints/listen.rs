//! Hearing what other instances committed, and reading it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::super::Feed;
use super::super::reread::EarlyReread;
use super::payload::Hint;
use super::{Backoff, HintOutbox};
use crate::domain::{LevelKey, StockLevel, Version};
use crate::error::chain;
use crate::lock::lock;
use crate::storage::{HintListener, Hints, StorageError, Store};
use crate::telemetry::HintCounters;

/// Levels that one statement reads.
const PAGE_LEVELS: usize = 1_000;

/// Levels that wait to be read. More of them are left to the re-read, which takes no
/// memory for each.
const WANTED_LEVELS_MAX: usize = 10_000;

/// The pause after a read that failed; the re-read makes up for it.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// What is needed to turn hints into news.
pub(super) struct Listening {
    /// Where news goes.
    pub(super) feed: Feed,
    /// Where it is read.
    pub(super) store: Store,
    /// Whose hints are none to this process.
    pub(super) outbox: HintOutbox,
    /// Asked for when it is not known what has changed.
    pub(super) reread: EarlyReread,
    /// Counts what is heard.
    pub(super) counters: HintCounters,
}

/// Watched levels that other instances have changed, to be read.
#[derive(Debug, Default)]
struct Wanted {
    versions: Mutex<HashMap<LevelKey, Version>>,
    wake: Notify,
}

impl Wanted {
    /// Returns whether there was room for them.
    fn add(&self, levels: Vec<(LevelKey, Version)>) -> bool {
        let mut versions = lock(&self.versions);
        for (key, version) in levels {
            let wanted = versions.entry(key).or_default();
            *wanted = version.max(*wanted);
        }
        let fits = versions.len() <= WANTED_LEVELS_MAX;
        if !fits {
            versions.clear();
        }
        drop(versions);
        self.wake.notify_one();
        fits
    }

    /// Waits for levels to read and takes a page of them.
    async fn next(&self) -> Vec<(LevelKey, Version)> {
        loop {
            let woken = self.wake.notified();
            {
                let mut versions = lock(&self.versions);
                if versions.len() <= PAGE_LEVELS {
                    let all = std::mem::take(&mut *versions);
                    if !all.is_empty() {
                        return all.into_iter().collect();
                    }
                } else {
                    let keys: Vec<LevelKey> = versions.keys().take(PAGE_LEVELS).cloned().collect();
                    let page = keys.into_iter();
                    return page.filter_map(|key| versions.remove_entry(&key)).collect();
                }
            }
            woken.await;
        }
    }
}

impl Listening {
    /// Listens and reads until dropped. Hints that come during a read wait for the next
    /// one, merged: there is one at a time, however many instances talk.
    pub(super) async fn run(self, hints: Hints) {
        let wanted = Wanted::default();
        tokio::join!(self.listen(&hints, &wanted), self.read(&wanted));
    }

    async fn listen(&self, hints: &Hints, wanted: &Wanted) {
        let mut backoff = Backoff::default();
        let mut connections = 0u64;
        loop {
            let error = match Box::pin(hints.listen()).await {
                Ok(listener) => {
                    self.counters.reconnects.add(u64::from(connections > 0));
                    connections += 1;
                    backoff.succeeded();
                    // What was said until now has not been heard.
                    self.reread.ask();
                    self.hear(listener, wanted).await
                }
                Err(error) => error,
            };
            if !backoff.is_failing() {
                tracing::warn!(
                    error = chain(&error),
                    "cannot hear other instances; listening anew"
                );
            }
            sleep(backoff.failed()).await;
        }
    }

    /// Hears until the connection is lost.
    async fn hear(&self, mut listener: HintListener, wanted: &Wanted) -> StorageError {
        loop {
            let text = match listener.next().await {
                Ok(text) => text,
                Err(error) => return error,
            };
            let levels = match Hint::read(&text, self.outbox.origin()) {
                Hint::Own => continue,
                Hint::Levels(levels) => levels,
                Hint::Everything => {
                    self.counters.received.add(1);
                    self.reread.ask();
                    continue;
                }
            };
            self.counters.received.add(1);
            let unknown = self.feed.unknown(levels);
            if !unknown.is_empty() && !wanted.add(unknown) {
                self.reread.ask();
            }
        }
    }

    async fn read(&self, wanted: &Wanted) {
        loop {
            // The local feed may have heard of some meanwhile.
            let keys: Vec<LevelKey> = self
                .feed
                .unknown(wanted.next().await)
                .into_iter()
                .map(|(key, _)| key)
                .collect();
            match self.store.read_levels(&keys).await {
                Ok(loaded) => {
                    let levels: Vec<StockLevel> =
                        loaded.into_iter().map(|loaded| loaded.level).collect();
                    self.feed.publish(&levels);
                }
                Err(error) => {
                    tracing::debug!(error = chain(&error), "cannot read what others changed");
                    self.reread.ask();
                    sleep(FAILED_PAUSE).await;
                }
            }
        }
    }
}
