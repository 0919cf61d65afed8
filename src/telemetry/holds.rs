//! The metrics of orders on hold.

use super::instruments::{Counter, Gauge};
use super::registry::Registry;
use crate::domain::Transition;

/// What becomes of orders on hold, and who sees to their end. Clones share them.
#[derive(Debug, Clone)]
pub struct HoldCounters {
    confirmed: Counter,
    cancelled: Counter,
    extended: Counter,
    expired: Counter,
    /// 1 while this instance looks for holds that are over, and ends them.
    pub sweeping: Gauge,
    /// How long the hold that is over for longest has been, when it was last looked for.
    pub overdue_seconds: Gauge,
}

impl HoldCounters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let mut transition = |transition| {
            registry.counter_of(
                "stockroom_order_transitions_total",
                &[("transition", transition)],
                "Changes of orders that committed; a hold expires by the sweeper, or because an order needs its units",
            )
        };
        Self {
            confirmed: transition("confirmed"),
            cancelled: transition("cancelled"),
            extended: transition("extended"),
            expired: transition("expired"),
            sweeping: registry.gauge(
                "stockroom_sweeper_active",
                "1 where this instance ends holds that are over, 0 where another does, and where it cannot look for them",
            ),
            overdue_seconds: registry.gauge(
                "stockroom_holds_overdue_seconds",
                "How long the oldest hold that is over has been, when the sweeper last looked",
            ),
        }
    }

    /// Where changes like this are counted.
    pub fn of(&self, transition: &Transition) -> &Counter {
        match transition {
            Transition::Confirm => &self.confirmed,
            Transition::Cancel { .. } => &self.cancelled,
            Transition::Extend(_) => &self.extended,
            Transition::Expire(_) => &self.expired,
        }
    }
}
