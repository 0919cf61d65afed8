//! Counting what was committed, once, whoever finds out that it was.

use std::collections::HashSet;

use super::plan::Plan;
use super::queue::Queued;
use super::{Command, Done};
use crate::domain::{RequestId, Writes};
use crate::error::Error;
use crate::telemetry::Counters;

/// Counts what a commit wrote.
pub(super) fn count(counters: &Counters, writes: &Writes) {
    counters.commit.made.add(1);
    if !writes.requests.is_empty() {
        // Holds that end by themselves are nobody's writes.
        counters.commit.orders.record(writes.requests.len() as f64);
    }
    counters.orders.accepted.add(writes.orders.len() as u64);
    let requests = writes.requests.iter();
    let adjusted = requests
        .filter(|request| request.order_id.is_none())
        .count();
    counters.adjustments.accepted.add(adjusted as u64);
}

/// Counts what an earlier attempt at `batch` committed, which is no part of what `plan` writes.
pub(super) fn count_settled(counters: &Counters, batch: &[Queued], plan: &Plan) {
    let written = plan.writes.requests.iter().map(|write| &write.request_id);
    let written: HashSet<&RequestId> = written.collect();
    let is_written = |queued: &Queued| {
        let request_id = queued.prepared.command.request_id();
        request_id.is_some_and(|id| written.contains(id))
    };
    let (mut orders, mut adjustments) = (0, 0);
    let outcomes = batch.iter().zip(&plan.outcomes);
    for (queued, outcome) in outcomes.filter(|(queued, _)| !is_written(queued)) {
        match (&queued.prepared.command, outcome) {
            (
                Command::CreateOrder(_),
                Ok(Done::Order {
                    replayed: false, ..
                }),
            ) => orders += 1,
            (
                Command::AdjustStock(_),
                Ok(Done::Adjusted {
                    replayed: false, ..
                }),
            ) => adjustments += 1,
            _ => {}
        }
    }
    counters.orders.accepted.add(orders);
    counters.adjustments.accepted.add(adjustments);
    // Where some are written, all are counted with them.
    if plan.writes.order_changes.is_empty() {
        count_changes(counters, batch, &plan.outcomes);
    }
}

/// Counts what became of orders.
pub(super) fn count_changes(
    counters: &Counters,
    batch: &[Queued],
    outcomes: &[Result<Done, Error>],
) {
    for (queued, outcome) in batch.iter().zip(outcomes) {
        let Command::ChangeOrder(change) = &queued.prepared.command else {
            continue;
        };
        if matches!(
            outcome,
            Ok(Done::Order {
                replayed: false,
                ..
            })
        ) {
            counters.holds.of(&change.transition).add(1);
        }
    }
}
