//! What became of the writes of one kind, and of calls that came to no answer.

use std::sync::Arc;

use super::instruments::Counter;
use super::registry::Registry;
use crate::error::{Error, Reason};

/// Writes of one kind by outcome and reason, each with a counter of its own, so
/// that counting looks nothing up.
#[derive(Debug)]
pub struct Outcomes {
    /// Writes that were made, to be counted with their commit: whoever waited may
    /// have hung up.
    pub accepted: Counter,
    /// Writes answered with what an earlier call of the same `request_id` made.
    pub replayed: Counter,
    /// By [`Reason`], in the order of [`Reason::ALL`].
    turned_down: [Counter; Reason::ALL.len()],
}

impl Outcomes {
    pub(super) fn new(registry: &mut Registry, name: &'static str, help: &'static str) -> Self {
        let mut outcome = |outcome, reason| {
            registry.counter_of(name, &[("outcome", outcome), ("reason", reason)], help)
        };
        Self {
            accepted: outcome("accepted", ""),
            replayed: outcome("replayed", ""),
            turned_down: Reason::ALL.map(|reason| {
                let failed = reason.is_failure();
                outcome(if failed { "failed" } else { "refused" }, reason.as_str())
            }),
        }
    }

    /// Counts a write that was answered with `error`: `failed` if this service
    /// fell short, `refused` if the request or the stock did.
    pub fn turned_down(&self, error: &Error) {
        self.turned_down[error.reason() as usize].add(1);
    }
}

/// The methods whose calls are counted when they come to no answer, the busiest first. WatchStock
/// ends its calls by itself.
pub(crate) const METHODS: [&str; 18] = [
    "CreateOrder",
    "GetStock",
    "BatchGetStock",
    "GetOrder",
    "ConfirmOrder",
    "CancelOrder",
    "ExtendHold",
    "ListOrders",
    "AdjustStock",
    "BatchAdjustStock",
    "CountStock",
    "TransferStock",
    "ListStock",
    "ListMovements",
    "GetProduct",
    "ListProducts",
    "PutProducts",
    "DeleteProduct",
];

/// Calls that came to no answer, by method. Clones share them.
#[derive(Debug, Clone)]
pub struct Unanswered {
    /// In the order of [`METHODS`].
    ours: Arc<[Counter; METHODS.len()]>,
    /// Of health and reflection.
    other: Counter,
}

impl Unanswered {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let mut method = |method| {
            registry.counter_of(
                "stockroom_calls_unanswered_total",
                &[("method", method)],
                "Calls whose deadline, or the server's, passed before their answer began, or whose caller hung up before",
            )
        };
        Self {
            ours: Arc::new(METHODS.map(&mut method)),
            other: method("other"),
        }
    }

    /// Where calls of a method are counted, by their path: `/package.Service/Method`.
    pub fn of(&self, path: &str) -> &Counter {
        let (_, method) = path.rsplit_once('/').unwrap_or_default();
        let place = METHODS.iter().position(|name| *name == method);
        place.map_or(&self.other, |place| &self.ours[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
        }
    }
}
