//! One watched level, and who is told of it.
//!
//! Owns the newest value and the list of registrations, and the walk that tells
//! them of it. A walk goes through the list in parts, so that ten thousand
//! watchers of one level hold up nobody else; registrations may come and go
//! meanwhile, in constant time, and none is left out.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::update::Update;
use super::watcher::Watcher;
use crate::domain::{LevelKey, StockLevel, Version};

/// A watched level.
pub(super) struct Slot {
    pub(super) key: LevelKey,
    pub(super) state: Mutex<SlotState>,
}

/// What changes about a slot.
#[derive(Default)]
pub(super) struct SlotState {
    /// The value with the highest version that any source brought.
    pub(super) latest: Option<Arc<Update>>,
    registrations: Vec<Arc<Registration>>,
    /// Registrations before this place have been told in the walk under way.
    cursor: usize,
    /// Whether it waits for a walk, or is being walked.
    pub(super) due: bool,
    /// Whether a newer value came while it was being walked.
    again: bool,
    /// The last watch by selectors that was asked whether it wants this level …
    pub(super) asked: u64,
    /// … and the last watch of low levels, since it is low.
    pub(super) asked_low: u64,
    /// Whether the feed has forgotten it: nobody may register any more.
    pub(super) forgotten: bool,
}

/// That a watch is told of a level.
pub(super) struct Registration {
    pub(super) slot: Arc<Slot>,
    pub(super) watcher: Arc<Watcher>,
    /// Registered because the level is low, and for nothing else.
    pub(super) while_low: bool,
    /// Whether it lies in the watcher's mailbox.
    pub(super) queued: AtomicBool,
    // The rest is written under the slot's lock.
    /// Its place in the slot's list.
    place: AtomicUsize,
    /// The last version that the watch was given or had seen before.
    sent: AtomicI64,
    /// Whether the last value that the watch was given was low.
    sent_low: AtomicBool,
}

/// No version has been given or seen.
const UNSENT: i64 = -1;
/// The place of a registration that has ended.
const NOWHERE: usize = usize::MAX;

/// What became of a value that a source brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offered {
    /// It is newer than what was known.
    pub(super) newer: bool,
    /// Something was known.
    pub(super) known: bool,
    /// The slot has to be queued for a walk.
    pub(super) due: bool,
}

/// What part of a walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walked {
    /// Watches that were told and had not been before.
    pub(super) told: usize,
    /// Whether the slot has to be queued again.
    pub(super) goes_on: bool,
    /// Nobody is registered.
    pub(super) is_empty: bool,
}

impl Slot {
    pub(super) fn new(key: LevelKey) -> Self {
        let state = Mutex::default();
        Self { key, state }
    }

    /// What tells it from every other slot while somebody holds it.
    pub(super) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }
}

impl SlotState {
    /// Takes a value if it is newer than what is known. At version 0 the one that came last
    /// is kept: a product's threshold and limit change what is shown there without a version.
    /// Whoever is given it from now on is given that; who has version 0 is not told again.
    pub(super) fn offer(&mut self, level: &StockLevel) -> Offered {
        let known = self.latest.as_ref().map(|latest| latest.level.version);
        let newer = known.is_none_or(|known| known < level.version);
        let is_none_still = known == Some(Version::NONE) && level.version == Version::NONE;
        let differs = || {
            let latest = self.latest.as_ref();
            latest.is_some_and(|latest| latest.level != *level)
        };
        if newer || (is_none_still && differs()) {
            self.latest = Some(Arc::new(Update::new(level.clone())));
        }
        Offered {
            newer,
            known: known.is_some(),
            due: newer && self.become_due(),
        }
    }

    /// Whether it has to be queued for a walk, which it says once a walk.
    fn become_due(&mut self) -> bool {
        if self.due {
            // Before the walk's begin there is nobody who has been told too early.
            self.again = self.cursor > 0;
            return false;
        }
        self.due = true;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.registrations.is_empty()
    }

    /// Whether watches of low levels are told of it. As in lists, a level that has had no
    /// movement is none of them.
    pub(super) fn is_low(&self) -> bool {
        self.latest
            .as_ref()
            .is_some_and(|latest| latest.level.version > Version::NONE && latest.level.low_stock())
    }

    /// Adds a registration. It has not been told of anything.
    pub(super) fn register(&mut self, it: &Arc<Registration>) {
        it.place.store(self.registrations.len(), Ordering::Relaxed);
        self.registrations.push(Arc::clone(it));
    }

    /// Removes a registration, in constant time. Those that the walk under way
    /// has passed stay before its cursor, and the others behind it.
    pub(super) fn unregister(&mut self, it: &Registration) {
        let mut gap = it.place.swap(NOWHERE, Ordering::Relaxed);
        if gap == NOWHERE {
            return;
        }
        if gap < self.cursor {
            self.cursor -= 1;
            self.registrations.swap(gap, self.cursor);
            self.put_at(gap);
            gap = self.cursor;
        }
        self.registrations.swap_remove(gap);
        self.put_at(gap);
        if it.while_low {
            // Should it become low again, the watch has to be asked again.
            self.asked_low = 0;
        }
    }

    fn put_at(&self, place: usize) {
        if let Some(moved) = self.registrations.get(place)
            && moved.place.load(Ordering::Relaxed) != NOWHERE
        {
            moved.place.store(place, Ordering::Relaxed);
        }
    }

    /// Tells registrations of the newest value: at most `told_max` of those that
    /// have not been told, and at most `passed_max` in all.
    pub(super) fn walk(&mut self, told_max: usize, passed_max: usize) -> Walked {
        let end = self.registrations.len().min(self.cursor + passed_max);
        let mut told = 0;
        while self.cursor < end && told < told_max {
            let it = &self.registrations[self.cursor];
            self.cursor += 1;
            if let Some(latest) = &self.latest
                && it.wants(&latest.level)
            {
                told += usize::from(it.tell());
            }
        }
        if self.cursor >= self.registrations.len() {
            self.cursor = 0;
            self.due = std::mem::take(&mut self.again);
        }
        Walked {
            told,
            goes_on: self.due,
            is_empty: self.registrations.is_empty(),
        }
    }
}

impl Registration {
    pub(super) fn new(slot: &Arc<Slot>, watcher: &Arc<Watcher>, while_low: bool) -> Arc<Self> {
        Arc::new(Self {
            slot: Arc::clone(slot),
            watcher: Arc::clone(watcher),
            while_low,
            queued: AtomicBool::new(false),
            place: AtomicUsize::new(NOWHERE),
            sent: AtomicI64::new(UNSENT),
            sent_low: AtomicBool::new(false),
        })
    }

    /// Puts it into the watcher's mailbox and wakes the watch, if it is not there
    /// yet. Called under the slot's lock, after its value changed.
    pub(super) fn tell(self: &Arc<Self>) -> bool {
        let is_news = !self.queued.swap(true, Ordering::AcqRel);
        if is_news {
            self.watcher.put(Arc::clone(self));
        }
        is_news
    }

    /// Whether the watch has to be given a value. Under the slot's lock.
    pub(super) fn wants(&self, level: &StockLevel) -> bool {
        self.sent().is_none_or(|sent| sent < level.version)
            && (!self.while_low || level.low_stock() || self.sent_low.load(Ordering::Relaxed))
    }

    /// The last version that the watch has been given or has seen.
    pub(super) fn sent(&self) -> Option<Version> {
        let sent = self.sent.load(Ordering::Relaxed);
        (sent != UNSENT).then(|| Version::new(sent))
    }

    /// Writes down that the watch has a version. Under the slot's lock.
    pub(super) fn has(&self, version: Version, low: bool) {
        self.sent.store(version.number(), Ordering::Relaxed);
        self.sent_low.store(low, Ordering::Relaxed);
    }

    /// Whether it is in its slot's list. Under the slot's lock.
    pub(super) fn is_live(&self) -> bool {
        self.place.load(Ordering::Relaxed) != NOWHERE
    }
}
