//! The watches that select levels without naming them.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::slot::{Slot, SlotState};
use super::targets::Selectors;
use super::watcher::Watcher;

/// Those watches, by number, in the order they began.
#[derive(Default)]
pub(super) struct Selecting {
    /// The number of the watch that began last.
    last: u64,
    /// Those that select by name or place …
    by_name: Numbered,
    /// … and those of low levels. A watch may be in both.
    low: Numbered,
}

type Numbered = BTreeMap<u64, Arc<Watcher>>;

impl Selecting {
    /// Begins a watch with selectors.
    pub(super) fn add(&mut self, selectors: Selectors) -> Arc<Watcher> {
        self.last += 1;
        let by_low_alone = Selectors {
            low: true,
            ..Selectors::default()
        };
        let (low, by_name) = (selectors.low, selectors != by_low_alone);
        let watcher = Arc::new(Watcher::selecting(self.last, selectors));
        if low {
            self.low.insert(self.last, Arc::clone(&watcher));
        }
        if by_name {
            self.by_name.insert(self.last, Arc::clone(&watcher));
        }
        watcher
    }

    /// Ends a watch: from here on nobody registers it any more.
    pub(super) fn remove(&mut self, watcher: &Watcher) {
        self.by_name.remove(&watcher.number);
        self.low.remove(&watcher.number);
    }

    /// Registers with a slot whoever selects it and has not been asked yet.
    pub(super) fn register(&self, slot: &Arc<Slot>, state: &mut SlotState) {
        if state.asked < self.last {
            for watcher in since(&self.by_name, state.asked) {
                let selectors = watcher.selectors.as_deref();
                if selectors.is_some_and(|selectors| selectors.names(&slot.key))
                    && watcher.registration(slot).is_none()
                {
                    watcher.register(slot, state);
                }
            }
            state.asked = self.last;
        }
        if state.asked_low < self.last && state.is_low() {
            for watcher in since(&self.low, state.asked_low) {
                if watcher.registration(slot).is_none() {
                    watcher.register(slot, state);
                }
            }
            state.asked_low = self.last;
        }
    }
}

/// The watches that began after the one numbered `asked`.
fn since(watches: &Numbered, asked: u64) -> impl Iterator<Item = &Arc<Watcher>> {
    watches
        .range((Excluded(asked), Unbounded))
        .map(|(_, watcher)| watcher)
}
