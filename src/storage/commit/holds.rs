//! The rows of a batch by which its holds are found when they are over.

use std::collections::BTreeSet;

use super::Writes;
use crate::domain::{LevelKey, Order, OrderId, Timestamp};

/// By how much the ends of the holds of one row may differ, in microseconds. Holds of one
/// length that begin in one batch differ by milliseconds.
const SPAN_MAX_US: i64 = 999_999;

/// Orders of one row, at most: as many as a batch has by default.
const ORDERS_MAX: usize = 256;

/// A row of `hold_deadline`.
pub(super) struct Deadline<'a> {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) orders: Vec<OrderId>,
    pub(super) levels: BTreeSet<&'a LevelKey>,
}

/// Whether a batch is more than new orders that take at once, and adjustments.
pub(super) fn has_holds(writes: &Writes) -> bool {
    !writes.order_changes.is_empty() || writes.orders.iter().any(|order| order.expires.is_some())
}

/// The deadlines of holds that begin: of new orders, and of those that last longer now.
/// What holds that have ended leave behind is taken away when it is over.
pub(super) fn deadlines(writes: &Writes) -> Vec<Deadline<'_>> {
    let changed = writes.order_changes.iter();
    let longer = changed.filter(|write| write.before.expires != write.after.expires);
    let begun = writes.orders.iter().chain(longer.map(|write| &write.after));
    let begun = begun.filter_map(|order| Some((order.expires?, &**order)));
    let mut begun: Vec<(Timestamp, &Order)> = begun.collect();
    begun.sort_unstable_by_key(|(expires, order)| (*expires, order.order_id));
    let mut rows: Vec<Deadline<'_>> = Vec::new();
    for (expires, order) in begun {
        let levels = order.lines.iter().map(|line| &line.key);
        match rows.last_mut() {
            Some(row)
                if expires.us() - row.first.us() <= SPAN_MAX_US
                    && row.orders.len() < ORDERS_MAX =>
            {
                row.last = expires;
                row.orders.push(order.order_id);
                row.levels.extend(levels);
            }
            _ => rows.push(Deadline {
                first: expires,
                last: expires,
                orders: vec![order.order_id],
                levels: levels.collect(),
            }),
        }
    }
    rows
}
