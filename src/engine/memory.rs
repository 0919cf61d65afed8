//! Levels, and orders on hold, as our own last commits left them, the one under way
//! included.
//!
//! Planning on them saves a batch its reads: when every command in it is accepted
//! the guards and the unique request ids prove afterwards that nothing was stale,
//! and when something was, its levels are read and planned anew. A refusal is
//! never answered from here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{LevelKey, LoadedLevel, Order, OrderId, OrderState, Writes};

/// Levels remembered at most, some 20 MB; beyond it all are forgotten and the
/// busy ones come back with their next commit.
const LEVELS_MAX: usize = 100_000;

/// Orders remembered at most, some 10 MB of small ones; beyond it all are forgotten, and
/// are read when somebody changes them.
const ORDERS_MAX: usize = 20_000;

/// Orders remembered after they have ended, at most: whoever read one while it was pending
/// may be about to change it. Beyond it the oldest make room for those that are pending.
const ENDED_ORDERS_MAX: usize = 2_048;

/// Lines of an order beyond which it is not worth its place.
const LINES_MAX: usize = 50;

#[derive(Default)]
pub(super) struct Memory {
    levels: Mutex<HashMap<LevelKey, LoadedLevel>>,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    known: HashMap<OrderId, Remembered>,
    /// Those that are pending no longer, the oldest in front.
    ended: VecDeque<OrderId>,
}

struct Remembered {
    order: Arc<Order>,
    /// Whether its commit has ended well. What has not may never come to be, and another
    /// state may get its version.
    is_durable: bool,
}

impl Memory {
    pub(super) fn recall(&self, key: &LevelKey) -> Option<LoadedLevel> {
        self.lock().get(key).cloned()
    }

    /// Remembers what a commit that is sent will have written, for what is planned behind it.
    pub(super) fn foresee(&self, writes: &Writes) {
        self.take_in(writes, false);
    }

    /// Remembers what a commit has written.
    pub(super) fn remember(&self, writes: &Writes) {
        self.take_in(writes, true);
    }

    fn take_in(&self, writes: &Writes, is_durable: bool) {
        self.remember_levels(writes);
        let made = writes.orders.iter();
        let on_hold = made.filter(|order| order.state == OrderState::Pending);
        let changed = writes.order_changes.iter().map(|order| &order.after);
        let mut orders = on_hold.chain(changed).peekable();
        if orders.peek().is_some() {
            let mut known = self.orders();
            orders.for_each(|order| known.remember(order, is_durable));
        }
    }

    /// An order as one of our last commits left it, if that is durable: a command outlives
    /// a commit that fails.
    pub(super) fn order(&self, id: OrderId) -> Option<Arc<Order>> {
        let orders = self.orders();
        let known = orders.known.get(&id).filter(|known| known.is_durable);
        known.map(|known| Arc::clone(&known.order))
    }

    /// The order as it is remembered, the commit under way included, if it has changed
    /// since it was read.
    pub(super) fn latest(&self, read: &Arc<Order>) -> Arc<Order> {
        let orders = self.orders();
        let known = orders.known.get(&read.order_id).map(|known| &known.order);
        let later = known.filter(|known| known.version > read.version);
        Arc::clone(later.unwrap_or(read))
    }

    fn remember_levels(&self, writes: &Writes) {
        let levels = || writes.levels.iter().map(|write| &write.level);
        let mut known = self.lock();
        if known.len() + levels().len() > LEVELS_MAX {
            known.clear();
        }
        for level in levels() {
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
        *self.orders() = Orders::default();
    }

    /// The worst that a panic could leave is a level less.
    fn lock(&self) -> MutexGuard<'_, HashMap<LevelKey, LoadedLevel>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orders {
    fn remember(&mut self, order: &Arc<Order>, is_durable: bool) {
        let id = order.order_id;
        let known = self.known.get(&id).map(|known| known.order.version);
        if known.is_some_and(|known| known > order.version) {
            return;
        }
        if order.lines.len() > LINES_MAX {
            // What was remembered of it is old.
            self.known.remove(&id);
            return;
        }
        if self.known.len() >= ORDERS_MAX {
            *self = Self::default();
        }
        if order.state != OrderState::Pending && known != Some(order.version) {
            self.ended.push_back(id);
            if self.ended.len() > ENDED_ORDERS_MAX
                && let Some(oldest) = self.ended.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        let order = Arc::clone(order);
        self.known.insert(id, Remembered { order, is_durable });
    }
}
