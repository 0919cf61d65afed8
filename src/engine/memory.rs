//! Levels, and orders on hold, as our own last commits left them, the one under way
//! included.
//!
//! Planning on them saves a batch its reads: when every command in it is accepted
//! the guards and the unique request ids prove afterwards that nothing was stale,
//! and when something was, its levels are read and planned anew. A refusal is
//! never answered from here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::domain::{LevelKey, LoadedLevel, Order, OrderId, OrderState, Writes};
use crate::lock::lock;

/// Levels remembered at most, some 20 MB; beyond it all are forgotten and the
/// busy ones come back with their next commit. Of a commit or a read of more, which takes
/// a large `batch_lines_max` or a product that lies at as many locations, none is.
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
    /// Commits that were foreseen, and the number of the last one that came true.
    foreseen: u64,
    durable: u64,
    /// Those that the last foreseen commit makes or changes.
    under_way: Vec<OrderId>,
}

struct Remembered {
    order: Arc<Order>,
    /// The number of the commit that it was foreseen by; 0 if it was not. What is not durable may
    /// never come to be, and another state may get its version.
    commit: u64,
}

impl Memory {
    pub(super) fn recall(&self, key: &LevelKey) -> Option<LoadedLevel> {
        lock(&self.levels).get(key).cloned()
    }

    /// Remembers what a commit that is sent will have written, for what is planned behind it.
    /// One commit at a time is: [`Self::came_true`], [`Self::came_otherwise`] or [`Self::forget`]
    /// ends that.
    pub(super) fn foresee(&self, writes: &Writes) {
        self.remember_levels(writes);
        let mut orders = lock(&self.orders);
        orders.foreseen += 1;
        let commit = orders.foreseen;
        orders.under_way = of_interest(writes).map(|order| order.order_id).collect();
        orders.take_in(writes, commit);
    }

    /// What was foreseen is written.
    pub(super) fn came_true(&self) {
        let mut orders = lock(&self.orders);
        orders.durable = orders.foreseen;
    }

    /// This is written instead of what was foreseen: what is not in it never came to be.
    pub(super) fn came_otherwise(&self, writes: &Writes) {
        self.remember(writes);
        let orders = &mut *lock(&self.orders);
        for id in std::mem::take(&mut orders.under_way) {
            let known = orders.known.get(&id);
            if known.is_some_and(|known| known.commit == orders.foreseen) {
                orders.known.remove(&id);
            }
        }
    }

    /// Remembers what a commit that was not foreseen has written.
    pub(super) fn remember(&self, writes: &Writes) {
        self.remember_levels(writes);
        lock(&self.orders).take_in(writes, 0);
    }

    /// An order as one of our last commits left it, if that is durable: a command outlives
    /// a commit that fails.
    pub(super) fn order(&self, id: OrderId) -> Option<Arc<Order>> {
        let orders = lock(&self.orders);
        let known = orders.known.get(&id);
        let known = known.filter(|known| known.commit <= orders.durable);
        known.map(|known| Arc::clone(&known.order))
    }

    /// The order as it is remembered, the commit under way included, if it has changed
    /// since it was read.
    pub(super) fn latest(&self, read: &Arc<Order>) -> Arc<Order> {
        let orders = lock(&self.orders);
        let known = orders.known.get(&read.order_id).map(|known| &known.order);
        let later = known.filter(|known| known.version > read.version);
        Arc::clone(later.unwrap_or(read))
    }

    fn remember_levels(&self, writes: &Writes) {
        let levels = || writes.levels.iter().map(|write| &write.level);
        let mut known = lock(&self.levels);
        if known.len() + levels().len() > LEVELS_MAX {
            known.clear();
        }
        if levels().len() > LEVELS_MAX {
            return;
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
        if levels.len() > LEVELS_MAX {
            return;
        }
        let mut known = lock(&self.levels);
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
        lock(&self.levels).clear();
        *lock(&self.orders) = Orders::default();
    }
}

/// The orders on hold, and those that have changed.
fn of_interest(writes: &Writes) -> impl Iterator<Item = &Arc<Order>> {
    let made = writes.orders.iter();
    let on_hold = made.filter(|order| order.state == OrderState::Pending);
    on_hold.chain(writes.order_changes.iter().map(|order| &order.after))
}

impl Orders {
    fn take_in(&mut self, writes: &Writes, commit: u64) {
        for order in of_interest(writes) {
            self.remember(order, commit);
        }
    }

    fn remember(&mut self, order: &Arc<Order>, commit: u64) {
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
            self.known.clear();
            self.ended.clear();
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
        self.known.insert(id, Remembered { order, commit });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{LevelWrite, OrderWrite, RequestId, StockLevel, Timestamp, Version};
    use crate::samples::{level, loaded};

    fn pending(id: u128) -> Arc<Order> {
        Arc::new(Order {
            order_id: OrderId(uuid::Uuid::from_u128(id)),
            request_id: RequestId::new("r").unwrap(),
            state: OrderState::Pending,
            lines: Vec::new(),
            customer_ref: String::new(),
            labels: std::collections::BTreeMap::new(),
            created: Timestamp::from_us(0),
            updated: Timestamp::from_us(0),
            version: 1,
            expires: Some(Timestamp::from_us(9)),
            cancel_reason: String::new(),
            moved: Vec::new(),
        })
    }

    fn confirmation(before: &Arc<Order>) -> Writes {
        let mut after = Order::clone(before);
        (after.state, after.version) = (OrderState::Confirmed, 2);
        let write = OrderWrite {
            before: Arc::clone(before),
            after: Arc::new(after),
        };
        Writes {
            order_changes: vec![write],
            ..Writes::default()
        }
    }

    /// What callers are given of an order, and what is planned on.
    fn versions(memory: &Memory, order: &Arc<Order>) -> (Option<i64>, i64) {
        let given = memory.order(order.order_id).map(|order| order.version);
        (given, memory.latest(order).version)
    }

    #[test]
    fn what_is_foreseen_is_planned_on_and_given_to_nobody_until_it_came_true() {
        let (memory, order) = (Memory::default(), pending(1));
        memory.foresee(&confirmation(&order));
        assert_eq!(versions(&memory, &order), (None, 2));
        memory.came_true();
        assert_eq!(versions(&memory, &order), (Some(2), 2));
    }

    #[test]
    fn what_did_not_come_true_is_gone() {
        let (memory, [order, other]) = (Memory::default(), [1, 2].map(pending));
        memory.foresee(&confirmation(&order));
        memory.came_otherwise(&confirmation(&other));
        assert_eq!(versions(&memory, &order), (None, 1));
        assert_eq!(versions(&memory, &other), (Some(2), 2));
        // Not with the next one that comes true either.
        memory.foresee(&Writes::default());
        memory.came_true();
        assert_eq!(versions(&memory, &order), (None, 1));
        memory.foresee(&confirmation(&order));
        memory.forget();
        memory.foresee(&Writes::default());
        memory.came_true();
        assert_eq!(versions(&memory, &order), (None, 1));
    }

    fn write(level: StockLevel) -> LevelWrite {
        LevelWrite {
            expected: Version::NONE,
            level,
        }
    }

    #[test]
    fn of_more_levels_than_are_remembered_at_most_none_is() {
        let memory = Memory::default();
        let many = || (0..=LEVELS_MAX).map(|i| level(&format!("s-{i}"), 2, 1));
        memory.learn(vec![loaded(level("s-7", 1, 9))]);
        memory.learn(many().map(loaded).collect());
        assert_eq!(lock(&memory.levels).len(), 1);
        memory.remember(&Writes {
            levels: many().map(write).collect(),
            ..Writes::default()
        });
        // Nor is what they have left behind them.
        assert_eq!(lock(&memory.levels).len(), 0);
    }
}
