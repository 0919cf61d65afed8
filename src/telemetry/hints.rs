//! The metrics of hints between instances.

use super::instruments::Counter;
use super::registry::Registry;

/// Hints between the instances on one PostgreSQL. Clones share them.
#[derive(Debug, Clone)]
pub struct HintCounters {
    /// Hints sent to other instances.
    pub sent: Counter,
    /// Hints of other instances that were heard.
    pub received: Counter,
    /// Times that the connection which listens was made anew.
    pub reconnects: Counter,
}

impl HintCounters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            sent: registry.counter(
                "stockroom_hints_sent_total",
                "Hints of changed levels sent to other instances",
            ),
            received: registry.counter(
                "stockroom_hints_received_total",
                "Hints of changed levels heard from other instances",
            ),
            reconnects: registry.counter(
                "stockroom_hint_reconnects_total",
                "Times that the connection which hears other instances was made anew",
            ),
        }
    }
}
