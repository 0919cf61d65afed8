//! Levels as our own last commits left them.
//!
//! Planning on them saves a batch its reads: when every command in it is accepted
//! the version guard and the unique request ids prove afterwards that nothing was
//! stale, and when something was, the batch is loaded and planned anew. A refusal
//! is never answered from here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::{LevelKey, LoadedLevel, StockLevel};

/// Levels remembered at most, some 20 MB; beyond it all are forgotten and the
/// busy ones come back with their next commit.
const LEVELS_MAX: usize = 100_000;

/// How long nothing is remembered after a conflict: somebody else writes too,
/// and a plan on old levels would cost a rollback each time.
const DISTRUST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    levels: HashMap<LevelKey, LoadedLevel>,
    distrusted_at: Option<Instant>,
}

impl Memory {
    /// All of `keys`, or nothing if one of them is not known.
    pub(super) fn recall(
        &self,
        keys: &BTreeSet<&LevelKey>,
    ) -> Option<HashMap<LevelKey, LoadedLevel>> {
        let state = self.lock();
        keys.iter()
            .map(|&key| Some((key.clone(), state.levels.get(key)?.clone())))
            .collect()
    }

    /// Remembers levels that a commit has written.
    pub(super) fn remember(&self, levels: &[StockLevel]) {
        let mut state = self.lock();
        if state
            .distrusted_at
            .is_some_and(|at| at.elapsed() < DISTRUST)
        {
            return;
        }
        if state.levels.len() + levels.len() > LEVELS_MAX {
            state.levels.clear();
        }
        for level in levels {
            let known = state.levels.get(&level.key);
            // Commits that ran side by side may tell of themselves in any order.
            if known.is_some_and(|known| known.level.version > level.version) {
                continue;
            }
            let loaded = LoadedLevel {
                level: level.clone(),
                sku_known: true,
            };
            state.levels.insert(level.key.clone(), loaded);
        }
    }

    /// Forgets everything for a while.
    pub(super) fn distrust(&self) {
        let mut state = self.lock();
        state.levels.clear();
        state.distrusted_at = Some(Instant::now());
    }

    /// The worst that a panic could leave is a level less.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
