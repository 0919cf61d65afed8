//! The feed: fan-out of changed levels to watchers in this process.
//!
//! Keeps, for each watched level, the value with the highest version, whatever
//! brought it: a local commit or the periodic re-read. So a source may repeat,
//! reorder or fail, and watchers are late at worst, never wrong. A watcher that
//! does not read costs a set of the keys that changed, never a queue of values.

mod reread;

pub use reread::reread_forever;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::{LevelKey, StockLevel};
use crate::error::Error;

/// A handle on the feed; clones share it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    streams_max: usize,
    state: Mutex<State>,
}

/// Everything that is watched. One lock: held for a few look-ups at a time.
#[derive(Default)]
struct State {
    levels: HashMap<LevelKey, Entry>,
    /// Watchers of every level.
    all: Vec<Arc<Watcher>>,
    /// Watchers in all.
    watchers: usize,
}

/// A level that somebody watches.
#[derive(Default)]
struct Entry {
    /// The value with the highest version seen since somebody began to watch.
    latest: Option<StockLevel>,
    /// Who watches this level by name.
    watchers: Vec<Arc<Watcher>>,
}

/// The mailbox of one watch.
#[derive(Default)]
struct Watcher {
    /// Levels that changed since the watch last looked: at most its targets.
    changed: Mutex<BTreeSet<LevelKey>>,
    wake: Notify,
}

impl Watcher {
    fn notify(&self, key: &LevelKey) {
        let mut changed = lock(&self.changed);
        if !changed.contains(key) {
            changed.insert(key.clone());
        }
        drop(changed);
        self.wake.notify_one();
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// What a watch is told of.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Every level of the store, new ones included.
    pub all: bool,
    /// Levels by name, each once.
    pub keys: BTreeSet<LevelKey>,
}

impl Feed {
    /// A feed with room for `streams_max` watches.
    pub fn new(streams_max: usize) -> Self {
        let state = Mutex::default();
        let shared = Arc::new(Shared { streams_max, state });
        Self { shared }
    }

    /// Tells watchers of levels. A value whose version is not above the one that
    /// is known is ignored. Returns how many levels were above it; one of which
    /// nothing was known yet is none of them.
    pub fn publish(&self, levels: &[StockLevel]) -> usize {
        let mut state = lock(&self.shared.state);
        if state.watchers == 0 {
            return 0;
        }
        let mut newer = 0;
        let State {
            levels: entries,
            all,
            ..
        } = &mut *state;
        for level in levels {
            let entry = match entries.get_mut(&level.key) {
                Some(entry) => entry,
                None if all.is_empty() => continue,
                None => entries.entry(level.key.clone()).or_default(),
            };
            let known = entry.latest.as_ref();
            if known.is_some_and(|known| known.version >= level.version) {
                continue;
            }
            newer += usize::from(known.is_some());
            entry.latest = Some(level.clone());
            for watcher in entry.watchers.iter().chain(all.iter()) {
                watcher.notify(&level.key);
            }
        }
        newer
    }

    /// Begins a watch. From here on it is told of every change, so that what is
    /// read from the store afterwards misses nothing.
    ///
    /// # Errors
    /// [`Error::TooManyWatches`] when there is no room.
    pub fn watch(&self, targets: Targets) -> Result<Watch, Error> {
        let watcher = Arc::new(Watcher::default());
        let mut state = lock(&self.shared.state);
        if state.watchers >= self.shared.streams_max {
            let limit = self.shared.streams_max;
            return Err(Error::TooManyWatches { limit });
        }
        state.watchers += 1;
        if targets.all {
            state.all.push(Arc::clone(&watcher));
        } else {
            for key in &targets.keys {
                let entry = state.levels.entry(key.clone()).or_default();
                entry.watchers.push(Arc::clone(&watcher));
            }
        }
        drop(state);
        Ok(Watch {
            feed: self.clone(),
            watcher,
            targets,
        })
    }

    /// The levels that are watched by name, and whether all levels are watched.
    fn targets(&self) -> Targets {
        let state = lock(&self.shared.state);
        let all = !state.all.is_empty();
        let keys = if all {
            BTreeSet::new()
        } else {
            state.levels.keys().cloned().collect()
        };
        Targets { all, keys }
    }
}

/// One watch; dropping it ends it.
pub struct Watch {
    feed: Feed,
    watcher: Arc<Watcher>,
    targets: Targets,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// What it is told of.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Waits for changes and takes at most `levels_max` of the levels that
    /// changed, each with its latest value. Safe to drop while it waits.
    pub async fn changed(&self, levels_max: usize) -> Vec<StockLevel> {
        loop {
            // Registered before looking, so that no wake-up is lost.
            let woken = self.watcher.wake.notified();
            let levels = self.take(levels_max);
            if !levels.is_empty() {
                return levels;
            }
            woken.await;
        }
    }

    fn take(&self, levels_max: usize) -> Vec<StockLevel> {
        let keys: Vec<LevelKey> = {
            let mut changed = lock(&self.watcher.changed);
            if changed.is_empty() {
                return Vec::new();
            }
            let keys = std::iter::from_fn(|| changed.pop_first());
            keys.take(levels_max).collect()
        };
        let state = lock(&self.feed.shared.state);
        keys.iter()
            .filter_map(|key| state.levels.get(key)?.latest.clone())
            .collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = lock(&self.feed.shared.state);
        state.watchers -= 1;
        let others = |watcher: &Arc<Watcher>| !Arc::ptr_eq(watcher, &self.watcher);
        if self.targets.all {
            state.all.retain(others);
            if state.all.is_empty() {
                state.levels.retain(|_, entry| !entry.watchers.is_empty());
            }
            return;
        }
        let keep_all = !state.all.is_empty();
        for key in &self.targets.keys {
            if let Some(entry) = state.levels.get_mut(key) {
                entry.watchers.retain(others);
                if entry.watchers.is_empty() && !keep_all {
                    state.levels.remove(key);
                }
            }
        }
    }
}

/// No code panics while it holds one of the feed's locks, and their data would
/// be whole if it did.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Location, Sku, Timestamp, Version};

    fn key(sku: &str) -> LevelKey {
        LevelKey {
            sku: Sku::new(sku).expect("valid"),
            location: Location::new("").expect("valid"),
        }
    }

    fn level(sku: &str, version: i64) -> StockLevel {
        StockLevel {
            on_hand: 1_000 - version,
            version: Version::new(version),
            updated: Timestamp::from_us(version),
            ..StockLevel::none(key(sku), 0)
        }
    }

    fn named(skus: &[&str]) -> Targets {
        Targets {
            all: false,
            keys: skus.iter().map(|sku| key(sku)).collect(),
        }
    }

    #[tokio::test]
    async fn sources_may_repeat_and_reorder() {
        let feed = Feed::new(10);
        let watch = feed.watch(named(&["a"])).expect("room");
        feed.publish(&[level("a", 2)]);
        assert_eq!(feed.publish(&[level("a", 1)]), 0);
        assert_eq!(watch.changed(10).await, [level("a", 2)]);
        assert_eq!(feed.publish(&[level("a", 2)]), 0);
        assert_eq!(feed.publish(&[level("a", 3)]), 1);
        assert_eq!(watch.changed(10).await, [level("a", 3)]);
    }

    #[tokio::test]
    async fn a_watch_that_does_not_read_keeps_each_level_once() {
        let feed = Feed::new(10);
        let watch = feed.watch(named(&["a", "b"])).expect("room");
        for version in 1..=10_000 {
            feed.publish(&[
                level("a", version),
                level("b", version),
                level("c", version),
            ]);
        }
        assert_eq!(lock(&watch.watcher.changed).len(), 2);
        let latest = [level("a", 10_000), level("b", 10_000)];
        assert_eq!(watch.changed(10).await, latest);
    }

    #[tokio::test]
    async fn a_watch_of_all_is_told_of_new_levels() {
        let feed = Feed::new(10);
        let targets = Targets {
            all: true,
            ..Targets::default()
        };
        let watch = feed.watch(targets).expect("room");
        feed.publish(&[level("new", 1)]);
        assert_eq!(watch.changed(10).await, [level("new", 1)]);
    }

    #[test]
    fn watches_are_bounded_and_leave_nothing_behind() {
        let feed = Feed::new(2);
        let first = feed.watch(named(&["a"])).expect("room");
        let second = feed
            .watch(Targets {
                all: true,
                ..Targets::default()
            })
            .expect("room");
        let third = feed.watch(named(&["a"]));
        assert!(matches!(third, Err(Error::TooManyWatches { limit: 2 })));
        feed.publish(&[level("b", 1)]);
        drop(second);
        assert_eq!(
            lock(&feed.shared.state).levels.len(),
            1,
            "only a is still watched"
        );
        drop(first);
        let state = lock(&feed.shared.state);
        assert!(state.levels.is_empty() && state.all.is_empty() && state.watchers == 0);
    }
}
