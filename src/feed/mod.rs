//! The feed: fan-out of changed levels to watchers in this process.
//!
//! Keeps, for each watched level, the value with the highest version, whatever
//! brought it: a local commit, a hint of another instance that makes it read the level,
//! an event in Kafka, the snapshot of a watch, or the periodic re-read. So a source may
//! repeat, reorder or fail, and watchers are late at worst, never wrong. A watcher that
//! does not read costs a place in a list for each of its levels that changed,
//! never a queue of values. Publishing costs a look-up a level, however many
//! watch it: telling them is left to a task that keeps to a share of a core.
//!
//! Locks are taken in this order: that of the feed's state or that of the watches
//! that select, a slot's, a watcher's.

mod events;
mod fan_out;
mod hints;
mod pacing;
mod reread;
mod selecting;
mod slot;
mod targets;
#[cfg(test)]
mod tests;
mod update;
mod watch;
mod watcher;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use indexmap::IndexMap;

pub(crate) use events::hear_forever;
pub(crate) use fan_out::fan_out_forever;
pub(crate) use hints::{HintOutbox, exchange_forever};
pub(crate) use targets::{Selectors, Targets};
pub(crate) use update::Update;
pub(crate) use watch::{Changed, Watch};

use self::fan_out::Due;
use self::selecting::Selecting;
use self::slot::Slot;
use self::targets::Union;
use self::watch::LOOKED_UP_MAX;
use self::watcher::Watcher;
use crate::domain::{LevelKey, StockLevel, Version};
use crate::lock::lock;

/// A handle on the feed; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    selecting: Mutex<Selecting>,
    due: Due,
    /// Whose turn it is among the ends of watches of many levels.
    ending: Arc<tokio::sync::Mutex<()>>,
}

/// Which levels are watched. Held for a few look-ups at a time.
#[derive(Default)]
struct State {
    /// In places, so that whoever goes through all of them need not hold them up. The last
    /// one takes the place of one that is removed: on the way down none is left out.
    slots: IndexMap<LevelKey, Arc<Slot>>,
    union: Union,
}

impl Feed {
    /// Tells watchers of levels, soon. A value whose version is not above the one
    /// that is known is news to nobody. Returns how many levels were above it; one of
    /// which nothing was known yet is none of them.
    pub(crate) fn publish(&self, levels: &[StockLevel]) -> usize {
        self.offer(levels, State::slot_if_watched)
    }

    /// As [`Self::publish`], of levels whose products were deleted. Who selects levels is
    /// not shown what was gone before, so they are news only where the feed has the level.
    fn publish_deleted(&self, levels: &[StockLevel]) -> usize {
        self.offer(levels, |state, key| state.slots.get(key).cloned())
    }

    fn offer(
        &self,
        levels: &[StockLevel],
        slot_of: impl Fn(&mut State, &LevelKey) -> Option<Arc<Slot>>,
    ) -> usize {
        let (mut newer, mut due) = (0, Vec::new());
        let mut state = lock(&self.shared.state);
        for level in levels {
            let Some(slot) = slot_of(&mut state, &level.key) else {
                continue;
            };
            let offered = lock(&slot.state).offer(level);
            newer += usize::from(offered.newer && offered.known);
            if offered.due {
                due.push(slot);
            }
        }
        drop(state);
        self.shared.due.push(due);
        newer
    }

    /// Begins a watch. From here on it is told of every change, so that what is
    /// read from the store afterwards misses nothing.
    pub(crate) fn watch(&self, targets: &Targets) -> Watch {
        let selectors = &targets.selectors;
        let watcher = if selectors.is_empty() {
            Arc::new(Watcher::default())
        } else {
            // In this order, so that whoever finds the level watched finds by whom.
            let watcher = lock(&self.shared.selecting).add(selectors.clone());
            lock(&self.shared.state).union.add(selectors);
            watcher
        };
        let mut keys = targets.keys.iter().peekable();
        while keys.peek().is_some() {
            let mut state = lock(&self.shared.state);
            for key in keys.by_ref().take(LOOKED_UP_MAX) {
                let slot = state.slot(key);
                // By name first: one that is found low already is the same to it.
                watcher.register_by_name(&slot);
            }
        }
        let feed = self.clone();
        Watch { feed, watcher }
    }

    /// Leaves of `levels` those that somebody watches and that are not known to be at
    /// their version yet.
    fn unknown(&self, mut levels: Vec<(LevelKey, Version)>) -> Vec<(LevelKey, Version)> {
        levels.retain(|(key, version)| {
            // Taken anew for each: commits wait for it.
            let state = lock(&self.shared.state);
            let Some(slot) = state.slots.get(key) else {
                return state.union.covers(key);
            };
            let latest = &lock(&slot.state).latest;
            latest
                .as_ref()
                .is_none_or(|latest| latest.level.version < *version)
        });
        levels
    }

    /// All selectors of watches.
    fn selectors(&self) -> Selectors {
        lock(&self.shared.state).union.selectors()
    }

    /// Goes down from the place `before` over a few slots, to the place that is returned, and
    /// adds to `keys` the levels that are watched and that `selectors` do not read whatever
    /// their value is.
    fn add_unread(&self, selectors: &Selectors, before: usize, keys: &mut Vec<LevelKey>) -> usize {
        let state = lock(&self.shared.state);
        let places = state.places_below(before);
        let slots = state.slots.get_range(places.clone()).into_iter();
        let slots: Vec<Arc<Slot>> = slots.flat_map(|slots| slots.values()).cloned().collect();
        drop(state);
        let unread =
            |slot: &&Arc<Slot>| !selectors.names(&slot.key) && !lock(&slot.state).is_empty();
        keys.extend(slots.iter().filter(unread).map(|slot| slot.key.clone()));
        places.start
    }
}

impl State {
    /// The slot of a level that is watched from now on.
    fn slot(&mut self, key: &LevelKey) -> Arc<Slot> {
        if let Some(slot) = self.slots.get(key) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::new(key.clone()));
        self.slots.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    /// The slot of a level that somebody watches.
    fn slot_if_watched(&mut self, key: &LevelKey) -> Option<Arc<Slot>> {
        match self.slots.get(key) {
            Some(slot) => Some(Arc::clone(slot)),
            None if self.union.covers(key) => Some(self.slot(key)),
            None => None,
        }
    }

    /// The places of a few slots before a place.
    fn places_below(&self, before: usize) -> Range<usize> {
        let end = before.min(self.slots.len());
        end.saturating_sub(LOOKED_UP_MAX)..end
    }

    /// Takes selectors back. Says whether levels may be left that were known only because
    /// low ones were watched.
    fn deselect(&mut self, selectors: &Selectors) -> bool {
        self.union.remove(selectors);
        selectors.low && !self.union.reads_low()
    }

    /// Goes down from the place `before` over a few slots, to the place that is returned, and
    /// forgets those that nobody watches.
    fn forget_unwatched(&mut self, before: usize) -> usize {
        let places = self.places_below(before);
        for place in places.clone().rev() {
            if self.slots[place].forget(&self.union) {
                self.slots.swap_remove_index(place);
            }
        }
        places.start
    }

    fn forget_if_unwatched(&mut self, slot: &Arc<Slot>) {
        let found = self.slots.get(&slot.key);
        if found.is_some_and(|found| Arc::ptr_eq(found, slot)) && slot.forget(&self.union) {
            self.slots.swap_remove(&slot.key);
        }
    }
}

impl Slot {
    /// Whether nobody watches it, now and from now on.
    fn forget(&self, union: &Union) -> bool {
        let mut state = lock(&self.state);
        state.forgotten = state.is_empty() && !union.covers(&self.key);
        state.forgotten
    }
}
