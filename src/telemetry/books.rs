//! What the last check of the books found.

use super::instruments::Gauge;
use super::registry::Registry;
use crate::domain::Timestamp;

/// Levels that cannot be, and when that was looked at.
#[derive(Debug)]
pub struct BookGauges {
    stock_negative: Gauge,
    reserved_mismatch: Gauge,
    checked_us: Gauge,
}

impl BookGauges {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            stock_negative: registry.gauge(
                "stockroom_stock_negative",
                "Levels with less available than their backorder limit allows, or less than nothing reserved, when the books were last checked; always 0",
            ),
            reserved_mismatch: registry.gauge(
                "stockroom_reserved_mismatch",
                "Levels whose reserved units are not those of open holds, when the books were last checked; always 0",
            ),
            checked_us: registry.time_gauge(
                "stockroom_books_checked_timestamp_seconds",
                &[],
                "When the books were last checked, in seconds since 1970; 0 before the first time",
            ),
        }
    }

    /// What a check found at this time: levels that are negative, and levels whose
    /// `reserved` is not the sum of what is on hold.
    pub fn set(&self, stock_negative: i64, reserved_mismatch: i64, checked: Timestamp) {
        self.stock_negative.set(stock_negative);
        self.reserved_mismatch.set(reserved_mismatch);
        self.checked_us.set(checked.us());
    }
}
