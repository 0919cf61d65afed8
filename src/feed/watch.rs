//! One watch, as whoever watches holds it.

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::Feed;
use super::slot::{Registration, Slot, SlotState};
use super::update::Update;
use super::watcher::Watcher;
use crate::domain::{LevelKey, StockLevel, Version};
use crate::lock::lock;

/// Levels that are looked up under the feed's lock at a time, which commits wait for.
pub(super) const LOOKED_UP_MAX: usize = 64;

/// Levels that are let go of on the thread of whoever ends a watch: a millisecond of them.
/// A watch of all may have a million, and every call would wait for its end.
const ENDED_AT_ONCE: usize = 1_000;

/// One watch; dropping it ends it: at once if it has few levels, otherwise soon.
pub(crate) struct Watch {
    pub(super) feed: Feed,
    pub(super) watcher: Arc<Watcher>,
}

/// Levels that changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Their newest values, each level once.
    pub updates: Vec<Arc<Update>>,
    /// Versions between these and what the watch had, which it is not given.
    pub folded: u64,
}

/// What a watch has to be given of levels that were read from the store.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// What is above what it has.
    pub newer: Vec<Arc<Update>>,
    /// What is below, so that the store must have lost commits, and what takes the
    /// place of another store's.
    pub reset: Vec<Arc<Update>>,
}

impl Watch {
    /// Says which versions the watch has already: it is given what is above them.
    pub(crate) fn has_seen(&self, seen: &HashMap<LevelKey, Version>) {
        for (key, version) in seen {
            let slot = lock(&self.feed.shared.state).slots.get(key).cloned();
            let Some(slot) = slot else { continue };
            if let Some(it) = self.watcher.registration(&slot) {
                let _state = lock(&slot.state);
                it.has(*version, true);
            }
        }
    }

    /// Takes out of levels that were read those of which the watch has seen a later
    /// version: whether the store lost commits is not for every source to say.
    pub(crate) fn split_below_seen(
        &self,
        levels: Vec<StockLevel>,
    ) -> (Vec<StockLevel>, Vec<LevelKey>) {
        let mut below = Vec::new();
        let mut read = levels;
        read.retain(|level| {
            let slot = lock(&self.feed.shared.state).slots.get(&level.key).cloned();
            let it = slot.and_then(|slot| self.watcher.registration(&slot));
            let is_below = it.is_some_and(|it| {
                let _state = lock(&it.slot.state);
                it.sent().is_some_and(|sent| sent > level.version)
            });
            if is_below {
                below.push(level.key.clone());
            }
            !is_below
        });
        (read, below)
    }

    /// Takes levels that were read from the store after the watch began, tells the
    /// feed of them, and returns what of them the watch has to be given. With
    /// `anew`, what it has not been given comes as `reset`.
    pub(crate) fn meet(&self, levels: &[StockLevel], anew: bool) -> Met {
        let mut met = Met::default();
        let mut due = Vec::new();
        for levels in levels.chunks(LOOKED_UP_MAX) {
            let mut feed = lock(&self.feed.shared.state);
            for level in levels {
                let slot = feed.slot(&level.key);
                let mut state = lock(&slot.state);
                if state.offer(level).due {
                    due.push(Arc::clone(&slot));
                }
                let it = match self.watcher.registration(&slot) {
                    Some(it) => it,
                    None => self.watcher.register(&slot, &mut state),
                };
                meet(&it, &state, anew, &mut met);
            }
        }
        self.feed.shared.due.push(due);
        met
    }

    /// Waits for changes and takes at most `levels_max` of the levels that changed, each
    /// with its newest value, and says how many versions were folded away. One task may
    /// wait at a time.
    pub(crate) fn poll_changed(&self, cx: &Context<'_>, levels_max: usize) -> Poll<Changed> {
        loop {
            let waiting = ready!(self.watcher.poll_waiting(cx));
            let mut changed = Changed::default();
            for it in iter::from_fn(|| self.watcher.pop()).take(waiting.min(levels_max)) {
                self.take(&it, &mut changed);
            }
            // What it was told of may be what it has got meanwhile.
            if !changed.updates.is_empty() {
                return Poll::Ready(changed);
            }
        }
    }

    fn take(&self, it: &Arc<Registration>, changed: &mut Changed) {
        let mut state = lock(&it.slot.state);
        let Some(latest) = state.latest.clone().filter(|_| it.is_live()) else {
            return;
        };
        let (version, low) = (latest.level.version, latest.level.low_stock());
        if it.wants(&latest.level) {
            if let Some(sent) = it.sent() {
                changed.folded += (version.number() - sent.number() - 1).unsigned_abs();
            }
            it.has(version, low);
            changed.updates.push(latest);
        }
        if it.while_low && !low {
            state.unregister(it);
            self.watcher.let_go(it);
        }
    }
}

/// Adds the newest value of a level that was read to what the watch is given. It
/// is below what the watch has only if no source knows better.
fn meet(it: &Registration, state: &SlotState, anew: bool, met: &mut Met) {
    let Some(latest) = &state.latest else { return };
    let sent = it.sent();
    let is_reset = match sent {
        Some(sent) => sent > latest.level.version,
        None => anew && it.wants(&latest.level),
    };
    if is_reset {
        met.reset.push(Arc::clone(latest));
    } else if it.wants(&latest.level) {
        met.newer.push(Arc::clone(latest));
    } else {
        return;
    }
    it.has(latest.level.version, latest.level.low_stock());
}

impl Watcher {
    /// Makes the watch be told of a level that it selects. Under the slot's lock.
    pub(super) fn register(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        state: &mut SlotState,
    ) -> Arc<Registration> {
        let selectors = self.selectors.as_deref();
        let by_name = selectors.is_none_or(|selectors| selectors.names(&slot.key));
        let it = Registration::new(slot, self, !by_name);
        state.register(&it);
        self.keep(Arc::clone(&it));
        it
    }

    /// Makes the watch be told of a level that its caller names.
    pub(super) fn register_by_name(self: &Arc<Self>, slot: &Arc<Slot>) {
        let mut state = lock(&slot.state);
        if let Some(by_selector) = self.registration(slot) {
            state.unregister(&by_selector);
        }
        let it = Registration::new(slot, self, false);
        state.register(&it);
        self.keep(it);
    }
}

/// A watch that nobody holds any more; dropping it lets go of its levels. Whoever should
/// have dropped it and is stopped before does it by that.
struct Ended {
    feed: Feed,
    watcher: Arc<Watcher>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let shared = &self.feed.shared;
        let mut levels = 0;
        if let Some(selectors) = &self.watcher.selectors {
            lock(&shared.selecting).remove(&self.watcher);
            if selectors.low {
                // The last watch of low levels leaves all others to be looked at.
                levels = lock(&shared.state).slots.len();
            }
        }
        levels = levels.max(self.watcher.registered());
        let ended = Ended {
            feed: self.feed.clone(),
            watcher: Arc::clone(&self.watcher),
        };
        let runtime = Handle::try_current().ok();
        let Some(runtime) = runtime.filter(|_| levels > ENDED_AT_ONCE) else {
            return;
        };
        // One at a time: there are few cores, and commits want the same locks.
        let ending = Arc::clone(&shared.ending);
        runtime.spawn(async move {
            let turn = ending.lock_owned().await;
            spawn_blocking(move || {
                drop(ended);
                drop(turn);
            });
        });
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let shared = &self.feed.shared;
        let emptied: Vec<Arc<Slot>> = self
            .watcher
            .let_all_go()
            .into_values()
            .filter_map(|it| {
                let mut state = lock(&it.slot.state);
                state.unregister(&it);
                state.is_empty().then(|| Arc::clone(&it.slot))
            })
            .collect();
        self.watcher.close();
        if let Some(selectors) = &self.watcher.selectors {
            let leaves_some = lock(&shared.state).deselect(selectors);
            let mut place = if leaves_some { usize::MAX } else { 0 };
            while place > 0 {
                place = lock(&shared.state).forget_unwatched(place);
            }
        }
        for slots in emptied.chunks(LOOKED_UP_MAX) {
            let mut state = lock(&shared.state);
            for slot in slots {
                state.forget_if_unwatched(slot);
            }
        }
    }
}
