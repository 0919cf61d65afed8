//! Levels as our own last commits left them, the one under way included.
//!
//! Planning on them saves a batch its reads: when every command in it is accepted
//! the guards and the unique request ids prove afterwards that nothing was stale,
//! and when something was, its levels are read and planned anew. A refusal is
//! never answered from here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{LevelKey, LoadedLevel, StockLevel};

/// Levels remembered at most, some 20 MB; beyond it all are forgotten and the
/// busy ones come back with their next commit.
const LEVELS_MAX: usize = 100_000;

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<LevelKey, LoadedLevel>>);

impl Memory {
    pub(super) fn recall(&self, key: &LevelKey) -> Option<LoadedLevel> {
        self.lock().get(key).cloned()
    }

    /// Remembers levels that a commit writes, or has written.
    pub(super) fn remember<'a>(&self, levels: impl ExactSizeIterator<Item = &'a StockLevel>) {
        let mut known = self.lock();
        if known.len() + levels.len() > LEVELS_MAX {
            known.clear();
        }
        for level in levels {
            match known.get_mut(&level.key) {
                // Commits that ran side by side may tell of themselves in any order.
                Some(known) if known.level.version > level.version => {}
                Some(known) => known.level = level.clone(),
                None => {
                    let loaded = LoadedLevel {
                        level: level.clone(),
                        sku_known: true,
                    };
                    known.insert(level.key.clone(), loaded);
                }
            }
        }
    }

    /// Remembers levels that were read, unless a commit of ours has told of a later version.
    pub(super) fn learn(&self, levels: Vec<LoadedLevel>) {
        let mut known = self.lock();
        if known.len() + levels.len() > LEVELS_MAX {
            known.clear();
        }
        // An unknown SKU may be put at any time, and nobody would tell.
        for loaded in levels.into_iter().filter(|loaded| loaded.sku_known) {
            let version = |known: &LoadedLevel| known.level.version;
            let key = &loaded.level.key;
            if known
                .get(key)
                .is_none_or(|known| version(known) < loaded.level.version)
            {
                known.insert(key.clone(), loaded);
            }
        }
    }

    /// Forgets what a commit that failed would have made: all of it was remembered when
    /// it was sent, and what was planned since stands on it.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// The worst that a panic could leave is a level less.
    fn lock(&self) -> MutexGuard<'_, HashMap<LevelKey, LoadedLevel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
