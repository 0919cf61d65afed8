//! Levels that the cache had not: each is read once, however many miss it meanwhile.
//!
//! What is missed while a read is under way is read together after it, in a few reads at
//! a time: a cold cache costs the database a statement a batch and not one a caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::cache::Cache;
use crate::domain::{KeyToRead, LevelKey, LoadedLevel, ServedFrom, Version};
use crate::lock::lock;
use crate::storage::Store;
use crate::tasks::Tasks;

/// Reads under way at a time: the others of the pool are for reads that pass the cache.
const READS_AT_ONCE_MAX: usize = 2;

/// Most levels of one read.
const LEVELS_AT_ONCE_MAX: usize = 256;

/// Levels that may be missed at a time; whoever misses one more reads it alone.
const MISSED_MAX: usize = 65_536;

/// A level as it was read; none when the read failed.
type Answer = Option<(LoadedLevel, ServedFrom)>;

/// A handle; clones share it. The last one ends the reads.
#[derive(Clone)]
pub(super) struct Misses {
    shared: Arc<Shared>,
    _reading: Arc<AbortOnDropHandle<()>>,
}

struct Shared {
    store: Store,
    cache: Cache,
    missed: Mutex<HashMap<LevelKey, Missed>>,
    came: Notify,
}

#[derive(Debug)]
struct Missed {
    /// The lowest version that will do for everyone who waits; none asks the primary.
    wanted: Option<Version>,
    /// A read of it is under way.
    is_read: bool,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Misses {
    pub(super) fn start(store: Store, cache: Cache, tasks: &Tasks) -> Self {
        let shared = Arc::new(Shared {
            store,
            cache,
            missed: Mutex::default(),
            came: Notify::new(),
        });
        let reading = tasks.start("the reader of misses", read_forever(Arc::clone(&shared)));
        Self {
            shared,
            _reading: Arc::new(reading),
        }
    }

    /// Reads a level of which the cache has no version from `wanted` on. What somebody
    /// else asked for may be below. None as well where a read that had begun before does not
    /// know the SKU: it may have been put meanwhile.
    pub(super) async fn read(&self, key: &LevelKey, wanted: Version) -> Answer {
        let (reply, answer) = oneshot::channel();
        let had_begun = self.miss(key, Some(wanted), Some(reply));
        let answer = answer.await.ok()?;
        answer.filter(|(loaded, _)| loaded.sku_known || !had_begun)
    }

    /// Has the cache filled with a level, as the primary has it.
    pub(super) fn fill(&self, key: &LevelKey) {
        self.miss(key, None, None);
    }

    /// Says whether a read of the level is under way already.
    fn miss(
        &self,
        key: &LevelKey,
        wanted: Option<Version>,
        reply: Option<oneshot::Sender<Answer>>,
    ) -> bool {
        let mut missed = lock(&self.shared.missed);
        if let Some(level) = missed.get_mut(key) {
            if !level.is_read {
                // None, which asks the primary, is the most that can be wanted.
                level.wanted = level.wanted.zip(wanted).map(|(a, b)| a.max(b));
            }
            level.waiting.extend(reply);
            return level.is_read;
        }
        if missed.len() < MISSED_MAX {
            let level = Missed {
                wanted,
                is_read: false,
                waiting: reply.into_iter().collect(),
            };
            missed.insert(key.clone(), level);
            drop(missed);
            self.shared.came.notify_one();
        }
        false
    }
}

impl Shared {
    fn take(&self) -> Vec<KeyToRead> {
        let mut missed = lock(&self.missed);
        let unread = missed.iter_mut().filter(|(_, level)| !level.is_read);
        let taken = unread.take(LEVELS_AT_ONCE_MAX).map(|(key, level)| {
            level.is_read = true;
            (key.clone(), level.wanted)
        });
        taken.collect()
    }

    async fn read(&self, keys: Vec<KeyToRead>) {
        self.cache.counters().fills.add(1);
        let read = self.store.read_levels_at(&keys).await;
        let (loaded, source) = match read {
            Ok((loaded, source)) => (loaded, Some(source)),
            // Everyone reads alone now, and learns what the matter is.
            Err(_) => (Vec::new(), None),
        };
        let known = loaded.iter().filter(|loaded| loaded.sku_known);
        self.cache.offer(known.map(|loaded| &loaded.level));
        // Offered first: whoever misses from here on finds it in the cache.
        let mut loaded = loaded.into_iter();
        let mut missed = lock(&self.missed);
        for (key, _) in &keys {
            let level = loaded.next();
            let answer = level.zip(source);
            let waiting = missed.remove(key).map(|level| level.waiting);
            for reply in waiting.into_iter().flatten() {
                let _ = reply.send(answer.clone());
            }
        }
    }
}

async fn read_forever(shared: Arc<Shared>) {
    let turns = Arc::new(Semaphore::new(READS_AT_ONCE_MAX));
    loop {
        shared.came.notified().await;
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                return;
            };
            let keys = shared.take();
            if keys.is_empty() {
                break;
            }
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                shared.read(keys).await;
                drop(turn);
            });
        }
    }
}
