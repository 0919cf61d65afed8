//! The rows of a batch that say who reserves what.

use uuid::Uuid;

use super::Writes;
use crate::domain::{LevelKey, Order, Timestamp};

/// A row of `hold`.
pub(super) struct HoldRow<'a> {
    pub(super) key: &'a LevelKey,
    pub(super) expires: Timestamp,
    pub(super) order_id: Uuid,
    pub(super) units: i64,
    pub(super) is_first: bool,
}

/// Whether a batch is more than new orders that take at once, and adjustments.
pub(super) fn has_holds(writes: &Writes) -> bool {
    !writes.order_changes.is_empty() || writes.orders.iter().any(|order| order.expires.is_some())
}

/// Holds that begin: of new orders, and those that last longer now.
pub(super) fn begun(writes: &Writes) -> Vec<HoldRow<'_>> {
    let new = writes.orders.iter();
    let changed = writes.order_changes.iter();
    let longer = changed.filter(|write| write.before.expires != write.after.expires);
    let begun = new.chain(longer.map(|write| &write.after));
    begun.flat_map(|order| rows(order)).collect()
}

/// Holds that end, those that are to last longer among them, in ascending order.
pub(super) fn ended(writes: &Writes) -> Vec<HoldRow<'_>> {
    let changed = writes.order_changes.iter();
    let ended = changed.filter(|write| write.before.expires != write.after.expires);
    let mut rows: Vec<_> = ended.flat_map(|write| rows(&write.before)).collect();
    rows.sort_unstable_by_key(|row| (row.key, row.expires, row.order_id));
    rows
}

/// What an order holds; nothing unless it is pending.
fn rows(order: &Order) -> Vec<HoldRow<'_>> {
    let Some(expires) = order.expires else {
        return Vec::new();
    };
    let units = order.units_by_level().into_iter().enumerate();
    units
        .map(|(place, (key, units))| HoldRow {
            key,
            expires,
            order_id: order.order_id.0,
            units,
            is_first: place == 0,
        })
        .collect()
}
